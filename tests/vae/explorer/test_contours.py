import time
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.path import Path
from numpy.typing import NDArray

from vae.explorer.contours import contours

Points = NDArray[np.float32]


def blob(count: int, x: float, seed: int = 0) -> Points:
    """Points of a normal distribution around a place on the horizontal axis."""
    points: Points = np.random.default_rng(seed).normal((x, 0), 1, (count, 2)).astype(np.float32)
    return points


def share_inside(lines: list[list[float]], points: Points) -> float:
    """The share of points inside an odd number of lines."""
    inside = [Path(np.reshape(line, (-1, 2))).contains_points(points) for line in lines]
    return float((np.sum(inside, axis=0) % 2).mean())


def test_a_class_has_an_outer_contour_around_nine_tenths_and_an_inner_one_around_half_of_its_points() -> None:
    points = np.concatenate([blob(2000, 0), blob(2000, 12, seed=1)])
    outer, inner = contours(points, np.repeat([0, 1], 2000), 2)[1]
    assert share_inside([outer], points[2000:]) == pytest.approx(0.9, abs=0.02)
    assert share_inside([inner], points[2000:]) == pytest.approx(0.5, abs=0.04)
    assert share_inside([outer], points[:2000]) == 0
    radius = np.linalg.norm(np.reshape(inner, (-1, 2)) - [12, 0], axis=1).mean()
    assert radius == pytest.approx(np.sqrt(2 * np.log(2)), rel=0.1)  # of half of a normal distribution


def test_a_class_in_two_clusters_has_contours_around_each() -> None:
    points = np.concatenate([blob(300, 0), blob(60, 40, seed=1)])
    lines = contours(points, np.zeros(360, np.int64), 1)[0]
    outer = [line for line in lines if share_inside([line], points) > 0]
    assert {bool(np.mean(line[::2]) > 20) for line in outer} == {False, True}
    assert share_inside(outer[:2], points) == pytest.approx(0.9, abs=0.05)


def test_a_contour_around_a_cluster_does_not_grow_with_the_distance_to_another_cluster_of_the_class() -> None:
    near, far = (np.concatenate([blob(100, 0), blob(100, x, seed=1)]) for x in (12, 60))
    for points in (near, far):
        lines = contours(points, np.zeros(200, np.int64), 1)[0]
        widest = max(np.ptp(line[::2]) for line in lines)
        assert widest < 6  # standard deviations of a cluster; a contour of a single normal distribution is 4.3 wide


@pytest.mark.parametrize(
    "points", [blob(9, 0), np.zeros((50, 2), np.float32), blob(0, 0)], ids=["nine", "all the same", "none"]
)
def test_classes_of_few_points_or_of_a_single_place_have_no_contours(points: Points) -> None:
    others = blob(100, 5)
    labels = np.repeat([0, 1], [100, len(points)])
    assert contours(np.concatenate([others, points]), labels, 2)[1] in ([], [[]])
    assert contours(np.concatenate([others, points]), labels, 2)[0]


@pytest.mark.parametrize("spread", [lambda points: points * [1, 0], lambda points: points[:, :1] @ [[1, 1]]])
def test_points_on_a_line_have_contours(spread: Callable[[Points], Points]) -> None:
    assert contours(spread(blob(200, 0)).astype(np.float32), np.zeros(200, np.int64), 1)[0]


def test_contours_of_ten_thousand_points_in_two_hundred_classes_take_a_moment() -> None:
    start = time.perf_counter()
    contours(blob(10_000, 0), np.arange(10_000) % 200, 200)
    assert time.perf_counter() - start < 5  # half a second where nothing else runs
