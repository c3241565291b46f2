"""What all pictures share: resolution, title and colours. matplotlib is imported when the first picture is drawn."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 120

# The colours of Okabe & Ito, which colour-blind readers can distinguish.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#7F7F7F"
GREEN, AMBER = "#009E73", "#E69F00"  # with ORANGE the colours of a traffic light

# Paul Tol's muted scheme, for up to ten classes.
CLASS_COLOURS = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#777777",
)


def canvas(width: float, height: float, title: str, explanation: str) -> "Figure":
    """Create an empty figure with a bold title and, below it, a line on how to read the picture. Sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]  # of this engine
    # The empty second line of the title leaves room for the explanation.
    figure.suptitle(f"{literal(title)}\n", fontsize=13, fontweight="bold", x=0.02, ha="left")
    figure.text(0.02, 1 - 0.46 / height, literal(explanation), fontsize=10, ha="left", va="center", color="#333333")
    return figure


def literal(text: str) -> str:
    """A name for matplotlib to draw as it is.

    A pair of dollar signs would start a formula, and a legend leaves out names that begin with an underscore.
    """
    return f"{' ' * text.startswith('_')}{text}".replace("$", r"\$")


def leave_empty(axes: "Axes", reason: str) -> None:
    """Show why there is nothing to draw, in place of ticks and curves."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, reason, ha="center", va="center", fontsize=11, color=GREY, transform=axes.transAxes)
