"""Charts of single diagnoses, which show what a verdict is based on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae.figures.canvas import BLUE, GREY, ORANGE, canvas, leave_empty

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = NDArray[np.float64]

COLOURS = (BLUE, ORANGE)  # of the two histograms in a panel
BINS = 60
LABEL_INCHES = 0.09  # width of a letter of a tick label


def error_per_class(errors: Values, class_names: Sequence[str], overall: float) -> "Figure":
    """The mean squared error of reconstructions by class, with the mean over all images.

    Args:
        errors: mean squared error per pixel of each class (K,), NaN where a class has no images.
        class_names: the names of the K classes.
        overall: mean squared error per pixel over all images.
    """
    figure = canvas(
        11,
        4.6,
        "Reconstruction error by class",
        "Healthy: bars of similar height. Classes well above the dashed line are reconstructed worse than the rest.",
    )
    axes = figure.subplots()
    axes.set_ylabel("mean squared error per pixel")
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
    if np.isfinite(overall):
        axes.axhline(overall, color="black", linestyle="--", linewidth=1.2, label=f"all images: {overall:.3g}")
        _legend_above(axes)
    return figure


def bounds(train: Values, test: Values, unit: str) -> "Figure":
    """The distribution of the negative ELBO over training images and over test images.

    Args:
        train: nats per image (N,).
        test: nats per image (M,).
        unit: the unit of both, with what they are bounds on.
    """
    gap = _mean(test) - _mean(train)
    explanation = "Healthy: the two lie on one another."
    if np.isfinite(gap):
        explanation += (
            f" Here test images cost {abs(gap):.2f} nats {'more' if gap >= 0 else 'less'} than training images."
        )
    figure = canvas(10, 4.8, "Bounds on training and test images: the gap between them is overfitting", explanation)
    axes = figure.subplots()
    axes.set_xlabel(f"negative ELBO, {unit}")
    groups = {"training images": train, "test images": test}
    if _histograms(axes, groups, "share of images per nat"):
        for (name, values), colour in zip(groups.items(), COLOURS, strict=True):
            if np.isfinite(mean := _mean(values)):
                axes.axvline(mean, color=colour, linestyle="--", label=f"mean of {name}: {mean:.2f}")
        axes.legend(fontsize=9)
    return figure


def holes(
    prior_distances: Values,
    held_out_distances: Values,
    shares: Values,
    realism_linear: Values,
    realism_spherical: Values,
) -> "Figure":
    """Distances to the nearest code, and the realism of images on the way between two codes.

    Args:
        prior_distances: from draws of the prior to the nearest code (N,).
        held_out_distances: from codes of held-out images to the nearest code (M,).
        shares: of the way between two codes, from 0 to 1 (S,).
        realism_linear: median realism of the images decoded at these shares on straight lines (S,).
        realism_spherical: the same on arcs (S,).
    """
    figure = canvas(
        12,
        4.8,
        "Holes in the latent space",
        "Healthy: left, the two lie on one another; right, both curves stay near the line or above it, "
        "also in the middle.",
    )
    left, right = figure.subplots(1, 2)
    left.set_title("How far the nearest code is", fontsize=11)
    left.set_xlabel("distance to the nearest code (prior standard deviations)")
    groups = {"held-out codes": held_out_distances, "prior draws": prior_distances}
    if _histograms(left, groups, "share per unit of distance"):
        left.legend(fontsize=9)

    right.set_title("Images on the way from one code to another", fontsize=11)
    right.set_xlabel("share of the way between the two codes")
    right.set_ylabel("realism (median of interpolations)")
    if not np.isfinite([realism_linear, realism_spherical]).any():
        leave_empty(right, "no finite realism")
        return figure
    right.axhline(
        1, color="black", linewidth=1, linestyle=":", label="as near to real images as these are to one another"
    )
    right.plot(shares, realism_linear, color=BLUE, marker="o", label="linear")
    right.plot(shares, realism_spherical, color=ORANGE, marker="s", linestyle="--", label="spherical")
    low, high = right.dataLim.intervaly
    room = max(high - low, 0.1)
    right.set_ylim(low - 0.1 * room, high + 0.45 * room)  # room for the legend above the curves
    right.grid(alpha=0.3)
    right.legend(fontsize=9, loc="upper center")
    return figure


def class_balance(
    sample_shares: Values,
    real_shares: Values,
    class_names: Sequence[str],
    accuracy: float,
    confidence: float,
    real_confidence: float,
) -> "Figure":
    """How often each class occurs among samples and among test images.

    Args:
        sample_shares: share of samples that are classified as each class (K,).
        real_shares: share of test images of each class (K,).
        class_names: the names of the K classes.
        accuracy: of the classifier, as a share of test images.
        confidence: mean probability of the predicted class, over samples.
        real_confidence: the same over test images.
    """
    explanation = "Healthy: pairs of equal height."
    if np.isfinite([accuracy, confidence, real_confidence]).all():
        explanation += (
            f" The classifier is right on {accuracy:.1%} of test images; "
            f"its mean confidence: {confidence:.1%} on samples, {real_confidence:.1%} on test images."
        )
    figure = canvas(11, 4.8, "Classes among samples and among test images", explanation)
    axes = figure.subplots()
    axes.set_ylabel("share of images (%)")
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
    """How much each latent dimension tells about the class, in falling order of the KL.

    Args:
        information: mutual information of each latent dimension with the class, nats (D,).
        kl: nats per latent dimension, averaged over images (D,).
    """
    finite = information[np.isfinite(information)]
    figure = canvas(
        min(max(9.0, 2.5 + 0.32 * len(kl)), 13.0),
        4.4,
        "What each latent dimension tells of the class",
        "A high bar: the dimension tells classes apart. A low bar far left: much KL, but not on the class.",
    )
    axes = figure.subplots()
    axes.set_ylabel("mutual information (nats)")
    axes.set_xlabel("latent dimension, by falling KL")
    if not len(finite):
        leave_empty(axes, "no finite mutual information")
        return figure
    order = np.argsort(-kl, kind="stable")
    places = np.arange(len(kl))
    axes.bar(places, information[order], color=BLUE)
    step = -(-len(kl) // 40)
    axes.set_xticks(places[::step], [str(dimension) for dimension in order[::step]], fontsize=9)
    axes.set_xlim(-0.8, len(kl) - 0.2)
    # Up to 0.1 at least, so that very little information looks like very little.
    axes.set_ylim(1.05 * min(finite.min(), 0), 1.05 * max(finite.max(), 0.1))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    return figure


def _histograms(axes: "Axes", groups: dict[str, Values], ylabel: str) -> bool:
    """Draw the densities of two groups over common bins. Where no value is finite, say so and return False."""
    axes.set_ylabel(ylabel)
    finite = {name: values[np.isfinite(values)].astype(np.float64) for name, values in groups.items()}
    together = np.concatenate(list(finite.values()))
    if not len(together):
        leave_empty(axes, "no finite values")
        return False
    low, high = together.min(), together.max()
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all values are equal
        room = max(0.5, 0.01 * abs(low))
        low, high = low - room, high + room
    edges = np.linspace(low, high, BINS + 1)
    for (name, values), colour in zip(finite.items(), COLOURS, strict=True):
        left_out = len(groups[name]) - len(values)
        label = f"{name} ({left_out:,} not finite, left out)" if left_out else name
        density = np.histogram(values, edges)[0] / max(len(values), 1) / np.diff(edges)
        axes.stairs(density, edges, fill=True, color=colour, alpha=0.2)
        axes.stairs(density, edges, color=colour, linewidth=1.5, label=label)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    return True


def _mean(values: Values) -> float:
    """The mean of the finite values; NaN where there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if len(finite) else float("nan")


def _name_classes(axes: "Axes", class_names: Sequence[str]) -> None:
    """Label the ticks with class names, rotated where they would overlap side by side."""
    figure = axes.get_figure()
    assert figure is not None
    room = (figure.bbox.width / figure.dpi - 1) / len(class_names)
    upright = LABEL_INCHES * max(len(name) for name in class_names) > room
    axes.set_xticks(range(len(class_names)), class_names, fontsize=10, rotation=90 if upright else 0)
    axes.set_xlabel("class")
    axes.set_xlim(-0.6, len(class_names) - 0.4)
    axes.set_axisbelow(True)
    axes.grid(axis="y", alpha=0.3)


def _legend_above(axes: "Axes") -> None:
    """A legend above the axes, where it hides no bar."""
    axes.legend(fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0.2)
