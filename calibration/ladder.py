"""A ladder: the same thing made worse step by step, from clean to ruined, and what a verdict says about each step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from calibration.material import Material
from vae.diagnostics.verdict import Verdict


class Reading(NamedTuple):
    """What is measured at one rung.

    Attributes:
        measure: the numbers that are judged, as text.
        verdict: on them.
    """

    measure: str
    verdict: Verdict


Readings = Mapping[str, Reading]


@dataclass(frozen=True)
class Ladder:
    """The calibration of one verdict.

    Attributes:
        title: heading of the table.
        degraded: what the rungs are, in a sentence or two.
        measured: what the numbers in the table are, in a sentence or two.
        rungs: their names, from clean to ruined; a data kind may lack some.
        read: the readings of a data kind, by rung; none if the verdict does not apply to it.
        needs_model: whether a model is trained. If not, data kinds with the same images have the same readings.
    """

    title: str
    degraded: str
    measured: str
    rungs: tuple[str, ...]
    read: Callable[[Material], Readings]
    needs_model: bool = True
