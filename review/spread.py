"""Measure the spread over seeds, and write the limits of ``limits.yaml`` from it."""

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

FALSE_ALARM = 0.05  # probability that a change of seed alone counts as a regression
FEWEST_RUNS = 5  # a spread over fewer runs is too uncertain


def largest_harmless_changes(measured: pd.DataFrame) -> "pd.Series[float]":
    """The largest difference of each metric to expect between two runs that differ only in the seed.

        t(1 - α/m, n - 1)·√2·s

    where s is the standard deviation over n runs, √2·s that of a difference of two runs, and t Student's quantile.
    With probability α, any of the m metrics exceeds its limit (Bonferroni). Rounded up to two significant digits.

    Args:
        measured: a column for each of the m metrics that are judged together, and a row for each of the n seeds.
    """
    from scipy.stats import t

    seeds, metrics = measured.shape
    quantile = float(t.ppf(1 - FALSE_ALARM / metrics, seeds - 1))
    return (quantile * sqrt(2) * measured.std()).map(rounded_up)


def rounded_up(value: float) -> float:
    """Round up to two significant digits."""
    if value == 0:
        return 0.0
    digits = 1 - floor(log10(value))
    return round(ceil(round(value * 10.0**digits, 6)) / 10.0**digits, digits)


def main() -> int:
    """Measure the spread over runs that differ from the workspace only in their seed; rewrite the limits."""
    parser = argparse.ArgumentParser(prog="python -m review.spread", description=__doc__)
    parser.add_argument("--limits", type=Path, default=LIMITS, help="file of limits, which also names the metrics")
    parser.add_argument("runs", nargs="*", help="experiments or other revisions (default: all of this commit)")
    arguments = parser.parse_args()
    path: Path = arguments.limits

    limits = load_limits(path)
    same = without_seeds(load_revision(WORKSPACE))
    found = [load_revision(name) for name in arguments.runs or experiments()]
    runs = {run.parameters["train.seed"]: run for run in found if without_seeds(run) == same}
    if len(runs) < FEWEST_RUNS:
        raise LimitsError(
            f"{path}: {len(runs)} runs have the parameters of the workspace, except for seeds, and at least "
            f"{FEWEST_RUNS} are needed; make limits runs ten"
        )
    measured = metrics_of(list(runs.values()), list(limits)).apply(numbers)
    for key, missing in measured.isna().sum().items():
        if missing:
            raise LimitsError(f"{path}: {key}: missing from {missing} of {len(runs)} runs")
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
    """The parameters of a run, without the seeds of the stages."""
    return {key: value for key, value in run.parameters.items() if not is_seed(key)}


def rewritten(text: str, limits: Mapping[str, Limit]) -> str:
    """Replace the limits in the text of ``limits.yaml``, and keep the comment at its beginning."""
    comment = takewhile(lambda line: line.startswith("#") or not line.strip(), text.splitlines())
    lines = [f"{key}: {{better: {limit.better}, max_worse: {limit.max_worse}}}" for key, limit in limits.items()]
    return "\n".join([*comment, *lines]) + "\n"


if __name__ == "__main__":
    command.run(main)
