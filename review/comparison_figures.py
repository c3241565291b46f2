"""Hyperparameters against metrics."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

from review.changes import in_words, is_number
from review.comparison import Setting
from review.revisions import Value
from vae.figures.canvas import canvas, leave_empty

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours, each with a marker of its own.
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
IN_NATS = ("negative_elbo", "reconstruction", "kl", "negative_iw_bound", "loss", "entropy_floor", "mutual_information")
LOGARITHMIC_FROM = 8.0  # ratio of the largest value of a hyperparameter to the smallest


def hyperparameters(compared: Sequence[Setting], metrics: Sequence[str]) -> "Figure":
    """A panel for each hyperparameter and metric: runs as points, means over seeds joined by lines.

    A line joins settings that are alike in all other hyperparameters; with more than seven such lines they are not
    told apart. Bars are a standard deviation over seeds to either side.

    Args:
        compared: settings that differ in the same parameters.
        metrics: one a row of panels.
    """
    differing = list(compared[0].differing) if compared else []
    width = max(8.0, PANEL_WIDTH * max(len(differing), 1))
    figure = canvas(
        width,
        0.9 + PANEL_HEIGHT * len(metrics),
        "Hyperparameters against metrics",
        "Small points: runs. Large ones: means over seeds, with a standard deviation to either side.",
    )
    panels = figure.subplots(len(metrics), max(len(differing), 1), squeeze=False)
    for row, metric in zip(panels, metrics, strict=True):
        if not differing:
            leave_empty(row[0], "The compared runs differ in no hyperparameter.")
        for axes, parameter in zip(row, differing, strict=False):
            _draw(axes, compared, parameter, metric)
    for axes, parameter in zip(panels[0], differing, strict=False):
        _explain_lines(axes, parameter, differing)
    return figure


def _draw(axes: "Axes", compared: Sequence[Setting], parameter: str, metric: str) -> None:
    values = list(dict.fromkeys(setting.differing[parameter] for setting in compared))
    place = _places(axes, values)
    series: dict[str, list[Setting]] = {}
    for setting in sorted(compared, key=_in_order):
        others = {key: value for key, value in setting.differing.items() if key != parameter}
        label = ", ".join(in_words(value) for value in others.values())
        series.setdefault(label, []).append(setting)
    told_apart = len(series) <= len(SERIES)
    for (label, members), (colour, marker) in zip(
        series.items(), SERIES if told_apart else [SERIES[0]] * len(series), strict=False
    ):
        shown = sorted((place[setting.differing[parameter]], setting.values(metric)) for setting in members)
        shown = [(x, found) for x, found in shown if found]
        for x, found in shown:
            if len(found) > 1:
                axes.scatter([x] * len(found), found, s=10, color=colour, alpha=0.5, linewidths=0)
        axes.errorbar(
            [x for x, _ in shown],
            [mean(found) for _, found in shown],
            [stdev(found) if len(found) > 1 else 0.0 for _, found in shown],
            color=colour,
            marker=marker,
            markersize=6,
            linewidth=1.2,
            alpha=1.0 if told_apart else 0.4,
            capsize=3,
            label=label if told_apart else None,
        )
    axes.set_xlabel(parameter)
    axes.set_ylabel(f"{metric}\n(nats per image)" if metric.endswith(IN_NATS) else metric)
    axes.grid(alpha=0.3)
    found = [value for setting in compared for value in setting.values(metric)]
    if found and min(found) == max(found):  # matplotlib would show rounding errors large
        axes.set_ylim(found[0] - 0.1, found[0] + 0.1)


def _explain_lines(axes: "Axes", parameter: str, differing: Sequence[str]) -> None:
    """A legend of the lines of a column of panels, above the first of them."""
    handles, labels = axes.get_legend_handles_labels()
    if any(labels):
        others = ", ".join(key for key in differing if key != parameter)
        axes.legend(handles, labels, title=others, fontsize=8, title_fontsize=8, ncols=3,
                    loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)  # fmt: skip


def _in_order(setting: Setting) -> tuple[tuple[float, str], ...]:
    """Numbers by size, words by the alphabet, so that lines have the same colours however settings are ranked."""
    return tuple(
        (float(value), "") if is_number(value) else (0.0, in_words(value))  # type: ignore[arg-type]
        for value in setting.differing.values()
    )


def _places(axes: "Axes", values: Sequence[Value]) -> dict[Value, float]:
    """Where the values of a hyperparameter lie on the x axis: numbers at their place, all else in a row."""
    from matplotlib.ticker import NullFormatter, NullLocator

    numbers = {value: float(value) for value in values if is_number(value)}  # type: ignore[arg-type]
    if len(numbers) < len(values):
        axes.set_xticks(range(len(values)), [in_words(value) for value in values])
        return {value: float(place) for place, value in enumerate(values)}
    lowest, highest = min(numbers.values()), max(numbers.values())
    if lowest > 0 and highest / lowest >= LOGARITHMIC_FROM:
        axes.set_xscale("log")
    axes.set_xticks(sorted(numbers.values()), [in_words(value) for value in sorted(numbers, key=numbers.__getitem__)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    return numbers
