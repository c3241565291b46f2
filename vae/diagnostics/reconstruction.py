"""The error of reconstructions, by image and by class."""

import torch
from torch import Tensor

from vae.data.images import pixels


def squared_errors(images: Tensor, reconstructions: Tensor) -> Tensor:
    """The squared difference of intensities in [0, 1], averaged over the pixels of each image: float64 (N,).

    Unlike the reconstruction loss, it is the same measure for every likelihood.

    Args:
        images: uint8 (N, C, H, W).
        reconstructions: intensities (N, C, H, W).
    """
    difference = pixels(images.to(reconstructions.device)) - reconstructions
    return difference.square().flatten(1).mean(1).cpu().double()


def error_per_class(errors: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The mean error over the images of each class, NaN for a class without images: float64 (K,).

    Args:
        errors: of each image (N,).
        labels: the class of each image, int64 (N,).
        classes: the number of classes K.
    """
    labels = labels.cpu()
    sums = torch.bincount(labels, errors.cpu().double(), minlength=classes)
    return sums / torch.bincount(labels, minlength=classes)


def worst(errors: Tensor, count: int) -> list[int]:
    """The indices of the ``count`` images with the largest errors (N,), largest first; ties in order of index."""
    order = errors.argsort(descending=True, stable=True)[:count].tolist()
    return [int(index) for index in order]
