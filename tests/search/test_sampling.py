"""Which setting comes next, and what an interrupted study remembers."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="needs make search")

from search import settings
from search.sampling import STARTUP_EPOCHS, STARTUP_TRIALS, Sampling, StorageError, Trial
from tests.search.test_study import study

GRID: dict[str, Any] = {
    "search": "grid",
    "trials": None,
    "parameters": {"model.latent_dim": [2, 10, 20], "model.hidden_dims": [[64, 32], [400]]},
}
SPACE: dict[str, Any] = {
    "train.learning_rate": {"low": 0.0003, "high": 0.01, "log": True},
    "model.latent_dim": {"low": 2, "high": 16, "whole": True},
    "model.activation": ["relu", "tanh"],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder with a space" / "study.db"


def draw(sampling: Sampling, number: int) -> list[Trial]:
    """Draw some settings, without finishing them."""
    return [trial for _ in range(number) if (trial := sampling.next())]


def test_a_grid_tries_each_combination_once(path: Path) -> None:
    found = study(**GRID)
    trials = draw(Sampling(found, path), 10)
    assert [trial.number for trial in trials] == list(range(6))
    assert sorted(str(trial.setting) for trial in trials) == sorted(map(str, settings.grid(found)))


@pytest.mark.parametrize("search", ["random", "tpe"])
def test_numbers_are_drawn_within_their_range_with_few_digits_and_of_the_right_type(search: str, path: Path) -> None:
    sampling = Sampling(study(search=search, trials=20, parameters=SPACE), path)
    for trial in draw(sampling, 20):
        rate, dimensions = trial.setting["train.learning_rate"], trial.setting["model.latent_dim"]
        assert 0.0003 <= rate <= 0.01
        assert float(f"{rate:.4g}") == rate
        assert type(dimensions) is int
        assert trial.setting["model.activation"] in {"relu", "tanh"}
        sampling.finish(trial.number, rate)
    assert sampling.next() is None


@pytest.mark.parametrize("search", ["random", "tpe", "grid"])
def test_an_interrupted_study_goes_on_with_what_was_running_and_then_draws_what_it_would_have_drawn(
    search: str, path: Path
) -> None:
    changes = GRID if search == "grid" else {"search": search, "trials": 6, "parameters": SPACE}

    def run(sampling: Sampling, trials: list[Trial]) -> None:
        for trial in trials:
            sampling.finish(trial.number, float(trial.number))

    whole = Sampling(study(**changes), path.with_name("whole.db"))
    expected = []
    for _ in range(6):
        expected += (drawn := draw(whole, 1))
        run(whole, drawn)

    first = Sampling(study(**changes), path)
    run(first, draw(first, 1))
    run(first, draw(first, 1))
    assert draw(first, 1) == expected[2:3]  # running when the study is interrupted
    resumed, found = Sampling(study(**changes), path), expected[:2]
    assert [each.trial.number for each in resumed.finished] == [0, 1]
    while trial := resumed.next():
        found.append(trial)
        resumed.finish(trial.number, float(trial.number))
    assert found == expected


def test_the_best_trial_comes_first(path: Path) -> None:
    for direction, expected in (("lowest", [1, 0, 2]), ("highest", [2, 0, 1])):
        sampling = Sampling(study(direction=direction), path.with_name(f"{direction}.db"))
        for trial, value in zip(draw(sampling, 3), (2.0, 1.0, 3.0), strict=True):
            sampling.finish(trial.number, value)
        assert [each.trial.number for each in sampling.finished] == expected


def test_a_trial_whose_loss_is_above_the_median_of_earlier_trials_at_that_epoch_is_stopped(path: Path) -> None:
    sampling = Sampling(study(trials=50), path)
    for trial in draw(sampling, STARTUP_TRIALS):
        losses = [(epoch, 100.0 + trial.number - epoch) for epoch in range(1, 11)]
        assert not sampling.report(trial.number, losses)
        sampling.finish(trial.number, 1.0)
    good, bad = draw(sampling, 2)
    assert not sampling.report(bad.number, [(epoch, 500.0) for epoch in range(1, STARTUP_EPOCHS)])
    assert sampling.report(bad.number, [(10, 500.0)])
    assert not sampling.report(good.number, [(10, 1.0)])
    sampling.prune(bad.number)
    assert sampling.pruned == [bad]


def test_losses_of_a_trial_that_runs_again_are_taken_once(path: Path) -> None:
    sampling = Sampling(study(), path)
    trial = draw(sampling, 1)[0]
    sampling.report(trial.number, [(1, 5.0), (2, 4.0)])
    again = Sampling(study(), path)
    assert draw(again, 1) == [trial]
    assert not again.report(trial.number, [(1, 5.0), (2, 4.0), (3, 3.0)])


def test_the_parameter_that_the_metric_depends_on_has_all_the_importance(path: Path) -> None:
    sampling = Sampling(study(**GRID), path)
    assert sampling.importance() == {}
    for trial in draw(sampling, 6):
        sampling.finish(trial.number, float(trial.setting["model.latent_dim"]))
    found = sampling.importance()
    assert found["model.latent_dim"] > 0.95
    assert sum(found.values()) == pytest.approx(1)


def test_more_trials_or_hours_go_on_with_a_study_but_other_values_are_refused(path: Path) -> None:
    Sampling(study(), path)
    Sampling(study(trials=50, hours=2), path)
    with pytest.raises(StorageError, match=r"a-study: .*with other values of parameters, seeds; choose another name"):
        Sampling(study(parameters=SPACE, seeds=[3]), path)


def test_a_damaged_file_is_refused_with_its_path(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(
        StorageError, match=r"study\.db: cannot be used: .*not a database.* delete it to begin the study anew"
    ):
        Sampling(study(), path)


def test_a_study_that_was_killed_while_it_drew_a_setting_draws_the_rest_of_it(path: Path) -> None:
    changes = {"search": "random", "trials": 3, "parameters": SPACE}
    expected = draw(Sampling(study(**changes), path.with_name("whole.db")), 3)
    first = Sampling(study(**changes), path)
    first._optuna.sampler = first._sampler(0)
    first._optuna.ask()  # a trial without any parameter
    found = draw(Sampling(study(**changes), path), 3)
    assert [trial.number for trial in found] == [trial.number for trial in expected]
    assert set(found[0].setting) == set(SPACE)
    assert found[1:] == expected[1:]
