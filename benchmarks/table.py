"""Results, as a table to read and as values for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any, NamedTuple

from benchmarks.measurement import Spread

COLUMNS = ("what", "measured: median (min–max)", "ratio: median (min–max)", "goal", "met")
QUICK = "a quick try, not to be quoted"


class Goal(NamedTuple):
    """What a figure should be, in words, and whether it is."""

    text: str
    met: bool


@dataclass(frozen=True)
class Row:
    """A figure: what was measured, or a ratio of what was measured.

    Attributes:
        what: its name.
        measured: numbers, or a word where there is no number.
        unit: of ``measured``.
        ratio: a number without a unit.
        goal: what one of the two should be, if anything.
        remark: what else is to be said of ``measured``.
        digits: of ``measured`` that are shown.
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
    """A benchmark's rows, under its name and a line that says what they are about."""

    name: str
    about: str
    rows: Sequence[Row]


def at_most(value: float, limit: float, unit: str = "") -> Goal:
    """The goal of a figure that should be small."""
    return Goal(f"≤ {limit:g}{_with_space(unit)}", value <= limit)


def at_least(value: float, limit: float, unit: str = "") -> Goal:
    """The goal of a figure that should be large."""
    return Goal(f"≥ {limit:g}{_with_space(unit)}", value >= limit)


def skipped(what: str, reason: str) -> Row:
    """A line in place of a figure that cannot be had here."""
    return Row(f"{what}: skipped, {reason}")


def compared(what: str, ratio: Spread, goal: Goal | None = None) -> Row:
    """The row of a ratio."""
    return Row(what, ratio=ratio, goal=goal)


def text(machine: Mapping[str, object], sections: Sequence[Section], *, quick: bool) -> str:
    """The machine and one table, which is Markdown that can be read as it is."""
    head = list(COLUMNS)
    if quick:
        head[0] = f"what ({QUICK})"
    cells = [head]
    for section in sections:
        cells.append([f"**{section.name}**: {section.about}", "", "", "", ""])
        cells += [_cells(row) for row in section.rows]
    # A line that has a first cell only runs over the columns to its right; it would widen the first for all.
    columns = zip(*(row for row in cells if any(row[1:])), strict=True)
    widths = [max(map(len, column)) for column in columns]
    lines = [_line(row, widths) for row in cells]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([_in_words(machine), "", lines[0], rule, *lines[1:]])


def goals_met(section: Section) -> str:
    """In words: how many of a section's goals are met."""
    goals = [row.goal for row in section.rows if row.goal is not None]
    if not goals:
        return "no goals"
    return f"{sum(goal.met for goal in goals)} of {len(goals)} goals met"


def values(section: Section) -> dict[str, Any]:
    """All of a section that JSON can hold."""
    return {"about": section.about, "figures": [_values(row) for row in section.rows]}


def number(value: float, digits: int = 3) -> str:
    """A number to so many significant digits."""
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
