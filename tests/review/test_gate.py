"""The gate, and its command line."""

import json
import re
from pathlib import Path

import pytest

from faults.project import Project
from review.checks import Check, check_all
from review.decision import Decision
from review.gate import chosen_limits, main, notes, table
from review.limits import Limit, LimitsError, load_limits
from review.revisions import load_revision
from review.tables import WIDTH
from tests import in_process
from tests.imports import ROOT
from tests.review.changed import record
from tests.review.revisions import revision

LIMITS = {"a": Limit(better="lower", max_worse=0.5), "b": Limit(better="higher", max_worse=0.0)}


def test_the_table_lists_failed_metrics_first() -> None:
    limits = dict.fromkeys(("fine", "bad"), Limit(better="lower", max_worse=1.0))
    base, head = (revision(metrics={"fine": 1.0, "bad": bad}) for bad in (1.0, 3.0))
    text = table(check_all(base, head, limits), "main", "topic")
    heading, _, first, second = text.splitlines()
    assert heading.split() == ["metric", "main", "topic", "worse", "by", "limit"]
    assert first.split() == ["WORSE", "bad", "1.0", "3.0", "+2", "1"]
    assert second.split()[:2] == ["ok", "fine"]


ELBO = "evaluate.test.negative_elbo"
ELBO_LIMIT = {ELBO: Limit(better="lower", max_worse=0.5)}


def test_the_table_shows_the_error_of_the_difference_and_the_notes_say_what_is_not_significant() -> None:
    base = revision("main", metrics={"a": 24.0, "b": 0.5, "c": 1.0}, errors={"a": 0.3, "b": 0.003, "c": 0.3})
    head = revision("topic", metrics={"a": 25.0, "b": 0.45, "c": 1.0}, errors={"a": 0.4, "b": 0.004, "c": 0.4})
    limits = {
        "c": Limit(better="lower", max_worse=0.5),
        "a": Limit(better="lower", max_worse=0.5),
        "b": Limit(better="higher", max_worse=0.01),
    }
    checks = check_all(base, head, limits)
    lines = [re.split(r"\s{2,}", line.strip()) for line in table(checks, "main", "topic").splitlines()[2:]]
    assert lines == [
        ["WORSE", "b", "0.5", "0.45", "+0.0500 ± 0.0050", "0.01"],
        ["not significant", "a", "24.0", "25.0", "+1.00 ± 0.50", "0.5"],
        ["ok", "c", "1.0", "1.0", "+0.00 ± 0.50", "0.5"],
    ]
    assert notes(checks, Decision(checks, list(limits)), base, head) == [
        "± is one standard error of the difference, for the finite number of test images and samples.",
        "Worse: b (5.0 × limit).",
        "Worse by more than the limit, but within two standard errors: a (2.0 × limit).",
        "Fails the gate: 1 metric worse than the limit.",
    ]
    uncertain = [each for each in checks if each.metric != "b"]
    assert notes(uncertain, Decision(uncertain, list(limits)), base, head)[-1] == (
        "Passes the gate: 2 metrics checked, none significantly worse than its limit."
    )


def test_the_table_fits_a_terminal_with_the_longest_names_and_errors() -> None:
    names = list(load_limits(ROOT / "limits.yaml"))
    limit = Limit(better="lower", max_worse=0.00041)
    checks = [Check(name, 102.912, 1102.91, limit, error=0.38) for name in names]
    lines = table(checks, "main", "workspace").splitlines()
    assert max(map(len, lines)) <= WIDTH


def test_a_metric_that_cannot_be_compared_passes_and_says_so() -> None:
    limits = {"evaluate.test.negative_elbo": Limit(better="lower", max_worse=0.5)}
    base = revision("main", {"model.likelihood": "bernoulli"}, {"evaluate.test.negative_elbo": 100.0})
    head = revision("topic", {"model.likelihood": "gaussian"}, {"evaluate.test.negative_elbo": 900.0})
    (only,) = check_all(base, head, limits)
    assert (only.passed, only.reason) == (True, "another model.likelihood")
    row = table([only], "main", "topic").splitlines()[-1]
    assert row.split() == ["not", "comparable", "evaluate.test.negative_elbo", "100.0", "900.0", "–", "0.5"]


def file_of_limits(folder: Path) -> Path:
    path = folder / "limits.yaml"
    path.write_text("evaluate.test.kl: {better: lower, max_worse: 0.5}\ntrain.loss: {better: lower, max_worse: 1}\n")
    return path


def test_a_limit_on_the_command_line_replaces_that_of_limits_yaml(tmp_path: Path) -> None:
    path = file_of_limits(tmp_path)
    assert chosen_limits(path, "kl", 2.0) == {"evaluate.test.kl": Limit(better="lower", max_worse=2.0)}
    assert chosen_limits(path, "kl", None) == {"evaluate.test.kl": Limit(better="lower", max_worse=0.5)}
    assert len(chosen_limits(path, None, None)) == 2


@pytest.mark.parametrize(("metric", "max_worse"), [(None, 1.0), ("kl", -1.0), ("kl", float("nan")), ("nix", 1.0)])
def test_a_limit_without_a_metric_a_negative_limit_and_an_unknown_metric_are_rejected(
    tmp_path: Path, metric: str | None, max_worse: float
) -> None:
    with pytest.raises(LimitsError):
        chosen_limits(file_of_limits(tmp_path), metric, max_worse)


def worsen(project: Project, by: float) -> None:
    path = project.folder / "metrics/evaluate.json"
    metrics = json.loads(path.read_text())
    metrics["test"]["negative_elbo"] += by
    path.write_text(json.dumps(metrics))
    record(project)


def gate(project: Project, *revisions: str, status: int = 0) -> str:
    """The output of the gate for the negative ELBO, which may rise by a quarter of a nat."""
    options = ("--metric", "negative_elbo", "--max-worse", "0.25")
    return in_process.run(project, main, *revisions, *options, status=status)


def test_the_gate_fails_a_worse_metric_and_passes_a_better_one(clone: Project) -> None:
    assert "Passes the gate: 1 metric checked" in gate(clone, "HEAD")
    worsen(clone, 0.5)
    assert "Worse: negative_elbo (2.0 × limit).\nFails the gate: 1 metric worse" in gate(clone, "HEAD", status=1)
    worsen(clone, -1.5)
    assert "Passes the gate: 1 metric checked" in gate(clone, "HEAD")
    clone.commit("Better")
    assert "HEAD~1" in gate(clone, "HEAD", "HEAD~1", status=1)


def test_an_unchanged_workspace_passes_the_committed_limits_and_a_note_says_if_the_images_differ(
    clone: Project,
) -> None:
    measured = set(load_limits(clone.folder / "limits.yaml")) & set(load_revision("HEAD", clone.folder).metrics)
    assert f"{len(measured)} metrics checked" in in_process.run(clone, main, "HEAD")
    clone.set({"prepare.binarize": "threshold"})
    output = in_process.run(clone, main, "HEAD")
    assert "Note: the images differ: prepare.binarize is none and threshold." in output
    assert "Not comparable: validation_loss, " in output
    assert " (another prepare.binarize).\n" in output
    assert "2 metrics checked" in output  # the accuracies of the codes


@pytest.mark.parametrize("arguments", [("nowhere",), ("HEAD", "--metric", "nix"), ("HEAD", "--max-worse", "1")])
def test_an_error_in_the_arguments_is_explained_in_one_line(clone: Project, arguments: tuple[str, ...]) -> None:
    output = in_process.run(clone, main, *arguments, status=2)
    assert "Traceback" not in output
    assert len(output.splitlines()) == 1
