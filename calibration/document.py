"""Render ladders as a Markdown document."""

from collections.abc import Mapping, Sequence
from textwrap import fill

from tabulate import tabulate

from calibration.ladder import Ladder, Reading, Readings
from vae.diagnostics.verdict import Level

WIDTH = 120
SIGNS = {Level.HEALTHY: "●", Level.WARNING: "▲", Level.FAILURE: "■", Level.NOT_JUDGED: "○"}
LEGEND = ", ".join(f"{sign} {level}" for level, sign in SIGNS.items())
MISSING = "–"
HEAD = f"""\
# The calibration of the verdicts

Each table makes something worse step by step, from clean in the first row to ruined in the last, and shows what a
verdict says about each step: {LEGEND}. The criterion below a table is the
verdict's own.

The thresholds were set on such ladders, of the same data. So the tables show what the verdicts do, and are no
independent test of them. Each model and each choice of images has one seed.

`make calibration` writes this page, with the functions that the stages call. Other machines round differently, so that
a last digit may differ.
"""


def page(ladders: Sequence[Ladder], columns: Mapping[str, Mapping[str, Readings]]) -> str:
    """The whole page.

    Args:
        ladders: in order.
        columns: the readings of each data kind, by the title of the ladder.
    """
    sections = [section(ladder, {kind: found[ladder.title] for kind, found in columns.items()}) for ladder in ladders]
    return "\n".join([HEAD, *sections])


def section(ladder: Ladder, columns: Mapping[str, Readings]) -> str:
    """A ladder as a heading, a table and the criteria of its verdicts.

    Args:
        ladder: the ladder.
        columns: the readings of each data kind; those without any have no column.
    """
    columns = {kind: readings for kind, readings in columns.items() if readings}
    about = fill(f"{ladder.degraded} {ladder.measured}", WIDTH)
    criteria = {reading.verdict.criterion: None for readings in columns.values() for reading in readings.values()}
    below = [fill(f"Healthy: {criterion}.", WIDTH) for criterion in criteria]
    return "\n".join([f"## {ladder.title}", "", about, "", table(ladder.rungs, columns), "", "\n\n".join(below), ""])


def table(rungs: Sequence[str], columns: Mapping[str, Readings]) -> str:
    """A table with a row for each rung that a data kind has, and a column for each data kind."""
    rows = [
        [rung, *(cell(readings.get(rung)) for readings in columns.values())]
        for rung in rungs
        if any(rung in readings for readings in columns.values())
    ]
    return str(tabulate(rows, ["", *columns], "github", disable_numparse=True))


def cell(reading: Reading | None) -> str:
    """The measure, and a sign for the level."""
    return MISSING if reading is None else f"{reading.measure} {SIGNS[reading.verdict.level]}"
