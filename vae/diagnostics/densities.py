"""Densities of groups of values over the same bins, for the tables and pictures of distributions."""

from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

MOST_BINS = 60


class Densities(NamedTuple):
    """Histograms of groups of values, each with an area of 1.

    Attributes:
        edges: of the B bins (B + 1,).
        heights: density in each bin (B,), by group; zeros for a group without finite values.
    """

    edges: Values
    heights: dict[str, Values]

    @property
    def centres(self) -> Values:
        """The middle of each bin (B,)."""
        return (self.edges[:-1] + self.edges[1:]) / 2


def densities(groups: Mapping[str, Values]) -> Densities | None:
    """The densities of the finite values of each group (N,), over common bins; None if no value is finite.

    By the Rice rule there are 2 · N^(1/3) bins, for the N of the largest group, and no more than ``MOST_BINS``.
    """
    finite = {name: values[np.isfinite(values)].astype(np.float64) for name, values in groups.items()}
    together = np.concatenate(list(finite.values()))
    if not len(together):
        return None
    low, high = together.min(), together.max()
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # all values are equal
        room = max(0.5, 0.01 * abs(low))
        low, high = low - room, high + room
    largest = max(map(len, finite.values()))
    edges = np.linspace(low, high, min(MOST_BINS, ceil(2 * largest ** (1 / 3))) + 1)
    widths = np.diff(edges)
    return Densities(
        edges,
        {name: np.histogram(values, edges)[0] / max(len(values), 1) / widths for name, values in finite.items()},
    )
