"""The charts and pictures of ``dvc plots diff``, with their titles and stages from ``dvc.yaml``."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from review.changes import is_same
from review.labels import labels
from review.pictures import Picture, have_same_inputs
from review.revisions import Revision
from vae.base.errors import VAEError
from vae.base.terminal import printable
from vae.base.yaml12 import parse_yaml

DOTS = 1.5  # pixels of a PNG per pixel of a chart
ABSENT = "not at this revision"
SHOWN_AS_TEXT = {"measures", "verdicts"}  # files by name that a report shows as tables of HTML

Plotted = TypeVar("Plotted", "Chart", Picture)


class PlotsError(VAEError):
    """``dvc plots diff`` failed, or a chart cannot be drawn."""


class Chart(NamedTuple):
    """A table drawn by Vega.

    Attributes:
        path: path of the table.
        stage: the stage that writes it.
        title: title of the chart.
        specification: the Vega-Lite specification, with the rows of all revisions; empty if no revision has any.
        absent: revisions that are missing from the chart, with the reason.
        changes: how much the rows of each revision that differs do so from those of the first revision, by its label.
    """

    path: str
    stage: str
    title: str
    specification: Mapping[str, Any]
    absent: Mapping[str, str]
    changes: Mapping[str, float]

    @property
    def same(self) -> bool:
        """Whether all revisions have the same rows."""
        return not self.changes

    @property
    def change(self) -> float:
        """How much the rows differ at most, from 0 to 1."""
        return max(self.changes.values(), default=0.0)


class Plots(NamedTuple):
    """The plots that ``dvc plots diff`` shows, those that changed most first.

    A picture is left out where there is a chart of the same name, or a table of HTML.
    """

    charts: Sequence[Chart]
    pictures: Sequence[Picture]


class _Declared(NamedTuple):
    stage: str
    title: str


def load_plots(revisions: Sequence[Revision], project: Path = Path()) -> Plots:
    """Load the charts and pictures of several revisions.

    Raises:
        PlotsError: ``dvc plots diff`` failed.
        RevisionError: a table or a picture is not what a revision's ``dvc.lock`` records.
    """
    found = _plots_diff([revision.name for revision in revisions], project)
    errors = {(error.get("name"), error["rev"]): error for error in found.get("errors", [])}
    declared = _declared(revisions)
    charts, pictures = [], []
    tables = {_name(path) for path in found.get("data", {}) if path.endswith(".csv")}
    for path, items in sorted(found.get("data", {}).items(), key=lambda item: _place(item[0], declared)):
        stage, title = described = declared.get(path, _Declared("", printable(path)))
        contents = tuple(revision.read(path) for revision in revisions)
        if any(item["type"] == "image" for item in items):
            if _name(path) not in tables | SHOWN_AS_TEXT:
                same = tuple(have_same_inputs(path, revisions[0], head) for head in revisions[1:])
                pictures.append(Picture(path, stage, title, contents, same))
        elif _name(path) not in SHOWN_AS_TEXT and (items or any(name == path for name, _ in errors)):
            names = [revision.name for revision in revisions]
            reasons = {name: _reason(errors.get((path, name))) for name in names}
            charts.append(_chart(path, described, items[0]["content"] if items else {}, names, reasons))
    return Plots(_by_change(charts), _by_change(pictures))


def _by_change(plots: Iterable[Plotted]) -> list[Plotted]:
    return sorted(plots, key=lambda plot: -plot.change)


def _name(path: str) -> str:
    return PurePosixPath(path).stem


def as_png(chart: Chart) -> bytes:
    """Draw a chart as PNG, without a browser.

    Raises:
        PlotsError: Vega rejects the chart, so its template is wrong.
    """
    import vl_convert

    try:
        picture: bytes = vl_convert.vegalite_to_png(dict(chart.specification), scale=DOTS)
    except ValueError as error:
        reason = " ".join(str(error).splitlines()[:2])  # the rest is Vega's stack trace
        raise PlotsError(f"{chart.path}: cannot be drawn ({reason}); fix its template in .dvc/plots") from error
    return picture


@cache
def vega_scripts() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which defines ``window.vegaEmbed``; about 0.9 MB."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


def _plots_diff(names: Sequence[str], project: Path) -> dict[str, Any]:
    """Run ``dvc plots diff --json``. The pictures that it writes are not used; they are read from the revisions."""
    with tempfile.TemporaryDirectory() as pictures:
        result = subprocess.run(
            [sys.executable, "-m", "dvc", "plots", "diff", *names, "--json", "--out", pictures],
            cwd=project,
            env={**os.environ, "DVC_NO_ANALYTICS": "1"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    if result.returncode != 0:
        raise PlotsError(f"dvc plots diff {' '.join(names)} failed:\n{result.stderr.strip()}\nFix this first.")
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def _declared(revisions: Sequence[Revision]) -> dict[str, _Declared]:
    """Stage and title of each plot by path, as declared by the last revision that has the plot."""
    found: dict[str, _Declared] = {}
    for revision in reversed(revisions):
        for stage, entries in parse_yaml(revision.read("dvc.yaml") or b"{}").get("stages", {}).items():
            for entry in entries.get("plots", []):
                ((path, properties),) = entry.items() if isinstance(entry, Mapping) else [(entry, {})]
                title = printable(str(properties.get("title", path)))
                found.setdefault(path, _Declared(stage, title))
    return found


def _place(path: str, declared: Iterable[str]) -> tuple[int, str]:
    """Sort key of a plot: in the order of declaration, undeclared plots last."""
    order = list(declared)
    return order.index(path) if path in order else len(order), path


def _reason(error: Mapping[str, str] | None) -> str:
    """Why a revision is missing from a chart."""
    if error is None or error["type"] == "FileNotFoundError":
        return ABSENT
    return f"cannot be read ({printable(error['msg'])})"


def _chart(
    path: str,
    declared: _Declared,
    specification: Mapping[str, Any],
    names: Sequence[str],
    reasons: Mapping[str, str],
) -> Chart:
    """A chart that calls revisions by their labels."""
    called = dict(zip(names, labels(names), strict=True))
    values = specification.get("data", {}).get("values", [])
    rows = {
        label: [{key: value for key, value in row.items() if key != "rev"} for row in values if row["rev"] == name]
        for name, label in called.items()
    }
    base = rows[called[names[0]]]
    # The templates name an earlier version of Vega-Lite. The newest draws them alike, but warns of the version.
    specification = {key: value for key, value in specification.items() if key != "$schema"}
    if values:
        shown = [{**row, "rev": called[row["rev"]]} for row in values]
        specification = {**specification, "data": {**specification["data"], "values": shown}}
    return Chart(
        path,
        declared.stage,
        declared.title,
        _ordered(specification, list(rows)),
        {called[name]: reasons[name] for name in names if not rows[called[name]]},
        {label: change for label, found in rows.items() if (change := change_of_rows(base, found))},
    )


def change_of_rows(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> float:
    """How much the numbers of two tables differ, from 0 to 1; differences as small as rounding count as 0.

    It is the sum of absolute differences over the sum of absolute values, over all cells that are numbers at both, and
    1 for tables with different rows, columns or texts.
    """
    if [list(row) for row in before] != [list(row) for row in after]:
        return 1.0
    differences = total = 0.0
    for first, second in ((row[key], other[key]) for row, other in zip(before, after, strict=True) for key in row):
        one, other = _number(first), _number(second)
        if one is None or other is None:
            if first != second:
                return 1.0
        elif not is_same(one, other):
            differences += abs(one - other)
            total += abs(one) + abs(other)
    return differences / total if total else 0.0


def _number(cell: object) -> float | None:
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if isfinite(value) else None


def _ordered(part: Any, names: Sequence[str]) -> Any:
    """Sort revisions in the requested order, where Vega would sort them alphabetically."""
    match part:
        case Mapping():
            ordered = {key: _ordered(value, names) if key != "values" else value for key, value in part.items()}
            if part.get("field") == "rev" and part.get("type") == "nominal":
                ordered["sort"] = list(names)
            return ordered
        case list():
            return [_ordered(value, names) for value in part]
        case _:
            return part
