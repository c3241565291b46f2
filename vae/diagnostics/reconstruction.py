"""How near reconstructions come to their originals."""

import torch
from torch import Tensor

from vae.datasets import pixels


def squared_errors(images: Tensor, reconstructions: Tensor) -> Tensor:
    """The squared difference of intensities in [0, 1], averaged over the pixels of each image: float64 (N,).

    Unlike the objective it is the same measure for every likelihood.

    Args:
        images: uint8 (N, C, H, W).
        reconstructions: intensities (N, C, H, W).
    """
    difference = pixels(images.to(reconstructions.device)) - reconstructions
    return difference.square().flatten(1).mean(1).cpu().double()


def mean_squared_error(images: Tensor, reconstructions: Tensor) -> float:
    """The squared difference of intensities in [0, 1], averaged over pixels and images.

    Args:
        images: uint8 (N, C, H, W).
        reconstructions: intensities (N, C, H, W).
    """
    return float(squared_errors(images, reconstructions).mean())


def error_per_class(errors: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The mean error of the images of each class, NaN where a class has no image: float64 (K,).

    Args:
        errors: of each image (N,).
        labels: the class of each image, int64 (N,).
        classes: their number K.
    """
    labels = labels.cpu()
    sums = torch.bincount(labels, errors.cpu().double(), minlength=classes)
    return sums / torch.bincount(labels, minlength=classes)


def worst(errors: Tensor, count: int) -> list[int]:
    """The indices of the images with the largest errors (N,), the largest first; of equal ones the earlier first."""
    order = errors.argsort(descending=True, stable=True)[:count].tolist()
    return [int(index) for index in order]
