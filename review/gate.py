"""Fail if any metric got worse by more than its limit, and significantly so.

Two kinds of chance can make a metric worse without any fault of the change:

- *Another seed.* Training with another seed gives another model. The limits of ``limits.yaml`` cover that: they are
  measured over seeds, on the same test images, and do not shrink with the number of test images.
- *Other images and samples.* The test images are finitely many, and so are the samples. The standard error of the
  difference covers that: it says how far the difference would vary on other test images of the same kind, with the same
  two models. It contains no spread over seeds.

A metric fails if it got worse by more than its limit and by more than two standard errors of the difference. One that
is beyond its limit and within two standard errors passes, and the table says that it is not significant. That is no
evidence that it did not get worse; there are too few images or samples to tell.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from review import command
from review.changes import Direction
from review.checks import Check, check_all
from review.decision import Decision, Outcome
from review.labels import labels
from review.limits import LIMITS, Limit, LimitsError, load_limits, resolve
from review.revisions import WORKSPACE, Revision, load_revision
from vae.base.rounding import with_error

PASSED, FAILED = 0, 1
SUMMARY = "Fail if any metric got worse by more than its limit and by more than two standard errors."


# The result of a check in a word; any other change passes.
RESULTS = {
    Direction.WORSE: "WORSE",
    Direction.MISSING: "MISSING",
    Direction.BETTER: "better",
    Direction.NOT_COMPARABLE: "not comparable",
}


def table(checks: Sequence[Check], base: str, head: str) -> str:
    """Format the checks as a table, in their order."""
    from tabulate import tabulate

    rows = [[_result(each), each.metric, each.before, each.after, _worse_by(each), _limit(each)] for each in checks]
    return str(tabulate(rows, ["", "metric", base, head, "worse by", "limit"], missingval="–", disable_numparse=True))


def _result(check: Check) -> str:
    return "not significant" if check.is_uncertain else RESULTS.get(check.direction, "ok")


def _worse_by(check: Check) -> str | None:
    """The worsening with its standard error: ``+0.520 ± 0.038``; None if it cannot be told."""
    if check.worsening is None or check.reason:
        return None
    return with_error(check.worsening, check.error, signed=True) if check.error else f"{check.worsening:+.4g}"


def _limit(check: Check) -> str:
    return f"{check.limit.max_worse:.4g}" if check.limit else "–"


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
    """Print the table; return 1 if a metric got significantly worse, by more than its limit, else 0."""
    parser = argparse.ArgumentParser(prog="python -m review.gate", description=SUMMARY)
    parser.add_argument("base", help="revision to compare with")
    parser.add_argument("head", nargs="?", default=WORKSPACE, help="revision to check (default: the workspace)")
    parser.add_argument("--metric", help="check only this metric")
    parser.add_argument("--max-worse", type=float, help="limit of that metric, instead of the one in limits.yaml")
    parser.add_argument("--limits", type=Path, default=LIMITS, help="file of limits (default: %(default)s)")
    arguments = parser.parse_args()

    limits = chosen_limits(arguments.limits, arguments.metric, arguments.max_worse)
    base, head = load_revision(arguments.base), load_revision(arguments.head)
    checks = check_all(base, head, limits)
    if not checks:
        raise LimitsError(f"{', '.join(limits)}: not measured at {base.name} or at {head.name}; run dvc repro")
    print(table(checks, *labels([base.name, head.name])))
    decision = Decision(checks, list(limits))
    print(*notes(checks, decision, base, head), sep="\n")
    return FAILED if decision.outcome == Outcome.FAILS else PASSED


def notes(checks: Sequence[Check], decision: Decision, base: Revision, head: Revision) -> list[str]:
    """What the table needs to be understood, and in the last line the decision."""
    found = []
    if any(each.error and not each.reason for each in checks):
        found.append("± is one standard error of the difference, for the finite number of test images and samples.")
    for key in [key for key in base.parameters if key.startswith("prepare.")]:
        if head.parameters.get(key) != base.parameters[key]:
            found.append(f"Note: the images differ: {key} is {base.parameters[key]} and {head.parameters.get(key)}.")
    return [
        *found,
        *(f"{words}: {', '.join(metrics)}." for words, metrics in decision.reasons),
        f"{decision.headline}.",
    ]


if __name__ == "__main__":
    command.run(main)
