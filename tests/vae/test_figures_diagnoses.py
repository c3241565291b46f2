from collections.abc import Callable
from io import BytesIO
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from numpy.typing import NDArray

from tests.vae import test_figures
from tests.vae.test_figures import DIGITS, GARMENTS, explanation, title
from vae.diagnostics.verdict import Level, Verdict
from vae.figures.diagnoses import bounds, class_balance, error_per_class, holes, label_information
from vae.figures.verdicts import LIGHTS, verdict_table

Floats = NDArray[np.float64]

SUBJECTS = (
    "posterior collapse",
    "overfitting",
    "holes in the latent space",
    "mean images instead of sharp ones",
    "classes that samples leave out",
    "dependence among latent dimensions",
    "blur",
    "underfitting",
)
SHARES = np.linspace(0, 1, 9)
UNIT = "nats per image"
NOTHING = np.full(9, np.nan)


def sentence(length: int) -> str:
    return ("Draws from the prior lie 2.4 times as far from the nearest code as held-out codes do; σ² = $0.31$. " * 4)[
        :length
    ]


def verdicts(count: int, finding: int = 300, criterion: int = 300, advice: int = 250) -> list[Verdict]:
    """Verdicts of all levels in turn, with texts of these lengths."""
    levels = list(Level) * 2
    return [
        Verdict(subject, level, sentence(finding), sentence(criterion), sentence(advice))
        for subject, level in zip(SUBJECTS[:count], levels, strict=False)
    ]


def spread(mean: float, count: int = 500) -> Floats:
    """Values around a mean."""
    return np.random.default_rng(0).normal(mean, 10, count)


def balanced(class_names: tuple[str, ...] = DIGITS, accuracy: float = 0.973) -> Figure:
    return class_balance(np.linspace(0.05, 0.15, 10), np.full(10, 0.1), class_names, accuracy, 0.914, 0.966)


def informed(dimensions: int) -> Figure:
    random = np.random.default_rng(0)
    return label_information(random.uniform(0, 1.5, dimensions), random.uniform(0, 3, dimensions))


PICTURES: dict[str, Callable[[], Figure]] = {
    "one short verdict": lambda: verdict_table(verdicts(1, 20, 20, 0), "Verdicts"),
    "one long verdict": lambda: verdict_table(verdicts(1), "Verdicts"),
    "eight short verdicts": lambda: verdict_table(verdicts(8, 60, 40, 30), "Verdicts"),
    "eight long verdicts": lambda: verdict_table(verdicts(8), "Verdicts"),
    "no verdicts": lambda: verdict_table([], "Verdicts"),
    "a verdict in capitals": lambda: verdict_table(
        [Verdict("M" * 30, Level.FAILURE, "W" * 300, "MW " * 100, "")], "Verdicts"
    ),
    "a verdict of few letters": lambda: verdict_table([Verdict("i", Level.WARNING, "il" * 150, "", "")], "Verdicts"),
    "a verdict that is no formula": lambda: verdict_table(
        [Verdict("a", Level.WARNING, r"from $\undefined{x to y$", "", "")], "Verdicts"
    ),
    "errors of garments": lambda: error_per_class(np.linspace(0.006, 0.016, 10), GARMENTS, 0.011),
    "errors of forty classes": lambda: error_per_class(np.linspace(0.006, 0.016, 40), GARMENTS * 4, 0.011),
    "errors with a class missing": lambda: error_per_class(np.array([0.1, np.nan]), ("a", "b"), 0.1),
    "no errors": lambda: error_per_class(NOTHING, DIGITS[:9], np.nan),
    "bounds": lambda: bounds(spread(100), spread(103), UNIT),
    "bounds of one image each": lambda: bounds(np.array([100.0]), np.array([100.0]), UNIT),
    "bounds of training images only": lambda: bounds(spread(100), NOTHING, UNIT),
    "no bounds": lambda: bounds(NOTHING[:0], NOTHING, UNIT),
    "holes": lambda: holes(spread(100), spread(60), SHARES, 1 - SHARES / 3, 1 - SHARES / 5),
    "no holes": lambda: holes(spread(100), spread(100), SHARES, np.ones(9), np.ones(9)),
    "neither distances nor realism": lambda: holes(NOTHING, NOTHING, SHARES, NOTHING, NOTHING),
    "balance of garments": lambda: balanced(GARMENTS, 1.0),
    "balance of nothing": lambda: class_balance(NOTHING, NOTHING, DIGITS[:9], np.nan, np.nan, np.nan),
    "information of two dimensions": lambda: informed(2),
    "information of a hundred dimensions": lambda: informed(100),
    "no information": lambda: label_information(NOTHING, NOTHING),
}


@pytest.fixture(scope="module", params=PICTURES)
def picture(request: pytest.FixtureRequest) -> Figure:
    """Each of the pictures, drawn."""
    figure = PICTURES[request.param]()
    figure.draw_without_rendering()
    return figure


class TestEveryPicture(test_figures.TestEveryPicture):
    """What holds for all pictures of the package holds for these."""

    def test_every_text_lies_within_it(self, picture: Figure) -> None:
        for axes in picture.axes:
            legend = axes.get_legend()
            for text in [*axes.texts, *(legend.get_texts() if legend else ())]:
                extent = text.get_window_extent()
                assert picture.bbox.x0 <= extent.x0 < extent.x1 <= picture.bbox.x1
                assert picture.bbox.y0 <= extent.y0 < extent.y1 <= picture.bbox.y1

    def test_texts_do_not_overlap(self, picture: Figure) -> None:
        for axes in picture.axes:
            for one, other in combinations([text.get_window_extent() for text in axes.texts], 2):
                apart = one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0
                assert apart


@pytest.mark.parametrize(
    "figure",
    [
        pytest.param(PICTURES[name], id=name)
        for name in (
            "no verdicts",
            "no errors",
            "no bounds",
            "neither distances nor realism",
            "balance of nothing",
            "no information",
        )
    ],
)
def test_a_picture_without_content_says_so_and_shows_no_number_in_its_place(figure: Callable[[], Figure]) -> None:
    drawn = figure()
    for axes in drawn.axes:
        (words,) = axes.texts
        assert words.get_text().startswith("no ")
        assert not axes.patches
        assert not axes.lines
    assert "nan" not in explanation(drawn).split()


def pixels(figure: Figure) -> NDArray[np.uint8]:
    written = BytesIO()
    figure.savefig(written, format="rgba", dpi=40)
    return np.frombuffer(written.getvalue(), np.uint8)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            lambda: error_per_class(np.array([1.0, 2]), ("a", "b"), 1),
            lambda: error_per_class(np.array([2.0, 1]), ("a", "b"), 1),
        ),
        (lambda: bounds(spread(100), spread(100), UNIT), lambda: bounds(spread(100), spread(101), UNIT)),
        (
            lambda: label_information(np.ones(2), np.array([2.0, 1])),
            lambda: label_information(np.ones(2), np.array([1.0, 2])),
        ),
        (lambda: balanced(accuracy=0.9), lambda: balanced(accuracy=0.8)),
        (
            lambda: holes(spread(9), spread(9), SHARES, np.ones(9), np.ones(9)),
            lambda: holes(spread(9), spread(9), SHARES, np.ones(9), 1 - SHARES / 9),
        ),
        (lambda: verdict_table(verdicts(1, 40, 40, 0), "V"), lambda: verdict_table(verdicts(1, 41, 40, 0), "V")),
    ],
)
def test_pixels_follow_the_data_and_only_these(before: Callable[[], Figure], after: Callable[[], Figure]) -> None:
    drawn = pixels(before())
    assert np.array_equal(drawn, pixels(before()))
    assert not np.array_equal(drawn, pixels(after()))


def bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def heights(axes: Axes) -> list[float]:
    return [bar.get_height() for bar in bars(axes)]


def legend(axes: Axes) -> list[str]:
    drawn = axes.get_legend()
    assert drawn is not None
    return [text.get_text() for text in drawn.get_texts()]


class TestVerdictTable:
    def texts(self, rows: list[Verdict]) -> list[str]:
        """All texts of the table with their lines joined."""
        (axes,) = verdict_table(rows, "Verdicts").axes
        return [" ".join(text.get_text().split()) for text in axes.texts]

    def test_a_row_has_level_subject_finding_criterion_and_advice(self) -> None:
        row = Verdict("overfitting", Level.WARNING, "The gap is 3.8 nats.", "below 2 nats", "raise model.dropout")
        assert self.texts([row]) == [
            "warning",
            "overfitting",
            "The gap is 3.8 nats.",
            "Healthy: below 2 nats",
            "Try: raise model.dropout",
        ]

    def test_a_row_without_advice_does_not_say_what_to_try(self) -> None:
        assert not any(text.startswith("Try") for text in self.texts(verdicts(4, advice=0)))

    def test_no_word_of_long_texts_is_lost(self) -> None:
        _, _, *texts = self.texts(verdicts(1))
        assert texts == [sentence(300).strip(), f"Healthy: {sentence(300)}".strip(), f"Try: {sentence(250)}".strip()]

    def test_the_subject_is_bold_and_the_finding_larger_than_what_stands_below(self) -> None:
        (axes,) = verdict_table(verdicts(1), "Verdicts").axes
        _, subject, finding, criterion, advice = axes.texts
        assert subject.get_fontweight() == "bold" != finding.get_fontweight()
        sizes = [float(text.get_fontsize()) for text in (finding, criterion, advice)]
        assert sizes[0] > sizes[1] == sizes[2] >= 9

    def test_levels_differ_in_colour_and_in_shape(self) -> None:
        (axes,) = verdict_table(verdicts(4), "Verdicts").axes
        lights = [line for line in axes.lines if line.get_marker() not in {"None", "", None}]
        assert len(lights) == 4
        assert len({to_hex(light.get_color()) for light in lights}) == 4
        assert len({light.get_marker() for light in lights}) == 4

    def test_every_level_has_a_light_that_the_explanation_names(self) -> None:
        assert set(LIGHTS) == set(Level)
        words = explanation(verdict_table(verdicts(1), "Verdicts"))
        assert all(f" {level}:" in words for level in Level)

    def test_rows_stand_below_one_another_each_light_beside_its_words(self) -> None:
        figure = verdict_table(verdicts(8, 150, 20, 0), "Verdicts")
        figure.draw_without_rendering()
        (axes,) = figure.axes
        lights = [line.get_window_extent() for line in axes.lines if line.get_marker() not in {"None", "", None}]
        words = [text.get_window_extent() for text in axes.texts if text.get_text() in set(Level)]
        for light, word in zip(lights, words, strict=True):
            assert light.x1 < word.x0
            assert abs((light.y0 + light.y1) - (word.y0 + word.y1)) / 2 < 4
        places = [light.y0 for light in lights]
        assert places == sorted(places, reverse=True)

    def test_the_height_follows_from_the_lines(self) -> None:
        sizes = [
            verdict_table(rows, "Verdicts").get_size_inches()
            for rows in (verdicts(2, 50, 50), verdicts(2, 300, 50), verdicts(4, 300, 50))
        ]
        assert [width for width, _ in sizes] == [11] * 3
        assert sizes[0][1] < sizes[1][1] < sizes[2][1]

    def test_lines_fill_the_width(self) -> None:
        figure = verdict_table(verdicts(1), "Verdicts")
        figure.draw_without_rendering()
        (axes,) = figure.axes
        widest = max(text.get_window_extent().x1 for text in axes.texts)
        assert widest > 0.93 * figure.bbox.width


class TestErrorPerClass:
    def test_bars_are_the_errors_under_the_names_of_their_classes(self) -> None:
        (axes,) = error_per_class(np.array([0.02, 0.01, 0.03]), ("a", "b", "c"), 0.02).axes
        assert heights(axes) == [0.02, 0.01, 0.03]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b", "c"]
        assert axes.get_xticks().tolist() == [bar.get_x() + bar.get_width() / 2 for bar in bars(axes)]
        assert axes.get_ylabel() == "mean squared error per pixel"

    def test_the_mean_over_all_images_is_a_dashed_line(self) -> None:
        (axes,) = error_per_class(np.array([0.02, 0.01]), ("a", "b"), 0.0175).axes
        (line,) = axes.lines
        assert set(np.asarray(line.get_ydata())) == {0.0175}
        assert line.get_linestyle() == "--"
        assert legend(axes) == ["all images: 0.0175"]

    def test_a_class_without_images_is_marked_in_its_place(self) -> None:
        (axes,) = error_per_class(np.array([0.02, np.nan, 0.03]), ("a", "b", "c"), 0.02).axes
        assert heights(axes) == [0.02, 0, 0.03]
        (mark,) = axes.texts
        assert mark.get_text() == "none"
        assert mark.xy == (1, 0)  # type: ignore[attr-defined]


def outlines(axes: Axes) -> dict[str, StepPatch]:
    """The histograms' outlines by their labels, without what fills them."""
    return {
        str(patch.get_label()): patch for patch in axes.patches if isinstance(patch, StepPatch) and patch.get_label()
    }


class TestBounds:
    def test_histograms_are_densities_over_common_bins(self) -> None:
        train, test = spread(100), spread(120, 200)
        (axes,) = bounds(train, test, UNIT).axes
        drawn = outlines(axes)
        (_, edges, _), (_, other_edges, _) = (patch.get_data() for patch in drawn.values())
        assert np.array_equal(edges, other_edges)
        for name, values in (("training images", train), ("test images", test)):
            density, _ = np.histogram(values, edges, density=True)
            np.testing.assert_allclose(drawn[name].get_data()[0], density)
            assert np.sum(density * np.diff(edges)) == pytest.approx(1)

    def test_the_two_have_different_colours(self) -> None:
        (axes,) = bounds(spread(100), spread(120), UNIT).axes
        assert len({to_hex(patch.get_edgecolor()) for patch in outlines(axes).values()}) == 2

    def test_means_are_dashed_lines(self) -> None:
        (axes,) = bounds(np.array([90.0, 110]), np.array([100.0, 107]), UNIT).axes
        assert [float(np.asarray(line.get_xdata())[0]) for line in axes.lines] == [100, 103.5]
        assert {line.get_linestyle() for line in axes.lines} == {"--"}
        assert legend(axes)[2:] == ["mean of training images: 100.00", "mean of test images: 103.50"]

    def test_the_title_says_what_the_gap_means_and_the_explanation_how_large_it_is(self) -> None:
        figure = bounds(np.array([90.0, 110]), np.array([100.0, 107]), UNIT)
        assert "overfitting" in title(figure)
        assert "test images cost 3.50 nats more" in explanation(figure)
        assert "test images cost 3.50 nats less" in explanation(
            bounds(np.array([100.0, 107]), np.array([90.0, 110]), UNIT)
        )
        assert "nats per image" in figure.axes[0].get_xlabel()

    def test_values_that_are_not_finite_are_left_out_and_counted(self) -> None:
        (axes,) = bounds(np.array([1.0, 2, np.inf, np.nan]), np.array([1.0, 2]), UNIT).axes
        assert legend(axes)[:2] == ["training images (2 not finite, left out)", "test images"]
        assert legend(axes)[2] == "mean of training images: 1.50"


class TestHoles:
    LINEAR = 1 - 0.3 * np.sin(np.pi * SHARES)
    SPHERICAL = 1 - 0.1 * np.sin(np.pi * SHARES)

    def panels(self) -> tuple[Axes, Axes]:
        left, right = holes(spread(100), spread(60), SHARES, self.LINEAR, self.SPHERICAL).axes
        return left, right

    def test_distances_from_the_prior_and_from_held_out_codes_are_told_apart(self) -> None:
        left, _ = self.panels()
        drawn = outlines(left)
        assert set(drawn) == {"held-out codes", "prior draws"}
        for name, mean in (("held-out codes", 60), ("prior draws", 100)):
            values, edges, _ = drawn[name].get_data()
            middles = (np.asarray(edges)[1:] + np.asarray(edges)[:-1]) / 2
            assert np.average(middles, weights=np.asarray(values)) == pytest.approx(mean, abs=2)

    def test_realism_is_drawn_over_the_share_of_the_way_linear_and_spherical(self) -> None:
        _, right = self.panels()
        lines = {str(line.get_label()): line for line in right.lines}
        for name, values, style, marker in (
            ("linear", self.LINEAR, "-", "o"),
            ("spherical", self.SPHERICAL, "--", "s"),
        ):
            assert np.array_equal(np.asarray(lines[name].get_xdata()), SHARES)
            assert np.array_equal(np.asarray(lines[name].get_ydata()), values)
            assert (lines[name].get_linestyle(), lines[name].get_marker()) == (style, marker)
        assert lines["linear"].get_color() != lines["spherical"].get_color()

    def test_a_line_at_one_marks_the_neighbourhood_of_real_images(self) -> None:
        _, right = self.panels()
        line = next(line for line in right.lines if line.get_marker() in {"None", ""})
        assert set(np.asarray(line.get_ydata())) == {1}

    @pytest.mark.parametrize("realism", [0.01, 1, 30])
    def test_the_legend_hides_no_curve(self, realism: float) -> None:
        figure = holes(spread(9), spread(9), SHARES, np.full(9, realism), self.LINEAR)
        figure.draw_without_rendering()
        right = figure.axes[1]
        box = right.get_legend()
        assert box is not None
        top = max(right.transData.transform((0, value))[1] for value in (1, realism, *self.LINEAR))
        assert top < box.get_window_extent().y0
        assert right.get_ylim()[0] < min(1, realism)


class TestClassBalance:
    def test_bars_are_shares_in_percent_in_pairs_at_their_class(self) -> None:
        (axes,) = class_balance(np.array([0.25, 0.75]), np.array([0.5, 0.5]), ("a", "b"), 0.9, 0.8, 0.95).axes
        assert heights(axes) == [50, 50, 25, 75]
        middles = [bar.get_x() + bar.get_width() / 2 for bar in bars(axes)]
        assert np.round(middles).tolist() == [0, 1, 0, 1]
        assert legend(axes) == ["test images", "samples"]
        assert axes.get_ylabel() == "share of images (%)"

    def test_samples_differ_from_test_images_in_colour_and_hatching(self) -> None:
        (axes,) = balanced().axes
        real, samples = bars(axes)[0], bars(axes)[-1]
        assert real.get_facecolor() != samples.get_facecolor()
        assert real.get_hatch() != samples.get_hatch()

    def test_bars_of_a_pair_do_not_hide_one_another(self) -> None:
        (axes,) = balanced().axes
        places = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars(axes))
        assert all(end <= start for (_, end), (start, _) in pairwise(places))

    def test_the_explanation_names_accuracy_and_both_confidences(self) -> None:
        words = explanation(balanced())
        assert "right on 97.3% of test images" in words
        assert "91.4% on samples, 96.6% on test images" in words

    def test_a_class_without_samples_keeps_its_place(self) -> None:
        (axes,) = class_balance(np.array([0.0, 1.0]), np.array([0.5, 0.5]), ("a", "b"), 0.9, 0.8, 0.95).axes
        assert heights(axes) == [50, 50, 0, 100]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b"]


class TestLabelInformation:
    def test_bars_stand_in_falling_order_of_the_kl_under_their_dimensions(self) -> None:
        (axes,) = label_information(np.array([0.1, 0.2, 0.3]), np.array([1.0, 3.0, 2.0])).axes
        assert heights(axes) == [0.2, 0.3, 0.1]
        assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "0"]
        assert axes.get_ylabel() == "mutual information (nats)"
        assert axes.get_xlabel() == "latent dimension, by falling KL"

    @pytest.mark.parametrize(("dimensions", "labels"), [(2, 2), (40, 40), (41, 21), (100, 34)])
    def test_above_forty_dimensions_some_only_are_named(self, dimensions: int, labels: int) -> None:
        (axes,) = informed(dimensions).axes
        assert len(axes.get_xticklabels()) == labels
        assert len(bars(axes)) == dimensions

    def test_hardly_any_information_looks_like_hardly_any(self) -> None:
        (axes,) = label_information(np.array([1e-4, 0.0]), np.array([1.0, 2.0])).axes
        assert axes.get_ylim()[1] >= 0.1

    def test_estimates_below_zero_and_missing_ones_are_drawn(self) -> None:
        (axes,) = label_information(np.array([-0.02, np.nan, 0.5]), np.array([3.0, 2.0, 1.0])).axes
        assert heights(axes)[0] == -0.02
        assert heights(axes)[2] == 0.5
        assert axes.get_ylim()[0] < -0.02
