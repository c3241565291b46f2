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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from review import command
from review.comparability import why_not_comparable
from review.limits import LIMITS, Limit, LimitsError, load_limits, resolve
from review.precision import error_of_difference, is_significant, with_error
from review.revisions import WORKSPACE, Revision, Value, is_number, load_revision

PASSED, FAILED = 0, 1
SUMMARY = "Fail if any metric got worse by more than its limit and by more than two standard errors."


class Check(NamedTuple):
    """One metric at two revisions.

    Attributes:
        metric: key of the metric.
        before: value at the base, or None if there is none.
        after: value at the head, or None if there is none.
        worsening: by how much the metric got worse, or None if either revision lacks it.
        limit: the largest worsening that passes.
        reason: why the two values cannot be compared; empty if they can.
        error: the standard error of the worsening, or None if it is not known.
    """

    metric: str
    before: Value
    after: Value
    worsening: float | None
    limit: float
    reason: str = ""
    error: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the metric did not get worse by more than its limit and two standard errors, or cannot be compared.

        A metric that only the base has does not pass.
        """
        if self.worsening is None:
            return self.before is None
        return bool(self.reason) or not (self.beyond_limit and is_significant(self.worsening, self.error))

    @property
    def beyond_limit(self) -> bool:
        """Whether the metric got worse by more than its limit, as far as it can be compared."""
        return self.worsening is not None and not self.reason and self.worsening > self.limit

    @property
    def result(self) -> str:
        """The result in a word."""
        if self.reason and self.worsening is not None:
            return "not comparable"
        if self.passed:
            return "not significant" if self.beyond_limit else "ok"
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
        error = error_of_difference(metric, base, head) if both else None
        checks.append(Check(metric, before, after, worsening, limit.max_worse, reason, error))
    return checks


def table(checks: Sequence[Check], base: str, head: str) -> str:
    """Format the checks as a table: failed checks first, then those that are not significant."""
    from tabulate import tabulate

    rows = [
        [
            each.result,
            each.metric,
            each.before,
            each.after,
            _worse_by(each),
            f"{each.limit:.4g}",
        ]
        for each in sorted(checks, key=lambda each: (each.passed, not each.beyond_limit))
    ]
    return str(tabulate(rows, ["", "metric", base, head, "worse by", "limit"], missingval="–", disable_numparse=True))


def _worse_by(check: Check) -> str | None:
    """The worsening with its standard error: ``+0.520 ± 0.038``; None if it cannot be told."""
    if check.worsening is None or check.reason:
        return None
    return with_error(check.worsening, check.error, signed=True) if check.error else f"{check.worsening:+.4g}"


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
    checks = check(base, head, limits)
    if not checks:
        raise LimitsError(f"{', '.join(limits)}: not measured at {base.name} or at {head.name}; run dvc repro")
    print(table(checks, base.name, head.name))
    print(*notes(checks, base, head), sep="\n")
    return FAILED if any(not each.passed for each in checks) else PASSED


def notes(checks: Sequence[Check], base: Revision, head: Revision) -> list[str]:
    """What the table needs to be understood, and in the last line the outcome."""
    found = []
    if any(each.error and not each.reason for each in checks):
        found.append("± is one standard error of the difference, for the finite number of test images and samples.")
    for reason in dict.fromkeys(each.reason for each in checks if each.reason):
        found.append(
            f"Not comparable, because of {reason}: {_names(each for each in checks if each.reason == reason)}."
        )
    for key in [key for key in base.parameters if key.startswith("prepare.")]:
        if head.parameters.get(key) != base.parameters[key]:
            found.append(f"Note: the images differ: {key} is {base.parameters[key]} and {head.parameters.get(key)}.")
    uncertain = [each for each in checks if each.beyond_limit and each.passed]
    if uncertain:
        found.append(f"Worse by more than the limit, but within two standard errors: {_names(uncertain)}.")
    failed = [each for each in checks if not each.passed]
    compared = sum(not each.reason for each in checks)
    if failed:
        found.append(f"Worse by more than the limit, or missing: {_names(failed)}.")
    else:
        worse = "significantly worse" if uncertain else "worse"
        found.append(f"No metric got {worse} by more than its limit ({compared} checked).")
    return found


def _names(checks: Iterable[Check]) -> str:
    return ", ".join(each.metric for each in checks)


if __name__ == "__main__":
    command.run(main)
