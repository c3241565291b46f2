"""Charts that show what the verdicts are based on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae.base.rounding import nats, nats_with_error
from vae.diagnostics.densities import densities
from vae.diagnostics.overfitting import OverfittingGap
from vae.figures.canvas import BLUE, GREY, ORANGE, brief, canvas, leave_empty, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = NDArray[np.float64]

COLOURS = (BLUE, ORANGE)  # of the two histograms in a panel
CODEC_STYLES = ("-", "-.", ":")  # of the lines of image codecs
WIDTH = 11.0  # inches, of a picture with a bar for each class
LABEL_INCHES = 0.09  # width of a letter in a tick label
MOST_CLASSES = 40  # in a bar chart; even, for as many of the best as of the worst
ONE_CLASS = "no classes to compare: all images are of one class"


def error_per_class(errors: Values, class_names: Sequence[str], overall: float) -> "Figure":
    """The mean squared error of reconstructions by class, with the mean over all images.

    Args:
        errors: mean squared error per pixel of each class (K,), NaN where a class has no images.
        class_names: the names of the K classes.
        overall: mean squared error per pixel over all images.

    If there are more than ``MOST_CLASSES``, only the worst and the best are drawn.
    """
    title, single = "Reconstruction error by class", len(class_names) == 1
    half = MOST_CLASSES // 2
    left_out = len(errors) > MOST_CLASSES
    if left_out:
        title += f": the {half} best and the {half} worst of {len(errors)} classes"
        measured = np.flatnonzero(np.isfinite(errors))
        order = measured[np.argsort(errors[measured], kind="stable")]
        shown = order if len(order) <= MOST_CLASSES else np.concatenate([order[:half], order[-half:]])
        errors, class_names = errors[shown], [class_names[index] for index in shown]
    figure = canvas(
        WIDTH,
        4.6 + _more_room(class_names),
        title,
        "Healthy: bars of similar height. Classes well above the dashed line are reconstructed worse than the rest.",
    )
    axes = figure.subplots()
    axes.set_ylabel("mean squared error per pixel")
    if single:
        leave_empty(axes, ONE_CLASS)
        return figure
    if not np.isfinite(errors).any():
        leave_empty(axes, "no class has a finite error")
        return figure
    places = np.arange(len(errors))
    axes.bar(places, np.where(np.isfinite(errors), errors, 0), color=BLUE, width=0.7)
    _name_classes(axes, class_names)
    for place in places[~np.isfinite(errors)]:
        axes.annotate(
            "none", (place, 0), (0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=9, color=GREY
        )
    if left_out:
        axes.axvline(half - 0.5, color=GREY, linestyle=":", linewidth=1)
    if np.isfinite(overall):
        axes.axhline(overall, color="black", linestyle="--", linewidth=1.2, label=f"all images: {overall:.3g}")
        _legend_above(axes)
    return figure


def bounds(
    train: Values,
    test: Values,
    gap: OverfittingGap,
    unit: str,
    codecs: Mapping[str, float] | None = None,
    *,
    nats_of_a_bit: float = 1.0,
) -> "Figure":
    """The distribution of the negative ELBO over training images and over test images.

    Args:
        train: nats per image (N,).
        test: nats per image (M,).
        gap: between the two means, not mentioned if it is not finite.
        unit: the unit of both, and what they are bounds on.
        codecs: what image codecs need for the test images, in bits per dimension, by their names.
        nats_of_a_bit: a bit per dimension in nats per image.
    """
    explanation = "Healthy: the two distributions coincide. A higher mean on test images is overfitting."
    if np.isfinite(gap.nats):
        difference = nats_with_error(abs(gap.nats), gap.standard_error)
        explanation += f" Here it is {difference} nats {'higher' if gap.nats >= 0 else 'lower'}."
    figure = canvas(10, 5.8 if codecs else 4.8, "Negative ELBO of training and test images", explanation)
    axes = figure.subplots()
    axes.set_xlabel(f"negative ELBO, {unit}")
    groups = {"training images": train, "test images": test}
    if histograms(axes, groups, "share of images per nat"):
        for (name, values), colour in zip(groups.items(), COLOURS, strict=True):
            if np.isfinite(mean := _mean(values)):
                bits = f" ({mean / nats_of_a_bit:.2f} bits per dimension)" if codecs else ""
                axes.axvline(mean, color=colour, linestyle="--", label=f"mean of {name}: {nats(mean)}{bits}")
        for (name, size), style in zip((codecs or {}).items(), CODEC_STYLES, strict=False):
            label = f"{name}: {nats(size * nats_of_a_bit)} ({size:.2f} bits per dimension)"
            axes.axvline(size * nats_of_a_bit, color="black", linestyle=style, linewidth=1.2, label=label)
        if codecs:  # a legend that would hide much of the axes
            figure.legend(fontsize=9, loc="outside lower center", ncols=2, frameon=False)
        else:
            axes.legend(fontsize=9)
    return figure


def class_balance(
    sample_shares: Values,
    real_shares: Values,
    class_names: Sequence[str],
    accuracy: float,
    unclear: float,
    real_unclear: float,
) -> "Figure":
    """How often each class occurs among samples and among test images.

    Args:
        sample_shares: share of samples that are classified as each class (K,).
        real_shares: the same for test images (K,).
        class_names: the names of the K classes.
        accuracy: of the classifier, as a share of test images.
        unclear: share of samples that are no clear member of any class.
        real_unclear: the same of test images.
    """
    explanation = "Healthy: equal bars in each class."
    if np.isfinite([accuracy, unclear, real_unclear]).all():
        explanation += (
            f" Of no clear class: {unclear:.1%} of the samples, {real_unclear:.1%} of test images, "
            f"by a classifier with an accuracy of {accuracy:.1%}."
        )
    title = "Classes of samples and of test images"
    if len(class_names) > MOST_CLASSES:
        title += f": the {MOST_CLASSES} of {len(class_names)} classes that differ most"
        shown = np.sort(np.argsort(-np.abs(sample_shares - real_shares), kind="stable")[:MOST_CLASSES])
        sample_shares, real_shares = sample_shares[shown], real_shares[shown]
        class_names = [class_names[index] for index in shown]
    figure = canvas(WIDTH, 4.8 + _more_room(class_names), title, explanation)
    axes = figure.subplots()
    axes.set_ylabel("share of images (%)")
    if len(class_names) == 1:
        leave_empty(axes, ONE_CLASS)
        return figure
    if not np.isfinite([sample_shares, real_shares]).any():
        leave_empty(axes, "no finite shares")
        return figure
    places = np.arange(len(class_names))
    axes.bar(places - 0.2, 100 * real_shares, width=0.38, color=BLUE, label="test images")
    axes.bar(
        places + 0.2, 100 * sample_shares, width=0.38, color=ORANGE, hatch="//", edgecolor="white", label="samples"
    )
    _name_classes(axes, class_names)
    _legend_above(axes)
    return figure


def label_information(information: Values, kl: Values) -> "Figure":
    """How much information each latent dimension carries about the class, sorted by KL.

    Args:
        information: mutual information of each latent dimension with the class, nats (D,).
        kl: nats per latent dimension, averaged over images (D,).
    """
    finite = information[np.isfinite(information)]
    figure = canvas(
        min(max(9.0, 2.5 + 0.32 * len(kl)), 13.0),
        4.4,
        "Class information per latent dimension",
        "A high bar: the dimension tells classes apart. A low bar on the left: high KL, but little about the class.",
    )
    axes = figure.subplots()
    axes.set_ylabel("mutual information with the class (nats)")
    axes.set_xlabel("latent dimension (sorted by KL)")
    if not len(finite):
        leave_empty(axes, "not measured: it needs two classes, and two images of one class")
        return figure
    order = np.argsort(-kl, kind="stable")
    places = np.arange(len(kl))
    axes.bar(places, information[order], color=BLUE)
    step = -(-len(kl) // 40)
    axes.set_xticks(places[::step], [str(dimension) for dimension in order[::step]], fontsize=9)
    axes.set_xlim(-0.8, len(kl) - 0.2)
    # Up to at least 0.1, so that very little information looks like very little.
    axes.set_ylim(1.05 * min(finite.min(), 0), 1.05 * max(finite.max(), 0.1))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    return figure


def histograms(axes: "Axes", groups: dict[str, Values], ylabel: str) -> bool:
    """Draw the densities of two groups over common bins. If no value is finite, say so and return False."""
    axes.set_ylabel(ylabel)
    found = densities(groups)
    if found is None:
        leave_empty(axes, "no finite values")
        return False
    for (name, density), colour in zip(found.heights.items(), COLOURS, strict=True):
        left_out = np.count_nonzero(~np.isfinite(groups[name]))
        label = f"{name} ({left_out:,} not finite, left out)" if left_out else name
        axes.stairs(density, found.edges, fill=True, color=colour, alpha=0.2)
        axes.stairs(density, found.edges, color=colour, linewidth=1.5, label=label)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    return True


def _mean(values: Values) -> float:
    """The mean of the finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if len(finite) else float("nan")


def _upright(names: Sequence[str]) -> bool:
    """Whether class names would overlap side by side."""
    return LABEL_INCHES * max(map(len, names), default=0) > (WIDTH - 1) / max(len(names), 1)


def _more_room(class_names: Sequence[str]) -> float:
    """The inches by which long upright class names make a picture higher."""
    names = [brief(name) for name in class_names]
    return max(0.0, LABEL_INCHES * max(map(len, names), default=0) - 1) if _upright(names) else 0.0


def _name_classes(axes: "Axes", class_names: Sequence[str]) -> None:
    """Label the ticks with class names, rotated where they would overlap side by side."""
    names = [brief(name) for name in class_names]
    axes.set_xticks(range(len(names)), map(literal, names), fontsize=10, rotation=90 if _upright(names) else 0)
    axes.set_xlabel("class")
    axes.set_xlim(-0.6, len(class_names) - 0.4)
    axes.set_axisbelow(True)
    axes.grid(axis="y", alpha=0.3)


def _legend_above(axes: "Axes") -> None:
    """Draw the legend above the axes, where it hides no bars."""
    axes.legend(fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0.2)
