"""Vega-Lite charts of a study."""

from collections.abc import Mapping
from math import isfinite, log
from statistics import quantiles, stdev
from typing import Any

from review.changes import in_words
from review.limits import short_name
from search.result import Result
from search.study import Range

ACCENT, BEST, INK = "#0072B2", "#D55E00", "#1f2328"  # the first two of Okabe & Ito
# From the best to the worst; dark enough at both ends to be seen on white.
COLOURS = ["#b3370f", "#e08a3c", "#8a8f98", "#7fa6c9", "#3f6fa8"]
PANEL = {"width": 300, "height": 210}
AXIS_WIDTH, AXIS_HEIGHT, ALL_AXES = 132, 320, 900  # pixels of parallel coordinates: an axis, and at least all
FAR = 3.0  # times as far from the best as three quarters of the trials: worse ones are beyond the scale
TICKS = 5
CONFIG = {"font": "system-ui, sans-serif", "view": {"stroke": None}, "axis": {"gridColor": "#e7e9ec"}}


def against_parameters(result: Result) -> dict[str, dict[str, Any]]:
    """The metric against each parameter, a point for each trial, by parameter; the most important one first."""
    return {effect.parameter: _against(result, effect.parameter) for effect in result.effects}


def rows(result: Result) -> list[dict[str, Any]]:
    """A row for each trial with a value: its number, its parameters in words and as numbers, and the metric."""
    found = []
    for place, (trial, value) in enumerate(result.finished):
        runs = [float(run.metrics[result.study.metric]) for run in result.runs[trial.number].values()]  # type: ignore[arg-type]
        spread = stdev(runs) if len(runs) > 1 else 0.0
        row = {
            "trial": trial.number,
            "value": value,
            "low": value - spread,
            "high": value + spread,
            "best": place == 0,
            "place": f"{place + 1} of {len(result.finished)}",
        }
        row |= {_column(result, key): _plain(trial.setting[key]) for key in trial.setting}
        found.append(row)
    return found


def _against(result: Result, key: str) -> dict[str, Any]:
    values = result.study.parameters[key]
    x: dict[str, Any] = {"field": _column(result, key), "title": key}
    if isinstance(values, Range):
        scale = {"type": "log" if values.log else "linear", "domain": list(values.ends), "nice": False}
        x |= {"type": "quantitative", "scale": scale, "axis": {"tickCount": TICKS, "grid": False}}
    else:
        order = [_plain(value) for value in values]
        x |= {"type": "ordinal", "sort": order, "axis": {"labelAngle": 0, "grid": False}}
    scale = {"domain": list(_shown(result)), "zero": False, "nice": False, "clamp": True}
    y = {"field": "value", "type": "quantitative", "title": result.metric, "scale": scale}
    spread = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}
    point = {"type": "point", "filled": True, "size": 55, "opacity": 0.75}
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "rule", "color": ACCENT, "opacity": 0.35}, "encoding": spread},
        {"mark": point, "encoding": {"x": x, "y": y, "color": _best_or_not(), "tooltip": _tooltip(result)}},
    ]
    if not isinstance(values, Range):
        mean = {"type": "tick", "thickness": 2.5, "size": 30, "color": INK}
        layers.append({"mark": mean, "encoding": {"x": x, "y": {**y, "aggregate": "mean"}}})
    return {"config": CONFIG, "data": {"values": rows(result)}, **PANEL, "layer": layers}


def parallel_coordinates(result: Result) -> dict[str, Any]:
    """A line for each trial through its parameters to its metric, coloured by the metric."""
    axes = [effect.parameter for effect in result.effects]
    shown = _shown(result)
    known = dict.fromkeys(result.study.parameters)
    titles = [*(short_name(key, known) for key in axes), result.metric]
    lines, ticks = [], []
    for row, (trial, value) in zip(rows(result), result.finished, strict=True):
        heights = [_height(result, key, trial.setting[key]) for key in axes]
        heights.append(_fraction(value, shown))
        lines += [{**row, "axis": title, "height": height} for title, height in zip(titles, heights, strict=True)]
    for title, key in zip(titles, axes, strict=False):
        ticks += [{"axis": title, "height": height, "label": label} for height, label in _ticks(result, key)]
    ticks += [
        {"axis": titles[-1], "height": _fraction(value, shown), "label": f"{value:.4g}"}
        for value in (shown[0] + (shown[1] - shown[0]) * part / (TICKS - 1) for part in range(TICKS))
    ]
    x = {"field": "axis", "type": "ordinal", "sort": titles, "title": None, "scale": {"type": "point", "padding": 0.4},
         "axis": {"orient": "top", "labelAngle": 0, "labelFontWeight": 600, "labelLimit": AXIS_WIDTH, "domain": False,
                  "ticks": False, "grid": True, "gridColor": "#9aa1a9"}}  # fmt: skip
    y = {"field": "height", "type": "quantitative", "scale": {"domain": [-0.03, 1.05]}, "axis": None}
    colours = COLOURS[::-1] if result.study.direction == "highest" else COLOURS
    colour = {
        "field": "value",
        "type": "quantitative",
        "title": result.metric,
        "scale": {"range": colours, "domain": list(shown), "clamp": True, "interpolate": "rgb"},
    }
    hovered = {"param": "hovered", "empty": False}
    return {
        "config": CONFIG,
        "width": max(AXIS_WIDTH * len(titles), ALL_AXES),
        "height": AXIS_HEIGHT,
        "layer": [
            {
                "data": {"values": lines},
                "params": [{"name": "hovered", "select": {"type": "point", "on": "mouseover", "fields": ["trial"]}}],
                "mark": {"type": "line", "interpolate": "monotone"},
                "encoding": {
                    "x": x,
                    "y": y,
                    "detail": {"field": "trial"},
                    "color": colour,
                    "strokeWidth": {
                        "condition": [{**hovered, "value": 4}, {"test": "datum.best", "value": 3.5}],
                        "value": 1.3,
                    },
                    "opacity": {
                        "condition": [{**hovered, "value": 1}, {"test": "datum.best", "value": 1}],
                        "value": 0.6,
                    },
                    "tooltip": _tooltip(result),
                },
            },
            {
                "data": {"values": ticks},
                "mark": {
                    "type": "text",
                    "align": "left",
                    "dx": 5,
                    "fontSize": 10,
                    "fill": "#1f2328",
                    "stroke": "white",
                    "strokeWidth": 0,
                },
                "encoding": {"x": x, "y": y, "text": {"field": "label"}},
            },
        ],
    }


def progress(result: Result) -> dict[str, Any]:
    """The metric of each trial in the order of the search, and the best so far."""
    ordered = sorted(rows(result), key=lambda row: row["trial"])
    better = max if result.study.direction == "highest" else min
    best: list[float] = []
    for row in ordered:
        best.append(better(best[-1], row["value"]) if best else row["value"])
    values = [{**row, "so_far": so_far} for row, so_far in zip(ordered, best, strict=True)]
    x = {"field": "trial", "type": "quantitative", "title": "trial", "axis": {"tickMinStep": 1, "grid": False}}
    scale = {"domain": list(_shown(result)), "zero": False, "clamp": True}
    y = {"type": "quantitative", "title": result.metric, "scale": scale}
    return {
        "config": CONFIG,
        "data": {"values": values},
        "width": ALL_AXES,
        "height": 210,
        "layer": [
            {
                "mark": {"type": "line", "interpolate": "step-after", "color": BEST, "strokeWidth": 2},
                "encoding": {"x": x, "y": {**y, "field": "so_far"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 50},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "value"},
                    "color": _best_or_not(),
                    "tooltip": _tooltip(result),
                },
            },
        ],
    }


def _shown(result: Result) -> tuple[float, float]:
    """The values between which the metric is drawn: all, or without those that are much worse than the others."""
    best = result.finished[0].value
    distances = sorted(abs(each.value - best) for each in result.finished)
    end = distances[-1]
    if len(distances) > 1:
        bulk = quantiles(distances, n=4)[-1]
        end = max(distance for distance in distances if distance <= FAR * bulk)
    end = end or max(abs(best), 1.0) * 0.01
    margin = 0.04 * end
    return (best - end, best + margin) if result.study.direction == "highest" else (best - margin, best + end)


def is_cut(result: Result) -> bool:
    """Whether some trials are worse than the end of the scale."""
    lowest, highest = _shown(result)
    return any(not lowest <= each.value <= highest for each in result.finished)


def _height(result: Result, key: str, value: Any) -> float:
    """The place of a value on its axis, from 0 to 1."""
    values = result.study.parameters[key]
    if not isinstance(values, Range):
        return values.index(value) / (len(values) - 1)
    ends: tuple[float, float] = values.ends
    return _fraction(log(value), (log(ends[0]), log(ends[1]))) if values.log else _fraction(value, ends)


def _ticks(result: Result, key: str) -> list[tuple[float, str]]:
    """Places and labels of the ticks of an axis."""
    values = result.study.parameters[key]
    if not isinstance(values, Range):
        return [(_height(result, key, value), str(_plain(value))) for value in values]
    low, high = values.ends
    found = {}
    for part in range(TICKS):
        share = part / (TICKS - 1)
        value = low * (high / low) ** share if values.log else low + (high - low) * share
        value = round(value) if values.whole else float(f"{value:.2g}") if 0 < part < TICKS - 1 else value
        found[f"{value:.3g}"] = _height(result, key, value)
    return [(height, label) for label, height in found.items()]


def _fraction(value: float, ends: tuple[float, float]) -> float:
    share = (value - ends[0]) / (ends[1] - ends[0])
    return min(max(share, 0.0), 1.0) if isfinite(share) else 0.0


def _best_or_not() -> dict[str, Any]:
    return {"condition": {"test": "datum.best", "value": BEST}, "value": ACCENT}


def _tooltip(result: Result) -> list[Mapping[str, Any]]:
    fields = [{"field": "trial"}, {"field": "place", "title": "rank"}]
    fields += [{"field": "value", "title": result.metric, "format": ".5g", "type": "quantitative"}]
    return [*fields, *({"field": _column(result, key), "title": key} for key in result.study.parameters)]


def _column(result: Result, key: str) -> str:
    """A name of a column without dots, which Vega-Lite would take for nested values."""
    return f"parameter{list(result.study.parameters).index(key)}"


def _plain(value: Any) -> Any:
    """A value that Vega shows on an axis: a number, or text."""
    return in_words(tuple(value)) if isinstance(value, list | tuple) else in_words(value) if value is None else value
