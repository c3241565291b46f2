"""A chart of the mismatch of codes and prior, and of what lies between codes."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae.diagnostics.holes import MARGINAL_KL
from vae.figures.canvas import BLUE, GREY, ORANGE, canvas, leave_empty
from vae.figures.diagnoses import histograms

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = NDArray[np.float64]

LEAST_WIDTH = 0.1  # nats: the axis of the KL is no shorter, so that very little KL looks like very little


def holes(
    prior_distances: Values,
    held_out_distances: Values,
    shares: Values,
    realism_linear: Values,
    realism_spherical: Values,
    kl: float,
    marginal_lower: float,
    marginal_upper: float,
) -> "Figure":
    """Distances to the nearest code, the realism of interpolations between two codes, and the two parts of the KL.

    Args:
        prior_distances: from draws from the prior to the nearest code (N,).
        held_out_distances: from codes of held-out images to the nearest code (M,).
        shares: positions between two codes, from 0 to 1 (S,).
        realism_linear: median realism of the images decoded at these positions on straight lines (S,).
        realism_spherical: the same on arcs (S,).
        kl: from the posteriors of held-out images to the prior, nats per image.
        marginal_lower: lower bound on the marginal KL, from the aggregate posterior to the prior, nats per image.
        marginal_upper: upper bound on it.
    """
    figure = canvas(
        12,
        6.4,
        "Holes in the latent space",
        "Healthy: top left, the two distributions coincide; top right, both curves stay near the dotted line or above "
        f"it; below, the mismatch is at most {MARGINAL_KL[0]:.1f} nats.",
    )
    grid = figure.add_gridspec(2, 2, height_ratios=(4, 1))
    left, right, below = (figure.add_subplot(place) for place in (grid[0, 0], grid[0, 1], grid[1, :]))
    left.set_title("Distance to the nearest code", fontsize=11)
    left.set_xlabel("distance to the nearest code (prior standard deviations)")
    groups = {"codes of held-out images": held_out_distances, "draws from the prior": prior_distances}
    if histograms(left, groups, "share per unit of distance"):
        left.legend(fontsize=9)
    _realism(right, shares, realism_linear, realism_spherical)
    _parts_of_the_kl(below, kl, marginal_lower, marginal_upper)
    return figure


def _realism(axes: "Axes", shares: Values, linear: Values, spherical: Values) -> None:
    axes.set_title("Realism of interpolations between two codes", fontsize=11)
    axes.set_xlabel("position between the two codes")
    axes.set_ylabel("realism (median over interpolations)")
    if not np.isfinite([linear, spherical]).any():
        leave_empty(axes, "no finite realism")
        return
    axes.axhline(
        1, color="black", linewidth=1, linestyle=":", label="as close to real images as they are to each other"
    )
    axes.plot(shares, linear, color=BLUE, marker="o", label="linear")
    axes.plot(shares, spherical, color=ORANGE, marker="s", linestyle="--", label="spherical")
    low, high = axes.dataLim.intervaly
    room = max(high - low, 0.1)
    axes.set_ylim(low - 0.1 * room, high + 0.45 * room)  # room for the legend above the curves
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, loc="upper center")


def _parts_of_the_kl(axes: "Axes", kl: float, lower: float, upper: float) -> None:
    """Draw the KL as one bar: information about the image on the left, mismatch on the right, unknown in between."""
    axes.set_title("The KL: information about the image, and mismatch of codes and prior", fontsize=11)
    axes.set_xlabel("KL (nats per image)")
    axes.set_yticks([])
    if not np.isfinite([kl, lower, upper]).all():
        leave_empty(axes, "no finite KL")
        return
    # Estimates of the bounds may lie slightly outside.
    mismatch = min(max(lower, 0.0), kl)
    information = kl - min(max(upper, mismatch), kl)
    unknown = kl - information - mismatch
    parts = (
        (f"information about the image: at least {information:.2f}", information, BLUE, ""),
        (f"either of the two: {unknown:.2f}", unknown, "white", "///"),
        (f"mismatch, the marginal KL: at least {mismatch:.2f}", mismatch, ORANGE, ""),
    )
    start = 0.0
    for label, width, colour, hatch in parts:
        axes.barh(0, width, left=start, color=colour, hatch=hatch, edgecolor=GREY, linewidth=0.8, label=label)
        start += width
    axes.set_xlim(0, max(1.02 * kl, LEAST_WIDTH))
    axes.set_ylim(-0.4, 1.6)  # room for the legend above the bar
    axes.legend(fontsize=9, loc="upper left", ncols=3, frameon=False)
