from pathlib import Path

import pytest

from review.limits import Limit, LimitsError, load_limits, resolve
from review.revisions import load_revision
from tests.imports import ROOT
from tests.projects import Project

KNOWN = dict.fromkeys(["evaluate.test.kl", "generate.recall", "generate.ceiling.recall", "a.x.loss", "b.y.loss"])


def written(folder: Path, text: str) -> Path:
    path = folder / "limits.yaml"
    path.write_text(text)
    return path


def test_limits_are_read_by_their_metrics(tmp_path: Path) -> None:
    limits = load_limits(written(tmp_path, "evaluate.test.kl: {better: lower, max_worse: 1e-1}"))
    assert limits == {"evaluate.test.kl": Limit(better="lower", max_worse=0.1)}


@pytest.mark.parametrize(
    ("better", "after", "worsening"), [("lower", 12.0, 2.0), ("lower", 9.0, -1.0), ("higher", 9.0, 1.0)]
)
def test_worse_is_the_other_way_than_better(better: str, after: float, worsening: float) -> None:
    assert Limit.model_validate({"better": better, "max_worse": 0.0}).worsening(10.0, after) == worsening


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: {better: up, max_worse: 1}", "a.better"),
        ("a: {better: lower, max_worse: -1}", "a.max_worse"),
        ("a: {better: lower}", "a.max_worse"),
        ("a: {better: lower, max_worse: 1, spread: 2}", "a.spread"),
        ("- a", "the file"),
        ("a: {better: [", "not valid YAML"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(LimitsError) as raised:
        load_limits(path)
    assert str(path) in str(raised.value)
    assert named in str(raised.value)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LimitsError, match="make limits"):
        load_limits(tmp_path / "limits.yaml")


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ("evaluate.test.kl", "evaluate.test.kl"),
        ("kl", "evaluate.test.kl"),
        ("test.kl", "evaluate.test.kl"),
        ("recall", "generate.recall"),
        ("ceiling.recall", "generate.ceiling.recall"),
    ],
)
def test_a_metric_is_known_by_the_end_of_its_key(asked: str, key: str) -> None:
    assert resolve(asked, KNOWN) == key


@pytest.mark.parametrize(("asked", "words"), [("l", "no such metric"), ("loss", "a.x.loss, b.y.loss")])
def test_a_metric_that_is_not_there_or_not_the_only_one_is_refused(asked: str, words: str) -> None:
    with pytest.raises(LimitsError, match=words):
        resolve(asked, KNOWN)


def test_every_limit_of_the_project_is_of_a_metric_that_a_run_has(reproduced: Project) -> None:
    assert set(load_limits(ROOT / "limits.yaml")) <= set(load_revision("workspace", reproduced.folder).metrics)
