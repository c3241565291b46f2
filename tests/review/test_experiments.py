"""The table of experiments, by itself and as a user calls it."""

import sys
from collections import Counter

import pytest

from review.comparison import METRICS, Order
from review.experiments import footnotes, table
from review.revisions import Revision, Value, unfinished
from review.tables import WIDTH
from tests.projects import Project
from tests.review.revisions import revision
from tests.review.saved import remove_metrics, save_experiment

ELBO = Order(["evaluate.test.negative_elbo"])


def run(name: str, elbo: float | None, **parameters: Value) -> Revision:
    """A run of a few parameters; a double underscore stands for the dot."""
    chosen = {"prepare.seed": 0, **{key.replace("__", "."): value for key, value in parameters.items()}}
    return revision(name, chosen, {"evaluate.test.negative_elbo": elbo})


def lines(runs: list[Revision], order: Order = ELBO) -> list[list[str]]:
    return [line.split() for line in table(runs, order).splitlines()]


def test_the_baseline_comes_first_and_experiments_follow_by_the_first_metric() -> None:
    runs = [
        run("HEAD", 26.5, train__beta=1.0),
        run("none", None, train__beta=3.0),
        run("high", 31.25, train__beta=4.0),
        run("low", 25.0, train__beta=0.5),
        run("workspace", 26.5, train__beta=2.0),
    ]
    expected = [
        ["experiment", "beta", "negative_elbo"],
        ["HEAD", "1.0", "26.500"],
        ["workspace", "2.0", "26.500"],
        ["low", "0.5", "25.000"],
        ["high", "4.0", "31.250"],
        ["none", "3.0", "–"],
    ]
    assert lines(runs) == expected
    expected[3:5] = reversed(expected[3:5])
    assert lines(runs, Order(ELBO.metrics, highest_first=True)) == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([105.4321, 98.7], ["105.43", "98.70"]),
        ([0.97397, 0.5], ["0.97397", "0.50000"]),
        ([0.00278552, 0.0], ["0.00279", "0.00000"]),
        ([0.0, 0.0], ["0", "0"]),
        ([20, 2], ["20", "2"]),
        (["1 failure", None], ["1 failure", "–"]),
    ],
)
def test_the_values_of_a_metric_have_the_same_number_of_decimals(values: list[Value], words: list[str]) -> None:
    runs = [revision(str(number), {}, {"a.b": value}) for number, value in enumerate(values)]
    shown = table(runs, Order(["a.b"], highest_first=True)).splitlines()[1:]
    assert [line.split(maxsplit=1)[1] for line in shown] == words


def test_parameters_have_a_column_where_experiments_differ_in_them() -> None:
    runs = [
        run("HEAD", 26.0, prepare__dataset="digits", train__beta=1.0, train__seed=0),
        run("a", 25.0, prepare__dataset="mnist", train__beta=1.0, train__seed=1),
        run("b", 27.0, prepare__dataset="mnist", train__beta=4.0, train__seed=2),
    ]
    assert lines(runs)[0] == ["experiment", "beta", "train.seed", "negative_elbo"]
    assert "HEAD differs from all experiments in prepare.dataset (digits, not mnist)." in footnotes(runs)


def test_of_a_single_experiment_parameters_have_a_column_where_it_differs_from_the_baseline() -> None:
    runs = [run("HEAD", 26.0, train__beta=1.0, train__epochs=30), run("a", 25.0, train__beta=1.0, train__epochs=3)]
    assert lines(runs)[0] == ["experiment", "epochs", "negative_elbo"]
    assert footnotes(runs) == ["dvc exp apply NAME brings an experiment to the workspace."]


def test_without_an_experiment_the_baseline_is_shown_and_the_way_to_make_one() -> None:
    runs = [run("HEAD", 26.0)]
    assert lines(runs) == [["experiment", "negative_elbo"], ["HEAD", "26.000"]]
    assert footnotes(runs) == ["No experiment of HEAD has results yet; dvc exp run -S KEY=VALUE makes one."]


def test_three_parameters_and_five_metrics_fit_a_terminal_and_more_metrics_are_dropped() -> None:
    values = dict(zip(METRICS, (105.43, 25.15, 20, 0.33, 0.974), strict=True))
    runs = [
        revision(
            f"limpy-gam{number}",
            {"model.latent_dim": number, "train.beta": number / 2, "train.seed": number, "embed.seed": 0},
            {**values, "evaluate.test.negative_iwae_bound": 100.0, "embed.linear_probe_accuracy": 0.9},
        )
        for number in range(10)
    ]
    text = table(runs, Order(METRICS))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert "Too wide" not in text
    text = table(runs, Order([*METRICS, "evaluate.test.negative_iwae_bound", "embed.linear_probe_accuracy"]))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert "\nToo wide to show: negative_iwae_bound, linear_probe_accuracy. " in text


def test_experiments_without_results_are_counted() -> None:
    assert footnotes([run("HEAD", 26.0), run("a", 25.0)], {"queued": 2, "failed": 1}, ["b", "c"])[1:] == [
        "Not in the table: 2 queued, 1 failed; see dvc queue status.",
        "Not in the table: 2 without these metrics (b, c).",
    ]


def test_the_command_lists_experiments_beside_those_that_are_queued_failed_or_without_metrics(
    workspace: Project,
) -> None:
    save_experiment(workspace, "flat", {"embed.method": "pca"}, {"neighbour_accuracy": 0.99})
    remove_metrics(workspace)
    workspace.dvc("exp", "save", "--name", "empty")
    workspace.run("git", "checkout", "--quiet", ".")
    workspace.dvc("exp", "run", "--queue", "-S", "prepare.validation_fraction=2")
    workspace.dvc("exp", "run", "--run-all")
    workspace.dvc("exp", "run", "--queue", "-S", "train.beta=0.5,4.0")
    assert unfinished(workspace.folder) == Counter(queued=2, failed=1)

    (workspace.folder / ".venv").symlink_to(sys.prefix)
    output = workspace.run("make", "--no-print-directory", "--old-file=.venv/.ready", "experiments")
    head, baseline, flat, *_ = output.splitlines()
    assert head.split()[:2] == ["experiment", "method"]
    assert [line.split()[:2] for line in (baseline, flat)] == [["HEAD", "tsne"], ["flat", "pca"]]
    assert "Sorted by evaluate.test.negative_elbo, the lowest first.\n" in output
    assert output.endswith(
        "Not in the table: 2 queued, 1 failed; see dvc queue status.\n"
        "Not in the table: 1 without these metrics (empty).\n"
    )


def test_an_edited_workspace_has_a_row_of_its_own_and_one_like_an_experiment_has_none(workspace: Project) -> None:
    command = ("python", "-m", "review.experiments", "--metrics", "neighbour_accuracy")
    save_experiment(workspace, "flat", {"embed.method": "pca"}, {"neighbour_accuracy": 0.99})
    workspace.dvc("exp", "apply", "flat")
    assert "workspace" not in workspace.run(*command).replace("brings an experiment to the workspace", "")
    workspace.set({"embed.method": "umap"})
    assert [line.split()[:2] for line in workspace.run(*command).splitlines()[1:4]] == [
        ["HEAD", "tsne"],
        ["workspace", "umap"],
        ["flat", "pca"],
    ]


def test_a_project_without_any_metrics_says_how_to_get_them(clone: Project) -> None:
    remove_metrics(clone)
    clone.commit("No results")
    output = clone.run("python", "-m", "review.experiments", status=2)
    assert output == "HEAD: no metrics yet; run dvc repro, or dvc exp run\n"


def test_nothing_was_ever_queued_in_a_fresh_clone_and_asking_leaves_no_trace(clone: Project) -> None:
    before = sorted((clone.folder / ".dvc").rglob("*celery*"))
    assert unfinished(clone.folder) == Counter()
    assert sorted((clone.folder / ".dvc").rglob("*celery*")) == before == []


@pytest.mark.parametrize("asked", ["negative_elb", "recal"])
def test_an_unknown_metric_is_refused_in_one_line(clone: Project, asked: str) -> None:
    output = clone.run("python", "-m", "review.experiments", "--metrics", asked, status=2)
    assert output.startswith(f"{asked}: no such metric; did you mean ")
    assert output.count("\n") == 1
