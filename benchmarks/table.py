"""Format results as a table and as values for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any, NamedTuple

from benchmarks.measurement import Spread

COLUMNS = ("what", "measured: median (min–max)", "ratio: median (min–max)", "goal", "met")
QUICK = "quick run, not for quotation"


class Goal(NamedTuple):
    """The goal of a figure as text, and whether it is met."""

    text: str
    met: bool


@dataclass(frozen=True)
class Row:
    """A figure: a measurement, a ratio of measurements, or both.

    Attributes:
        what: name of the figure.
        measured: numbers, or text if there is no number.
        unit: unit of ``measured``.
        ratio: a ratio without a unit.
        goal: goal of the ratio or the measurement, if any.
        remark: a remark on ``measured``.
        digits: significant digits of ``measured`` to show.
    """

    what: str
    measured: Spread | str | None = None
    unit: str = ""
    ratio: Spread | None = None
    goal: Goal | None = None
    remark: str = ""
    digits: int = 3


@dataclass(frozen=True)
class Section:
    """The rows of a benchmark, with its name and a description."""

    name: str
    about: str
    rows: Sequence[Row]


def at_most(value: float, limit: float, unit: str = "") -> Goal:
    """The goal that a value is at most a limit."""
    return Goal(f"≤ {limit:g}{_with_space(unit)}", value <= limit)


def at_least(value: float, limit: float, unit: str = "") -> Goal:
    """The goal that a value is at least a limit."""
    return Goal(f"≥ {limit:g}{_with_space(unit)}", value >= limit)


def skipped(what: str, reason: str) -> Row:
    """A row for a figure that cannot be measured here."""
    return Row(f"{what}: skipped, {reason}")


def compared(what: str, ratio: Spread, goal: Goal | None = None) -> Row:
    """A row for a ratio."""
    return Row(what, ratio=ratio, goal=goal)


def text(machine: Mapping[str, object], sections: Sequence[Section], *, quick: bool) -> str:
    """Format the machine and one table of all sections, as readable Markdown."""
    head = list(COLUMNS)
    if quick:
        head[0] = f"what ({QUICK})"
    cells = [head]
    for section in sections:
        cells.append([f"**{section.name}**: {section.about}", "", "", "", ""])
        cells += [_cells(row) for row in section.rows]
    # A row with only a first cell spans all columns, so it does not count for the width of the first.
    columns = zip(*(row for row in cells if any(row[1:])), strict=True)
    widths = [max(map(len, column)) for column in columns]
    lines = [_line(row, widths) for row in cells]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([_in_words(machine), "", lines[0], rule, *lines[1:]])


def goals_met(section: Section) -> str:
    """Describe how many goals of a section are met."""
    goals = [row.goal for row in section.rows if row.goal is not None]
    if not goals:
        return "no goals"
    return f"{sum(goal.met for goal in goals)} of {len(goals)} goals met"


def values(section: Section) -> dict[str, Any]:
    """The values of a section, for JSON."""
    return {"about": section.about, "figures": [_values(row) for row in section.rows]}


def number(value: float, digits: int = 3) -> str:
    """Format a number with the given significant digits."""
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        return f"{value:.1e}"
    return f"{value:,.{max(0, digits - 1 - floor(log10(abs(value))))}f}"


def _values(row: Row) -> dict[str, Any]:
    kept: dict[str, Any] = {"what": row.what}
    if row.measured is not None:
        kept["measured"] = row.measured if isinstance(row.measured, str) else _spread(row.measured)
    if row.unit:
        kept["unit"] = row.unit
    if row.ratio is not None:
        kept["ratio"] = _spread(row.ratio)
    if row.goal is not None:
        kept |= {"goal": row.goal.text, "met": row.goal.met}
    if row.remark:
        kept["remark"] = row.remark
    return kept


def _spread(spread: Spread) -> dict[str, Any]:
    return {"median": spread.median, "min": spread.low, "max": spread.high, "rounds": list(spread.values)}


def _cells(row: Row) -> list[str]:
    measured = row.measured if isinstance(row.measured, str) else _shown(row.measured, row.unit, row.digits)
    if row.remark:
        measured = f"{measured}, {row.remark}" if measured else row.remark
    goal, met = (row.goal.text, "yes" if row.goal.met else "no") if row.goal else ("", "")
    return [row.what, measured, _shown(row.ratio), goal, met]


def _shown(spread: Spread | None, unit: str = "", digits: int = 3) -> str:
    if spread is None:
        return ""
    shown = f"{number(spread.median, digits)}{_with_space(unit)}"
    if len(spread.values) > 1:
        shown += f" ({number(spread.low, digits)}–{number(spread.high, digits)})"
    return shown


def _with_space(unit: str) -> str:
    return f" {unit}" if unit else ""


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    if any(row[1:]):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
    ends = " |" * len(row)
    whole = sum(widths) + 3 * len(widths) + 1
    return f"| {row[0]}".ljust(whole - len(ends)) + ends


def _in_words(machine: Mapping[str, object]) -> str:
    return (
        f"{machine['cpu']} ({machine['instructions']}), {machine['threads']} threads, {machine['memory_gib']} GiB; "
        f"torch {machine['torch']} on {machine['device']}"
    )
