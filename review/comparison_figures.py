"""Draw metrics against hyperparameters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from review.changes import in_words
from review.comparability import comparable_groups
from review.comparison import Comparison, numbers
from review.revisions import Value, is_number
from vae.figures.canvas import canvas, leave_empty, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colours of Okabe & Ito, each with its own marker.
SERIES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)
PANEL_WIDTH, PANEL_HEIGHT = 4.6, 3.2  # inches
IN_NATS = (
    "negative_elbo",
    "reconstruction",
    "kl",
    "negative_iwae_bound",
    "loss",
    "entropy_floor",
    "mutual_information",
)
LOGARITHMIC_FROM = 8.0  # ratio of a hyperparameter's largest value to its smallest from which its axis is logarithmic


def hyperparameters(comparison: Comparison) -> "Figure":
    """Draw a panel for each metric and hyperparameter: runs as points, and lines through their means.

    A line joins settings that agree in all other hyperparameters. More than seven lines share one colour. Error bars
    are one standard deviation over seeds, or for a single run one standard error. Runs whose metric cannot be compared
    with that of the first run are left out, which the label of the axis says.
    """
    metrics, differing = list(comparison.metrics.columns), list(comparison.parameters.columns)
    width = max(8.0, PANEL_WIDTH * max(len(differing), 1))
    figure = canvas(
        width,
        0.9 + PANEL_HEIGHT * len(metrics),
        "Metrics against hyperparameters",
        "Small points: seeds. Large: their mean ± standard deviation, or a single run ± standard error.",
    )
    panels = figure.subplots(len(metrics), max(len(differing), 1), squeeze=False)
    for row, metric in zip(panels, metrics, strict=True):
        if not differing:
            leave_empty(row[0], "The compared runs differ in no hyperparameter.")
        for axes, parameter in zip(row, differing, strict=False):
            _draw(axes, comparison, parameter, metric)
    for axes, parameter in zip(panels[0], differing, strict=False):
        _explain_lines(axes, parameter, differing)
    return figure


def _draw(axes: "Axes", comparison: Comparison, parameter: str, metric: str) -> None:
    chosen = comparison.parameters[parameter]
    places = _places(axes, list(chosen.unique()))
    first, *others = comparable_groups(metric, list(comparison.runs.values()))
    compared = [run.name for run in first.runs]
    runs = pd.DataFrame(
        {
            "x": chosen.map(places),
            "y": numbers(comparison.metrics[metric]).where(chosen.index.isin(compared)),
            "error": comparison.errors[metric],
            "line": _lines(comparison, parameter),
        }
    ).sort_values("line", kind="stable")
    lines = runs.groupby("line", observed=True)
    told_apart = len(lines) <= len(SERIES)
    for (label, line), (colour, marker) in zip(lines, SERIES if told_apart else [SERIES[0]] * len(lines), strict=False):
        by_setting = line.dropna(subset="y").groupby("x")
        found = by_setting["y"].agg(["mean", "std", "count"])
        bars = found["std"].where(found["count"] > 1, by_setting["error"].first())
        seeds = line[line["x"].isin(found.index[found["count"] > 1])]
        axes.scatter(seeds["x"], seeds["y"], s=10, color=colour, alpha=0.5, linewidths=0)
        axes.errorbar(
            found.index,
            found["mean"],
            bars.fillna(0.0),
            color=colour,
            marker=marker,
            markersize=6,
            linewidth=1.2,
            alpha=1.0 if told_apart else 0.4,
            capsize=3,
            label=literal(str(label)) if told_apart else None,
        )
    axes.set_xlabel("\n".join(map(literal, [parameter, *(f"not shown: {group.reason}" for group in others)])))
    axes.set_ylabel(literal(metric) + "\n(nats per image)" * metric.endswith(IN_NATS))
    axes.grid(alpha=0.3)
    if runs["y"].nunique() == 1:  # matplotlib would show rounding errors large
        axes.set_ylim(runs["y"].min() - 0.1, runs["y"].max() + 0.1)


def _lines(comparison: Comparison, parameter: str) -> "pd.Categorical[str]":
    """The line that each run belongs to, named by the values of all other hyperparameters.

    Lines are sorted by these values, so that their colours do not depend on the ranking of the runs.
    """
    others = comparison.parameters.drop(columns=parameter)
    rows = [tuple(row) for row in others.to_numpy(dtype=object)]
    names = [", ".join(map(in_words, row)) for row in rows]
    order = sorted(zip(rows, names, strict=True), key=lambda each: [_in_order(value) for value in each[0]])
    return pd.Categorical(names, categories=list(dict.fromkeys(name for _, name in order)))


def _explain_lines(axes: "Axes", parameter: str, differing: Sequence[str]) -> None:
    """Add a legend for a column of panels, above its first panel."""
    handles, labels = axes.get_legend_handles_labels()
    if any(labels):
        others = ", ".join(key for key in differing if key != parameter)
        axes.legend(handles, labels, title=literal(others), fontsize=8, title_fontsize=8, ncols=3,
                    loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)  # fmt: skip


def _in_order(value: Value) -> tuple[float, str]:
    return (float(value), "") if is_number(value) else (0.0, in_words(value))  # type: ignore[arg-type]


def _places(axes: "Axes", values: Sequence[Value]) -> dict[Value, float]:
    """Positions of a hyperparameter's values on the x axis: numbers to scale, other values evenly spaced."""
    from matplotlib.ticker import NullFormatter, NullLocator

    numbers = {value: float(value) for value in values if is_number(value)}  # type: ignore[arg-type]
    if len(numbers) < len(values):
        axes.set_xticks(range(len(values)), [literal(in_words(value)) for value in values])
        return {value: float(place) for place, value in enumerate(values)}
    lowest, highest = min(numbers.values()), max(numbers.values())
    if lowest > 0 and highest / lowest >= LOGARITHMIC_FROM:
        axes.set_xscale("log")
    axes.set_xticks(sorted(numbers.values()), [in_words(value) for value in sorted(numbers, key=numbers.__getitem__)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    return numbers
