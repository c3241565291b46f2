"""What a diagnosis comes to: a level, what it rests on, and what to try."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isnan
from textwrap import wrap
from typing import NamedTuple


class Level(StrEnum):
    """The traffic light of a verdict."""

    HEALTHY = "healthy"
    WARNING = "warning"
    FAILURE = "failure"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Verdict:
    """One failure mode, judged.

    Attributes:
        subject: what is judged, e.g. ``posterior collapse``.
        level: how it stands.
        finding: what was measured, with its figures.
        criterion: the thresholds, and where they come from.
        advice: which parameter to try; empty where nothing is to be done.
    """

    subject: str
    level: Level
    finding: str
    criterion: str
    advice: str = ""


class Diagnosis(NamedTuple):
    """Measures by their names in the metrics, and the verdicts that they come to."""

    measures: Mapping[str, object]
    verdicts: Sequence[Verdict]


def grade(value: float, warning: float, failure: float) -> Level:
    """The level of a measure: failure beyond one threshold, warning beyond the other.

    The measure is the worse the higher it is where ``failure`` lies above ``warning``, and the worse the lower it is
    where ``failure`` lies below. A value at a threshold is still on the better side; NaN is not judged.
    """
    if isnan(value):
        return Level.NOT_JUDGED
    sign = 1 if failure > warning else -1
    if sign * value > sign * failure:
        return Level.FAILURE
    return Level.WARNING if sign * value > sign * warning else Level.HEALTHY


def worst(*levels: Level) -> Level:
    """The worst of some levels, of which none is ``not judged``."""
    return max(levels, key=[Level.HEALTHY, Level.WARNING, Level.FAILURE].index)


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts are no good, in a few words: ``1 failure, 2 warnings``, or ``healthy``."""
    counts = [(sum(verdict.level == level for verdict in verdicts), level) for level in (Level.FAILURE, Level.WARNING)]
    words = [f"{count} {level}{'s' * (count > 1)}" for count, level in counts if count]
    return ", ".join(words) or str(Level.HEALTHY)


def levels(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """The levels by subject, as metrics: ``posterior collapse`` is called ``posterior_collapse``."""
    return {verdict.subject.replace(" ", "_"): str(verdict.level) for verdict in verdicts}


def table(verdicts: Sequence[Verdict], width: int = 116) -> str:
    """The verdicts as a table of text: level, subject, finding; where it is not healthy also criterion and advice."""
    first = max((len(verdict.level) for verdict in verdicts), default=0)
    second = max((len(verdict.subject) for verdict in verdicts), default=0)
    lines = []
    for verdict in verdicts:
        words = [verdict.finding]
        if verdict.level in {Level.WARNING, Level.FAILURE}:
            words += [f"Healthy: {verdict.criterion}"] + [f"Try: {verdict.advice}"] * bool(verdict.advice)
        rows = [row for text in words for row in wrap(text, width - first - second - 4)]
        heads = [(str(verdict.level), verdict.subject), *[("", "")] * (len(rows) - 1)]
        lines += [
            f"{level:{first}}  {subject:{second}}  {row}" for (level, subject), row in zip(heads, rows, strict=True)
        ]
    return "\n".join(lines)
