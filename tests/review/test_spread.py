"""Limits that are measured from the spread over seeds."""

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faults.project import Project
from review.limits import Limit, load_limits
from review.spread import FALSE_ALARM, largest_harmless_changes, main, rewritten, rounded_up
from tests import in_process
from tests.review.changed import record


@pytest.mark.parametrize(("value", "rounded"), [(0.0, 0.0), (0.123, 0.13), (12.01, 13.0), (0.0010, 0.001), (7, 7.0)])
def test_limits_are_rounded_up_to_two_digits(value: float, rounded: float) -> None:
    assert rounded_up(value) == rounded


def test_a_limit_is_a_quantile_of_the_difference_of_two_runs() -> None:
    # The standard deviation is √2.5, and 2.1318 is the 95 % quantile of t with 4 degrees of freedom.
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    (alone,) = largest_harmless_changes(pd.DataFrame({"a": values}))
    assert alone == pytest.approx(2.1318 * sqrt(2) * sqrt(2.5), abs=0.1)
    together = largest_harmless_changes(pd.DataFrame({"a": values, "b": values, "constant": [3.0] * 5}))
    assert together["a"] == together["b"] > alone
    assert together["constant"] == 0.0


def test_another_seed_fails_a_gate_of_many_metrics_with_the_stated_probability() -> None:
    random, metrics, seeds, tries = np.random.default_rng(0), 11, 10, 1000
    alarms = 0
    for _ in range(tries):
        measured = pd.DataFrame(random.normal(size=(seeds, metrics)))
        before, after = random.normal(size=(2, metrics))
        alarms += bool((after - before > largest_harmless_changes(measured)).any())
    assert FALSE_ALARM / 2 < alarms / tries < FALSE_ALARM * 1.4


def test_limits_are_written_one_per_line_below_the_first_comment_whatever_their_layout_was() -> None:
    text = "# Why.\n\n# And how.\nb.c:  # no comment between the lines stays\n  better: lower\n  max_worse: 7\na: {}\n"
    limits = {"b.c": Limit(better="lower", max_worse=0.00001), "a": Limit(better="higher", max_worse=0.0)}
    assert rewritten(text, limits) == (
        "# Why.\n\n# And how.\nb.c: {better: lower, max_worse: 1e-05}\na: {better: higher, max_worse: 0.0}\n"
    )


def seeds_committed(project: Project, count: int) -> list[str]:
    """Tags of commits like runs with other seeds, each with a different KL."""
    (project.folder / "limits.yaml").write_text("# Kept.\nevaluate.test.kl: {better: lower, max_worse: 100}\n")
    path = project.folder / "metrics/evaluate.json"
    metrics = json.loads(path.read_text())
    for seed in range(1, count + 1):
        metrics["test"]["kl"] = float(seed)
        path.write_text(json.dumps(metrics))
        record(project)
        project.set({"train.seed": str(seed)})
        project.commit(f"Seed {seed}")
        project.run("git", "tag", f"seed-{seed}")
    return [f"seed-{seed}" for seed in range(1, count + 1)]


def test_the_command_writes_new_limits_below_the_comment_of_the_file(clone: Project) -> None:
    tags = seeds_committed(clone, 5)
    output = clone.run("python", "-m", "review.spread", *tags)
    (expected,) = largest_harmless_changes(pd.DataFrame({"kl": [1.0, 2.0, 3.0, 4.0, 5.0]}))
    assert f"evaluate.test.kl: 3 ± 1.6 over 5 seeds, limit 100 → {expected:g}" in output
    lines = clone.read("limits.yaml").decode().splitlines()
    assert lines == ["# Kept.", f"evaluate.test.kl: {{better: lower, max_worse: {expected}}}"]


def test_too_few_runs_with_the_parameters_of_the_workspace_leave_the_limits_unchanged(clone: Project) -> None:
    tags = seeds_committed(clone, 5)
    before = clone.read("limits.yaml")
    assert "4 runs" in in_process.run(clone, main, *tags[:4], status=2)
    clone.set({"train.beta": "2.0"})
    assert "0 runs" in in_process.run(clone, main, *tags, status=2)
    assert clone.read("limits.yaml") == before


def test_the_committed_limits_have_two_significant_digits() -> None:
    limits = load_limits(Path(__file__).parents[2] / "limits.yaml")
    assert all(rounded_up(limit.max_worse) == pytest.approx(limit.max_worse) for limit in limits.values())
