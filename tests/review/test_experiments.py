"""The table of experiments, and its command line."""

import sys
from collections import Counter

import pytest

from faults.project import Project
from review.comparison import METRICS, Order
from review.experiments import footnotes, legend, listed, main, table
from review.revisions import Revision, Value, load_revision, unfinished
from review.tables import WIDTH
from tests import in_process
from tests.review.revisions import revision
from tests.review.saved import remove_metrics, save_experiment

ELBO = Order(["evaluate.test.negative_elbo"])


def run(name: str, elbo: float | None, **parameters: Value) -> Revision:
    """A run with a few parameters; a double underscore in a name stands for a dot."""
    chosen = {"prepare.seed": 0, **{key.replace("__", "."): value for key, value in parameters.items()}}
    return revision(name, chosen, {"evaluate.test.negative_elbo": elbo})


def rows(runs: list[Revision], order: Order = ELBO) -> list[list[str]]:
    return [line.split() for line in table(runs, order).splitlines()]


def test_the_baseline_comes_first_and_experiments_are_sorted_by_the_first_metric() -> None:
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
    assert rows(runs) == expected
    expected[3:5] = reversed(expected[3:5])
    assert rows(runs, Order(ELBO.metrics, highest_first=True)) == expected


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


def test_values_have_their_standard_errors_with_the_same_number_of_decimals() -> None:
    values = {"HEAD": (24.0, 0.31), "a": (23.7321, 1.254), "b": (24.5, None), "c": (None, None)}
    runs = [
        revision(name, {}, {"a.b": value}, errors={} if error is None else {"a.b": error})
        for name, (value, error) in values.items()
    ]
    shown = table(runs, Order(["a.b"])).splitlines()[1:]
    assert [line.split(maxsplit=1) for line in shown] == [
        ["HEAD", "24.00 ± 0.31"],
        ["a", "23.73 ± 1.25"],
        ["b", "24.50"],
        ["c", "–"],
    ]
    assert "± is one standard error" in legend(runs, Order(["a.b"]))
    assert "±" not in legend(runs[2:], Order(["a.b"]))


def test_experiments_whose_loss_cannot_be_compared_with_that_of_the_baseline_are_ranked_apart() -> None:
    runs = [
        run("HEAD", 24.0, model__likelihood="bernoulli"),
        run("a", -90.0, model__likelihood="gaussian"),
        run("b", 23.0, model__likelihood="bernoulli"),
        run("c", -95.0, model__likelihood="gaussian"),
        run("d", -99.0, model__likelihood="laplace"),
    ]
    text = table(runs, ELBO)
    assert [line.split()[0] if line else "" for line in text.splitlines()] == (
        ["experiment", "HEAD", "b", "", "Not", "c", "a", "", "Not", "d"]
    )
    assert "\n\nNot comparable with the first rows, because of another model.likelihood (gaussian):\nc " in text


def test_a_column_that_cannot_be_compared_is_named_below_the_table() -> None:
    runs = [
        revision(name, {"generate.samples": samples}, {"a.b": 1.0, "generate.recall": 0.5})
        for name, samples in (("HEAD", 10_000), ("a", 100))
    ]
    assert "generate.recall of a is not comparable with HEAD: another generate.samples (100)." in (
        footnotes(runs, metrics=["a.b", "generate.recall"])
    )


def test_standard_errors_are_left_out_before_columns_are_from_the_right_where_that_makes_the_table_narrower() -> None:
    metrics = [*(f"stage.m{number}" for number in range(8)), "stage.a_very_long_name"]
    errors = dict.fromkeys(metrics, 0.25)
    runs = [revision(name, {}, dict.fromkeys(metrics, 1.0), errors=errors) for name in ("HEAD", "a")]
    text = table(runs, Order(metrics))
    assert [line.count("±") for line in text.splitlines()[:3]] == [0, 6, 6]
    assert text.splitlines()[1].split()[-4:] == ["1.0000", "1.00", "±", "0.25"]
    assert text.endswith("\n\nStandard errors left out to fit the line: m5, m6, m7.")


def test_the_list_of_metrics_ends_with_a_line_on_their_standard_errors() -> None:
    assert listed([revision(metrics={"a": 1.0, "b": 2.0}, errors={"a": 0.5}), revision(metrics={"c": 1.0})]) == [
        "a",
        "b",
        "c",
        "Metrics estimated from images or samples have a standard error, which the files contain as NAME_se.",
    ]


def test_parameters_in_which_experiments_differ_have_a_column() -> None:
    runs = [
        run("HEAD", 26.0, prepare__dataset="digits", train__beta=1.0, train__seed=0),
        run("a", 25.0, prepare__dataset="mnist", train__beta=1.0, train__seed=1),
        run("b", 27.0, prepare__dataset="mnist", train__beta=4.0, train__seed=2),
    ]
    assert rows(runs)[0] == ["experiment", "beta", "train.seed", "negative_elbo"]
    assert "HEAD differs from all experiments in prepare.dataset (digits instead of mnist)." in footnotes(runs)


def test_a_single_experiment_has_columns_for_the_parameters_that_differ_from_the_baseline() -> None:
    runs = [run("HEAD", 26.0, train__beta=1.0, train__epochs=30), run("a", 25.0, train__beta=1.0, train__epochs=3)]
    assert rows(runs)[0] == ["experiment", "epochs", "negative_elbo"]
    assert footnotes(runs) == ["HEAD is the current commit. dvc exp apply NAME brings an experiment to the workspace."]


def test_without_experiments_the_baseline_is_shown_with_the_command_that_runs_one() -> None:
    runs = [run("HEAD", 26.0)]
    assert rows(runs) == [["experiment", "negative_elbo"], ["HEAD", "26.000"]]
    assert footnotes(runs) == ["No experiment of HEAD has results yet. Run one with dvc exp run -S KEY=VALUE."]


def test_three_parameters_and_five_metrics_fit_a_terminal_and_more_metrics_are_dropped() -> None:
    values = dict(zip(METRICS, (105.43, 25.15, 20, 0.33, 0.974), strict=True))
    errors = dict(zip(METRICS, (0.27, 0.06, 0.0, 0.0047, 0.0016), strict=True))
    runs = [
        revision(
            f"limpy-gam{number}",
            {"model.latent_dim": number, "train.beta": number / 2, "train.seed": number, "embed.seed": 0},
            {**values, "evaluate.test.negative_iwae_bound": 100.0, "embed.linear_probe_accuracy": 0.9},
            errors=errors,
        )
        for number in range(10)
    ]
    text = table(runs, Order(METRICS))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert "105.43 ± 0.27" in text
    assert "0.97400" not in text
    assert text.endswith("\n\nStandard errors left out to fit the line: recall.")
    text = table(runs, Order([*METRICS, "evaluate.test.negative_iwae_bound", "embed.linear_probe_accuracy"]))
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert "\nLeft out to fit the line: negative_iwae_bound, linear_probe_accuracy. " in text


def test_the_notes_count_experiments_without_results() -> None:
    assert footnotes([run("HEAD", 26.0), run("a", 25.0)], {"queued": 2, "failed": 1}, ["b", "c"])[1:] == [
        "Not in the table: 2 queued, 1 failed; see dvc queue status.",
        "Not in the table: 2 without any of these metrics (b, c).",
    ]


def test_make_experiments_lists_experiments_and_counts_those_that_are_queued_failed_or_without_metrics(
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
    assert "Sorted by evaluate.test.negative_elbo, the lowest first. " in output
    assert output.endswith(
        "Not in the table: 2 queued, 1 failed; see dvc queue status.\n"
        "Not in the table: 1 without any of these metrics (empty).\n"
    )


def test_the_workspace_has_a_row_only_if_it_differs_from_all_experiments(workspace: Project) -> None:
    metrics = ("--metrics", "neighbour_accuracy")
    save_experiment(workspace, "flat", {"embed.method": "pca"}, {"neighbour_accuracy": 0.99})
    workspace.dvc("exp", "apply", "flat")
    assert "workspace" not in in_process.run(workspace, main, *metrics).replace(
        "brings an experiment to the workspace", ""
    )
    workspace.set({"embed.method": "umap"})
    assert [line.split()[:2] for line in in_process.run(workspace, main, *metrics).splitlines()[1:4]] == [
        ["HEAD", "tsne"],
        ["workspace", "umap"],
        ["flat", "pca"],
    ]


def test_an_error_about_a_project_without_metrics_says_how_to_get_them(clone: Project) -> None:
    remove_metrics(clone)
    clone.commit("No results")
    output = in_process.run(clone, main, status=2)
    assert output == "HEAD: no metrics yet; run dvc repro or dvc exp run\n"


def test_counting_queued_experiments_in_a_fresh_clone_creates_no_files(clone: Project) -> None:
    before = sorted((clone.folder / ".dvc").rglob("*celery*"))
    assert unfinished(clone.folder) == Counter()
    assert sorted((clone.folder / ".dvc").rglob("*celery*")) == before == []


@pytest.mark.parametrize("asked", ["negative_elb", "recal"])
def test_an_unknown_metric_is_rejected_in_one_line(clone: Project, asked: str) -> None:
    output = in_process.run(clone, main, "--metrics", asked, status=2)
    assert output.startswith(f"{asked}: no such metric; did you mean ")
    assert output.endswith("? make metrics lists all of them\n")
    assert output.count("\n") == 1


def test_make_metrics_lists_every_metric_on_its_own_line(clone: Project) -> None:
    (clone.folder / ".venv").symlink_to(sys.prefix)
    metrics = list(load_revision("HEAD", clone.folder).metrics)
    lines = clone.run("make", "--no-print-directory", "--old-file=.venv/.ready", "metrics").splitlines()
    assert lines[: len(metrics)] == metrics
    assert not any(name.endswith("_se") for name in metrics)
    assert set(METRICS) < set(metrics)
