"""The comparison of experiments from the command line."""

import csv
import shutil
import sys
from pathlib import Path

import pytest

from faults.project import Project
from review.compare import main, write_comparison
from review.comparison import Order, compare
from tests import in_process
from tests.review.revisions import revision
from tests.review.saved import save_experiment

SHOWN = ("neighbour_accuracy", "negative_elbo")


@pytest.fixture(scope="module")
def study(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The baseline and two better settings, one of them with two seeds."""
    folder = tmp_path_factory.mktemp("compare") / "study"
    project = Project(shutil.copytree(reproduced.folder, folder, symlinks=True))
    for name, parameters, accuracy, novelty in (
        ("flat", {"embed.method": "pca"}, 0.98, 1.0),
        ("flat-again", {"embed.method": "pca", "embed.seed": "1"}, 0.99, 2.0),
        ("fewer", {"embed.points": "90"}, 0.97, 3.0),
    ):
        save_experiment(project, name, parameters, {"neighbour_accuracy": accuracy, "novelty": novelty})
    return project


@pytest.fixture(scope="module")
def compared(study: Project) -> str:
    """The output of ``make``, which writes the comparison of all experiments."""
    (study.folder / ".venv").symlink_to(sys.prefix)
    output = study.run(
        "make", "--no-print-directory", "--old-file=.venv/.ready", "compare", f"METRICS={' '.join(SHOWN)}"
    )
    (study.folder / ".venv").unlink()
    return output


def test_make_compare_prints_the_table_of_the_baseline_and_its_experiments_first_and_writes_it_with_pictures(
    study: Project, compared: str
) -> None:
    folder = study.folder / "comparison"
    names = {"comparison.md", "table.csv", "hyperparameters.png", "reconstructions.png", "samples.png"}
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == names
    head, *body = csv.reader((folder / "table.csv").read_text().splitlines())
    parameters = ["embed.method", "embed.points"]
    assert head == ["experiments", *parameters, "seeds", "embed.neighbour_accuracy", "evaluate.test.negative_elbo"]
    assert [row[:4] for row in body] == [
        ["flat, flat-again", "pca", "100", "2"],
        ["fewer", "tsne", "90", "1"],
        ["HEAD", "tsne", "100", "1"],
    ]
    assert body[0][4] == "0.9850 ± 0.0071"  # the standard deviation over two seeds
    assert body[1][4].startswith("0.970 ± 0.02")  # the standard error of a single run
    lines = compared.splitlines()
    assert lines[0].split() == ["experiments", "method", "points", "seeds", "neighbour_accuracy", "negative_elbo"]
    assert lines[1].startswith("flat +1 ")
    assert "Sorted by embed.neighbour_accuracy, the highest first." in compared
    assert [line.split()[0] for line in lines[1:4]] == ["flat", "fewer", "HEAD"]
    assert "\nflat +1: flat, flat-again\n" in compared
    assert "\nHEAD is the current commit. dvc exp apply NAME brings an experiment to the workspace.\n" in compared
    page = (folder / "comparison.md").read_text()
    assert page.startswith("# Comparison of 4 runs\n")
    assert all(f"]({name})" in page for name in names if name.endswith(".png"))
    assert study.run("git", "status", "--porcelain") == ""


def test_comparing_the_same_experiments_again_writes_the_same_bytes(study: Project, compared: str) -> None:
    first = study.files("comparison")
    command = ("python", "-m", "review.compare", "--metrics", *SHOWN)
    assert study.run(*command, env={"PYTHONHASHSEED": "7"}) == compared
    assert study.files("comparison") == first


def test_only_named_experiments_are_compared_and_in_the_requested_order(study: Project) -> None:
    output = in_process.run(
        study, main, "flat", "fewer", "flat", "--out", "another", "--metrics", "novelty", "--highest-first"
    )
    assert "Sorted by embed.novelty, the highest first." in output
    assert [line.split()[0] for line in output.splitlines()[1:3]] == ["fewer", "flat"]
    assert "HEAD" not in output


def test_a_run_without_the_first_metric_is_named_below_the_table(study: Project) -> None:
    output = in_process.run(study, main, "--out", "another", "--metrics", "novelty")
    assert "Not in the table, since embed.novelty is missing: HEAD\n" in output
    assert [line.split()[0] for line in output.splitlines()[1:3]] == ["flat", "fewer"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("linear_probe", "did you mean embed.linear_probe_accuracy or generate.interpolation_dip.linear? "),
        ("nothing", ""),
    ],
)
def test_an_error_about_an_unknown_metric_names_similar_metrics_and_how_to_list_all(
    clone: Project, asked: str, message: str
) -> None:
    output = in_process.run(clone, main, "--metrics", asked, status=2)
    assert output == f"{asked}: no such metric; {message}make metrics lists all of them\n"


def test_an_experiment_with_the_parameters_of_the_baseline_is_named_below_the_table(workspace: Project) -> None:
    save_experiment(workspace, "same", {}, {"neighbour_accuracy": 0.5})
    output = in_process.run(workspace, main, "HEAD", "same", "--metrics", "neighbour_accuracy")
    assert [line.split()[0] for line in output.split("\n\n")[0].splitlines()[1:]] == ["HEAD"]
    assert "Not in the table, since a run above has the same parameters: same\n" in output


def test_names_and_values_break_out_of_neither_the_markdown_nor_the_spreadsheet(tmp_path: Path) -> None:
    hostile = "=cmd|'/C calc'!A0</td><script>"
    runs = [
        revision(name, {"prepare.dataset": value, "train.seed": 0}, {"evaluate.kl": 1.5})
        for name, value in (("=1+1", hostile), ("a`|b", "digits"))
    ]
    order = Order(["evaluate.kl"])
    problems = write_comparison(tmp_path, compare(runs, order), order)
    assert len(problems) == 2
    page = (tmp_path / "comparison.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {6}
    assert "<" not in page
    assert "`" not in page
    cells = [cell for row in csv.reader((tmp_path / "table.csv").read_text().splitlines()) for cell in row]
    assert {f"'{hostile}", "'=1+1"} <= set(cells)
    assert not any(cell.startswith("=") for cell in cells)
