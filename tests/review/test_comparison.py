from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from review.comparability import incomparable_columns
from review.comparison import (
    Comparison,
    Order,
    choose_order,
    compare,
    short_names,
    summary,
    with_metric,
)
from review.limits import LimitsError
from review.revisions import Revision, Value
from tests.review.revisions import revision

LOSS = Order(["loss"])


def run(name: str, latent_dim: int, seed: int, loss: Value) -> Revision:
    return revision(name, {"model.latent_dim": latent_dim, "train.beta": 1.0, "train.seed": seed}, {"loss": loss})


RUNS = [run("a", 2, 0, 3.0), run("b", 20, 0, 1.0), run("c", 2, 1, 5.0), run("d", 20, 1, 1.5), run("e", 5, 0, None)]


def cells(comparison: Comparison) -> list[list[Any]]:
    return [list(row) for row in comparison.table().to_numpy(dtype=object)]


def test_runs_that_differ_only_in_seeds_are_one_row_with_names_mean_and_standard_deviation() -> None:
    comparison = compare(RUNS, LOSS)
    assert list(comparison.table()) == ["experiments", "model.latent_dim", "seeds", "loss"]
    assert cells(comparison) == [
        ["b, d", "20", 2, "1.25 ± 0.35"],
        ["a, c", "2", 2, "4.0 ± 1.4"],
        ["e", "5", 1, "–"],
    ]


def test_a_setting_is_named_by_the_parameters_that_differ_or_by_its_first_run() -> None:
    assert list(compare(RUNS, LOSS).examples) == ["latent_dim 20", "latent_dim 2", "latent_dim 5"]
    alone = compare([run("alone", 2, 0, 1.0)], LOSS)
    assert list(alone.examples) == ["alone"]
    assert cells(alone) == [["alone", 1, "1"]]


def test_runs_with_the_same_parameters_count_once_so_that_the_spread_is_not_too_small() -> None:
    comparison = compare([run("commit", 2, 0, 3.0), run("its experiment", 2, 0, 3.0), run("other", 2, 1, 5.0)], LOSS)
    assert list(comparison.runs) == ["commit", "other"]


@pytest.mark.parametrize(("highest_first", "expected"), [(False, ["b, d", "a, c", "e"]), (True, ["a, c", "b, d", "e"])])
def test_settings_are_ranked_by_their_means_with_those_without_the_metric_last(
    highest_first: bool, expected: list[str]
) -> None:
    assert [row[0] for row in cells(compare(RUNS, Order(["loss"], highest_first)))] == expected


@pytest.mark.parametrize(
    ("first", "second"), [((200,), (200, 200)), ("all", 1000), (None, 0.5), (True, False), ("learned", 0.1)]
)
def test_settings_may_differ_in_values_of_any_type(first: Value, second: Value) -> None:
    runs = [
        revision(str(number), {"a.b": value, "a.c": 1, "a.seed": number}, {"loss": 1.0})
        for number, value in enumerate([first, second, first, second])
    ]
    assert [row[0] for row in cells(compare(runs, LOSS))] == ["0, 2", "1, 3"]


def test_a_parameter_that_older_runs_lack_is_a_dash() -> None:
    runs = [revision("old", {"a.b": 1}, {"loss": 1.0}), revision("new", {"a.b": 1, "a.c": 2}, {"loss": 2.0})]
    assert cells(compare(runs, LOSS)) == [["old", "–", 1, "1"], ["new", "2", 1, "2"]]


def test_one_and_one_point_zero_are_the_same_value_of_a_parameter() -> None:
    runs = [revision(str(value), {"train.beta": value}, {"loss": 1.0}) for value in (1, 1.0)]
    assert len(compare(runs, LOSS).runs) == 1


def test_a_single_run_has_its_standard_error_and_several_seeds_their_standard_deviation() -> None:
    parameters: list[dict[str, Value]] = [{"a.b": 1, "a.seed": 0}, {"a.b": 1, "a.seed": 1}, {"a.b": 2, "a.seed": 0}]
    runs = [
        revision(str(place), each, {"loss": 1.0 + place}, errors={"loss": 0.25})
        for place, each in enumerate(parameters)
    ]
    comparison = compare(runs, LOSS)
    assert list(comparison.table()["loss"]) == ["1.50 ± 0.71", "3.00 ± 0.25"]
    assert list(comparison.table(errors=False)["loss"]) == ["1.50 ± 0.71", "3"]


def test_runs_of_another_likelihood_are_ranked_apart_with_the_reason() -> None:
    elbo = "evaluate.test.negative_elbo"
    chosen = {"a": ("bernoulli", 25.0), "b": ("gaussian", -90.0), "c": ("bernoulli", 24.0), "d": ("gaussian", -95.0)}
    runs = [
        revision(name, {"model.likelihood": likelihood, "train.beta": place}, {elbo: loss})
        for place, (name, (likelihood, loss)) in enumerate(chosen.items())
    ]
    table = compare(runs, Order([elbo])).table()
    assert list(table["experiments"]) == ["c", "a", "d", "b"]
    assert list(table["not comparable"]) == ["", "", *["another model.likelihood (gaussian)"] * 2]
    alike = compare(runs, Order(["evaluate.test.kl", elbo]))
    assert "not comparable" not in alike.table()
    assert incomparable_columns(runs, ["evaluate.test.kl", elbo]) == [
        f"{elbo} of b, d is not comparable with a: another model.likelihood (gaussian)."
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([100.0, 100.02], "100.010 ± 0.014"),
        ([1000.0, 2000.0], "1500 ± 707"),
        ([0.5, 0.5], "0.5 ± 0"),
        ([0.5, None], "0.5"),
        ([0.123456], "0.12346"),
        ([20], "20"),
        (["1 failure"], "1 failure"),
        ([None], "–"),
    ],
)
def test_a_mean_has_as_many_decimals_as_its_standard_deviation_and_a_single_value_has_five_digits(
    values: Sequence[object], words: str
) -> None:
    assert summary(pd.Series(values, dtype=object)) == words


def test_the_first_metric_sorts_in_the_direction_that_limits_yaml_calls_better() -> None:
    metrics: dict[str, Value] = {"evaluate.test.negative_elbo": 1.0, "generate.recall": 0.5, "generate.density": 2.0}
    runs = [revision(metrics=metrics), revision(metrics={"a.only_here": 1.0})]
    assert choose_order(runs, ["recall", "negative_elbo"]) == Order(
        ["generate.recall", "evaluate.test.negative_elbo"], highest_first=True
    )
    assert str(choose_order(runs, ["negative_elbo"], highest_first=True)).endswith("negative_elbo, the lowest first.")
    assert str(choose_order(runs, ["density"], highest_first=True)).endswith("density, the highest first.")
    assert choose_order(runs, ["only_here"]).metrics == ["a.only_here"]


def test_an_error_about_a_metric_that_no_run_has_says_how_to_measure_it() -> None:
    assert with_metric(RUNS, "loss") == RUNS[:4]
    with pytest.raises(LimitsError, match=r"^loss: missing from e; run dvc repro$"):
        with_metric(RUNS[4:], "loss")


def test_keys_are_shortened_as_long_as_they_are_unambiguous() -> None:
    runs = [
        revision(
            parameters={"train.seed": 0, "embed.seed": 0, "train.beta": 1.0},
            metrics={"generate.recall": 1.0, "generate.real.recall": 1.0, "a.x.loss": 1.0, "a.y.loss": 1.0},
        )
    ]
    assert short_names(runs, ["train.seed", "train.beta"], ["generate.recall", "generate.real.recall", "a.x.loss"]) == (
        ["train.seed", "beta"],
        ["recall", "real.recall", "x.loss"],
    )
