"""Contours of the density of points on a map, class by class."""

from math import ceil

import numpy as np
from numpy.typing import NDArray

INSIDE = (0.9, 0.5)  # shares of a class's points that its contours hold, from the outside in
FEWEST = 10  # points of a class, below which it has no contours
CELLS = 80  # on each side of the grid on which a density is estimated
MARGIN = 0.25  # around all points, as a share of their range

Line = list[float]  # x and y of its vertices in turn


def contours(points: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> list[list[Line]]:
    """For each class, lines around its densest areas, which hold ``INSIDE`` shares of its points.

    The density is a histogram smoothed by a Gaussian kernel, so that the time grows with the number of points, not with
    its square. The bandwidth is the median distance between a point and its k-th nearest neighbour in the class, with k
    = n^⅔ / 4 for n points. On a normal distribution, this is Silverman's rule of thumb; unlike the rule, it does not
    depend on how far apart the clusters of a class are.

    Args:
        points: their coordinates (N, 2).
        labels: their classes, from 0 (N,).
        classes: the number of classes.
    """
    from matplotlib.figure import Figure

    low, high = points.min(0).astype(float), points.max(0).astype(float)
    margin = MARGIN * np.where(high > low, high - low, 1)
    edges = np.linspace(low - margin, high + margin, CELLS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    axes = Figure().subplots()
    found: list[list[Line]] = []
    for own in (points[labels == label] for label in range(classes)):
        found.append([])
        if len(own) < FEWEST:
            continue
        density, levels = _density(own, edges)
        if len(levels):
            lines = (line for level in axes.contour(*middles.T, density.T, levels).allsegs for line in level)
            found[-1] = [[float(f"{value:.4g}") for value in line.ravel()] for line in lines]
    return found


def _density(
    points: NDArray[np.float32], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The density of points in each cell of a grid (x, y), and the levels of its contours, ascending."""
    from scipy.ndimage import gaussian_filter
    from scipy.spatial import KDTree

    counts, *_ = np.histogram2d(points[:, 0], points[:, 1], bins=[edges[:, 0], edges[:, 1]])
    rank = ceil(len(points) ** (2 / 3) / 4)
    distances = KDTree(points).query(points, [rank + 1])[0]  # the nearest is the point itself
    bandwidth = np.median(distances) / (edges[1] - edges[0])
    density = gaussian_filter(counts, np.maximum(bandwidth, 1), mode="constant")
    of_points = np.repeat(density, counts.astype(int).ravel())
    levels = np.unique(np.quantile(of_points, 1 - np.array(INSIDE)))
    return density, levels[levels < density.max()]
