"""What changed from the base revision to each head, and whether it got better or worse."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from review.changes import Direction, in_words, metrics_that_differ, parameters_that_differ, verdicts_that_differ
from review.charts import ABSENT, Chart, Plots
from review.checks import Check, check, check_all, importance, in_limits
from review.decision import Decision
from review.labels import labels
from review.limits import Limit
from review.lines import Cell, JudgedCell, JudgedLine, Line, difference, measured, shortened_value, verdict_direction
from review.pictures import Picture
from review.reruns import Rerun, reruns
from review.revisions import Judgement, Revision, flattened
from vae.diagnostics.verdict import Level

ERRORS = (
    "± is one standard error, for the finite number of test images and samples. The error of a change on the same test "
    "images is smaller than those of its two values, since most of it is common to both."
)


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
            Cell(shortened_value(in_words(revision.parameters[key])) if key in revision.parameters else ABSENT)
            for revision in self.revisions
        ]
        return Line(key, cells[0], tuple(cells[1:]))

    def _judged(self, key: str) -> JudgedLine:
        stage, _, name = key.partition(".")
        found = [revision.verdicts.get(key, Judgement(ABSENT)) for revision in self.revisions]
        cells = [JudgedCell(each, verdict_direction(found[0].level, each.level)) for each in found]
        return JudgedLine(stage, name.replace("_", " "), tuple(cells))

    def _metric(self, key: str, checks: Sequence[Check]) -> Line:
        base, *heads = self.revisions
        cells = []
        for head, each in zip(heads, checks, strict=True):
            comparable = each.direction != Direction.NOT_COMPARABLE
            cells.append(
                Cell(
                    measured(key, head, base),
                    difference(each.before, each.after, each.error) if comparable else "",
                    each.direction,
                    in_limits(each) if comparable and each.direction != Direction.MISSING else each.reason,
                )
            )
        return Line(key, Cell(measured(key, base, *heads)), tuple(cells), (self.limits or {}).get(key))


def _compared_by(revision: Revision) -> set[str]:
    """The metrics of ``metrics/STAGE.json``."""
    stages = {key.partition(".")[0] for key in revision.metrics}
    contents = {stage: revision.read(f"metrics/{stage}.json") for stage in stages}
    return {f"{stage}.{key}" for stage, text in contents.items() if text for key, _ in flattened(json.loads(text))}
