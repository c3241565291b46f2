"""Limits from what another seed makes of the same code: ``limits.yaml`` written anew."""

import argparse
from collections.abc import Sequence
from io import StringIO
from math import ceil, floor, log10, sqrt
from pathlib import Path
from statistics import mean, stdev

from ruamel.yaml import YAML

from review import command
from review.changes import is_number
from review.comparison import without_seeds
from review.limits import LIMITS, LimitsError, load_limits
from review.revisions import WORKSPACE, experiments, load_revision
from vae.artifacts import write_bytes

FALSE_ALARM = 0.05  # how often another seed alone, with the same code, may be taken for a regression
FEWEST_RUNS = 5  # below which a spread says little


def largest_harmless_change(values: Sequence[float], metrics: int) -> float:
    """By how much a metric may differ between two runs that differ in the seed alone.

        t(1 - α/m, n - 1)·√2·s

    with s the standard deviation of n runs, √2·s that of a difference, and Student's quantile at a probability of α
    that any of m metrics (Bonferroni) exceeds its limit; rounded up to two digits.

    Args:
        values: the metric at each of n seeds.
        metrics: m, how many are judged together.
    """
    from scipy.stats import t

    quantile = float(t.ppf(1 - FALSE_ALARM / metrics, len(values) - 1))
    return rounded_up(quantile * sqrt(2) * stdev(values))


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
    workspace = load_revision(WORKSPACE)
    same = without_seeds(workspace.parameters)
    found = [load_revision(name) for name in arguments.runs or experiments()]
    runs = {
        revision.parameters["train.seed"]: revision for revision in found if without_seeds(revision.parameters) == same
    }
    if len(runs) < FEWEST_RUNS:
        raise LimitsError(
            f"{path}: {len(runs)} runs differ from the workspace in train.seed alone or in nothing, and at least "
            f"{FEWEST_RUNS} are needed; make limits runs ten"
        )

    yaml = YAML()  # keeps comments and order
    document = yaml.load(path.read_text())
    for key, limit in limits.items():
        values = [float(value) for run in runs.values() if is_number(value := run.metrics.get(key))]  # type: ignore[arg-type]
        if len(values) < len(runs):
            raise LimitsError(f"{path}: {key}: {len(runs) - len(values)} of {len(runs)} runs lack it")
        document[key]["max_worse"] = largest_harmless_change(values, len(limits))
        print(
            f"{key}: {mean(values):.5g} ± {stdev(values):.2g} over {len(values)} seeds, limit {limit.max_worse:g} → "
            f"{document[key]['max_worse']:g}"
        )
    text = StringIO()
    yaml.dump(document, text)
    write_bytes(path, text.getvalue().encode())
    return 0


if __name__ == "__main__":
    command.run(main)
