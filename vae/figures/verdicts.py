"""A table of the verdicts on a model, with a traffic light in each row."""

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from vae.figures.canvas import AMBER, DOTS_PER_INCH, GREEN, GREY, ORANGE, canvas, leave_empty

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The colour, marker and marker size of each level. Shapes and words distinguish levels whose colours look alike.
LIGHTS = {
    "healthy": (GREEN, "o", 11),
    "warning": (AMBER, "^", 11),
    "failure": (ORANGE, "s", 10),
    "not judged": (GREY, "D", 8),
}

# Inches.
WIDTH = 11.0
LIGHT, LEVEL, SUBJECT, TEXT, RIGHT = 0.32, 0.5, 1.5, 3.4, 10.75  # where the columns start, and where the last one ends
HEADER = 0.8  # of the title and the explanation
PADDING = 0.12  # above and below a row
GAP = 0.05  # between the paragraphs of a row

NORMAL = {"fontsize": 10, "color": "#222222"}
BOLD = {"fontsize": 10, "color": "#222222", "fontweight": "bold"}
SMALL = {"fontsize": 9, "color": "#5A5A5A"}


class Judged(Protocol):
    """What a row shows: a level from LIGHTS, what is judged, what was measured, the thresholds, what to try."""

    @property
    def level(self) -> str: ...  # noqa: D102
    @property
    def subject(self) -> str: ...  # noqa: D102
    @property
    def finding(self) -> str: ...  # noqa: D102
    @property
    def criterion(self) -> str: ...  # noqa: D102
    @property
    def advice(self) -> str: ...  # noqa: D102


class Paragraph(NamedTuple):
    """Wrapped text and its upper left corner, in inches from the left and the top of the table."""

    x: float
    y: float
    text: str
    style: dict[str, Any]


def verdict_table(verdicts: Sequence[Judged], title: str) -> "Figure":
    """Draw a table with a row for each verdict: level, subject, finding, and below it what is healthy and what to try.

    Args:
        verdicts: such as ``vae.diagnostics.verdict.Verdict``, in the order of the rows.
        title: what is judged, in one line.

    Raises:
        KeyError: a level is not in LIGHTS.
    """
    from matplotlib.transforms import Affine2D, ScaledTranslation, blended_transform_factory

    paragraphs, tops = _lay_out(verdicts)
    figure = canvas(
        WIDTH,
        HEADER + max(tops[-1], 1.0),
        title,
        "● healthy: as it should be. ▲ warning: look closer. ■ failure: fix this first. ◆ not judged: see the finding.",
    )
    axes = figure.subplots()
    axes.set_axis_off()
    if not verdicts:
        leave_empty(axes, "no verdicts")
        return figure
    # Inches from the picture's left edge to the right, and from below the explanation downwards.
    corner = blended_transform_factory(figure.transFigure, axes.transAxes)
    inches = Affine2D().scale(1, -1) + figure.dpi_scale_trans + ScaledTranslation(0, 1, corner)  # type: ignore[arg-type]
    for x, y, text, style in paragraphs:
        axes.text(x, y, text, va="top", transform=inches, parse_math=False, **style)
    for verdict, top in zip(verdicts, tops, strict=False):
        colour, marker, size = LIGHTS[verdict.level]
        axes.plot(LIGHT, top + PADDING + 0.08, marker, color=colour, markersize=size, transform=inches, clip_on=False)
        axes.plot([LIGHT - 0.1, RIGHT], [top, top], color="#D0D0D0", linewidth=0.8, transform=inches, clip_on=False)
    return figure


def _lay_out(verdicts: Sequence[Judged]) -> tuple[list[Paragraph], list[float]]:
    """All text of the table with its position; also where each row starts, and where the last one ends."""
    paragraphs = []
    tops = [0.0]
    for verdict in verdicts:
        top = tops[-1] + PADDING
        subject, subject_height = _wrap(verdict.subject, TEXT - SUBJECT - 0.15, BOLD)
        paragraphs += [Paragraph(LEVEL, top, verdict.level, NORMAL), Paragraph(SUBJECT, top, subject, BOLD)]
        bottom = top
        for start, words, style in (
            ("", verdict.finding, NORMAL),
            ("Healthy: ", verdict.criterion, SMALL),
            ("Try: ", verdict.advice, SMALL),
        ):
            if not words:
                continue
            text, height = _wrap(start + words, RIGHT - TEXT, style)
            paragraphs.append(Paragraph(TEXT, bottom, text, style))
            bottom += height + GAP
        tops.append(max(bottom - GAP, top + subject_height) + PADDING)
    return paragraphs, tops


def _wrap(text: str, width: float, style: dict[str, Any]) -> tuple[str, float]:
    """Wrap text to lines of at most a width, and measure the height of all lines as drawn. In inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)  # measures text as it will be drawn
    drawn = figure.text(0, 0, " ".join(text.split()), parse_math=False, **style)
    extent = drawn.get_window_extent()
    room = width * DOTS_PER_INCH
    # Letters differ in width, so start with too many characters.
    characters = round(1.2 * len(text) * room / max(extent.width, room))
    while extent.width > room and characters > 0:
        drawn.set_text("\n".join(wrap(text, characters, break_on_hyphens=False)))
        extent = drawn.get_window_extent()
        characters = min(characters - 1, round(characters * room / extent.width))
    return drawn.get_text(), extent.height / DOTS_PER_INCH
