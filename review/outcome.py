"""Summarise a report in numbers: how many metrics got better, how many verdicts worse, and so on."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from review.changes import Direction
from review.findings import Findings

WORDS = {
    Direction.BETTER: "better",
    Direction.WORSE: "worse",
    Direction.WITHIN_SPREAD: "within the spread over seeds",
    Direction.NOT_SIGNIFICANT: "not significant",
    Direction.NOT_COMPARABLE: "not comparable",
    Direction.CHANGED: "changed",
}


class Count(NamedTuple):
    """How many items changed in one way.

    Attributes:
        number: ``3``, or ``17 of 18``.
        words: how they changed, e.g. ``better``.
        direction: whether that is better or worse.
    """

    number: str
    words: str
    direction: Direction = Direction.CHANGED


class Group(NamedTuple):
    """The counts of one kind of item, empty if none of them changed."""

    noun: str
    counts: Sequence[Count]

    @property
    def words(self) -> str:
        """The counts as part of a sentence: ``3 metrics better, 4 worse``."""
        if not self.counts:
            return f"no {self.noun} changed"
        first, *others = self.counts
        noun = self.noun if first.number == "1" else f"{self.noun}s"
        return ", ".join([f"{first.number} {noun} {first.words}", *(f"{each.number} {each.words}" for each in others)])


def outcome(findings: Findings, head: int) -> list[Group]:
    """The counts for one head; 0 is the first."""
    metrics = [line.heads[head].direction for line in (*findings.metrics, *findings.other_measures)]
    name = findings.names[head + 1]
    charts = [name in chart.differing for chart in findings.plots.charts]
    pictures = [picture.contents[head + 1] != picture.contents[0] for picture in findings.plots.pictures]
    words = WORDS if findings.limits is None else {**WORDS, Direction.CHANGED: "changed without a limit"}
    return [
        Group("metric", _counts(metrics, words)),
        Group("verdict", _counts(line.heads[head].direction for line in findings.verdicts)),
        Group("chart", _share(charts)),
        Group("picture", _share(pictures)),
        Group("parameter", _counts(line.heads[head].direction for line in findings.parameters)),
    ]


def sentence(findings: Findings, head: int) -> str:
    """The counts for one head as a sentence, without a full stop."""
    return "; ".join(group.words for group in outcome(findings, head))


def _counts(directions: Iterable[Direction], words: dict[Direction, str] = WORDS) -> list[Count]:
    counts = Counter(directions)
    return [Count(str(counts[each]), text, each) for each, text in words.items() if counts[each]]


def _share(changed: Sequence[bool]) -> list[Count]:
    return [Count(f"{sum(changed)} of {len(changed)}", "changed")] if any(changed) else []
