"""What all pictures share: resolution, title and colours. matplotlib is imported when the first picture is drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 120

# The colours of Okabe & Ito, which colour-blind readers can distinguish.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#7F7F7F"
GREEN, AMBER = "#009E73", "#E69F00"  # with ORANGE the colours of a traffic light

# Paul Tol's muted scheme for up to ten classes; ten more colours, each as far in OKLab as possible from those before
# it, also as colour-blind readers see them.
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
    "#0066FF",
    "#003311",
    "#FF00FF",
    "#7700CC",
    "#55CC00",
    "#AA55FF",
    "#664400",
    "#0000DD",
    "#005577",
    "#440044",
)
OTHER_COLOUR = "#BBBBBB"  # of smaller classes, where there are more classes than colours

LONGEST_NAME = 24  # characters of a class's name in a picture


def canvas(width: float, height: float, title: str, explanation: str) -> "Figure":
    """Create an empty figure with a bold title and, below it, a line on how to read the picture. Sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]  # of this engine
    # The empty second line of the title leaves room for the explanation.
    figure.suptitle(f"{literal(title)}\n", fontsize=13, fontweight="bold", x=0.02, ha="left")
    figure.text(0.02, 1 - 0.46 / height, literal(explanation), fontsize=10, ha="left", va="center", color="#333333")
    return figure


def class_colours(sizes: Sequence[int]) -> list[str]:
    """A colour for each class. If there are more classes than colours, the smaller classes are all light grey.

    Args:
        sizes: the number of images of each class.
    """
    if len(sizes) <= len(CLASS_COLOURS):
        return list(CLASS_COLOURS[: len(sizes)])
    colours = [OTHER_COLOUR] * len(sizes)
    largest = sorted(range(len(sizes)), key=lambda index: -sizes[index])[: len(CLASS_COLOURS)]
    for index, colour in zip(sorted(largest), CLASS_COLOURS, strict=True):
        colours[index] = colour
    return colours


def brief(name: str, most: int = LONGEST_NAME) -> str:
    """A name with its middle left out if it is longer than ``most`` characters."""
    start = most * 2 // 3
    return name if len(name) <= most else f"{name[:start].rstrip()}…{name[start + 1 - most :].lstrip()}"


def literal(text: str) -> str:
    """A name for matplotlib to draw as it is.

    A pair of dollar signs would start a formula, and a legend leaves out names that begin with an underscore.
    """
    return f"{' ' * text.startswith('_')}{text}".replace("$", r"\$")


def leave_empty(axes: "Axes", reason: str) -> None:
    """Show why there is nothing to draw, in place of ticks and curves."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, reason, ha="center", va="center", fontsize=11, color=GREY, transform=axes.transAxes)
