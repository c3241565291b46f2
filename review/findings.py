"""What changed from the base revision to each head, and whether it got better or worse."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from review.changes import (
    Direction,
    in_words,
    metrics_that_differ,
    parameters_that_differ,
    verdicts_that_differ,
)
from review.charts import ABSENT, Chart, Plots
from review.checks import Check, check, check_all, importance, in_limits
from review.decision import Decision
from review.labels import labels
from review.limits import Limit
from review.pictures import Picture
from review.precision import standard_error, with_error
from review.reruns import Rerun, reruns
from review.revisions import Judgement, Revision, Value, flattened, is_number
from vae.diagnostics.verdict import Level

LONGEST_VALUE = 100  # characters; longer values are cut so that they do not break a table
DIGITS = (4, 5, 6)  # significant digits of a number without an error: as few as tell it from the base's
LIGHTS: Mapping[str, str] = {Level.HEALTHY: "●", Level.WARNING: "▲", Level.FAILURE: "■", Level.NOT_JUDGED: "◆"}
FROM_BEST_TO_WORST: Sequence[str] = (Level.HEALTHY, Level.WARNING, Level.FAILURE)
ERRORS = (
    "± is one standard error, for the finite number of test images and samples. The error of a change on the same test "
    "images is smaller than those of its two values, since most of it is common to both."
)
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

    @cached_property
    def names(self) -> list[str]:
        """What the report calls the revisions."""
        return labels(self.full_names)

    @property
    def full_names(self) -> list[str]:
        """The names of the revisions, as given by the user."""
        return [revision.name for revision in self.revisions]

    @cached_property
    def decisions(self) -> list[Decision]:
        """Whether each head passes the gate, and why."""
        base, *heads = self.revisions
        return [
            Decision(
                None if self.limits is None else check_all(base, head, self.limits),
                list({**base.metrics, **head.metrics, **(self.limits or {})}),
            )
            for head in heads
        ]

    @cached_property
    def reruns(self) -> list[list[Rerun]]:
        """For each head, which stages ran again, and why."""
        return [reruns(self.revisions[0], head) for head in self.revisions[1:]]

    @cached_property
    def parameters(self) -> list[Line]:
        """Parameters that differ between revisions."""
        return [self._parameter(row.key) for row in parameters_that_differ(self.revisions)]

    @cached_property
    def verdicts(self) -> list[JudgedLine]:
        """Verdicts that differ between revisions, those that got worse first."""
        lines = [self._judged(key) for key in verdicts_that_differ(self.revisions)]
        return sorted(lines, key=lambda line: Direction.WORSE not in line.directions)

    @cached_property
    def lasting_verdicts(self) -> list[JudgedLine]:
        """Verdicts that are not healthy and the same at all revisions."""
        changed = verdicts_that_differ(self.revisions)
        last = self.revisions[-1].verdicts
        return [
            self._judged(key)
            for key, judgement in last.items()
            if key not in changed and judgement.level != Level.HEALTHY
        ]

    @cached_property
    def metrics(self) -> list[Line]:
        """Metrics that differ and are in ``metrics/STAGE.json`` or have a limit; the most important first."""
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
        # The summaries of verdicts repeat the verdicts.
        keys = [row.key for row in metrics_that_differ(self.revisions) if not row.key.endswith("_verdict")]
        base, *heads = self.revisions
        checks = {key: [check(key, base, head, (self.limits or {}).get(key)) for head in heads] for key in keys}
        ranked = sorted(keys, key=lambda key: min(map(importance, checks[key])))
        return [self._metric(key, checks[key]) for key in ranked]

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
        """Whether no result and no parameter that a report shows differs between the revisions."""
        return not (self.parameters or self.verdicts or self._measured or self.charts or self.pictures)

    def _parameter(self, key: str) -> Line:
        cells = [
            Cell(_shortened(in_words(revision.parameters[key])) if key in revision.parameters else ABSENT)
            for revision in self.revisions
        ]
        return Line(key, cells[0], tuple(cells[1:]))

    def _judged(self, key: str) -> JudgedLine:
        stage, _, name = key.partition(".")
        found = [revision.verdicts.get(key, Judgement(ABSENT)) for revision in self.revisions]
        cells = [JudgedCell(each, _verdict_direction(found[0].level, each.level)) for each in found]
        return JudgedLine(stage, name.replace("_", " "), tuple(cells))

    def _metric(self, key: str, checks: Sequence[Check]) -> Line:
        base, *heads = self.revisions
        cells = []
        for head, each in zip(heads, checks, strict=True):
            comparable = each.direction != Direction.NOT_COMPARABLE
            cells.append(
                Cell(
                    _measured(key, head, base),
                    _difference(each.before, each.after, each.error) if comparable else "",
                    each.direction,
                    in_limits(each) if comparable and each.direction != Direction.MISSING else each.reason,
                )
            )
        return Line(key, Cell(_measured(key, base, *heads)), tuple(cells), (self.limits or {}).get(key))


def _verdict_direction(before: str, after: str) -> Direction:
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


def _measured(metric: str, revision: Revision, *others: Revision) -> str:
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
        return _shortened(in_words(value))
    apart = [other for each in others if isinstance(other := each.metrics.get(metric), float) and other != value]
    for digits in DIGITS:
        text = f"{value:.{digits}g}"
        if text not in [f"{other:.{digits}g}" for other in apart]:
            break
    return text


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
