"""What changed from the base revision to each head, and whether it got better or worse."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from review.changes import (
    Direction,
    Row,
    direction,
    in_words,
    metrics_that_differ,
    parameters_that_differ,
    verdicts_that_differ,
)
from review.charts import ABSENT, Chart, Picture, Plots
from review.comparability import why_not_comparable
from review.limits import Limit
from review.precision import error_of_difference, standard_error, with_error
from review.revisions import Revision, Value, flattened, is_number
from vae.diagnostics.verdict import Level

LONGEST_VALUE = 100  # characters; longer values are cut so that they do not break a table
LIGHTS: Mapping[str, str] = {Level.HEALTHY: "●", Level.WARNING: "▲", Level.FAILURE: "■", Level.NOT_JUDGED: "◆"}
FROM_BEST_TO_WORST: Sequence[object] = (Level.HEALTHY, Level.WARNING, Level.FAILURE)
ERRORS = (
    "± is one standard error, for the finite number of test images and samples. The error of a change on the same test "
    "images is smaller than those of its two values, since most of it is common to both."
)
# Marks of changes, which do not rely on colour alone.
MARKS = {
    Direction.BETTER: "✓ better",
    Direction.WORSE: "✗ worse",
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
        light: the mark of a verdict's level.
        reason: why the value cannot be compared with the base, if it cannot.
    """

    text: str
    difference: str = ""
    direction: Direction = Direction.SAME
    light: str = ""
    reason: str = ""

    @property
    def lit(self) -> str:
        """The value, after the mark of its level if it is a verdict."""
        return f"{self.light} {self.text}".strip()

    @property
    def change(self) -> str:
        """The difference with its mark, or why there is none."""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.difference} {MARKS[self.direction]}{reason}".strip()


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
        return f"{'↓' if self.limit.better == 'lower' else '↑'} {self.limit.max_worse:g}"


@dataclass(frozen=True)
class Findings:
    """Everything that a report contains.

    Attributes:
        revisions: the base and the heads.
        limits: the limits by metric, or None without a ``limits.yaml``.
        plots: charts and pictures.
    """

    revisions: Sequence[Revision]
    limits: Mapping[str, Limit] | None
    plots: Plots

    @property
    def names(self) -> list[str]:
        """The names of the revisions, as given by the user."""
        return [revision.name for revision in self.revisions]

    @cached_property
    def parameters(self) -> list[Line]:
        """Parameters that differ between revisions."""
        return [self._parameter(row) for row in parameters_that_differ(self.revisions)]

    @cached_property
    def verdicts(self) -> list[Line]:
        """Verdicts that differ between revisions."""
        return [_judged(row) for row in verdicts_that_differ(self.revisions)]

    @cached_property
    def lasting_verdicts(self) -> list[tuple[str, Cell]]:
        """Verdicts that are not healthy and the same at all revisions."""
        changed = {line.key for line in self.verdicts}
        last = self.revisions[-1].verdicts
        return [(key, _verdict(level)) for key, level in last.items() if key not in changed and level != Level.HEALTHY]

    @cached_property
    def metrics(self) -> list[Line]:
        """Metrics that differ and are in ``metrics/STAGE.json`` or have a limit; the worse ones first."""
        return [line for line in self._measured if line.key in self._chief]

    @cached_property
    def other_measures(self) -> list[Line]:
        """All other measures that differ."""
        return [line for line in self._measured if line.key not in self._chief]

    @cached_property
    def _chief(self) -> set[str]:
        return set(self.limits or {}).union(*map(_compared_by, self.revisions))

    @cached_property
    def _measured(self) -> list[Line]:
        rows = metrics_that_differ(self.revisions)
        # The summaries of verdicts repeat the verdicts.
        rows = [row for row in rows if not row.key.endswith("_verdict")]
        return sorted(map(self._metric, rows), key=_rank)

    @property
    def has_errors(self) -> bool:
        """Whether any metric has a standard error."""
        return any(revision.errors for revision in self.revisions)

    @property
    def charts(self) -> list[Chart]:
        """Charts whose rows differ between revisions."""
        return [chart for chart in self.plots.charts if not chart.same]

    @property
    def same_charts(self) -> list[Chart]:
        """All other charts."""
        return [chart for chart in self.plots.charts if chart.same]

    @property
    def pictures(self) -> list[Picture]:
        """Pictures that differ between revisions."""
        return [picture for picture in self.plots.pictures if not picture.same]

    @property
    def same_pictures(self) -> list[Picture]:
        """All other pictures."""
        return [picture for picture in self.plots.pictures if picture.same]

    @property
    def nothing_changed(self) -> bool:
        """Whether nothing that a report shows differs between the revisions."""
        return not (self.parameters or self.verdicts or self._measured or self.charts or self.pictures)

    def _parameter(self, row: Row) -> Line:
        cells = [
            Cell(
                _shortened(in_words(value)) if row.key in revision.parameters else ABSENT,
                _difference(row.values[0], value),
                direction(row.values[0], value, None),
            )
            for value, revision in zip(row.values, self.revisions, strict=True)
        ]
        return Line(row.key, Cell(cells[0].text), tuple(cells[1:]))

    def _metric(self, row: Row) -> Line:
        limit = (self.limits or {}).get(row.key)
        base, *heads = self.revisions
        before, *afters = row.values
        cells = []
        for head, after in zip(heads, afters, strict=True):
            text = _measured(row.key, after, head)
            reason = why_not_comparable(row.key, base, head)
            if reason and before != after:
                cells.append(Cell(text, direction=Direction.NOT_COMPARABLE, reason=reason))
            else:
                error = error_of_difference(row.key, base, head)
                cells.append(Cell(text, _difference(before, after, error), direction(before, after, limit, error)))
        return Line(row.key, Cell(_measured(row.key, before, base)), tuple(cells), limit)


def _rank(line: Line) -> int:
    """Sort key: lines that are worse at any head, then those that are better, then the rest."""
    directions = {cell.direction for cell in line.heads}
    return 0 if Direction.WORSE in directions else 1 if Direction.BETTER in directions else 2


def _judged(row: Row) -> Line:
    """The line of a verdict."""
    before, *after = row.values
    heads = [_verdict(level, _verdict_direction(before, level)) for level in after]
    return Line(row.key, _verdict(before), tuple(heads))


def _verdict(level: Value, change: Direction = Direction.SAME) -> Cell:
    text = ABSENT if level is None else str(level)
    return Cell(text, direction=change, light=LIGHTS.get(text, ""))


def _verdict_direction(before: Value, after: Value) -> Direction:
    if before == after:
        return Direction.SAME
    if before not in FROM_BEST_TO_WORST or after not in FROM_BEST_TO_WORST:
        return Direction.CHANGED
    worse = FROM_BEST_TO_WORST.index(after) > FROM_BEST_TO_WORST.index(before)
    return Direction.WORSE if worse else Direction.BETTER


def _compared_by(revision: Revision) -> set[str]:
    """The metrics of ``metrics/STAGE.json``."""
    stages = {key.partition(".")[0] for key in revision.metrics}
    contents = {stage: revision.read(f"metrics/{stage}.json") for stage in stages}
    return {f"{stage}.{key}" for stage, text in contents.items() if text for key, _ in flattened(json.loads(text))}


def _measured(metric: str, value: Value, revision: Revision) -> str:
    """The value of a metric as text, with its standard error if that is known."""
    if metric not in revision.metrics:
        return ABSENT
    error = standard_error(revision, metric)
    return with_error(float(value), error) if error and is_number(value) else _shortened(in_words(value))  # type: ignore[arg-type]


def _difference(before: Value, after: Value, error: float | None = None) -> str:
    """The signed difference with its standard error, or with three significant digits; with a typographic minus."""
    if before == after or not is_number(before) or not is_number(after):
        return ""
    difference = after - before  # type: ignore[operator]  # they are numbers
    if error:
        text = with_error(difference, error, signed=True)
    else:
        text = f"{difference:+d}" if isinstance(difference, int) else f"{difference:+.3g}"
    return text.replace("-", "−")


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
