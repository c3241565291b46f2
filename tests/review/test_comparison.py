from statistics import stdev

import pytest

from review.comparison import Setting, ranked, rows, settings
from review.revisions import Revision
from tests.review.revisions import revision


def run(name: str, latent_dim: int, seed: int, loss: float | None) -> Revision:
    return revision(name, {"model.latent_dim": latent_dim, "train.beta": 1.0, "train.seed": seed}, {"loss": loss})


RUNS = [run("a", 2, 0, 3.0), run("b", 20, 0, 1.0), run("c", 2, 1, 5.0), run("d", 20, 1, 1.5), run("e", 5, 0, None)]


def test_runs_that_differ_in_seeds_alone_are_one_setting() -> None:
    found = settings(RUNS)
    assert [[each.name for each in setting.runs] for setting in found] == [["a", "c"], ["b", "d"], ["e"]]
    assert [setting.differing for setting in found] == [{"model.latent_dim": value} for value in (2, 20, 5)]


def test_a_setting_is_named_by_what_differs() -> None:
    assert [setting.name for setting in settings(RUNS)] == ["latent_dim 2", "latent_dim 20", "latent_dim 5"]
    assert [setting.name for setting in settings([run("alone", 2, 0, 1.0)])] == ["alone"]


def test_the_same_parameters_twice_count_once_so_that_the_spread_is_not_made_smaller() -> None:
    (setting,) = settings([run("commit", 2, 0, 3.0), run("its experiment", 2, 0, 3.0), run("other", 2, 1, 5.0)])
    assert setting.values("loss") == [3.0, 5.0]


@pytest.mark.parametrize(
    ("highest_first", "names"),
    [
        (False, ["latent_dim 20", "latent_dim 2", "latent_dim 5"]),
        (True, ["latent_dim 2", "latent_dim 20", "latent_dim 5"]),
    ],
)
def test_settings_are_ranked_by_their_means_and_those_without_come_last(highest_first: bool, names: list[str]) -> None:
    assert [setting.name for setting in ranked(settings(RUNS), "loss", highest_first=highest_first)] == names


def test_a_table_has_mean_and_standard_deviation_over_seeds() -> None:
    head, body = rows(settings(RUNS), ["loss"])
    assert head == ["model.latent_dim", "seeds", "loss"]
    assert body == [["2", "2", "4.0 ± 1.4"], ["20", "2", "1.25 ± 0.35"], ["5", "1", "–"]]
    assert stdev([3.0, 5.0]) == pytest.approx(1.4, abs=0.05)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([100.0, 100.02], "100.010 ± 0.014"),
        ([1000.0, 2000.0], "1500 ± 707"),
        ([0.5, 0.5], "0.5 ± 0"),
        ([0.123456], "0.12346"),
    ],
)
def test_a_mean_has_as_many_decimals_as_its_spread(values: list[float], words: str) -> None:
    runs = tuple(run(str(seed), 2, seed, value) for seed, value in enumerate(values))
    assert Setting({}, runs).summary("loss") == words


def test_a_metric_in_words_is_shown_as_it_is() -> None:
    assert Setting({}, (revision(metrics={"verdict": "1 failure"}),)).summary("verdict") == "1 failure"
