from pathlib import Path

import pytest

from faults.project import Project
from review.limits import Limit, LimitsError, load_limits, resolve, short_name
from review.revisions import load_revision
from tests.imports import ROOT

KNOWN = dict.fromkeys(["evaluate.test.kl", "generate.recall", "generate.real.recall", "a.x.loss", "b.y.loss"])


def written(folder: Path, text: str) -> Path:
    path = folder / "limits.yaml"
    path.write_text(text)
    return path


def test_limits_yaml_contains_a_limit_for_each_metric(tmp_path: Path) -> None:
    limits = load_limits(written(tmp_path, "evaluate.test.kl: {better: lower, max_worse: 1e-1}"))
    assert limits == {"evaluate.test.kl": Limit(better="lower", max_worse=0.1)}


@pytest.mark.parametrize(
    ("better", "after", "worsening"), [("lower", 12.0, 2.0), ("lower", 9.0, -1.0), ("higher", 9.0, 1.0)]
)
def test_the_worsening_is_the_change_against_the_better_direction(better: str, after: float, worsening: float) -> None:
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
        ("a: {better: lower, max_worse: 1}\na: {better: lower, max_worse: 2}", 'line 2: duplicate key "a"'),
    ],
)
def test_an_error_in_limits_yaml_is_reported_with_the_file_and_the_key(tmp_path: Path, text: str, named: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(LimitsError) as raised:
        load_limits(path)
    assert str(path) in str(raised.value)
    assert named in str(raised.value)


def test_a_missing_limits_yaml_is_an_error_that_names_make_limits(tmp_path: Path) -> None:
    with pytest.raises(LimitsError, match="make limits"):
        load_limits(tmp_path / "limits.yaml")


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ("evaluate.test.kl", "evaluate.test.kl"),
        ("kl", "evaluate.test.kl"),
        ("test.kl", "evaluate.test.kl"),
        ("recall", "generate.recall"),
        ("real.recall", "generate.real.recall"),
    ],
)
def test_a_metric_may_be_named_by_the_end_of_its_key(asked: str, key: str) -> None:
    assert resolve(asked, KNOWN) == key


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("entropy", r"^entropy: no such metric; make metrics lists all of them$"),
        (
            "recal",
            r"^recal: no such metric; did you mean generate.recall or generate.real.recall\? make metrics lists",
        ),
        ("real", r"^real: no such metric; did you mean generate.recall or generate.real.recall\? "),
        ("evaluate.kl", "^evaluate.kl: no such metric; did you mean evaluate.test.kl"),
        ("loss", "^loss: matches a.x.loss and b.y.loss; name one of them$"),
    ],
)
def test_an_error_about_an_unknown_or_ambiguous_metric_names_similar_metrics(asked: str, words: str) -> None:
    with pytest.raises(LimitsError, match=words):
        resolve(asked, KNOWN)


@pytest.mark.parametrize("key", KNOWN)
def test_the_short_name_of_a_metric_is_the_shortest_unambiguous_one(key: str) -> None:
    short = {"a.x.loss": "x.loss", "b.y.loss": "y.loss", "generate.real.recall": "real.recall"}
    assert short_name(key, KNOWN) == short.get(key, key.rpartition(".")[2])
    assert resolve(short_name(key, KNOWN), KNOWN) == key


def test_every_metric_in_limits_yaml_is_measured_by_the_pipeline(reproduced: Project) -> None:
    assert set(load_limits(ROOT / "limits.yaml")) <= set(load_revision("workspace", reproduced.folder).metrics)
