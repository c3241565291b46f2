"""Find what differs between revisions, and whether it got better or worse."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from review.limits import Limit
from review.precision import is_significant
from review.revisions import Revision, Value, is_number


class Direction(StrEnum):
    """What a change of a metric means."""

    BETTER = "better"
    WORSE = "worse"
    WITHIN_SPREAD = "within the spread"  # no larger than the difference that another seed may make
    NOT_SIGNIFICANT = "not significant"  # larger than that, but within two standard errors of the difference
    CHANGED = "changed"  # the metric has no better direction, or is not in limits.yaml
    NOT_COMPARABLE = "not comparable"  # the values mean something else
    SAME = "same"


class Row(NamedTuple):
    """A key whose value differs between revisions, with its value at each, or None if a revision lacks it."""

    key: str
    values: tuple[Value, ...]


def parameters_that_differ(revisions: Sequence[Revision]) -> list[Row]:
    """The parameters that differ between revisions, in the order of ``params.yaml``."""
    return _rows([revision.parameters for revision in revisions])


def metrics_that_differ(revisions: Sequence[Revision]) -> list[Row]:
    """The metrics that differ between revisions, stage by stage."""
    return _rows([revision.metrics for revision in revisions])


def verdicts_that_differ(revisions: Sequence[Revision]) -> list[Row]:
    """The verdicts that differ between revisions."""
    return _rows([revision.verdicts for revision in revisions])


def direction(before: Value, after: Value, limit: Limit | None, error: float | None = None) -> Direction:
    """Whether a metric got better or worse from one revision to another.

    Args:
        before: value at the first revision.
        after: value at the other.
        limit: its better direction, and the difference that another seed may make.
        error: the standard error of the difference, if it is known.
    """
    if before == after:
        return Direction.SAME
    if limit is None or not is_number(before) or not is_number(after):
        return Direction.CHANGED
    worsening = limit.worsening(float(before), float(after))  # type: ignore[arg-type]  # they are numbers
    if abs(worsening) <= limit.max_worse:
        return Direction.WITHIN_SPREAD
    if not is_significant(worsening, error):
        return Direction.NOT_SIGNIFICANT
    return Direction.WORSE if worsening > 0 else Direction.BETTER


def in_words(value: Value) -> str:
    """A value as text: all digits of a number, a list as in YAML, a dash for a missing value."""
    match value:
        case None:
            return "–"
        case tuple():
            return f"[{', '.join(map(str, value))}]"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _rows(mappings: Sequence[Mapping[str, Value]]) -> list[Row]:
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    rows = [Row(key, tuple(mapping.get(key) for mapping in mappings)) for key in keys]
    return [row for row in rows if len(set(row.values)) > 1]
