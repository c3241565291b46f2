"""The lines of a report's tables: values in words, and what their changes mean."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from review.changes import Direction, in_words
from review.charts import ABSENT
from review.limits import Limit
from review.precision import standard_error
from review.revisions import Judgement, Revision, Value, is_number
from vae.base.rounding import with_error
from vae.diagnostics.verdict import Level

LONGEST_VALUE = 100  # characters; longer values are cut so that they do not break a table
DIGITS = (4, 5, 6)  # significant digits of a number without an error: as few as tell it from the base's
LIGHTS: Mapping[str, str] = {Level.HEALTHY: "●", Level.WARNING: "▲", Level.FAILURE: "■", Level.NOT_JUDGED: "◆"}
FROM_BEST_TO_WORST: Sequence[str] = (Level.HEALTHY, Level.WARNING, Level.FAILURE)
# Marks of changes, which do not rely on colour alone.
MARKS = {
    Direction.BETTER: "✓ better",
    Direction.WORSE: "✗ worse",
    Direction.MISSING: "✗ missing",
    Direction.WITHIN_SPREAD: "≈",
    Direction.NOT_SIGNIFICANT: "not significant",
    Direction.CHANGED: "",
    Direction.NOT_COMPARABLE: "not comparable",
    Direction.SAME: "=",
}


class Cell(NamedTuple):
    """A value at one revision, and its difference from the base.

    Attributes:
        text: the value as text, with its standard error if that is known.
        difference: the signed difference, with its own standard error if that is known; empty if the values are equal
            or not numbers.
        direction: whether the difference is better or worse.
        note: the difference in units of its limit, or why the value cannot be compared with the base.
    """

    text: str
    difference: str = ""
    direction: Direction = Direction.SAME
    note: str = ""

    @property
    def change(self) -> str:
        """The difference with its mark, and how large it is by its limit."""
        return " ".join(filter(None, [self.difference, MARKS[self.direction], self.note and f"({self.note})"]))


class Line(NamedTuple):
    """A line of a table: a key, its value at the base and at each head, and its limit if it has one."""

    key: str
    base: Cell
    heads: tuple[Cell, ...]
    limit: Limit | None = None

    @property
    def allowance(self) -> str:
        """The better direction and the limit: ``↓ 0.5``."""
        if self.limit is None:
            return ""
        return f"{self.arrow} {self.limit.max_worse:g}"

    @property
    def arrow(self) -> str:
        """The better direction: ``↓``; empty without a limit."""
        return "" if self.limit is None else "↓" if self.limit.better == "lower" else "↑"


class JudgedCell(NamedTuple):
    """A verdict at one revision, and whether it is better or worse than at the base."""

    judgement: Judgement
    direction: Direction = Direction.SAME

    @property
    def light(self) -> str:
        """The mark of its level."""
        return LIGHTS.get(self.judgement.level, "")

    @property
    def lit(self) -> str:
        """The level, after its mark."""
        return f"{self.light} {self.judgement.level}".strip()


class JudgedLine(NamedTuple):
    """A verdict at each revision: its stage, its subject, and a cell for the base and each head."""

    stage: str
    subject: str
    cells: tuple[JudgedCell, ...]

    @property
    def levels(self) -> str:
        """The levels at all revisions: ``● healthy → ■ failure``."""
        return " → ".join(cell.lit for cell in self.cells)

    @property
    def last(self) -> Judgement:
        """The verdict at the last revision that has it."""
        found = [cell.judgement for cell in self.cells if cell.judgement.level != ABSENT]
        return found[-1] if found else self.cells[-1].judgement

    @property
    def directions(self) -> list[Direction]:
        """Whether each head is better or worse, without those that are the same."""
        return [cell.direction for cell in self.cells[1:] if cell.direction != Direction.SAME]


def verdict_direction(before: str, after: str) -> Direction:
    """Whether a verdict is better or worse than before, by its level."""
    if before == after:
        return Direction.SAME
    if before not in FROM_BEST_TO_WORST or after not in FROM_BEST_TO_WORST:
        return Direction.CHANGED
    worse = FROM_BEST_TO_WORST.index(after) > FROM_BEST_TO_WORST.index(before)
    return Direction.WORSE if worse else Direction.BETTER


def measured(metric: str, revision: Revision, *others: Revision) -> str:
    """The value of a metric as text, with its standard error if that is known.

    A number without one has as many digits as tell it from those of the other revisions.
    """
    if metric not in revision.metrics:
        return ABSENT
    value = revision.metrics[metric]
    error = standard_error(revision, metric)
    if error and is_number(value):
        return with_error(float(value), error)  # type: ignore[arg-type]  # it is a number
    if not isinstance(value, float):
        return shortened_value(in_words(value))
    apart = [other for each in others if isinstance(other := each.metrics.get(metric), float) and other != value]
    for digits in DIGITS:
        text = f"{value:.{digits}g}"
        if text not in [f"{other:.{digits}g}" for other in apart]:
            break
    return text


def difference(before: Value, after: Value, error: float | None = None) -> str:
    """The signed difference with its standard error, or with three significant digits; with a typographic minus."""
    if before == after or not is_number(before) or not is_number(after):
        return ""
    difference = after - before  # type: ignore[operator]  # they are numbers
    if error:
        text = with_error(difference, error, signed=True)
    else:
        text = f"{difference:+d}" if isinstance(difference, int) else f"{difference:+.3g}"
    return text.replace("-", "−")


def shortened_value(text: str) -> str:
    """A value that does not break a table."""
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
