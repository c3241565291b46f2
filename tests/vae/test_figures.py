from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from vae.figures.canvas import CLASS_COLOURS, canvas
from vae.figures.charts import class_scatter, latent_spectrum, loss_curves
from vae.figures.images import image_grid

Floats = NDArray[np.float64]

TERMS = ("loss", "reconstruction", "kl")
DIGITS = tuple("0123456789")
GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def title(figure: Figure) -> str:
    return figure.get_suptitle().strip()


def explanation(figure: Figure) -> str:
    _, text = figure.texts
    return text.get_text()


def drawn_extent(axes: Axes) -> Bbox:
    """The rectangle that axes fill with all their labels, in pixels."""
    extent = axes.get_tightbbox()
    assert extent is not None
    return extent


def losses(epochs: int, *, validated: bool = True) -> dict[str, Floats]:
    """The columns of a table of losses, falling over the epochs."""
    falling = 1 / np.arange(1, epochs + 1)
    table = {"epoch": np.arange(1, epochs + 1, dtype=np.float64)}
    for part, level in (("train", 100), ("validation", 110 if validated else np.nan)):
        table |= {f"{part}_{term}": level * share * falling for term, share in zip(TERMS, (1, 0.75, 0.25), strict=True)}
    return table


def spectrum(dimensions: int) -> tuple[Floats, Floats]:
    """KL and variance of latent dimensions in no order, every second of them active."""
    random = np.random.default_rng(0)
    active = np.arange(dimensions) % 2 == 0
    return random.uniform(0.001, 0.01, dimensions) + active, np.where(active, 0.9, 1e-5)


def scattered(class_names: Sequence[str], title: str = "Latent codes", points: int = 5) -> Figure:
    """A scatter chart with some points of every class."""
    labels = np.arange(points * len(class_names)) % len(class_names)
    places = np.random.default_rng(0).normal(size=(len(labels), 2)).astype(np.float32)
    return class_scatter(places, labels, class_names, ("t-SNE 1", "t-SNE 2"), title)


def constant(*intensities: float, shape: tuple[int, int, int] = (1, 8, 8)) -> NDArray[np.float32]:
    """Images each of one intensity."""
    return np.stack([np.full(shape, intensity, np.float32) for intensity in intensities])


def grid(
    rows: int,
    columns: int,
    shape: tuple[int, int, int] = (1, 28, 28),
    explanation: str = "How to read it.",
    **labels: Any,
) -> Figure:
    return image_grid([constant(*[0.5] * columns, shape=shape)] * rows, "What it shows", explanation, **labels)


# All kinds of pictures that the stages draw, and the extremes that parameters lead to.
PICTURES: dict[str, Callable[[], Figure]] = {
    "losses": lambda: loss_curves(losses(30), 17),
    "losses of one epoch": lambda: loss_curves(losses(1), 1),
    "losses without validation": lambda: loss_curves(losses(3, validated=False), 3),
    "spectrum of one dimension": lambda: latent_spectrum(*spectrum(1), 0.01),
    "spectrum of 128 dimensions": lambda: latent_spectrum(*spectrum(128), 0.01),
    "scatter of garments": lambda: scattered(GARMENTS, "Latent codes of 10,000 test images"),
    "scatter of points in one place": lambda: class_scatter(
        np.ones((20, 2), np.float32), np.arange(20) % 2, ("a", "b"), ("z0", "z1"), "Latent codes"
    ),
    "one image": lambda: grid(1, 1),
    "interpolations of garments": lambda: grid(
        8,
        11,
        row_labels=["T-shirt/top to Ankle boot"] * 8,
        column_labels=["test\nimage", *(f"{step / 8:.3g}" for step in range(9)), "test\nimage"],
        row_axis="classes",
        column_axis="share of the way between the two codes",
    ),
    "a long explanation of few images": lambda: grid(2, 2, explanation="Healthy: " + "as it ought to be, " * 5),
    "a traversal of one dimension": lambda: grid(1, 11, row_labels=["0"], row_axis="dimension", column_axis="value"),
    "colours": lambda: grid(4, 12, shape=(3, 32, 32)),
}


@pytest.fixture(scope="module", params=PICTURES)
def picture(request: pytest.FixtureRequest) -> Figure:
    """Each of the pictures, drawn."""
    figure = PICTURES[request.param]()
    figure.draw_without_rendering()
    return figure


class TestEveryPicture:
    def test_all_that_is_drawn_lies_within_it(self, picture: Figure) -> None:
        extent = picture.get_tightbbox()
        width, height = picture.get_size_inches()
        assert extent.x0 >= 0
        assert extent.y0 >= 0
        assert extent.x1 <= width
        assert extent.y1 <= height

    def test_title_and_explanation_lie_within_it(self, picture: Figure) -> None:
        for text in picture.texts:
            extent = text.get_window_extent()
            assert picture.bbox.x0 <= extent.x0 < extent.x1 <= picture.bbox.x1
            assert picture.bbox.y0 <= extent.y0 < extent.y1 <= picture.bbox.y1

    def test_the_explanation_stands_between_the_title_and_the_rest(self, picture: Figure) -> None:
        title_extent, own = (text.get_window_extent() for text in picture.texts)
        # The title's second line is empty, to leave room.
        assert own.y1 <= (title_extent.y0 + title_extent.y1) / 2
        assert all(drawn_extent(axes).y1 <= own.y0 for axes in picture.axes)

    def test_labels_along_an_axis_do_not_overlap(self, picture: Figure) -> None:
        for axes in picture.axes:
            extents = [text.get_window_extent() for text in axes.get_xticklabels() if text.get_text()]
            assert all(left.x1 < right.x0 for left, right in pairwise(extents))

    def test_it_is_not_among_the_figures_that_matplotlib_keeps(self, picture: Figure) -> None:
        assert all(plt.figure(number) is not picture for number in plt.get_fignums())


class TestCanvas:
    def test_it_has_the_size_the_title_and_the_explanation_asked_for(self) -> None:
        figure = canvas(7, 3, "A title", "How to read it.")
        assert figure.get_size_inches().tolist() == [7, 3]
        assert title(figure) == "A title"
        assert explanation(figure) == "How to read it."
        assert len(figure.texts) == 2

    def test_the_colours_of_ten_classes_are_distinct(self) -> None:
        assert len({to_hex(colour) for colour in CLASS_COLOURS}) == len(CLASS_COLOURS) >= 10


class TestLossCurves:
    def test_each_term_has_a_panel_over_epochs_in_nats_per_image(self) -> None:
        figure = loss_curves(losses(3), 2)
        assert title(figure) == "Losses during training"
        assert [axes.get_title() for axes in figure.axes] == ["Loss", "Reconstruction", "KL"]
        assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 3
        assert figure.axes[0].get_ylabel() == "nats per image"

    def test_each_panel_has_the_curves_of_its_term(self) -> None:
        table = losses(3)
        for axes, term in zip(loss_curves(table, 2).axes, TERMS, strict=True):
            curves = {str(line.get_label()): line for line in axes.get_lines()}
            for label, part in (("training", "train"), ("validation", "validation")):
                assert np.array_equal(curves[label].get_xdata(), [1, 2, 3])
                assert np.array_equal(curves[label].get_ydata(), table[f"{part}_{term}"])

    def test_the_epoch_of_the_kept_weights_is_marked_and_named(self) -> None:
        for axes in loss_curves(losses(5), 4).axes:
            (mark,) = (line for line in axes.get_lines() if line.get_label() == "weights kept (epoch 4)")
            assert set(np.asarray(mark.get_xdata())) == {4}

    @pytest.mark.parametrize(
        ("validated", "labels"),
        [
            (True, ["training", "validation", "weights kept (epoch 2)"]),
            (False, ["training", "weights kept (epoch 2)"]),
        ],
    )
    def test_validation_is_drawn_and_named_only_where_there_is_any(self, validated: bool, labels: list[str]) -> None:
        figure = loss_curves(losses(3, validated=validated), 2)
        for axes in figure.axes:
            assert [line.get_label() for line in axes.get_lines()] == labels
        legend = figure.axes[0].get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == labels

    @pytest.mark.parametrize("epochs", [1, 2, 30, 1000])
    def test_epochs_are_whole_numbers(self, epochs: int) -> None:
        figure = loss_curves(losses(epochs), 1)
        for axes in figure.axes:
            assert all(place == round(place) for place in axes.get_xticks())


class TestLatentSpectrum:
    KL = np.array([0.001, 2.0, 0.5, 0.002])
    VARIANCES = np.array([1e-5, 0.9, 0.4, 0.008])

    def panels(self) -> tuple[Axes, Axes]:
        top, bottom = latent_spectrum(self.KL, self.VARIANCES, 0.01).axes
        return top, bottom

    def test_the_title_counts_the_active_dimensions(self) -> None:
        figure = latent_spectrum(self.KL, self.VARIANCES, 0.01)
        assert title(figure) == "What each latent dimension carries: 2 of 4 active"

    def test_kl_and_variance_have_a_panel_each_with_their_names(self) -> None:
        top, bottom = self.panels()
        assert top.get_ylabel() == "KL (nats per image)"
        assert bottom.get_ylabel() == "variance of the posterior mean"
        assert bottom.get_xlabel() == "latent dimension, by falling KL"

    def test_bars_stand_in_falling_order_of_the_kl_under_their_dimensions(self) -> None:
        top, bottom = self.panels()
        assert [bar.get_height() for bar in top.patches] == [2.0, 0.5, 0.002, 0.001]  # type: ignore[attr-defined]
        assert [bar.get_height() for bar in bottom.patches] == [0.9, 0.4, 0.008, 1e-5]  # type: ignore[attr-defined]
        assert [text.get_text() for text in bottom.get_xticklabels()] == ["1", "2", "3", "0"]

    def test_active_dimensions_have_another_colour_than_collapsed_ones(self) -> None:
        for axes in self.panels():
            colours = [to_hex(bar.get_facecolor()) for bar in axes.patches]
            assert colours[0] == colours[1] != colours[2] == colours[3]

    def test_dimensions_without_any_variance_are_drawn_on_an_axis_that_shows_the_threshold(self) -> None:
        _, bottom = latent_spectrum(np.array([0.0, 2.0]), np.array([0.0, 0.9]), 0.01).axes
        low, high = bottom.get_ylim()
        assert 0 < low < 0.01
        assert high > 0.9

    def test_every_variance_and_the_threshold_lie_within_the_axis(self) -> None:
        _, bottom = self.panels()
        low, high = bottom.get_ylim()
        assert 0 < low < 1e-5
        assert high > 0.9
        (threshold,) = bottom.get_lines()
        assert set(np.asarray(threshold.get_ydata())) == {0.01}


class TestClassScatter:
    def groups(self, figure: Figure) -> Iterator[PathCollection]:
        return (entry for entry in figure.axes[0].collections if isinstance(entry, PathCollection))

    def test_it_has_the_title_and_the_axes_named_for_what_they_show(self) -> None:
        figure = scattered(DIGITS, "Latent codes of 50 test images")
        assert title(figure) == "Latent codes of 50 test images"
        assert figure.axes[0].get_xlabel().startswith("t-SNE 1")
        assert figure.axes[0].get_ylabel().startswith("t-SNE 2")

    @pytest.mark.parametrize("class_names", [DIGITS, GARMENTS])
    def test_every_class_has_a_colour_of_its_own_in_the_legend(self, class_names: tuple[str, ...]) -> None:
        figure = scattered(class_names)
        assert len({to_hex(group.get_facecolor()[0], keep_alpha=False) for group in self.groups(figure)}) == 10  # type: ignore[arg-type]
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == list(class_names)

    def test_every_point_is_drawn_once_with_its_class(self) -> None:
        points = np.arange(12, dtype=np.float32).reshape(6, 2)
        labels = np.array([2, 0, 2, 1, 0, 2])
        groups = self.groups(class_scatter(points, labels, ("a", "b", "c"), ("PC 1", "PC 2"), "Title"))
        drawn = {str(group.get_label()): np.asarray(group.get_offsets()).tolist() for group in groups}
        assert drawn == {
            "a": [[2, 3], [8, 9]],
            "b": [[6, 7]],
            "c": [[0, 1], [4, 5], [10, 11]],
        }

    def test_a_class_without_points_is_left_out(self) -> None:
        figure = class_scatter(
            np.ones((2, 2), np.float32), np.array([0, 2]), ("a", "b", "c"), ("PC 1", "PC 2"), "Title"
        )
        assert [group.get_label() for group in self.groups(figure)] == ["a", "c"]
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "c"]

    def test_a_class_keeps_its_colour_when_another_is_missing(self) -> None:
        def colour_of_c(labels: list[int]) -> str:
            figure = class_scatter(
                np.ones((3, 2), np.float32), np.array(labels), ("a", "b", "c"), ("PC 1", "PC 2"), "Title"
            )
            (group,) = (group for group in self.groups(figure) if group.get_label() == "c")
            return to_hex(group.get_facecolor()[0])  # type: ignore[arg-type]

        assert colour_of_c([0, 1, 2]) == colour_of_c([2, 2, 2])

    def test_class_names_stand_among_their_points(self) -> None:
        points = np.concatenate([np.random.default_rng(0).normal(place, 0.1, (50, 2)) for place in (0, 10)])
        figure = class_scatter(
            points.astype(np.float32), np.arange(100) // 50, ("low", "high"), ("PC 1", "PC 2"), "Title"
        )
        places = {text.get_text(): text.xy for text in figure.axes[0].texts}  # type: ignore[attr-defined]
        np.testing.assert_allclose(places["low"], 0, atol=0.3)
        np.testing.assert_allclose(places["high"], 10, atol=0.3)

    def test_a_unit_is_equally_long_along_both_axes(self) -> None:
        points = np.array([[0, 0], [10, 1]], np.float32)
        figure = class_scatter(points, np.array([0, 0]), ("a",), ("PC 1", "PC 2"), "Title")
        figure.draw_without_rendering()
        origin, right, up = figure.axes[0].transData.transform([[0, 0], [1, 0], [0, 1]])
        assert right[0] - origin[0] == pytest.approx(up[1] - origin[1])


class TestImageGrid:
    def test_it_has_the_title_the_explanation_and_the_labels_given(self) -> None:
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
        assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "0.5", "1"]
        assert [text.get_text() for text in axes.get_yticklabels()] == ["test image", "reconstruction"]

    @pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (1, 6, 10), (3, 8, 8), (3, 32, 32)])
    def test_every_image_is_shown_beside_its_labels(self, shape: tuple[int, int, int]) -> None:
        intensities = np.array([[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]], np.float32)
        rows = [constant(*row, shape=shape) for row in intensities]
        (axes,) = image_grid(rows, "Title", "", row_labels=["a", "b"], column_labels=["c", "d", "e"]).axes
        shown = np.asarray(axes.images[0].get_array())
        for row, y in enumerate(axes.get_yticks()):
            for column, x in enumerate(axes.get_xticks()):
                here = np.argwhere((shown == intensities[row, column]).reshape(*shown.shape[:2], -1).all(axis=2))
                assert here.mean(axis=0).tolist() == [y, x]

    @pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
    def test_white_lies_between_black_images_only(self, shape: tuple[int, int, int]) -> None:
        images = constant(0, 0, shape=shape)
        (axes,) = image_grid([images, images], "Title", "").axes
        shown = np.asarray(axes.images[0].get_array())
        white = shown.reshape(*shown.shape[:2], -1).min(axis=2) == 1
        assert set(np.unique(shown)) == {0, 1}
        assert not white[[0, 0, -1, -1], [0, -1, 0, -1]].any()
        assert white.all(axis=0).sum() == white.all(axis=1).sum() > 0

    def test_black_is_zero_and_white_is_one_whatever_the_images_hold(self) -> None:
        (axes,) = image_grid([constant(0.4)], "Title", "").axes
        assert axes.images[0].get_clim() == (0, 1)

    def test_images_stand_upright_and_are_not_mirrored(self) -> None:
        image = np.zeros((1, 1, 28, 28), np.float32)
        image[0, 0, 3, 20] = 1
        (axes,) = image_grid([image], "Title", "").axes
        assert np.argwhere(np.asarray(axes.images[0].get_array()) == 1).tolist() == [[3, 20]]
        assert axes.images[0].origin == "upper"

    def test_three_channels_are_red_green_and_blue(self) -> None:
        image = np.stack([np.full((32, 32), level, np.float32) for level in (1.0, 0.5, 0.25)])[np.newaxis]
        (axes,) = image_grid([image], "Title", "").axes
        shown = np.asarray(axes.images[0].get_array())
        assert shown.shape == (32, 32, 3)
        assert np.all(shown == [1.0, 0.5, 0.25])

    @pytest.mark.parametrize("cell", [0.3, 0.6])
    @pytest.mark.parametrize("label", ["", "7", "T-shirt/top to Ankle boot"])
    def test_an_image_takes_the_room_asked_for_whatever_its_labels(self, cell: float, label: str) -> None:
        labels: dict[str, Any] = {"row_labels": [label] * 10, "row_axis": "classes"} if label else {}
        figure = grid(10, 10, cell=cell, **labels)
        figure.draw_without_rendering()
        (axes,) = figure.axes
        width = axes.get_window_extent().width / figure.dpi / 10
        assert width == pytest.approx(cell, rel=0.15)
