"""Compare runs, grouping those that differ only in their seeds."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any

import pandas as pd

from review.changes import in_words, is_number
from review.limits import LimitsError, load_limits, resolve, short_name
from review.revisions import BASELINE, WORKSPACE, Revision, Value, experiments, load_revision

METRICS = (
    "evaluate.test.negative_elbo",
    "evaluate.test.kl",
    "evaluate.active_units",
    "generate.recall",
    "embed.neighbour_accuracy",
)


@dataclass(frozen=True)
class Order:
    """The metrics of a table, and how the first one sorts it.

    Attributes:
        metrics: keys of the metrics.
        highest_first: whether the runs with the highest value come first.
    """

    metrics: Sequence[str]
    highest_first: bool = False

    def __str__(self) -> str:
        return f"Sorted by {self.metrics[0]}, the {'highest' if self.highest_first else 'lowest'} first."


@dataclass(frozen=True)
class Comparison:
    """Sorted runs, with tables of one row per run.

    Attributes:
        runs: the runs by name.
        parameters: the parameters that differ between runs, without seeds.
        metrics: the compared metrics.
        setting: what each run shares with the runs that differ from it only in seeds: ``latent_dim 2, beta 0.5``, or
            the name of the first run if nothing differs.
    """

    runs: Mapping[str, Revision]
    parameters: pd.DataFrame
    metrics: pd.DataFrame
    setting: "pd.Series[str]"

    @property
    def examples(self) -> dict[str, Revision]:
        """The first run of each setting."""
        first = self.setting.drop_duplicates()
        return {setting: self.runs[name] for name, setting in first.items()}  # type: ignore[index]

    def table(self) -> pd.DataFrame:
        """A row per setting: names of its runs, parameters that differ, number of seeds, and each metric as text."""
        grouped = [part.groupby(self.setting, sort=False) for part in (self.parameters, self.metrics)]
        names = self.setting.index.to_series().groupby(self.setting, sort=False)
        return pd.concat(
            [
                names.agg(", ".join).rename("experiments"),
                grouped[0].first().map(in_words),
                names.size().rename("seeds"),
                grouped[1].agg(summary),
            ],
            axis="columns",
        ).reset_index(drop=True)


def load_runs(names: Sequence[str] = ()) -> list[Revision]:
    """Load runs by name, by default the baseline, its experiments, and the workspace if it differs from them all."""
    if names:
        return [load_revision(name) for name in dict.fromkeys(names)]
    runs = [load_revision(name) for name in (BASELINE, *experiments())]
    workspace = load_revision(WORKSPACE)
    known = any((run.parameters, run.metrics) == (workspace.parameters, workspace.metrics) for run in runs)
    return runs if known else [*runs, workspace]


def choose_order(runs: Sequence[Revision], asked: Sequence[str], *, highest_first: bool = False) -> Order:
    """Look up the requested metrics, and whether the highest or the lowest value comes first.

    Args:
        runs: the runs to look in; each metric must be in at least one.
        asked: the requested metrics, each by the end of its key.
        highest_first: used if ``limits.yaml`` does not have the first metric.

    Raises:
        LimitsError: no run has such a metric, or the runs have no metrics at all.
    """
    known = dict.fromkeys(key for run in runs for key in run.metrics)
    if not known:
        raise LimitsError(f"{', '.join(run.name for run in runs)}: no metrics yet; run dvc repro or dvc exp run")
    metrics = [resolve(metric, known) for metric in asked]
    limit = load_limits().get(metrics[0])
    return Order(metrics, limit.better == "higher" if limit else highest_first)


def about_names(names: Container[str]) -> str:
    """A note on the names in a table."""
    baseline = f"{BASELINE} is the current commit. " if BASELINE in names else ""
    return f"{baseline}dvc exp apply NAME brings an experiment to the workspace."


def with_metric(runs: Sequence[Revision], metric: str) -> list[Revision]:
    """The runs that have a metric.

    Raises:
        LimitsError: no run has it.
    """
    found = [run for run in runs if run.metrics.get(metric) is not None]
    if not found:
        raise LimitsError(f"{metric}: missing from {', '.join(run.name for run in runs)}; run dvc repro")
    return found


def parameters_of(runs: Sequence[Revision]) -> pd.DataFrame:
    """The parameters of runs, one row per run, with None if a run lacks a parameter."""
    found = pd.DataFrame([dict(run.parameters) for run in runs], index=[run.name for run in runs], dtype=object)
    return found.where(found.notna(), None)


def metrics_of(runs: Sequence[Revision], metrics: Sequence[str]) -> pd.DataFrame:
    """Some metrics of runs, one row per run, with None if a run lacks a metric."""
    rows = [[run.metrics.get(metric) for metric in metrics] for run in runs]
    return pd.DataFrame(rows, index=[run.name for run in runs], columns=list(metrics), dtype=object)


def short_names(
    runs: Iterable[Revision], parameters: Iterable[str], metrics: Iterable[str]
) -> tuple[list[str], list[str]]:
    """The shortest unambiguous names of some parameters and some metrics of the runs."""
    runs = list(runs)
    known_parameters = {key: None for run in runs for key in run.parameters}
    known_metrics = {key: None for run in runs for key in run.metrics}
    return (
        [short_name(key, known_parameters) for key in parameters],
        [short_name(key, known_metrics) for key in metrics],
    )


def those_that_differ(parameters: pd.DataFrame) -> pd.DataFrame:
    """The columns in which the rows differ."""
    return parameters.loc[:, parameters.nunique(dropna=False) > 1]


def is_seed(parameter: str) -> bool:
    """Whether a parameter is the seed of a stage."""
    return parameter.endswith(".seed")


def numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """The numbers in a column, with NaN for anything else."""
    return column.where(column.map(is_number)).astype(float)


def compare(runs: Sequence[Revision], order: Order) -> Comparison:
    """Group runs that differ only in seeds, and rank the groups by the mean of the first metric.

    Runs with the same parameters, including seeds, count once, such as a commit and the experiment it was made from.
    Settings without the metric come last.
    """
    parameters = parameters_of(runs).drop_duplicates()
    by_name = {run.name: run for run in runs if run.name in parameters.index}
    metrics = metrics_of(list(by_name.values()), order.metrics)
    parameters = those_that_differ(parameters[[key for key in parameters if not is_seed(str(key))]])
    words = {name: _in_words(run, list(parameters.columns)) for name, run in by_name.items()}
    setting = pd.Series(words, dtype=object).replace("", next(iter(by_name), ""))
    means = numbers(metrics[order.metrics[0]]).groupby(setting).transform("mean")
    ranked = means.sort_values(ascending=not order.highest_first, kind="stable").index
    return Comparison(
        {str(name): by_name[str(name)] for name in ranked},
        parameters.loc[ranked],
        metrics.loc[ranked],
        setting.loc[ranked],
    )


def _in_words(run: Revision, parameters: Sequence[str]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {in_words(run.parameters.get(key))}" for key in parameters)


def summary(values: "pd.Series[Any]") -> str:
    """Format a metric: its value, or mean ± standard deviation over several runs."""
    found = numbers(values).dropna()
    if found.empty:
        value: Value = values.iloc[0]
        return in_words(value)
    mean, spread = found.mean(), found.std()
    if len(found) == 1 or spread == 0:
        return f"{mean:.5g}" + " ± 0" * (len(found) > 1)
    decimals = max(0, 1 - floor(log10(spread)))  # shows two digits of the standard deviation
    return f"{mean:.{decimals}f} ± {spread:.{decimals}f}"
