"""How precise measures on test images are: standard errors, and means of groups of images to compare two runs by."""

from typing import NamedTuple

import torch
from torch import Tensor

from vae.model.inference import standard_error as standard_error  # training needs it, and cannot import from here

GROUPS = 50  # enough to know a standard error to within a tenth of itself: 1/√(2·49)


class GroupMeans(NamedTuple):
    """The means of groups of images.

    Attributes:
        images: the number of images in each group, int64 (G,).
        means: float64 (G,).
    """

    images: Tensor
    means: Tensor


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
