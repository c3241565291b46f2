"""Every picture: nothing overlaps or is cut off, even with extreme parameters."""

from collections.abc import Callable
from io import BytesIO
from itertools import combinations, pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.vae.figures.pictures import (
    DIGITS,
    GARMENTS,
    balanced,
    bars,
    explanation,
    grid,
    informed,
    losses,
    normal,
    scattered,
    spectrum,
    verdicts,
)
from vae.diagnostics.overfitting import OverfittingGap
from vae.diagnostics.verdict import Level, Verdict
from vae.figures.charts import class_scatter, latent_spectrum, loss_curves
from vae.figures.diagnoses import bounds, class_balance, error_per_class, label_information
from vae.figures.holes import holes
from vae.figures.verdicts import verdict_table

pytestmark = pytest.mark.slow

SHARES = np.linspace(0, 1, 9)
UNIT = "nats per image"
NOTHING = np.full(9, np.nan)
UNKNOWN = OverfittingGap(np.nan, np.nan)
MANY = tuple(f"a class with quite a long name and the number {index}" for index in range(200))

PICTURES: dict[str, Callable[[], Figure]] = {
    "losses": lambda: loss_curves(losses(30), 17),
    "losses of one epoch": lambda: loss_curves(losses(1), 1),
    "losses without validation": lambda: loss_curves(losses(3, validated=False), 3),
    "spectrum of one dimension": lambda: latent_spectrum(*spectrum(1), 0.01),
    "spectrum of 128 dimensions": lambda: latent_spectrum(*spectrum(128), 0.01),
    "scatter of garments": lambda: scattered(GARMENTS),
    "scatter of points in one place": lambda: class_scatter(
        np.ones((20, 2), np.float32), np.arange(20) % 2, ("a", "b"), ("z0", "z1"), "Latent codes"
    ),
    "scatter of twenty classes": lambda: scattered(MANY[:20]),
    "scatter of two hundred classes": lambda: scattered(MANY),
    "scatter without classes": lambda: scattered(("images",), points=30),
    "large colour images": lambda: grid(8, 12, (3, 256, 200), row_labels=["reconstruction"] * 8),
    "one image": lambda: grid(1, 1),
    "interpolations of garments": lambda: grid(
        8,
        11,
        row_labels=["T-shirt/top to Ankle boot"] * 8,
        column_labels=["test\nimage", *(f"{step / 8:.3g}" for step in range(9)), "test\nimage"],
        row_axis="classes",
        column_axis="position between the two codes",
    ),
    "a long explanation of few images": lambda: grid(2, 2, explanation="Healthy: " + "as it should be, " * 5),
    "one short verdict": lambda: verdict_table(verdicts(1, 20, 20, 0), "Verdicts"),
    "eight long verdicts": lambda: verdict_table(verdicts(8), "Verdicts"),
    "no verdicts": lambda: verdict_table([], "Verdicts"),
    "a verdict in capitals": lambda: verdict_table(
        [Verdict("M" * 30, Level.FAILURE, "W" * 300, "MW " * 100, "")], "Verdicts"
    ),
    "a verdict with dollars and braces": lambda: verdict_table(
        [Verdict("a", Level.WARNING, r"from $\undefined{x to y$", "", "")], "Verdicts"
    ),
    "errors of garments": lambda: error_per_class(np.linspace(0.006, 0.016, 10), GARMENTS, 0.011),
    "errors of forty classes": lambda: error_per_class(np.linspace(0.006, 0.016, 40), GARMENTS * 4, 0.011),
    "errors of two hundred classes": lambda: error_per_class(np.linspace(0.006, 0.016, 200), MANY, 0.011),
    "errors with a class missing": lambda: error_per_class(np.array([0.1, np.nan]), ("a", "b"), 0.1),
    "no errors": lambda: error_per_class(NOTHING, DIGITS[:9], np.nan),
    "bounds": lambda: bounds(normal(100), normal(103), OverfittingGap(3.0, 0.4), UNIT),
    "bounds and codecs": lambda: bounds(
        normal(100), normal(103), OverfittingGap(3.0, 0.4), UNIT, {"PNG": 1.7, "WebP": 1.5}, nats_of_a_bit=66.0
    ),
    "bounds of one image each": lambda: bounds(np.array([100.0]), np.array([100.0]), OverfittingGap(0.0, np.nan), UNIT),
    "bounds of training images only": lambda: bounds(normal(100), NOTHING, UNKNOWN, UNIT),
    "no bounds": lambda: bounds(NOTHING[:0], NOTHING, UNKNOWN, UNIT),
    "holes": lambda: holes(normal(100), normal(60), SHARES, 1 - SHARES / 3, 1 - SHARES / 5, 25.4, 4.7, 16.3),
    "no distances and no realism": lambda: holes(NOTHING, NOTHING, SHARES, NOTHING, NOTHING, np.nan, np.nan, np.nan),
    "balance of garments": lambda: balanced(GARMENTS, 1.0),
    "balance of two hundred classes": lambda: class_balance(
        np.linspace(0, 0.01, 200), np.full(200, 0.005), MANY, 0.9, 0.1, 0.2
    ),
    "no balance": lambda: class_balance(NOTHING, NOTHING, DIGITS[:9], np.nan, np.nan, np.nan),
    "information of a hundred dimensions": lambda: informed(100),
    "no information": lambda: label_information(NOTHING, NOTHING),
}


@pytest.fixture(scope="module", params=PICTURES)
def picture(request: pytest.FixtureRequest) -> Figure:
    """Each of the pictures, drawn."""
    figure = PICTURES[request.param]()
    figure.draw_without_rendering()
    return figure


def test_nothing_drawn_is_cut_off_at_the_edge_of_a_picture(picture: Figure) -> None:
    extent = picture.get_tightbbox()
    width, height = picture.get_size_inches()
    assert 0 <= extent.x0 < extent.x1 <= width
    assert 0 <= extent.y0 < extent.y1 <= height


def test_the_explanation_of_a_picture_stands_between_its_title_and_its_content(picture: Figure) -> None:
    title_extent, own = (text.get_window_extent() for text in picture.texts)
    # The title's second line is empty, to leave room.
    assert own.y1 <= (title_extent.y0 + title_extent.y1) / 2
    for axes in picture.axes:
        content = axes.get_tightbbox()
        assert content is not None
        assert content.y1 <= own.y0


def test_tick_labels_of_a_picture_do_not_overlap(picture: Figure) -> None:
    for axes in picture.axes:
        extents = [text.get_window_extent() for text in axes.get_xticklabels() if text.get_text()]
        assert all(left.x1 < right.x0 for left, right in pairwise(extents))


def test_texts_within_a_picture_do_not_overlap(picture: Figure) -> None:
    for axes in picture.axes:
        if axes.collections:  # a scatter chart, whose class names stand where the classes are
            continue
        for one, other in combinations([text.get_window_extent() for text in axes.texts], 2):
            assert one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("losses", [("epoch", UNIT)] * 3 + [("epoch", "average over steps, before clipping")]),
        (
            "spectrum of one dimension",
            [
                ("", "KL (nats per image)"),
                ("latent dimension (sorted by KL)", "variance of the posterior mean"),
            ],
        ),
        ("errors of garments", [("class", "mean squared error per pixel")]),
        ("bounds", [("negative ELBO, nats per image", "share of images per nat")]),
        (
            "holes",
            [
                ("distance to the nearest code (prior standard deviations)", "share per unit of distance"),
                ("position between the two codes", "realism (median over interpolations)"),
                ("KL (nats per image)", ""),
            ],
        ),
        ("balance of garments", [("class", "share of images (%)")]),
        (
            "information of a hundred dimensions",
            [("latent dimension (sorted by KL)", "mutual information with the class (nats)")],
        ),
    ],
)
def test_axes_name_what_they_show_with_its_unit(name: str, labels: list[tuple[str, str]]) -> None:
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in PICTURES[name]().axes] == labels


def test_what_colours_tell_apart_lines_markers_and_hatching_tell_apart_too() -> None:
    """For readers who do not see the difference of two colours."""
    training, validation = PICTURES["losses"]().axes[0].lines[:2]
    assert training.get_linestyle() != validation.get_linestyle()
    reference, linear, spherical = PICTURES["holes"]().axes[1].lines
    assert len({line.get_linestyle() for line in (reference, linear, spherical)}) == 3
    assert linear.get_marker() != spherical.get_marker()
    pairs = bars(PICTURES["balance of garments"]().axes[0])
    assert pairs[0].get_hatch() != pairs[-1].get_hatch()


def test_a_table_of_verdicts_grows_with_its_lines_and_fills_its_width() -> None:
    figures = [verdict_table(rows, "Verdicts") for rows in (verdicts(2, 50, 50), verdicts(2, 300, 50), verdicts(4))]
    sizes = [tuple(figure.get_size_inches()) for figure in figures]
    assert {width for width, _ in sizes} == {11}
    assert sizes[0][1] < sizes[1][1] < sizes[2][1]
    figures[2].draw_without_rendering()
    widest = max(text.get_window_extent().x1 for text in figures[2].axes[0].texts)
    assert widest > 0.93 * figures[2].bbox.width


@pytest.mark.parametrize("name", [name for name in PICTURES if name.startswith("no ")])
def test_a_picture_without_content_says_so_and_draws_no_number(name: str) -> None:
    figure = PICTURES[name]()
    for axes in figure.axes:
        (words,) = axes.texts
        assert words.get_text().startswith(("no ", "not measured: "))
        assert not axes.patches
        assert not axes.lines
    assert "nan" not in explanation(figure).split()


@pytest.mark.parametrize(
    "name",
    [
        "losses",
        "spectrum of one dimension",
        "scatter of garments",
        "one image",
        "one short verdict",
        "errors of garments",
        "bounds",
        "holes",
        "balance of garments",
        "information of a hundred dimensions",
    ],
)
def test_a_picture_drawn_twice_is_the_same_to_the_byte(name: str) -> None:
    def png() -> bytes:
        written = BytesIO()
        PICTURES[name]().savefig(written, format="png", dpi=40)
        return written.getvalue()

    assert png() == png()


def test_a_picture_is_not_kept_by_pyplot(picture: Figure) -> None:
    assert all(plt.figure(number) is not picture for number in plt.get_fignums())
