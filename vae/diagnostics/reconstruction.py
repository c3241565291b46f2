"""How near reconstructions come to their originals."""

from torch import Tensor

from vae.datasets import pixels


def mean_squared_error(images: Tensor, reconstructions: Tensor) -> float:
    """The squared difference of intensities in [0, 1], averaged over pixels and images.

    Unlike the objective it is the same measure for every likelihood.

    Args:
        images: uint8 (N, C, H, W).
        reconstructions: intensities (N, C, H, W).
    """
    difference = pixels(images.to(reconstructions.device)) - reconstructions
    return float(difference.square().flatten(1).mean(1).cpu().double().mean())
