from collections.abc import Iterator
from itertools import combinations
from time import perf_counter

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tests.vae.figures.pictures import DIGITS, TERMS, heights, legend, losses, scattered, tick_labels, title
from vae.figures.canvas import CLASS_COLOURS, OTHER_COLOUR, brief, class_colours
from vae.figures.charts import LossForecast, class_scatter, densest, latent_spectrum, loss_curves


class TestLossCurves:
    def test_loss_curves_show_each_term_in_nats_per_image_for_training_and_validation(self) -> None:
        table = losses(3)
        panels = loss_curves(table, 2).axes
        assert [axes.get_title() for axes in panels] == ["Loss", "Reconstruction", "KL", "Gradient norm"]
        for axes, term in zip(panels, TERMS, strict=False):
            curves = {str(line.get_label()): line for line in axes.get_lines()}
            for label, part in (("training", "train"), ("validation", "validation")):
                assert np.array_equal(curves[label].get_xdata(), [1, 2, 3])
                assert np.array_equal(curves[label].get_ydata(), table[f"{part}_{term}"])
            assert axes.get_ylabel() == "nats per image"
            assert axes.get_xlabel() == "epoch"

    def test_loss_curves_show_the_gradient_norm_of_training_in_a_panel_of_its_own(self) -> None:
        table = losses(3)
        curve, mark = loss_curves(table, 2).axes[3].get_lines()
        assert np.array_equal(curve.get_ydata(), table["gradient_norm"])
        assert mark.get_label() == "weights kept (epoch 2)"

    def test_loss_curves_mark_and_name_the_epoch_of_the_kept_weights(self) -> None:
        for axes in loss_curves(losses(5), 4).axes:
            (mark,) = (line for line in axes.get_lines() if line.get_label() == "weights kept (epoch 4)")
            assert set(np.asarray(mark.get_xdata())) == {4}

    @pytest.mark.parametrize("validated", [True, False])
    def test_loss_curves_name_validation_only_where_there_is_a_validation_set(self, validated: bool) -> None:
        labels = ["training", *["validation"] * validated, "weights kept (epoch 2)"]
        figure = loss_curves(losses(3, validated=validated), 2)
        for axes in figure.axes[:3]:
            assert [line.get_label() for line in axes.get_lines()] == labels
        assert legend(figure.axes[0]) == labels

    @pytest.mark.parametrize(("epochs", "marked"), [(1, True), (50, True), (51, False), (1000, False)])
    def test_loss_curves_mark_single_epochs_only_where_there_are_at_most_fifty(self, epochs: int, marked: bool) -> None:
        for axes in loss_curves(losses(epochs), 1).axes:
            for line in axes.get_lines():
                if line.get_label() in {"training", "validation"}:
                    assert (line.get_marker() == ".") is marked

    @pytest.mark.parametrize("epochs", [1, 2, 30, 1000])
    def test_loss_curves_have_ticks_at_whole_epochs(self, epochs: int) -> None:
        for axes in loss_curves(losses(epochs), 1).axes:
            assert all(tick == round(tick) for tick in axes.get_xticks())

    def test_loss_curves_show_the_forecast_as_a_line_and_a_band_in_the_panel_of_the_loss_alone(self) -> None:
        label = "forecast for 1,000 epochs"
        loss, *others = loss_curves(losses(100), 90, LossForecast(1000, 0.8, 0.5, 1.2)).axes
        (line,) = (line for line in loss.get_lines() if line.get_label() == label)
        assert set(np.asarray(line.get_ydata())) == {0.8}
        (band,) = loss.patches
        assert band.get_window_extent().transformed(loss.transData.inverted()).intervaly == pytest.approx([0.5, 1.2])
        assert legend(loss) == ["training", "validation", "weights kept (epoch 90)", label]
        for axes in others:
            assert not axes.patches
            assert label not in [line.get_label() for line in axes.get_lines()]

    def test_loss_curves_keep_the_range_of_epochs_when_a_forecast_is_drawn(self) -> None:
        without, with_forecast = (
            loss_curves(losses(30), 30, forecast).axes[0] for forecast in (None, LossForecast(300, 0.8, 0.5, 1.2))
        )
        assert with_forecast.get_xlim() == without.get_xlim()


class TestLatentSpectrum:
    KL = np.array([0.001, 2.0, 0.5, 0.002])
    VARIANCES = np.array([1e-5, 0.9, 0.4, 0.008])

    def panels(self) -> tuple[Axes, Axes]:
        top, bottom = latent_spectrum(self.KL, self.VARIANCES, 0.01).axes
        return top, bottom

    def test_title_of_the_latent_spectrum_counts_the_active_dimensions(self) -> None:
        assert title(latent_spectrum(self.KL, self.VARIANCES, 0.01)).endswith(": 2 of 4 active")

    def test_bars_of_the_latent_spectrum_stand_in_falling_order_of_the_kl_under_their_dimensions(self) -> None:
        top, bottom = self.panels()
        assert heights(top) == [2.0, 0.5, 0.002, 0.001]
        assert heights(bottom) == [0.9, 0.4, 0.008, 1e-5]
        assert tick_labels(bottom) == ["1", "2", "3", "0"]

    def test_active_dimensions_of_the_latent_spectrum_differ_in_colour_from_collapsed_ones(self) -> None:
        for axes in self.panels():
            colours = [to_hex(bar.get_facecolor()) for bar in axes.patches]
            assert colours[0] == colours[1] != colours[2] == colours[3]

    @pytest.mark.parametrize("lowest", [0.0, 1e-5, 0.5])
    def test_variance_axis_of_the_latent_spectrum_shows_every_variance_and_the_threshold(self, lowest: float) -> None:
        """The axis is logarithmic, and cannot show a variance of zero."""
        _, bottom = latent_spectrum(np.array([0.0, 2.0]), np.array([lowest, 0.9]), 0.01).axes
        low, high = bottom.get_ylim()
        assert 0 < low < min(0.01, lowest or 1)
        assert high > 0.9
        (threshold,) = bottom.get_lines()
        assert set(np.asarray(threshold.get_ydata())) == {0.01}


class TestDensest:
    def test_it_is_the_point_whose_nearest_quarter_lies_closest(self) -> None:
        points = np.array([[9, 9], [0, 0], [0, 1], [0.1, 0], [5, 5], [7, 1], [0, -0.1], [4, 9]], np.float32)
        assert densest(points) == 1

    def test_it_is_the_same_as_among_all_distances_for_up_to_a_thousand_points(self) -> None:
        points = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
        distances = np.sort(np.linalg.norm(points[:, None] - points[None], axis=-1), axis=1)
        assert densest(points) == distances[:, 250].argmin()

    def test_of_a_hundred_thousand_points_it_lies_in_the_dense_part_and_takes_no_longer(self) -> None:
        random = np.random.default_rng(0)
        points = np.concatenate([random.normal(size=(50_000, 2)), random.normal(size=(50_000, 2)) / 10 + 5])
        points = random.permutation(points).astype(np.float32)
        start = perf_counter()
        x, y = points[densest(points)]
        assert perf_counter() - start < 2  # all distances would take 40 GB
        assert abs(x - 5) < 0.5
        assert abs(y - 5) < 0.5


class TestClassScatter:
    def groups(self, figure: Figure) -> Iterator[PathCollection]:
        return (entry for entry in figure.axes[0].collections if isinstance(entry, PathCollection))

    def test_class_scatter_draws_every_point_once_with_its_class_on_named_axes(self) -> None:
        points = np.arange(12, dtype=np.float32).reshape(6, 2)
        labels = np.array([2, 0, 2, 1, 0, 2])
        figure = class_scatter(points, labels, ("a", "b", "c"), ("PC 1", "PC 2"), "Title")
        drawn = {str(group.get_label()): np.asarray(group.get_offsets()).tolist() for group in self.groups(figure)}
        assert drawn == {
            "a": [[2, 3], [8, 9]],
            "b": [[6, 7]],
            "c": [[0, 1], [4, 5], [10, 11]],
        }
        assert title(figure) == "Title"
        assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("PC 1", "PC 2")

    def test_class_scatter_gives_each_of_ten_classes_a_colour_of_its_own_in_the_legend(self) -> None:
        figure = scattered(DIGITS)
        assert len({to_hex(group.get_facecolor()[0]) for group in self.groups(figure)}) == 10  # type: ignore[arg-type]
        (drawn,) = figure.legends
        assert [text.get_text() for text in drawn.get_texts()] == list(DIGITS)

    def test_class_scatter_leaves_out_a_class_without_points_and_keeps_the_colours_of_the_others(self) -> None:
        def colours(labels: list[int]) -> dict[str, str]:
            figure = class_scatter(
                np.ones((3, 2), np.float32), np.array(labels), ("a", "b", "c"), ("PC 1", "PC 2"), "Title"
            )
            drawn = {str(group.get_label()): to_hex(group.get_facecolor()[0]) for group in self.groups(figure)}  # type: ignore[arg-type]
            assert [text.get_text() for text in figure.legends[0].get_texts()] == list(drawn)
            return drawn

        everything, without_b = colours([0, 1, 2]), colours([0, 2, 2])
        assert without_b == {"a": everything["a"], "c": everything["c"]}

    def test_class_scatter_names_each_class_where_its_points_lie_closest(self) -> None:
        points = np.concatenate([np.random.default_rng(0).normal(centre, 0.1, (50, 2)) for centre in (0, 10)])
        figure = class_scatter(
            points.astype(np.float32), np.arange(100) // 50, ("low", "high"), ("PC 1", "PC 2"), "Title"
        )
        positions = {text.get_text(): text.xy for text in figure.axes[0].texts}  # type: ignore[attr-defined]
        np.testing.assert_allclose(positions["low"], 0, atol=0.3)
        np.testing.assert_allclose(positions["high"], 10, atol=0.3)

    def test_class_scatter_has_the_same_scale_along_both_axes(self) -> None:
        points = np.array([[0, 0], [10, 1]], np.float32)
        figure = class_scatter(points, np.array([0, 0]), ("a",), ("PC 1", "PC 2"), "Title")
        figure.draw_without_rendering()
        origin, right, up = figure.axes[0].transData.transform([[0, 0], [1, 0], [0, 1]])
        assert right[0] - origin[0] == pytest.approx(up[1] - origin[1])

    def test_class_scatter_of_a_single_class_has_no_names_and_no_legend(self) -> None:
        figure = scattered(("images",), points=20)
        assert not figure.legends
        assert not figure.axes[0].texts

    @pytest.mark.parametrize("classes", [2, 11, 20])
    def test_class_scatter_names_up_to_twenty_classes_in_colours_of_their_own(self, classes: int) -> None:
        names = tuple(f"kind {index}" for index in range(classes))
        figure = scattered(names)
        assert len({to_hex(group.get_facecolor()[0]) for group in self.groups(figure)}) == classes  # type: ignore[arg-type]
        assert [text.get_text() for text in figure.legends[0].get_texts()] == list(names)
        assert {text.get_text() for text in figure.axes[0].texts} <= set(names)

    def test_class_scatter_leaves_out_labels_that_would_hide_those_of_larger_classes(self) -> None:
        centres = np.array([[0.0, 0], [0.01, 0], [10, 10], [0, 0.02]])
        labels = np.repeat([0, 1, 2, 3], [5, 9, 2, 7])
        figure = class_scatter(centres[labels].astype(np.float32), labels, DIGITS[:4], ("x", "y"), "Title")
        assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2"]

    @pytest.mark.parametrize("classes", [9, 26, 200])
    def test_no_labels_of_classes_overlap_and_most_points_stay_visible(self, classes: int) -> None:
        figure = scattered(tuple(f"kind of image {index}" for index in range(classes)))
        figure.draw_without_rendering()
        frames = [text.get_bbox_patch() for text in figure.axes[0].texts]
        boxes = [frame.get_window_extent() for frame in frames if frame]
        assert len(boxes) == len(frames) > 1
        assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))
        assert sum(box.width * box.height for box in boxes) < 0.25 * figure.axes[0].bbox.width ** 2

    def test_of_two_hundred_classes_the_twenty_largest_have_colours_and_the_others_are_grey(self) -> None:
        labels = np.concatenate([np.arange(200), np.arange(100, 120)])
        points = np.random.default_rng(0).normal(size=(220, 2)).astype(np.float32)
        figure = class_scatter(points, labels, [f"kind {index}" for index in range(200)], ("x", "y"), "Title")
        named = [text.get_text() for text in figure.legends[0].get_texts()]
        assert named == [*(f"kind {index}" for index in range(100, 120)), "180 smaller classes"]
        drawn = {str(group.get_label()): group for group in self.groups(figure)}
        others = drawn["180 smaller classes"]
        assert len(np.asarray(others.get_offsets())) == 180
        assert to_hex(others.get_facecolor()[0]) == OTHER_COLOUR.lower()  # type: ignore[arg-type]


def test_ten_classes_have_the_first_ten_colours_and_all_colours_differ() -> None:
    assert class_colours([5] * 10) == list(CLASS_COLOURS[:10])
    assert len({*CLASS_COLOURS, OTHER_COLOUR}) == 21


def test_of_more_classes_than_colours_the_largest_have_colours_in_the_order_of_classes() -> None:
    sizes = [1, *[2] * 20, 1]
    assert class_colours(sizes) == [OTHER_COLOUR, *CLASS_COLOURS, OTHER_COLOUR]


@pytest.mark.parametrize("name", ["cat", "x" * 24])
def test_a_short_name_is_shown_whole(name: str) -> None:
    assert brief(name) == name


def test_of_a_long_name_the_start_and_the_end_are_shown() -> None:
    shown = brief("smileys and people with a very long name 17")
    assert len(shown) <= 24
    start, end = shown.split("…")
    assert ("smileys and people".startswith(start), "long name 17".endswith(end)) == (True, True)
