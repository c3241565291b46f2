from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from tests.vae.figures.pictures import constant, explanation, grid, tick_labels, title
from vae.figures.images import LARGEST_GRID, image_grid


def test_image_grid_has_the_given_title_explanation_and_labels() -> None:
    figure = grid(
        2,
        3,
        explanation="Healthy: alike.",
        row_labels=["test image", "reconstruction"],
        column_labels=["0", "0.5", "1"],
        row_axis="kind",
        column_axis="share of the way",
    )
    (axes,) = figure.axes
    assert title(figure) == "What it shows"
    assert explanation(figure) == "Healthy: alike."
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("share of the way", "kind")
    assert tick_labels(axes) == ["0", "0.5", "1"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["test image", "reconstruction"]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (1, 6, 10), (3, 8, 8), (3, 32, 32)])
def test_image_grid_centres_every_image_on_its_row_and_column_label(shape: tuple[int, int, int]) -> None:
    intensities = np.array([[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]], np.float32)
    rows = [constant(*row, shape=shape) for row in intensities]
    (axes,) = image_grid(rows, "Title", "", row_labels=["a", "b"], column_labels=["c", "d", "e"]).axes
    shown = np.asarray(axes.images[0].get_array())
    for row, y in enumerate(axes.get_yticks()):
        for column, x in enumerate(axes.get_xticks()):
            here = np.argwhere((shown == intensities[row, column]).reshape(*shown.shape[:2], -1).all(axis=2))
            assert here.mean(axis=0).tolist() == [y, x]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_image_grid_has_white_gaps_between_images_and_none_around_them(shape: tuple[int, int, int]) -> None:
    images = constant(0, 0, shape=shape)
    (axes,) = image_grid([images, images], "Title", "").axes
    shown = np.asarray(axes.images[0].get_array())
    white = shown.reshape(*shown.shape[:2], -1).min(axis=2) == 1
    assert set(np.unique(shown)) == {0, 1}
    assert not white[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert white.all(axis=0).sum() == white.all(axis=1).sum() > 0


def test_image_grid_shows_zero_as_black_and_one_as_white_whatever_the_images_hold() -> None:
    (axes,) = image_grid([constant(0.4)], "Title", "").axes
    assert axes.images[0].get_clim() == (0, 1)


def test_image_grid_shows_images_upright_and_not_mirrored() -> None:
    image = np.zeros((1, 1, 28, 28), np.float32)
    image[0, 0, 3, 20] = 1
    (axes,) = image_grid([image], "Title", "").axes
    assert np.argwhere(np.asarray(axes.images[0].get_array()) == 1).tolist() == [[3, 20]]
    assert axes.images[0].origin == "upper"


def test_image_grid_shows_three_channels_as_red_green_and_blue() -> None:
    image = np.stack([np.full((32, 32), level, np.float32) for level in (1.0, 0.5, 0.25)])[np.newaxis]
    (axes,) = image_grid([image], "Title", "").axes
    shown = np.asarray(axes.images[0].get_array())
    assert shown.shape == (32, 32, 3)
    assert np.all(shown == [1.0, 0.5, 0.25])


@pytest.mark.parametrize("cell", [0.3, 0.6])
@pytest.mark.parametrize("label", ["", "T-shirt/top to Ankle boot"])
def test_image_grid_shows_images_at_the_given_size_whatever_their_labels(cell: float, label: str) -> None:
    labels: dict[str, Any] = {"row_labels": [label] * 10, "row_axis": "classes"} if label else {}
    figure = grid(10, 10, cell=cell, **labels)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_window_extent().width / figure.dpi / 10 == pytest.approx(cell, rel=0.15)


def test_image_grid_frames_exactly_the_marked_images_counted_row_by_row() -> None:
    rows = [constant(0, 0, 0, shape=(1, 28, 28))] * 2
    marked = np.array([False, False, True, True, False, False])
    (axes,) = image_grid(rows, "Title", "", row_labels=["a", "b"], column_labels=["c", "d", "e"], framed=marked).axes
    rectangles = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    centres = [list(rectangle.get_center()) for rectangle in rectangles]
    columns, lines = axes.get_xticks(), axes.get_yticks()
    assert np.array(centres) == pytest.approx(np.array([(columns[2], lines[0]), (columns[0], lines[1])]))


@pytest.mark.parametrize(
    ("shape", "columns", "factor"),
    [
        ((3, 64, 64), 12, 1),
        ((3, 128, 128), 12, 1),
        ((3, 256, 256), 12, 2),
        ((1, 256, 200), 20, 3),
        ((3, 32, 32), 60, 1),
    ],
    ids=str,
)
def test_image_grid_shrinks_large_images_to_a_bounded_picture_and_says_so(
    shape: tuple[int, int, int], columns: int, factor: int
) -> None:
    figure = grid(2, columns, shape=shape)
    (axes,) = figure.axes
    shown = np.asarray(axes.images[0].get_array())
    assert ("shrunk by a factor" in explanation(figure)) == (factor > 1)
    assert (f"factor of {factor}." in explanation(figure)) == (factor > 1)
    assert shown.shape[0] >= 2 * shape[1] // factor
    if factor > 1:
        assert max(shown.shape) < 1.15 * LARGEST_GRID  # with the gaps between images


def test_image_grid_shows_every_pixel_of_an_image_that_is_larger_than_a_cell() -> None:
    figure = grid(2, 4, shape=(3, 128, 128))
    figure.draw_without_rendering()
    assert figure.axes[0].get_window_extent().width >= 4 * 128 * 0.95


@pytest.mark.parametrize("shape", [(3, 50, 37), (3, 37, 50), (1, 8, 32), (1, 32, 8)], ids=str)
def test_labels_of_elongated_images_do_not_overlap(shape: tuple[int, int, int]) -> None:
    figure = grid(6, 6, shape=shape, row_labels=["row"] * 6, column_labels=["+1.3"] * 6)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    across = [label.get_window_extent() for label in axes.get_xticklabels()]
    down = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(across))
    assert all(lower.y1 < upper.y0 for upper, lower in pairwise(down))


def test_a_row_with_fewer_images_is_white_at_its_end() -> None:
    (axes,) = image_grid([constant(0), constant(0, 0, 0)], "Title", "").axes
    shown = np.asarray(axes.images[0].get_array())
    assert [bool(shown[0, place] == 0) for place in (0, shown.shape[1] // 2, -1)] == [True, False, False]
    assert [bool(shown[-1, place] == 0) for place in (0, shown.shape[1] // 2, -1)] == [True, True, True]


def test_averages_of_colours_a_rounding_error_above_one_are_drawn_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    white = np.full((1, 3, 4, 4), np.nextafter(np.float32(1), np.float32(2)))
    figure = image_grid([white], "Title", "Words.")
    assert np.asarray(figure.axes[0].images[0].get_array()).max() == 1
    assert not caplog.records
