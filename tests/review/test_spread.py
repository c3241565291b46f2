"""Limits from the spread over seeds."""

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from review.limits import load_limits
from review.spread import FALSE_ALARM, largest_harmless_change, rounded_up
from tests.projects import Project


@pytest.mark.parametrize(("value", "rounded"), [(0.0, 0.0), (0.123, 0.13), (12.01, 13.0), (0.0010, 0.001), (7, 7.0)])
def test_limits_are_rounded_up_to_two_digits(value: float, rounded: float) -> None:
    assert rounded_up(value) == rounded


def test_a_limit_is_the_quantile_of_a_difference_of_two_runs() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]  # a standard deviation of √2.5; 2.1318 is t's 95 % quantile of 4 degrees
    assert largest_harmless_change(values, 1) == pytest.approx(2.1318 * sqrt(2) * sqrt(2.5), abs=0.1)
    assert largest_harmless_change(values, 11) > largest_harmless_change(values, 1)
    assert largest_harmless_change([3.0] * 5, 11) == 0.0


def test_a_seed_alone_trips_a_gate_of_many_metrics_as_often_as_promised() -> None:
    random, metrics, seeds, tries = np.random.default_rng(0), 11, 10, 1000
    alarms = 0
    for _ in range(tries):
        measured = random.normal(size=(metrics, seeds))
        before, after = random.normal(size=(2, metrics))
        limits = [largest_harmless_change(list(values), metrics) for values in measured]
        alarms += bool((after - before > limits).any())
    assert FALSE_ALARM / 2 < alarms / tries < FALSE_ALARM * 1.4


def seeds_committed(project: Project, count: int) -> list[str]:
    """Tags of commits as runs of other seeds would be, each with a KL of its own."""
    (project.folder / "limits.yaml").write_text("# Kept.\nevaluate.test.kl: {better: lower, max_worse: 100}\n")
    path = project.folder / "metrics/evaluate.json"
    metrics = json.loads(path.read_text())
    for seed in range(1, count + 1):
        metrics["test"]["kl"] = float(seed)
        path.write_text(json.dumps(metrics))
        project.set({"train.seed": str(seed)})
        project.commit(f"Seed {seed}")
        project.run("git", "tag", f"seed-{seed}")
    return [f"seed-{seed}" for seed in range(1, count + 1)]


def test_the_command_rewrites_the_numbers_and_keeps_the_rest_of_the_file(clone: Project) -> None:
    tags = seeds_committed(clone, 5)
    output = clone.run("python", "-m", "review.spread", *tags)
    expected = largest_harmless_change([1.0, 2.0, 3.0, 4.0, 5.0], 1)
    assert f"evaluate.test.kl: 3 ± 1.6 over 5 seeds, limit 100 → {expected:g}" in output
    lines = clone.read("limits.yaml").decode().splitlines()
    assert lines == ["# Kept.", f"evaluate.test.kl: {{better: lower, max_worse: {expected}}}"]


def test_runs_of_other_parameters_and_too_few_runs_are_no_spread(clone: Project) -> None:
    tags = seeds_committed(clone, 5)
    before = clone.read("limits.yaml")
    assert "4 runs" in clone.run("python", "-m", "review.spread", *tags[:4], status=2)
    clone.set({"train.beta": "2.0"})
    assert "0 runs" in clone.run("python", "-m", "review.spread", *tags, status=2)
    assert clone.read("limits.yaml") == before


def test_the_committed_limits_have_two_digits_as_the_command_writes_them() -> None:
    limits = load_limits(Path(__file__).parents[2] / "limits.yaml")
    assert all(rounded_up(limit.max_worse) == pytest.approx(limit.max_worse) for limit in limits.values())
