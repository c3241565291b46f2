"""The comparison of experiments, as a user calls it."""

import csv
import shutil

import pytest

from tests.projects import Project
from tests.review.saved import save_experiment

COMPARE = ("python", "-m", "review.compare")


@pytest.fixture(scope="module")
def study(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The baseline and two settings, one of them with two seeds, which are better than it."""
    folder = tmp_path_factory.mktemp("compare") / "study"
    project = Project(shutil.copytree(reproduced.folder, folder, symlinks=True))
    for name, parameters, accuracy, novelty in (
        ("flat", {"embed.method": "pca"}, 0.98, 1.0),
        ("flat-again", {"embed.method": "pca", "embed.seed": "1"}, 0.99, 2.0),
        ("fewer", {"embed.points": "90"}, 0.97, 3.0),
    ):
        save_experiment(project, name, parameters, {"neighbour_accuracy": accuracy, "novelty": novelty})
    return project


def test_the_baseline_and_its_experiments_are_compared_in_a_table_and_pictures(study: Project) -> None:
    output = study.run(*COMPARE, "--metrics", "neighbour_accuracy", "negative_elbo")
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
    assert [row[4] for row in body[:2]] == ["0.9850 ± 0.0071", "0.97"]
    lines = output.splitlines()
    assert lines[0].split() == ["experiments", "method", "points", "seeds", "neighbour_accuracy", "negative_elbo"]
    assert lines[1].startswith("flat +1 ")
    assert "Sorted by embed.neighbour_accuracy, the highest first." in output
    page = (folder / "comparison.md").read_text()
    assert page.startswith("# Comparison of 4 runs\n")
    assert all(f"]({name})" in page for name in names if name.endswith(".png"))
    assert study.run("git", "status", "--porcelain") == ""


def test_the_same_experiments_make_the_same_bytes(study: Project) -> None:
    study.run(*COMPARE)
    first = study.files("comparison")
    study.run(*COMPARE, env={"PYTHONHASHSEED": "7"})
    assert study.files("comparison") == first


def test_experiments_that_are_named_are_compared_alone_and_in_the_order_that_is_asked_for(study: Project) -> None:
    output = study.run(*COMPARE, "flat", "fewer", "flat", "--metrics", "novelty", "--highest-first")
    assert "Sorted by embed.novelty, the highest first." in output
    assert [line.split()[0] for line in output.splitlines()[1:3]] == ["fewer", "flat"]
    assert "HEAD" not in output


def test_a_run_without_the_first_metric_is_named_below_the_table(study: Project) -> None:
    output = study.run(*COMPARE, "--metrics", "novelty")
    assert "Not in the table, since embed.novelty is missing: HEAD\n" in output
    assert [line.split()[0] for line in output.splitlines()[1:3]] == ["flat", "fewer"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("linear_probe", "did you mean embed.linear_probe_accuracy or generate.interpolation_dip.linear?"),
        ("nothing", "metrics/*.json and plots/*/measures.csv list those there are"),
    ],
)
def test_an_unknown_metric_is_refused_in_one_line_with_those_that_are_like_it(
    clone: Project, asked: str, message: str
) -> None:
    output = clone.run(*COMPARE, "--metrics", asked, status=2)
    assert output == f"{asked}: no such metric; {message}\n"
