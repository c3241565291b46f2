"""Compare runs, grouping those that differ only in their seeds."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from review.changes import in_words
from review.comparability import comparable_groups
from review.limits import LimitsError, load_limits, resolve, short_name
from review.precision import standard_error
from review.revisions import BASELINE, WORKSPACE, Revision, Value, experiments, is_number, load_revision
from vae.base.rounding import with_error

METRICS = (
    "evaluate.test.negative_elbo",
    "evaluate.test.kl",
    "evaluate.active_units",
    "generate.recall",
    "embed.neighbour_accuracy",
)


NOT_COMPARABLE = "not comparable"  # the column that says why


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
        errors: the standard errors of these metrics, with NaN where there is none.
        apart: why each run is ranked apart: its first metric cannot be compared with that of the runs above. Empty for
            runs in the first group.
        setting: what each run shares with the runs that differ from it only in seeds: ``latent_dim 2, beta 0.5``, or
            the name of the first run if nothing differs.
    """

    runs: Mapping[str, Revision]
    parameters: pd.DataFrame
    metrics: pd.DataFrame
    errors: pd.DataFrame
    apart: "pd.Series[str]"
    setting: "pd.Series[str]"

    @property
    def examples(self) -> dict[str, Revision]:
        """The first run of each setting."""
        first = self.setting.drop_duplicates()
        return {setting: self.runs[name] for name, setting in first.items()}  # type: ignore[index]

    def table(self, *, errors: bool = True) -> pd.DataFrame:
        """A row per setting: names of its runs, parameters that differ, number of seeds, and each metric as text.

        A last column says why settings are ranked apart, if any are.

        Args:
            errors: whether to show the standard errors of single runs.
        """
        rows = [
            [
                ", ".join(map(str, runs)),
                *self.parameters.loc[runs[0]].map(in_words),
                len(runs),
                *(
                    summary(self.metrics[metric].loc[runs], self.errors[metric].loc[runs] if errors else None)
                    for metric in self.metrics
                ),
                self.apart[runs[0]],
            ]
            for runs in self.setting.index.to_series().groupby(self.setting, sort=False).agg(list)
        ]
        columns = ["experiments", *self.parameters.columns, "seeds", *self.metrics.columns, NOT_COMPARABLE]
        table = pd.DataFrame(rows, columns=columns, dtype=object)
        return table if self.apart.any() else table.drop(columns=NOT_COMPARABLE)


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


def errors_of(runs: Sequence[Revision], metrics: Sequence[str]) -> pd.DataFrame:
    """The standard errors of some metrics of runs, one row per run, with NaN if there is none."""
    rows = [[standard_error(run, metric) for metric in metrics] for run in runs]
    return pd.DataFrame(rows, index=[run.name for run in runs], columns=list(metrics), dtype=float)


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
    Settings without the metric come last. Settings whose metric cannot be compared with that of the first run, such as
    the loss of another likelihood, are ranked apart, below the others.
    """
    parameters = parameters_of(runs).drop_duplicates()
    by_name = {run.name: run for run in runs if run.name in parameters.index}
    distinct = list(by_name.values())
    metrics = metrics_of(distinct, order.metrics)
    parameters = those_that_differ(parameters[[key for key in parameters if not is_seed(str(key))]])
    words = {name: _in_words(run, list(parameters.columns)) for name, run in by_name.items()}
    setting = pd.Series(words, dtype=object).replace("", next(iter(by_name), ""))
    means = numbers(metrics[order.metrics[0]]).groupby(setting).transform("mean")
    # A setting is judged by its first run, so that runs which differ only in seeds stay together.
    groups = comparable_groups(order.metrics[0], [by_name[str(name)] for name in setting.drop_duplicates().index])
    places = {setting[run.name]: place for place, group in enumerate(groups) for run in group.runs}
    ranked = [
        name
        for place in range(len(groups))
        for name in means.sort_values(ascending=not order.highest_first, kind="stable").index
        if places[setting[name]] == place
    ]
    return Comparison(
        {str(name): by_name[str(name)] for name in ranked},
        parameters.loc[ranked],
        metrics.loc[ranked],
        errors_of(distinct, order.metrics).loc[ranked],
        pd.Series({name: groups[places[setting[name]]].reason for name in ranked}, dtype=object),
        setting.loc[ranked],
    )


def _in_words(run: Revision, parameters: Sequence[str]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {in_words(run.parameters.get(key))}" for key in parameters)


def summary(values: "pd.Series[Any]", errors: "pd.Series[float] | None" = None) -> str:
    """Format a metric: of one run, its value ± standard error; of several, mean ± standard deviation over the runs.

    Args:
        values: the value of each run.
        errors: the standard error of each run's value, if it is to be shown.
    """
    found = numbers(values).dropna()
    if found.empty:
        value: Value = values.iloc[0]
        return in_words(value)
    mean, spread = found.mean(), found.std()
    if len(values) == 1 and errors is not None and errors.iloc[0] > 0:
        return with_error(mean, errors.iloc[0])
    if len(found) == 1 or spread == 0:
        return f"{mean:.5g}" + " ± 0" * (len(found) > 1)
    return with_error(mean, spread)


def headings(reasons: "pd.Series[str]") -> dict[int, str]:
    """The lines above the groups of a table that are ranked apart, by the number of their first row.

    Args:
        reasons: why each row is ranked apart from the first ones.
    """
    starts = [place for place in range(1, len(reasons)) if reasons.iloc[place] != reasons.iloc[place - 1]]
    return {place: f"Not comparable with the first rows, because of {reasons.iloc[place]}:" for place in starts}
