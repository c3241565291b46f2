from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from tests.vae.figures.pictures import bars, explanation, legend, normal
from vae.figures.holes import holes

SHARES = np.linspace(0, 1, 9)
LINEAR = 1 - 0.3 * np.sin(np.pi * SHARES)
SPHERICAL = 1 - 0.1 * np.sin(np.pi * SHARES)
NOTHING = np.full(9, np.nan)


def drawn(kl: float = 25.36, lower: float = 4.66, upper: float = 16.29) -> Figure:
    return holes(normal(100), normal(60), SHARES, LINEAR, SPHERICAL, kl, lower, upper)


def empty() -> Figure:
    return holes(NOTHING, NOTHING, SHARES, NOTHING, NOTHING, np.nan, np.nan, np.nan)


def panels(figure: Figure) -> tuple[Axes, Axes, Axes]:
    left, right, below = figure.axes
    return left, right, below


def test_holes_show_the_distances_of_draws_from_the_prior_and_of_codes_of_held_out_images() -> None:
    left, _, _ = panels(drawn())
    outlines = {str(patch.get_label()): patch for patch in left.patches if patch.get_label()}
    assert set(outlines) == {"codes of held-out images", "draws from the prior"}
    for name, mean in (("codes of held-out images", 60), ("draws from the prior", 100)):
        patch = outlines[name]
        assert isinstance(patch, StepPatch)
        values, edges, _ = patch.get_data()
        middles = (np.asarray(edges)[1:] + np.asarray(edges)[:-1]) / 2
        assert np.average(middles, weights=np.asarray(values)) == pytest.approx(mean, abs=2)


def test_holes_show_linear_and_spherical_realism_between_two_codes_and_a_line_at_one() -> None:
    _, right, _ = panels(drawn())
    lines = {str(line.get_label()): line for line in right.lines}
    for name, values in (("linear", LINEAR), ("spherical", SPHERICAL)):
        assert np.array_equal(np.asarray(lines[name].get_xdata()), SHARES)
        assert np.array_equal(np.asarray(lines[name].get_ydata()), values)
    reference = next(line for line in right.lines if line.get_marker() in {"None", ""})
    assert set(np.asarray(reference.get_ydata())) == {1}


@pytest.mark.parametrize("realism", [0.01, 1, 30])
def test_the_legend_of_realism_hides_no_curve(realism: float) -> None:
    figure = holes(normal(9), normal(9), SHARES, np.full(9, realism), LINEAR, 25.0, 4.0, 16.0)
    figure.draw_without_rendering()
    _, right, _ = panels(figure)
    box = right.get_legend()
    assert box is not None
    top = max(right.transData.transform((0, value))[1] for value in (1, realism, *LINEAR))
    assert top < box.get_window_extent().y0
    assert right.get_ylim()[0] < min(1, realism)


@pytest.mark.parametrize(
    ("kl", "lower", "upper", "widths"),
    [
        (25.0, 4.5, 16.0, [9.0, 11.5, 4.5]),
        (3.4, 0.3, 0.4, [3.0, 0.1, 0.3]),
        (1.3, -0.1, -0.05, [1.3, 0, 0]),  # estimates of the bounds below zero
        (5.0, 0.4, 0.3, [4.6, 0, 0.4]),  # estimates of the bounds in the wrong order
        (0.0, -0.01, 0.0, [0, 0, 0]),
        (10.0, 12.0, 13.0, [0, 0, 10]),
    ],
)
def test_the_parts_of_the_kl_add_up_to_it_with_the_unknown_part_in_the_middle(
    kl: float, lower: float, upper: float, widths: list[float]
) -> None:
    _, _, below = panels(drawn(kl, lower, upper))
    assert [bar.get_width() for bar in bars(below)] == pytest.approx(widths, abs=1e-12)
    starts = [bar.get_x() for bar in bars(below)]
    assert starts == pytest.approx([0, widths[0], widths[0] + widths[1]], abs=1e-12)
    assert below.get_xlim()[1] > kl


def test_the_parts_of_the_kl_are_named_with_their_nats_and_only_the_unknown_part_is_hatched() -> None:
    _, _, below = panels(drawn())
    information, unknown, mismatch = legend(below)
    assert information.endswith("at least 9.07")
    assert unknown.endswith("11.63")
    assert mismatch.endswith("at least 4.66")
    assert [bool(bar.get_hatch()) for bar in bars(below)] == [False, True, False]


def test_axes_of_holes_name_what_they_show_with_its_unit() -> None:
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in drawn().axes] == [
        ("distance to the nearest code (prior standard deviations)", "share per unit of distance"),
        ("position between the two codes", "realism (median over interpolations)"),
        ("KL (nats per image)", ""),
    ]


@pytest.mark.parametrize(("kl", "lower", "upper"), [(25.36, 4.66, 16.29), (0.0, 0.0, 0.0), (1061.4, 380.1, 969.3)])
def test_nothing_in_the_picture_of_holes_overlaps_or_is_cut_off(kl: float, lower: float, upper: float) -> None:
    figure = drawn(kl, lower, upper)
    figure.draw_without_rendering()
    extent = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert 0 <= extent.x0 < extent.x1 <= width
    assert 0 <= extent.y0 < extent.y1 <= height
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    for one, other in combinations([box for box in boxes if box is not None], 2):
        assert not one.overlaps(other)
    _, _, below = panels(figure)
    box = below.get_legend()
    assert box is not None
    assert below.bbox.x0 <= box.get_window_extent().x0
    assert box.get_window_extent().x1 <= below.bbox.x1
    assert all(bar.get_window_extent().y1 <= box.get_window_extent().y0 for bar in bars(below))


def test_holes_without_finite_numbers_say_so_in_every_panel() -> None:
    figure = empty()
    for axes in figure.axes:
        (words,) = axes.texts
        assert words.get_text().startswith("no ")
        assert not axes.patches
        assert not axes.lines
    assert "Healthy" in explanation(figure)


def test_the_picture_of_holes_drawn_twice_is_the_same_to_the_byte() -> None:
    def png() -> bytes:
        written = BytesIO()
        drawn().savefig(written, format="png", dpi=40)
        return written.getvalue()

    assert png() == png()
