from itertools import pairwise
from math import nan

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from tests.vae.figures.pictures import (
    bars,
    explanation,
    heights,
    informed,
    legend,
    normal,
    tick_labels,
    title,
)
from vae.diagnostics.overfitting import OverfittingGap
from vae.figures.diagnoses import bounds, class_balance, error_per_class, label_information

SHARES = np.linspace(0, 1, 9)
UNIT = "nats per image"
GAP = OverfittingGap(3.5, 0.4)


def outlines(axes: Axes) -> dict[str, StepPatch]:
    """The histograms' outlines by their labels, without the filled areas."""
    return {
        str(patch.get_label()): patch for patch in axes.patches if isinstance(patch, StepPatch) and patch.get_label()
    }


class TestErrorPerClass:
    def test_bars_of_error_per_class_are_the_errors_over_the_names_of_their_classes(self) -> None:
        (axes,) = error_per_class(np.array([0.02, 0.01, 0.03]), ("a", "b", "c"), 0.0175).axes
        assert heights(axes) == [0.02, 0.01, 0.03]
        assert tick_labels(axes) == ["a", "b", "c"]
        assert axes.get_xticks().tolist() == [bar.get_x() + bar.get_width() / 2 for bar in bars(axes)]

    def test_error_per_class_shows_the_mean_over_all_images_as_a_line(self) -> None:
        (axes,) = error_per_class(np.array([0.02, 0.01]), ("a", "b"), 0.0175).axes
        (line,) = axes.lines
        assert set(np.asarray(line.get_ydata())) == {0.0175}
        assert legend(axes) == ["all images: 0.0175"]

    def test_error_per_class_marks_a_class_without_images(self) -> None:
        (axes,) = error_per_class(np.array([0.02, np.nan, 0.03]), ("a", "b", "c"), 0.02).axes
        assert heights(axes) == [0.02, 0, 0.03]
        (mark,) = axes.texts
        assert mark.get_text() == "none"
        assert mark.xy == (1, 0)  # type: ignore[attr-defined]


class TestBounds:
    def test_histograms_of_bounds_are_densities_over_common_bins_in_two_colours(self) -> None:
        train, test = normal(100), normal(120, 200)
        (axes,) = bounds(train, test, GAP, UNIT).axes
        drawn = outlines(axes)
        (_, edges, _), (_, other_edges, _) = (patch.get_data() for patch in drawn.values())
        assert np.array_equal(edges, other_edges)
        for name, values in (("training images", train), ("test images", test)):
            density, _ = np.histogram(values, edges, density=True)
            np.testing.assert_allclose(drawn[name].get_data()[0], density)
            assert np.sum(density * np.diff(edges)) == pytest.approx(1)
        assert len({to_hex(patch.get_edgecolor()) for patch in drawn.values()}) == 2

    def test_bounds_show_the_two_means_as_lines_and_say_how_far_apart_they_are(self) -> None:
        low, high = np.array([90.0, 110]), np.array([100.0, 107])
        figure = bounds(low, high, OverfittingGap(3.5, 10.3), UNIT)
        (axes,) = figure.axes
        assert [float(np.asarray(line.get_xdata())[0]) for line in axes.lines] == [100, 103.5]
        assert legend(axes)[2:] == ["mean of training images: 100.00", "mean of test images: 103.50"]
        assert "Negative ELBO" in title(figure)
        assert "overfitting" in explanation(figure)
        assert "Here it is 4 ± 10 nats higher" in explanation(figure)
        assert "Here it is 3.50 nats lower" in explanation(bounds(high, low, OverfittingGap(-3.5, nan), UNIT))
        assert UNIT in axes.get_xlabel()

    def test_bounds_show_what_codecs_need_as_lines_and_all_means_in_bits_too(self) -> None:
        train, test = np.array([90.0, 110]), np.array([100.0, 140])
        (axes,) = bounds(train, test, GAP, UNIT, {"PNG": 3.0, "WebP": 1.25}, nats_of_a_bit=40.0).axes
        lines = {str(line.get_label()): float(np.asarray(line.get_xdata())[0]) for line in axes.lines}
        assert lines == {
            "mean of training images: 100.00 (2.50 bits per dimension)": 100,
            "mean of test images: 120.00 (3.00 bits per dimension)": 120,
            "PNG: 120.00 (3.00 bits per dimension)": 120,
            "WebP: 50.00 (1.25 bits per dimension)": 50,
        }

    def test_bounds_leave_out_and_count_values_that_are_not_finite(self) -> None:
        (axes,) = bounds(np.array([1.0, 2, np.inf, np.nan]), np.array([1.0, 2]), GAP, UNIT).axes
        assert legend(axes)[:2] == ["training images (2 not finite, left out)", "test images"]
        assert legend(axes)[2] == "mean of training images: 1.50"


class TestClassBalance:
    def test_bars_of_class_balance_are_shares_in_percent_side_by_side_at_their_class(self) -> None:
        (axes,) = class_balance(np.array([0.0, 1.0]), np.array([0.5, 0.5]), ("a", "b"), 0.9, 0.8, 0.95).axes
        assert heights(axes) == [50, 50, 0, 100]
        assert tick_labels(axes) == ["a", "b"]
        middles = [bar.get_x() + bar.get_width() / 2 for bar in bars(axes)]
        assert np.round(middles).tolist() == [0, 1, 0, 1]
        assert legend(axes) == ["test images", "samples"]
        extents = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars(axes))
        assert all(end <= start for (_, end), (start, _) in pairwise(extents))
        assert bars(axes)[0].get_facecolor() != bars(axes)[-1].get_facecolor()

    def test_the_explanation_of_class_balance_names_accuracy_and_both_unclear_shares(self) -> None:
        words = explanation(class_balance(np.ones(1), np.ones(1), ("a",), 0.973, 0.584, 0.047))
        assert "accuracy of 97.3%" in words
        assert "Of no clear class: 58.4% of the samples, 4.7% of test images" in words


class TestLabelInformation:
    def test_bars_of_label_information_stand_in_falling_order_of_the_kl_under_their_dimensions(self) -> None:
        (axes,) = label_information(np.array([0.1, 0.2, 0.3]), np.array([1.0, 3.0, 2.0])).axes
        assert heights(axes) == [0.2, 0.3, 0.1]
        assert tick_labels(axes) == ["1", "2", "0"]

    @pytest.mark.parametrize(("dimensions", "labels"), [(2, 2), (40, 40), (41, 21), (100, 34)])
    def test_label_information_names_at_most_forty_dimensions(self, dimensions: int, labels: int) -> None:
        (axes,) = informed(dimensions).axes
        assert len(tick_labels(axes)) == labels
        assert len(bars(axes)) == dimensions

    def test_bars_of_label_information_are_short_where_there_is_hardly_any(self) -> None:
        (axes,) = label_information(np.array([1e-4, 0.0]), np.array([1.0, 2.0])).axes
        assert axes.get_ylim()[1] >= 0.1

    def test_label_information_shows_estimates_below_zero_and_leaves_room_for_nan(self) -> None:
        (axes,) = label_information(np.array([-0.02, np.nan, 0.5]), np.array([3.0, 2.0, 1.0])).axes
        assert heights(axes)[0] == -0.02
        assert heights(axes)[2] == 0.5
        assert axes.get_ylim()[0] < -0.02


class TestManyClassesOrOne:
    NAMES = tuple(f"kind {index}" for index in range(200))

    def test_of_two_hundred_classes_errors_are_drawn_of_the_best_and_the_worst_twenty(self) -> None:
        errors = np.random.default_rng(0).permutation(200) / 1000
        errors[7] = np.nan
        figure = error_per_class(errors, self.NAMES, 0.1)
        (axes,) = figure.axes
        in_order = np.sort(errors[np.isfinite(errors)])
        assert heights(axes) == [*in_order[:20], *in_order[-20:]]
        assert tick_labels(axes)[-1] == f"kind {np.nanargmax(errors)}"
        assert title(figure) == "Reconstruction error by class: the 20 best and the 20 worst of 200 classes"

    def test_of_two_hundred_classes_the_balance_is_drawn_of_the_forty_that_differ_most(self) -> None:
        real = np.full(200, 1 / 200)
        samples = real.copy()
        samples[100:140] *= np.linspace(1.1, 3, 40)
        figure = class_balance(samples, real, self.NAMES, 0.9, 0.1, 0.1)
        assert tick_labels(figure.axes[0]) == list(self.NAMES[100:140])
        assert title(figure).endswith("the 40 of 200 classes that differ most")

    @pytest.mark.parametrize(
        "figure",
        [
            error_per_class(np.array([0.1]), ("images",), 0.1),
            class_balance(np.ones(1), np.ones(1), ("images",), np.nan, np.nan, np.nan),
        ],
        ids=["errors", "balance"],
    )
    def test_a_single_class_has_no_bars_but_the_reason(self, figure: Figure) -> None:
        (axes,) = figure.axes
        assert not axes.patches
        assert [text.get_text() for text in axes.texts] == ["no classes to compare: all images are of one class"]
