"""A metric at two revisions, judged by its limit: the rule of ``make gate``, which the report shows."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import NamedTuple

from review.changes import Direction, is_same
from review.comparability import why_not_comparable
from review.limits import Limit
from review.precision import error_of_difference, is_significant
from review.revisions import Revision, Value, is_number


class Check(NamedTuple):
    """One metric at two revisions.

    Attributes:
        metric: key of the metric.
        before: value at the base, or None if there is none.
        after: value at the head, or None if there is none.
        limit: its better direction and the largest worsening that passes, or None if it is not in ``limits.yaml``.
        reason: why the two values cannot be compared; empty if they can.
        error: the standard error of the difference, or None if it is not known.
    """

    metric: str
    before: Value
    after: Value
    limit: Limit | None = None
    reason: str = ""
    error: float | None = None

    @property
    def worsening(self) -> float | None:
        """By how much the metric got worse; None without a limit, or if either value is not a number."""
        if self.limit is None or not is_number(self.before) or not is_number(self.after):
            return None
        return self.limit.worsening(float(self.before), float(self.after))  # type: ignore[arg-type]  # they are numbers

    @property
    def direction(self) -> Direction:
        """What the change means. It is better or worse only beyond its limit and two standard errors."""
        worsening = self.worsening
        if self.limit is not None and self.before is not None and worsening is None:
            return Direction.MISSING
        if self.reason:
            return Direction.NOT_COMPARABLE
        if is_same(self.before, self.after):
            return Direction.SAME
        if self.limit is None or worsening is None:
            return Direction.CHANGED
        if abs(worsening) <= self.limit.max_worse:
            return Direction.WITHIN_SPREAD
        if not is_significant(worsening, self.error):
            return Direction.NOT_SIGNIFICANT
        return Direction.WORSE if worsening > 0 else Direction.BETTER

    @property
    def passed(self) -> bool:
        """Whether the metric did not get worse, or cannot be compared. One that only the base has does not pass."""
        return self.direction not in {Direction.WORSE, Direction.MISSING}

    @property
    def is_uncertain(self) -> bool:
        """Whether the metric got worse by more than its limit, but within two standard errors."""
        return self.direction == Direction.NOT_SIGNIFICANT and (self.worsening or 0) > 0

    @property
    def times_limit(self) -> float | None:
        """The change in units of the limit; None if it cannot be told, infinite for a change with a limit of 0."""
        worsening = self.worsening
        if worsening is None or self.limit is None or self.reason:
            return None
        if self.limit.max_worse == 0:
            return inf if worsening else 0.0
        return abs(worsening) / self.limit.max_worse


def check(metric: str, base: Revision, head: Revision, limit: Limit | None) -> Check:
    """Compare a metric at two revisions."""
    before, after = base.metrics.get(metric), head.metrics.get(metric)
    if not is_number(before) or not is_number(after):
        return Check(metric, before, after, limit)
    reason, error = why_not_comparable(metric, base, head), error_of_difference(metric, base, head)
    return Check(metric, before, after, limit, reason, error)


def check_all(base: Revision, head: Revision, limits: Mapping[str, Limit]) -> list[Check]:
    """Compare each metric that has a limit and that either revision has; the most important first."""
    checks = [check(metric, base, head, limit) for metric, limit in limits.items()]
    return by_importance(each for each in checks if (each.before, each.after) != (None, None))


def by_importance(checks: Iterable[Check]) -> list[Check]:
    """Sort checks: those that failed, then those that are uncertain, better and the rest; by the size of the change."""
    return sorted(checks, key=importance)


def importance(check: Check) -> tuple[int, float]:
    """The key to sort checks by, of which the lowest is the most important."""
    order = (
        not check.passed,
        check.is_uncertain,
        check.direction == Direction.BETTER,
        check.direction == Direction.NOT_SIGNIFICANT,
        check.direction == Direction.WITHIN_SPREAD,
        check.direction == Direction.NOT_COMPARABLE,
        check.direction == Direction.CHANGED,
    )
    place = order.index(True) if any(order) else len(order)
    return place, -(inf if check.direction == Direction.MISSING else check.times_limit or 0)


def in_limits(check: Check) -> str:
    """The change in units of its limit, in words: ``9.0 × limit``; empty if it cannot be told."""
    if check.direction == Direction.MISSING:
        return "missing"
    times = check.times_limit
    if times is None:
        return ""
    if times == inf:
        return "the limit is 0"
    return f"{times:.{0 if times >= 9.95 else 1}f} × limit"
