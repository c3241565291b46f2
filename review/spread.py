"""Limits from what another seed makes of the same code: ``limits.yaml`` written anew."""

import argparse
from collections.abc import Mapping
from itertools import takewhile
from math import ceil, floor, log10, sqrt
from pathlib import Path

import pandas as pd

from review import command
from review.comparison import is_seed, metrics_of, numbers
from review.limits import LIMITS, Limit, LimitsError, load_limits
from review.revisions import WORKSPACE, Revision, Value, experiments, load_revision
from vae.base.artifacts import write_bytes

FALSE_ALARM = 0.05  # how often another seed alone, with the same code, may be taken for a regression
FEWEST_RUNS = 5  # below which a spread says little


def largest_harmless_changes(measured: pd.DataFrame) -> "pd.Series[float]":
    """By how much each metric may differ between two runs that differ in the seed alone.

        t(1 - α/m, n - 1)·√2·s

    with s the standard deviation of n runs, √2·s that of a difference, and Student's quantile at a probability of α
    that any of m metrics (Bonferroni) exceeds its limit; rounded up to two digits.

    Args:
        measured: a column for each of m metrics, which are judged together, and a row for each of n seeds.
    """
    from scipy.stats import t

    seeds, metrics = measured.shape
    quantile = float(t.ppf(1 - FALSE_ALARM / metrics, seeds - 1))
    return (quantile * sqrt(2) * measured.std()).map(rounded_up)


def rounded_up(value: float) -> float:
    """The next number of two significant digits."""
    if value == 0:
        return 0.0
    digits = 1 - floor(log10(value))
    return round(ceil(round(value * 10.0**digits, 6)) / 10.0**digits, digits)


def main() -> int:
    """Measure the spread over runs that differ from the workspace in a seed alone; rewrite the limits."""
    parser = argparse.ArgumentParser(prog="python -m review.spread", description=__doc__)
    parser.add_argument("--limits", type=Path, default=LIMITS, help="the file of limits, which names the metrics")
    parser.add_argument("runs", nargs="*", help="experiments or other revisions; all of this commit by default")
    arguments = parser.parse_args()
    path: Path = arguments.limits

    limits = load_limits(path)
    same = without_seeds(load_revision(WORKSPACE))
    found = [load_revision(name) for name in arguments.runs or experiments()]
    runs = {run.parameters["train.seed"]: run for run in found if without_seeds(run) == same}
    if len(runs) < FEWEST_RUNS:
        raise LimitsError(
            f"{path}: {len(runs)} runs differ from the workspace in train.seed alone or in nothing, and at least "
            f"{FEWEST_RUNS} are needed; make limits runs ten"
        )
    measured = metrics_of(list(runs.values()), list(limits)).apply(numbers)
    for key, missing in measured.isna().sum().items():
        if missing:
            raise LimitsError(f"{path}: {key}: {missing} of {len(runs)} runs lack it")
    changes = largest_harmless_changes(measured)
    for key, limit in limits.items():
        print(
            f"{key}: {measured[key].mean():.5g} ± {measured[key].std():.2g} over {len(runs)} seeds, "
            f"limit {limit.max_worse:g} → {changes[key]:g}"
        )
    new = {key: Limit(better=limit.better, max_worse=float(changes[key])) for key, limit in limits.items()}
    write_bytes(path, rewritten(path.read_text(encoding="utf-8"), new).encode())
    return 0


def without_seeds(run: Revision) -> dict[str, Value]:
    """The parameters of a run but for the seeds of the stages."""
    return {key: value for key, value in run.parameters.items() if not is_seed(key)}


def rewritten(text: str, limits: Mapping[str, Limit]) -> str:
    """The text of ``limits.yaml`` with other limits: a line a metric, below the comment that the file begins with."""
    comment = takewhile(lambda line: line.startswith("#") or not line.strip(), text.splitlines())
    lines = [f"{key}: {{better: {limit.better}, max_worse: {limit.max_worse}}}" for key, limit in limits.items()]
    return "\n".join([*comment, *lines]) + "\n"


if __name__ == "__main__":
    command.run(main)
