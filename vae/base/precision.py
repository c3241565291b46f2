"""How precise a mean over images is: its standard error, and means of groups of images to compare two runs by."""

from math import nan, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

GROUPS = 50  # enough to know a standard error to within a tenth of itself: 1/√(2·49)


class GroupMeans(NamedTuple):
    """The means of groups of images.

    Attributes:
        images: the number of images in each group, int64 (G,).
        means: float64 (G,).
    """

    images: Tensor
    means: Tensor


def standard_error(values: Tensor) -> float:
    """The standard error of the mean of N independent values, √(Σ (v - v̄)² / (N - 1)) / √N.

    Args:
        values: numbers, or yes and no, one for each image (N,).

    Returns:
        in the unit of the values; NaN if there are fewer than two.
    """
    return float(values.cpu().double().std()) / sqrt(len(values)) if len(values) > 1 else nan


def group_means(values: Tensor, groups: int = GROUPS) -> GroupMeans:
    """Average a measure of each image over groups of images: image i is in group i mod G.

    Two runs on the same test images have the same groups, so that the means tell how precise a difference between the
    runs is, without the values of every image. Most of the variance between images is common to both runs and cancels
    in the differences d of the group means: SE = √(Σ (d - d̄)² / (G - 1)) / √G, the standard error of the differences.

    Args:
        values: one for each image, in the order of the test images (N,).
        groups: G; with fewer images, each image is a group.
    """
    groups = min(groups, len(values))
    parts = [values[start::groups].double() for start in range(groups)]
    return GroupMeans(torch.tensor([len(part) for part in parts]), torch.stack([part.mean() for part in parts]))
