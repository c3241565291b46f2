"""Find what differs between revisions."""

import operator
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from review.revisions import Revision, Value, is_number

# Files have six significant digits, of which another machine may round the last one differently.
ROUNDING = 1e-5


class Direction(StrEnum):
    """What a change of a metric means."""

    BETTER = "better"
    WORSE = "worse"
    WITHIN_SPREAD = "within the spread"  # no larger than the difference that another seed may make
    NOT_SIGNIFICANT = "not significant"  # larger than that, but within two standard errors of the difference
    MISSING = "missing"  # only the first revision has the metric, which has a limit
    CHANGED = "changed"  # the metric has no better direction, or is not in limits.yaml
    NOT_COMPARABLE = "not comparable"  # the values mean something else
    SAME = "same"


class Row(NamedTuple):
    """A key whose value differs between revisions, with its value at each, or None if a revision lacks it."""

    key: str
    values: tuple[Value, ...]


def parameters_that_differ(revisions: Sequence[Revision]) -> list[Row]:
    """The parameters that differ between revisions, in the order of ``params.yaml``."""
    return _rows([revision.parameters for revision in revisions], operator.eq)


def metrics_that_differ(revisions: Sequence[Revision]) -> list[Row]:
    """The metrics that differ between revisions, stage by stage."""
    return _rows([revision.metrics for revision in revisions], is_same)


def verdicts_that_differ(revisions: Sequence[Revision]) -> list[str]:
    """The verdicts whose levels differ between revisions, stage by stage."""
    levels = [{key: judgement.level for key, judgement in revision.verdicts.items()} for revision in revisions]
    return [row.key for row in _rows(levels, operator.eq)]


def is_same(before: Value, after: Value) -> bool:
    """Whether two measured values are equal, or floats that differ by no more than rounding in the files."""
    if isinstance(before, float) and isinstance(after, float) and is_number(before) and is_number(after):
        return abs(after - before) <= ROUNDING * max(abs(before), abs(after))
    return before == after


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


def _rows(mappings: Sequence[Mapping[str, Value]], same: Callable[[Value, Value], bool]) -> list[Row]:
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    rows = [Row(key, tuple(mapping.get(key) for mapping in mappings)) for key in keys]
    return [row for row in rows if not all(same(row.values[0], value) for value in row.values)]
