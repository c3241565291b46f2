"""A lower bound on the Bernoulli reconstruction loss."""

import torch
from torch import Tensor

from vae.data.images import pixels


def entropy_floor(images: Tensor) -> float:
    """The lowest Bernoulli reconstruction loss that any decoder can reach on grey pixels, in nats per image.

        1/N Σ_images Σ_pixels -x·log x - (1 - x)·log(1 - x)

    The cross-entropy of a pixel x and a probability p is lowest at p = x, where it is the entropy of x. The floor of
    black-and-white images is zero.

    Args:
        images: uint8 (N, C, H, W).
    """
    levels = pixels(torch.arange(256, dtype=torch.uint8)).double()
    entropies = -torch.xlogy(levels, levels) - torch.xlogy(1 - levels, 1 - levels)
    counts = torch.bincount(images.flatten().cpu(), minlength=256)
    return float(counts.double() @ entropies) / len(images)
