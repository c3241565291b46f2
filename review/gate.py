"""A gate for changes: no metric may get worse by more than its limit."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from review import command
from review.changes import is_number
from review.limits import LIMITS, Limit, LimitsError, load_limits, resolve
from review.revisions import WORKSPACE, Revision, Value, load_revision

PASSED, FAILED = 0, 1


class Check(NamedTuple):
    """One metric at two revisions.

    Attributes:
        metric: its key.
        before: its value at the base; None where there is none.
        after: its value at the other revision.
        worsening: by how much it got worse, None where either revision lacks it.
        limit: what is let through.
    """

    metric: str
    before: Value
    after: Value
    worsening: float | None
    limit: float

    @property
    def passed(self) -> bool:
        """Whether it got worse by no more than its limit. What the base has and the other lacks has not passed."""
        if self.worsening is None:
            return self.before is None
        return self.worsening <= self.limit


def check(base: Revision, head: Revision, limits: Mapping[str, Limit]) -> list[Check]:
    """Hold two revisions against the limits, a check a metric that either has."""
    checks = []
    for metric, limit in limits.items():
        before, after = base.metrics.get(metric), head.metrics.get(metric)
        if before is None and after is None:
            continue
        both = is_number(before) and is_number(after)
        worsening = limit.worsening(float(before), float(after)) if both else None  # type: ignore[arg-type]
        checks.append(Check(metric, before, after, worsening, limit.max_worse))
    return checks


def table(checks: Sequence[Check], base: str, head: str) -> str:
    """The checks as text, those that failed first."""
    from tabulate import tabulate

    rows = [
        [
            "ok" if each.passed else "WORSE" if each.worsening is not None else "GONE",
            each.metric,
            each.before,
            each.after,
            None if each.worsening is None else f"{each.worsening:+.4g}",
            f"{each.limit:.4g}",
        ]
        for each in sorted(checks, key=lambda each: each.passed)
    ]
    return str(tabulate(rows, ["", "metric", base, head, "worse by", "limit"], missingval="–", disable_numparse=True))


def chosen_limits(path: Path, metric: str | None, max_worse: float | None) -> dict[str, Limit]:
    """All limits of the file, or that of one metric, another one in its place where it is given.

    Raises:
        LimitsError: the metric is not in the file, which has to say which way is better, or the limit is below zero.
    """
    limits = load_limits(path)
    if metric is None:
        if max_worse is not None:
            raise LimitsError(f"MAX_WORSE={max_worse:g}: of which metric? Name it, METRIC=…")
        return limits
    key = resolve(metric, limits)
    if max_worse is None:
        return {key: limits[key]}
    if not max_worse >= 0:
        raise LimitsError(f"MAX_WORSE={max_worse:g}: expected zero or more, in the unit of {key}")
    return {key: Limit(better=limits[key].better, max_worse=max_worse)}


def main() -> int:
    """Print the table; the status is 1 where a metric got worse by more than its limit."""
    parser = argparse.ArgumentParser(prog="python -m review.gate", description=__doc__)
    parser.add_argument("base", help="the revision to compare with")
    parser.add_argument("head", nargs="?", default=WORKSPACE, help="the revision to judge; the workspace by default")
    parser.add_argument("--metric", help="judge this one alone")
    parser.add_argument("--max-worse", type=float, help="its limit, in place of that of limits.yaml")
    parser.add_argument("--limits", type=Path, default=LIMITS, help="the file of limits")
    arguments = parser.parse_args()

    limits = chosen_limits(arguments.limits, arguments.metric, arguments.max_worse)
    base, head = load_revision(arguments.base), load_revision(arguments.head)
    checks = check(base, head, limits)
    if not checks:
        raise LimitsError(f"{', '.join(limits)}: neither {base.name} nor {head.name} has it; run dvc repro")
    print(table(checks, base.name, head.name))
    for key in [key for key in base.parameters if key.startswith("prepare.")]:
        if head.parameters.get(key) != base.parameters[key]:
            print(f"Note: {key} is {base.parameters[key]} and {head.parameters.get(key)}; the images differ.")
    failed = [each.metric for each in checks if not each.passed]
    if failed:
        print(f"Worse by more than the limit, or gone: {', '.join(failed)}.")
        return FAILED
    print(f"No metric is worse by more than its limit ({len(checks)} checked).")
    return PASSED


if __name__ == "__main__":
    command.run(main)
