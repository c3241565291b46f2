"""List the experiments of the current commit: names for dvc exp apply, what differs, and a few metrics."""

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from math import floor, isfinite, log10
from typing import Any

import pandas as pd

from review import command
from review.changes import in_words
from review.comparability import Group, comparable_groups, incomparable_columns
from review.comparison import (
    METRICS,
    Order,
    about_names,
    choose_order,
    errors_of,
    headings,
    load_runs,
    metrics_of,
    numbers,
    parameters_of,
    short_names,
    those_that_differ,
)
from review.limits import LimitsError
from review.revisions import BASELINE, ERROR, WORKSPACE, Revision, unfinished
from review.tables import WIDTH, as_narrow_text
from vae.base.rounding import decimals

DIGITS, FEWER_DIGITS = 5, 3  # significant digits of a metric's largest value, and of one below 0.1


def main() -> int:
    """Print the table, or the names of all metrics."""
    parser = argparse.ArgumentParser(prog="python -m review.experiments", description=__doc__)
    parser.add_argument("--metrics", nargs="+", default=METRICS, help="metrics to show; the first one sorts the table")
    parser.add_argument(
        "--highest-first",
        action="store_true",
        help="sort in descending order if limits.yaml does not have the first metric",
    )
    parser.add_argument(
        "--list-metrics", action="store_true", help="list all metrics, one per line, instead of the table"
    )
    arguments = parser.parse_args()

    found = load_runs()
    if arguments.list_metrics:
        print(*listed(found), sep="\n")
        return 0
    order = choose_order(found, arguments.metrics, highest_first=arguments.highest_first)
    runs = [run for run in found if any(run.metrics.get(metric) is not None for metric in order.metrics)]
    if not runs:
        raise LimitsError(f"{', '.join(order.metrics)}: no value at {BASELINE} or in its experiments; run dvc repro")
    print(table(runs, order), textwrap.fill(legend(runs, order), WIDTH), sep="\n\n")
    print(*footnotes(runs, unfinished(), [run.name for run in found if run not in runs], order.metrics), sep="\n")
    return 0


def listed(runs: Sequence[Revision]) -> list[str]:
    """The names of all metrics, and a line about their standard errors if there are any."""
    names = dict.fromkeys(key for run in runs for key in run.metrics)
    errors = any(run.errors for run in runs)
    note = f"Metrics estimated from images or samples have a standard error, which the files contain as NAME{ERROR}."
    return [*names, *[note] * errors]


def legend(runs: Sequence[Revision], order: Order) -> str:
    """How to read the table."""
    errors = (
        " ± is one standard error, for the finite number of test images and samples; it contains no spread over seeds. "
        "make report BASE=… HEAD=… compares two runs on the same images, and so more precisely."
    )
    return f"{order}{errors if errors_of(runs, order.metrics).notna().any(axis=None) else ''}"


def table(runs: Sequence[Revision], order: Order) -> str:
    """A row for each run: the baseline and the workspace, then the experiments in their order.

    Runs whose first metric cannot be compared with that of the first run are ranked apart, below the others.
    """
    shown, metrics = _shown_parameters(runs), metrics_of(runs, order.metrics)
    groups = comparable_groups(order.metrics[0], runs)
    rows = [name for group in groups for name in _ranked(group, order)]
    reasons = pd.Series([group.reason for group in groups for _ in group.runs], dtype=object)
    names = short_names(runs, shown, order.metrics)
    tables = []
    for errors in (errors_of(runs, order.metrics), None):
        columns = [_as_text(metrics[key], None if errors is None else errors[key]) for key in order.metrics]
        found = pd.concat([parameters_of(runs)[shown].map(in_words), *columns], axis="columns").loc[rows]
        found = found.set_axis([*names[0], *names[1]], axis="columns")
        found.insert(0, "experiment", rows)
        tables.append(found)
    return as_narrow_text(tables[0], len(order.metrics), shorter=tables[1], headings=headings(reasons))


def _ranked(group: Group, order: Order) -> list[str]:
    """The names of runs: the baseline and the workspace, then the experiments by the first metric."""
    first = _not_experiments(group.runs)
    values = numbers(metrics_of(group.runs, order.metrics).drop(index=first)[order.metrics[0]])
    return [*first, *map(str, values.sort_values(ascending=not order.highest_first, kind="stable").index)]


def footnotes(
    runs: Sequence[Revision],
    unfinished: Mapping[str, int] | None = None,
    without: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> list[str]:
    """Notes below the table: how to use it, how the baseline differs, and what the table leaves out.

    Args:
        runs: the runs in the table.
        unfinished: the number of queued, running and failed experiments, by state.
        without: the names of experiments that have none of the metrics.
        metrics: the metrics in the table.
    """
    first, parameters = _not_experiments(runs), parameters_of(runs).drop(columns=_shown_parameters(runs))
    experiments = parameters.drop(index=first)
    notes = [about_names(first)]
    if not len(experiments):
        notes = [f"No experiment of {BASELINE} has results yet. Run one with dvc exp run -S KEY=VALUE."]
    for name in first if len(experiments) else []:
        pairs = zip(parameters, parameters.loc[name], experiments.iloc[0], strict=True)
        differing = [
            f"{key} ({in_words(here)} instead of {in_words(there)})" for key, here, there in pairs if here != there
        ]
        if differing:
            notes.append(f"{name} differs from all experiments in {', '.join(differing)}.")
    notes += incomparable_columns(runs, metrics)
    if unfinished:
        counts = ", ".join(f"{count} {state}" for state, count in unfinished.items())
        notes.append(f"Not in the table: {counts}; see dvc queue status.")
    if without:
        notes.append(f"Not in the table: {len(without)} without any of these metrics ({', '.join(without)}).")
    return [textwrap.fill(note, WIDTH, break_on_hyphens=False) for note in notes]


def _not_experiments(runs: Sequence[Revision]) -> list[str]:
    return [run.name for run in runs if run.name in {BASELINE, WORKSPACE}]


def _shown_parameters(runs: Sequence[Revision]) -> list[str]:
    """The parameters that differ between experiments, or if there are none, from the baseline."""
    parameters = parameters_of(runs)
    shown = those_that_differ(parameters.drop(index=_not_experiments(runs)))
    return list((shown if len(shown.columns) else those_that_differ(parameters)).columns)


def _as_text(column: "pd.Series[Any]", errors: "pd.Series[float] | None") -> "pd.Series[str]":
    """Format a metric, with the same number of decimals for all values.

    Args:
        column: the value of each run.
        errors: the standard error of each, or None to show none. The smallest one is shown with two digits.
    """
    known = [] if errors is None else [error for error in errors if isfinite(error) and error > 0]
    if known:
        places = decimals(min(known))
    else:
        largest = numbers(column).abs().max()
        digits = DIGITS if largest >= 0.1 else FEWER_DIGITS
        places = max(0, digits - 1 - floor(log10(largest))) if largest > 0 else 0
    texts = column.map(lambda value: f"{value:.{places}f}" if isinstance(value, float) else in_words(value))
    if errors is None or not known:
        return texts
    return texts.where(~(errors > 0), texts + errors.map(lambda error: f" ± {error:.{places}f}"))


if __name__ == "__main__":
    command.run(main)
