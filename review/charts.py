"""The charts and pictures of ``dvc plots diff``, with their titles and stages from ``dvc.yaml``."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from review.revisions import ERROR, Revision
from vae.base.errors import VAEError
from vae.base.terminal import printable
from vae.base.yaml12 import parse_yaml

DOTS = 1.5  # pixels of a PNG per pixel of a chart
ABSENT = "not at this revision"
MEASURES = "measures.csv"


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
        differing: revisions whose rows differ from those of the first revision.
    """

    path: str
    stage: str
    title: str
    specification: Mapping[str, Any]
    absent: Mapping[str, str]
    differing: Sequence[str]

    @property
    def same(self) -> bool:
        """Whether all revisions have the same rows."""
        return not self.differing

    @property
    def is_table(self) -> bool:
        """Whether this is a table of a stage's measures."""
        return PurePosixPath(self.path).name == MEASURES


class Picture(NamedTuple):
    """A picture at each revision.

    Attributes:
        path: path of the picture.
        stage: the stage that writes it.
        title: title of the picture.
        contents: content of the file at each revision, or None if a revision lacks it.
    """

    path: str
    stage: str
    title: str
    contents: tuple[bytes | None, ...]

    @property
    def same(self) -> bool:
        """Whether all revisions have the same picture."""
        return len(set(self.contents)) == 1

    @property
    def media_type(self) -> str:
        """The media type, for a data URL."""
        suffix = PurePosixPath(self.path).suffix.removeprefix(".").lower()
        return {"svg": "image/svg+xml", "jpg": "image/jpeg"}.get(suffix, f"image/{suffix}")


class Plots(NamedTuple):
    """The plots that ``dvc plots diff`` shows, in the order of ``dvc.yaml``."""

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
    for path, items in sorted(found.get("data", {}).items(), key=lambda item: _place(item[0], declared)):
        stage, title = declared.get(path, _Declared("", printable(path)))
        contents = tuple(revision.read(path) for revision in revisions)
        if any(item["type"] == "image" for item in items):
            pictures.append(Picture(path, stage, title, contents))
        elif items or any(name == path for name, _ in errors):
            names = [revision.name for revision in revisions]
            reasons = {name: _reason(errors.get((path, name))) for name in names}
            charts.append(_chart(path, stage, title, items[0]["content"] if items else {}, names, reasons))
    return Plots(charts, pictures)


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
    stage: str,
    title: str,
    specification: Mapping[str, Any],
    names: Sequence[str],
    reasons: Mapping[str, str],
) -> Chart:
    if PurePosixPath(path).name == MEASURES:
        specification = _without_errors(specification)
    rows = {
        name: [
            {key: value for key, value in row.items() if key != "rev"}
            for row in specification.get("data", {}).get("values", [])
            if row["rev"] == name
        ]
        for name in names
    }
    absent = {name: reasons[name] for name in names if not rows[name]}
    differing = [name for name in names if rows[name] != rows[names[0]]]
    # The templates name an earlier version of Vega-Lite. The newest draws them alike, but warns of the version.
    specification = {key: value for key, value in specification.items() if key != "$schema"}
    return Chart(path, stage, title, _ordered(specification, names), absent, differing)


def _without_errors(specification: Mapping[str, Any]) -> dict[str, Any]:
    """A table of measures without standard errors, which the report shows beside the values."""
    data = specification.get("data", {})
    rows = [row for row in data.get("values", []) if not str(row.get("measure", "")).endswith(ERROR)]
    return {**specification, "data": {**data, "values": rows}} if data else dict(specification)


def _ordered(part: Any, names: Sequence[str]) -> Any:
    """Sort revisions in the requested order, where Vega would sort them alphabetically."""
    match part:
        case Mapping():
            ordered = {key: _ordered(value, names) if key != "values" else value for key, value in part.items()}
            if part.get("field") == "rev" and part.get("type") == "nominal":
                ordered.setdefault("sort", list(names))
            return ordered
        case list():
            return [_ordered(value, names) for value in part]
        case _:
            return part
