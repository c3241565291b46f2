import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from PIL import Image

from faults.project import ROOT, Project
from review.charts import ABSENT, Plots, PlotsError, as_png, change_of_rows, load_plots, vega_scripts
from review.revisions import WORKSPACE, load_revision
from tests.review.changed import changed_clone, edit, record
from vae.base.yaml12 import parse_yaml

LOSSES, SAMPLES = "plots/train/losses.csv", "plots/generate/samples.png"


@pytest.fixture(scope="module")
def changed(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone with changed results. Tests must not change it."""
    return changed_clone(reproduced, tmp_path_factory.mktemp("charts") / "changed")


@pytest.fixture(scope="module")
def plots(changed: Project) -> Plots:
    return plots_of(changed, "HEAD~1", "HEAD")


def plots_of(project: Project, *names: str) -> Plots:
    return load_plots([load_revision(name, project.folder) for name in names], project.folder)


def declared(project: Project) -> dict[str, dict[str, Any]]:
    """Each plot of ``dvc.yaml``, with its properties and its stage."""
    stages = parse_yaml(project.read("dvc.yaml"))["stages"]
    return {
        path: {**properties, "stage": name}
        for name, stage in stages.items()
        for entry in stage.get("plots", [])
        for path, properties in entry.items()
    }


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a specification."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from parts(each)


def test_charts_are_those_of_dvc_plots_diff_except_for_measures_and_the_order_of_revisions(
    changed: Project, plots: Plots, tmp_path: Path
) -> None:
    printed = changed.run("dvc", "plots", "diff", "HEAD~1", "HEAD", "--json", "--out", str(tmp_path))
    data = json.loads(printed)["data"]
    specifications = {
        path: items[0]["content"]
        for path, items in data.items()
        if items[0]["type"] == "vega" and not path.endswith(("measures.csv", "verdicts.csv"))
    }
    assert {chart.path for chart in plots.charts} == set(specifications)
    for chart in plots.charts:
        ours, theirs = json.loads(json.dumps(chart.specification)), specifications[chart.path]
        del theirs["$schema"]
        for part in [*parts(ours), *parts(theirs)]:
            if part.get("field") == "rev":
                part.pop("sort", None)
        assert ours == theirs


def test_each_thing_is_shown_once_with_title_and_stage_from_dvc_yaml_and_those_that_changed_come_first(
    changed: Project, plots: Plots
) -> None:
    """What is a table of HTML is no chart, and what is a chart is no picture; the rest is in the order of dvc.yaml."""
    expected = declared(changed)
    tables = [
        path for path in expected if path.endswith(".csv") and not path.endswith(("measures.csv", "verdicts.csv"))
    ]
    names = {Path(path).stem for path in tables} | {"verdicts"}
    pictures = [path for path in expected if path.endswith(".png") and Path(path).stem not in names]
    for found, paths, first in ((plots.charts, tables, LOSSES), (plots.pictures, pictures, SAMPLES)):
        assert [each.path for each in found] == [first, *(path for path in paths if path != first)]
        for each in found:
            assert (each.stage, each.title) == (expected[each.path]["stage"], expected[each.path]["title"])


def test_charts_and_pictures_that_differ_between_revisions_are_recognized(plots: Plots) -> None:
    assert {chart.path: chart.changes for chart in plots.charts if not chart.same} == {LOSSES: {"HEAD": 1.0}}
    assert [picture.path for picture in plots.pictures if not picture.same] == [SAMPLES]


def test_pictures_have_the_content_of_the_file_at_each_revision(
    changed: Project, reproduced: Project, plots: Plots
) -> None:
    contents = {picture.path: picture.contents for picture in plots.pictures}
    assert contents[SAMPLES] == (reproduced.read(SAMPLES), changed.read(SAMPLES))
    traversals = "plots/generate/traversals.png"
    assert contents[traversals] == (reproduced.read(traversals),) * 2


def test_every_chart_template_draws_a_picture_that_is_neither_empty_nor_full(changed: Project, plots: Plots) -> None:
    templates = {declared(changed)[chart.path]["template"] for chart in plots.charts}
    assert templates | {"measures"} == {path.stem for path in (ROOT / ".dvc/plots").glob("*.json")}
    for chart in plots.charts:
        picture = Image.open(io.BytesIO(as_png(chart)))
        colours = picture.convert("RGB").getcolors(picture.width * picture.height)
        assert picture.format == "PNG"
        assert colours is not None
        background = max(count for count, _ in colours)
        assert picture.width > 300
        assert picture.height > 100
        assert 0.01 < 1 - background / (picture.width * picture.height) < 0.9, f"{chart.path} is empty or full"


def test_the_chart_of_latent_dimensions_draws_the_threshold_from_its_table() -> None:
    """It is the threshold of the verdict; the template contains no other."""
    template = (ROOT / ".dvc/plots/spectrum.json").read_text(encoding="utf-8")
    specification = json.loads(template.replace("<DVC_METRIC_X>", "rank").replace("<DVC_METRIC_Y>", "kl"))
    row = {"rev": "here", "rank": "1", "dimension": "0", "kl": "2.5", "variance": "0.9"}
    for threshold, expected in (("0.3", ["active above: 0.3"]), (None, [])):
        specification["data"] = {"values": [row | ({"active_above": threshold} if threshold else {})]}
        drawing = vl_convert.vegalite_to_svg(specification, vl_version="5.21")
        assert re.findall(r"active above: [0-9.]+", drawing) == expected


def test_an_error_names_the_chart_that_vega_cannot_draw(plots: Plots) -> None:
    chart = plots.charts[0]._replace(specification={"mark": "no such mark", "encoding": {}, "data": {"values": []}})
    with pytest.raises(PlotsError, match=rf"{LOSSES}: cannot be drawn .* fix its template"):
        as_png(chart)


def test_revisions_are_in_the_requested_order_and_a_revision_may_lack_plots(
    reproduced: Project, tmp_path: Path
) -> None:
    project = changed_clone(reproduced, tmp_path / "clone")
    project.run("git", "rm", "--quiet", LOSSES, SAMPLES)
    plots = plots_of(project, "HEAD", WORKSPACE, "HEAD~1")
    losses = next(chart for chart in plots.charts if chart.path == LOSSES)
    assert losses.absent == {WORKSPACE: ABSENT}
    orders = [part["sort"] for part in parts(losses.specification) if part.get("field") == "rev" and "sort" in part]
    assert orders == [["HEAD", WORKSPACE, "HEAD~1"]]
    samples = next(picture for picture in plots.pictures if picture.path == SAMPLES)
    assert [content is None for content in samples.contents] == [False, True, False]
    assert not samples.same
    assert all(not chart.absent for chart in plots.charts if chart is not losses)


def test_a_chart_names_the_revision_whose_table_cannot_be_read(reproduced: Project, tmp_path: Path) -> None:
    project = changed_clone(reproduced, tmp_path / "clone")
    (project.folder / LOSSES).write_bytes(b"\xff\xfe\xfa")
    record(project)
    plots = plots_of(project, "HEAD", WORKSPACE)
    (absent,) = (chart.absent for chart in plots.charts if chart.path == LOSSES)
    assert absent["this change"].startswith("cannot be read (")


def test_an_error_of_dvc_plots_diff_is_passed_on(reproduced: Project, tmp_path: Path) -> None:
    project = changed_clone(reproduced, tmp_path / "clone")
    edit(project, "dvc.yaml", lambda text: text.replace("template: losses", "template: missing"))
    with pytest.raises(PlotsError, match=r"(?s)dvc plots diff HEAD workspace failed:.*missing"):
        plots_of(project, "HEAD", WORKSPACE)


@pytest.mark.slow
def test_the_scripts_contain_vega_and_load_nothing_from_the_web() -> None:
    scripts = vega_scripts()
    assert "window.vegaEmbed=" in scripts
    assert "cdn." not in scripts
    assert "</script" not in scripts.lower()
    assert "<!--" not in scripts


def test_a_commit_is_called_by_its_first_letters_in_charts(changed: Project) -> None:
    commit = changed.run("git", "rev-parse", "HEAD").strip()
    losses = next(chart for chart in plots_of(changed, "HEAD~1", commit).charts if chart.path == LOSSES)
    assert {row["rev"] for row in losses.specification["data"]["values"]} == {"HEAD~1", commit[:8]}
    assert list(losses.changes) == [commit[:8]]


@pytest.mark.parametrize(
    ("after", "change"),
    [
        ([{"x": "1", "y": "2.0"}], 0.0),
        ([{"x": "1", "y": "2.00001"}], 0.0),
        ([{"x": "1", "y": "6.0"}], 0.5),
        ([{"x": "a", "y": "2.0"}], 1.0),
        ([{"x": "1", "z": "2.0"}], 1.0),
        ([], 1.0),
    ],
)
def test_the_change_of_a_table_is_the_share_of_its_numbers_that_differ_by_more_than_rounding(
    after: list[dict[str, str]], change: float
) -> None:
    assert change_of_rows([{"x": "1", "y": "2.0"}], after) == pytest.approx(change)
