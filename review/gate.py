"""Fail if any metric got worse by more than its limit."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from review import command
from review.changes import is_number
from review.comparability import why_not_comparable
from review.limits import LIMITS, Limit, LimitsError, load_limits, resolve
from review.revisions import WORKSPACE, Revision, Value, load_revision

PASSED, FAILED = 0, 1


class Check(NamedTuple):
    """One metric at two revisions.

    Attributes:
        metric: key of the metric.
        before: value at the base, or None if there is none.
        after: value at the head, or None if there is none.
        worsening: by how much the metric got worse, or None if either revision lacks it.
        limit: the largest worsening that passes.
        reason: why the two values cannot be compared; empty if they can.
    """

    metric: str
    before: Value
    after: Value
    worsening: float | None
    limit: float
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the metric got worse by no more than its limit, or cannot be compared.

        A metric that only the base has does not pass.
        """
        if self.worsening is None:
            return self.before is None
        return bool(self.reason) or self.worsening <= self.limit

    @property
    def result(self) -> str:
        """The result in a word."""
        if self.reason and self.worsening is not None:
            return "not comparable"
        if self.passed:
            return "ok"
        return "MISSING" if self.worsening is None else "WORSE"


def check(base: Revision, head: Revision, limits: Mapping[str, Limit]) -> list[Check]:
    """Check two revisions against the limits: one check for each metric that either has."""
    checks = []
    for metric, limit in limits.items():
        before, after = base.metrics.get(metric), head.metrics.get(metric)
        if before is None and after is None:
            continue
        both = is_number(before) and is_number(after)
        worsening = limit.worsening(float(before), float(after)) if both else None  # type: ignore[arg-type]
        reason = why_not_comparable(metric, base, head) if both else ""
        checks.append(Check(metric, before, after, worsening, limit.max_worse, reason))
    return checks


def table(checks: Sequence[Check], base: str, head: str) -> str:
    """Format the checks as a table, failed checks first."""
    from tabulate import tabulate

    rows = [
        [
            each.result,
            each.metric,
            each.before,
            each.after,
            None if each.worsening is None or each.reason else f"{each.worsening:+.4g}",
            f"{each.limit:.4g}",
        ]
        for each in sorted(checks, key=lambda each: each.passed)
    ]
    return str(tabulate(rows, ["", "metric", base, head, "worse by", "limit"], missingval="–", disable_numparse=True))


def chosen_limits(path: Path, metric: str | None, max_worse: float | None) -> dict[str, Limit]:
    """All limits of the file, or the limit of one metric, which ``max_worse`` replaces if given.

    Raises:
        LimitsError: the metric is not in the file, which says which direction is better; or the limit is negative.
    """
    limits = load_limits(path)
    if metric is None:
        if max_worse is not None:
            raise LimitsError(f"MAX_WORSE={max_worse:g}: applies to one metric; name it with METRIC=…")
        return limits
    key = resolve(metric, limits, f"{path} lists the metrics that have a limit")
    if max_worse is None:
        return {key: limits[key]}
    if not max_worse >= 0:
        raise LimitsError(f"MAX_WORSE={max_worse:g}: expected a number of at least 0, in the unit of {key}")
    return {key: Limit(better=limits[key].better, max_worse=max_worse)}


def main() -> int:
    """Print the table; return 1 if a metric got worse by more than its limit, else 0."""
    parser = argparse.ArgumentParser(prog="python -m review.gate", description=__doc__)
    parser.add_argument("base", help="revision to compare with")
    parser.add_argument("head", nargs="?", default=WORKSPACE, help="revision to check (default: the workspace)")
    parser.add_argument("--metric", help="check only this metric")
    parser.add_argument("--max-worse", type=float, help="limit of that metric, instead of the one in limits.yaml")
    parser.add_argument("--limits", type=Path, default=LIMITS, help="file of limits (default: %(default)s)")
    arguments = parser.parse_args()

    limits = chosen_limits(arguments.limits, arguments.metric, arguments.max_worse)
    base, head = load_revision(arguments.base), load_revision(arguments.head)
    checks = check(base, head, limits)
    if not checks:
        raise LimitsError(f"{', '.join(limits)}: not measured at {base.name} or at {head.name}; run dvc repro")
    print(table(checks, base.name, head.name))
    for reason in dict.fromkeys(each.reason for each in checks if each.reason):
        names = ", ".join(each.metric for each in checks if each.reason == reason)
        print(f"Not comparable, because of {reason}: {names}.")
    for key in [key for key in base.parameters if key.startswith("prepare.")]:
        if head.parameters.get(key) != base.parameters[key]:
            print(f"Note: the images differ: {key} is {base.parameters[key]} and {head.parameters.get(key)}.")
    failed = [each.metric for each in checks if not each.passed]
    if failed:
        print(f"Worse by more than the limit, or missing: {', '.join(failed)}.")
        return FAILED
    compared = sum(not each.reason for each in checks)
    print(f"No metric got worse by more than its limit ({compared} checked).")
    return PASSED


if __name__ == "__main__":
    command.run(main)
