"""Line, bar and scatter charts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae.figures.canvas import BLUE, GREY, LONGEST_NAME, ORANGE, OTHER_COLOUR, brief, canvas, class_colours, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

Values = NDArray[np.float64]

MOST_MARKED_EPOCHS = 50  # with more epochs, markers would merge into a thick band
MOST_LABELLED_CLASSES = 30  # with more, labels would hide most points
MOST_COMPARED = 1000  # points of a class among which the densest is found


class LossForecast(NamedTuple):
    """The loss expected after a number of epochs and an interval around it, nats per image."""

    epochs: int
    loss: float
    low: float
    high: float

    @property
    def label(self) -> str:
        """What the legend calls it."""
        return f"forecast for {self.epochs:,} epochs"


# Title, columns of training and validation, unit. The norm is that of a batch's gradient, averaged over an epoch.
LOSS_PANELS = (
    ("Loss", "train_loss", "validation_loss", "nats per image"),
    ("Reconstruction", "train_reconstruction", "validation_reconstruction", "nats per image"),
    ("KL", "train_kl", "validation_kl", "nats per image"),
    ("Gradient norm", "gradient_norm", None, "average over steps, before clipping"),
)


def loss_curves(history: dict[str, Values], best_epoch: int, forecast: LossForecast | None = None) -> "Figure":
    """The loss and its two terms over epochs, for training and validation, and the gradient norm of training.

    The loss after more epochs is drawn as a line and a band across the panel of the loss. A continued curve on an axis
    of ten times the length would squeeze the epochs that were trained.

    Args:
        history: the columns of ``losses.csv`` by their names, NaN where there is no validation set.
        best_epoch: the epoch whose weights were kept.
        forecast: of the loss after a longer training run, if there is one.
    """
    from matplotlib.ticker import MaxNLocator

    figure = canvas(
        13.6,
        4.2,
        "Losses during training",
        "Healthy: loss and reconstruction fall and level off, KL and gradient norm settle, validation stays near "
        "training. A sudden jump in the gradient norm is a sign of divergence.",
    )
    panels = figure.subplots(1, 4)
    style = {"marker": "."} if len(history["epoch"]) <= MOST_MARKED_EPOCHS else {"linewidth": 1}
    for axes, (title, train, validation, unit) in zip(panels, LOSS_PANELS, strict=True):
        axes.plot(history["epoch"], history[train], color=BLUE, label="training", **style)
        if validation and not np.isnan(history[validation]).all():
            axes.plot(history["epoch"], history[validation], color=ORANGE, linestyle="--", label="validation", **style)
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"weights kept (epoch {best_epoch})")
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("epoch")
        axes.set_ylabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    if forecast is not None:
        panels[0].axhline(forecast.loss, color="black", linestyle="-.", linewidth=1, label=forecast.label)
        panels[0].axhspan(forecast.low, forecast.high, color=GREY, alpha=0.2, linewidth=0)
    panels[0].legend(fontsize=9)
    return figure


def latent_spectrum(kl: Values, variances: Values, threshold: float) -> "Figure":
    """KL and activity of every latent dimension, sorted by KL.

    Args:
        kl: nats per latent dimension, averaged over images (D,).
        variances: of the posterior means over images (D,).
        threshold: the variance above which a dimension counts as active.
    """
    order = np.argsort(-kl, kind="stable")
    active = variances[order] > threshold
    colours = np.where(active, BLUE, ORANGE)
    figure = canvas(
        min(max(8.0, 2.5 + 0.32 * len(kl)), 13.0),
        6.2,
        f"KL and variance per latent dimension: {active.sum()} of {len(kl)} active",
        "Healthy: every bar stands out. Collapsed dimensions (orange) have no KL and a variance near zero.",
    )
    top, bottom = figure.subplots(2, 1, sharex=True)
    positions = np.arange(len(kl))
    top.bar(positions, kl[order], color=colours)
    top.set_ylabel("KL (nats per image)")
    bottom.bar(positions, variances[order], color=colours)
    bottom.axhline(threshold, color="black", linestyle="--", linewidth=1, label=f"active above {threshold}")
    bottom.set_yscale("log")
    lowest = max(variances.min(), 1e-6)  # the axis is logarithmic
    bottom.set_ylim(min(threshold, lowest) / 3, max(1.0, variances.max()) * 3)
    bottom.set_ylabel("variance of the posterior mean")
    bottom.set_xlabel("latent dimension (sorted by KL)")
    step = -(-len(kl) // 40)
    bottom.set_xticks(positions[::step], [str(dimension) for dimension in order[::step]], fontsize=9)
    bottom.legend(fontsize=9, loc="upper right")
    bottom.set_xlim(-0.8, len(kl) - 0.2)
    for axes in (top, bottom):
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    return figure


def class_scatter(
    points: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    axis_names: tuple[str, str],
    title: str,
) -> "Figure":
    """Points in the plane (N, 2), coloured and labelled by class.

    If there are more classes than colours, the legend names only the largest. A label that would hide that of a larger
    class is left out, and only the largest classes have one. A single class has neither legend nor label.
    """
    several = len(class_names) > 1
    aim = "classes form clusters that touch, without" if several else "points spread out, without"
    figure = canvas(9, 7.6, title, f"Healthy: {aim} one crowded heap or wide gaps.")
    axes = figure.subplots()
    sizes = np.bincount(labels, minlength=len(class_names))
    colours = class_colours(sizes.tolist())
    for index, name in enumerate(class_names):
        own = points[labels == index]
        if len(own) and colours[index] != OTHER_COLOUR:
            label = literal(brief(name))
            axes.scatter(own[:, 0], own[:, 1], s=12, color=colours[index], alpha=0.8, linewidths=0, label=label)
    others = points[[colours[label] == OTHER_COLOUR for label in labels]]
    if len(others):  # below all other points
        label = f"{colours.count(OTHER_COLOUR)} smaller classes"
        axes.scatter(
            others[:, 0], others[:, 1], s=12, color=OTHER_COLOUR, alpha=0.8, linewidths=0, label=label, zorder=0.9
        )
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.2)
    if several:
        figure.legend(title="class", loc="outside right center", fontsize=10, markerscale=2)
        _label_classes(figure, axes, points, labels, class_names, colours)
    return figure


def _label_classes(
    figure: "Figure",
    axes: "Axes",
    points: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    colours: Sequence[str],
) -> None:
    """Label each class where its points are densest, unless the label would hide that of a larger class."""
    length, fontsize = (LONGEST_NAME, 11) if len(class_names) <= 10 else (LONGEST_NAME // 2, 8)
    sizes = np.bincount(labels, minlength=len(class_names))
    drawn = [
        axes.annotate(
            literal(brief(class_names[index], length)),
            tuple(points[labels == index][densest(points[labels == index])].tolist()),
            ha="center",
            va="center",
            fontsize=fontsize,
            fontweight="bold",
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": colours[index], "alpha": 0.85},
        )
        for index in np.argsort(-sizes, kind="stable").tolist()[:MOST_LABELLED_CLASSES]
        if sizes[index]
    ]
    figure.draw_without_rendering()  # which places the labels
    kept: list[Bbox] = []
    for annotation in drawn:
        frame = annotation.get_bbox_patch()
        box = frame.get_window_extent() if frame else annotation.get_window_extent()
        if box.count_overlaps(kept):
            annotation.remove()
        else:
            kept.append(box)


def densest(points: NDArray[np.float32]) -> int:
    """The index of the point whose nearest quarter of all points (N, 2) lies closest.

    A mean could fall between two clusters. Of more than ``MOST_COMPARED`` points, so many are compared, spread evenly
    over their order, so that the time does not grow with the square of their number.
    """
    chosen = np.linspace(0, len(points) - 1, min(len(points), MOST_COMPARED)).round().astype(int)
    points = points[chosen]
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    quarter = len(points) // 4
    return int(chosen[np.partition(distances, quarter, axis=1)[:, quarter].argmin()])
