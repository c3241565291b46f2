"""What came of a fault, and what a part of the suite is."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from faults.material import Material


class Outcome(NamedTuple):
    """What came of one fault.

    Attributes:
        fault: what was done, such as "SIGKILL to all processes". The table has a row for each fault.
        place: where, such as the stage that ran; counted in the row of the fault.
        result: what came out, such as "the same bytes"; counted in the row of the fault.
        wrong: what broke a promise of the project, with all details; empty if nothing did.
    """

    fault: str
    place: str
    result: str
    wrong: str = ""


# Provokes a number of faults one after another. Equal numbers provoke the same faults.
Part = Callable[[Material, int], Iterator[Outcome]]
