"""What a finished study says: effects of parameters, the best setting, the page."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

pytest.importorskip("optuna", reason="needs make search")

from review.revisions import Revision
from search import charts, page
from search.progress import described
from search.result import Result, ResultError
from search.sampling import Finished, Sampling, Trial
from search.study import Study
from tests.browser import NARROW, WIDE, needs_chromium, opened
from tests.review.revisions import revision
from tests.review.test_pages_in_browser import CLIPPED, DRAWN, OVERFLOW
from tests.search.test_study import study

SPACE: dict[str, Any] = {
    "model.latent_dim": {"low": 2, "high": 16, "log": True, "whole": True},
    "train.learning_rate": {"low": 0.0003, "high": 0.01, "log": True},
    "model.activation": ["relu", "tanh"],
    "model.hidden_dims": [[64, 32], [400]],
}
METRIC = "evaluate.test.negative_elbo"
HOSTILE = "</script><img src=x onerror=alert(1)>"


def value_of(setting: Mapping[str, Any], seed: int) -> float:
    """Only the number of latent dimensions matters, and the seed a little."""
    return 30.0 - float(setting["model.latent_dim"]) + 0.1 * seed


def result(trials: int = 9, seeds: tuple[int, ...] = (0, 2), **changes: Any) -> Result:
    """A study with a value for each trial."""
    found = study(parameters=SPACE, metric=METRIC, seeds=list(seeds), **changes)
    finished, runs = [], {}
    for number in range(trials):
        setting = {
            "model.latent_dim": 2 + number,
            "train.learning_rate": 0.0003 * (1 + number * 7 % 5),
            "model.activation": ["relu", "tanh"][number % 2],
            "model.hidden_dims": [[64, 32], [400]][number // 2 % 2],
        }
        values = {seed: value_of(setting, seed) for seed in seeds}
        runs[number] = {seed: run(found, number, seed, setting, value) for seed, value in values.items()}
        finished.append(Finished(Trial(number, setting), sum(values.values()) / len(values)))
    ranked = sorted(finished, key=lambda each: each.value, reverse=found.direction == "highest")
    importance = {key: 0.9 if key == "model.latent_dim" else 0.1 / 3 for key in SPACE}
    return Result(found, ranked, runs, importance, pruned=1, failed=0)


def run(found: Study, number: int, seed: int, setting: Mapping[str, Any], value: float) -> Revision:
    parameters = {key: tuple(each) if isinstance(each, list) else each for key, each in setting.items()}
    metrics = {METRIC: value, "evaluate.test.kl": 3.0}
    return revision(f"{found.name}-{number:02d}-seed-{seed}", {**parameters, "train.seed": seed}, dict(metrics))


def test_effects_are_means_over_thirds_of_a_range_and_over_values_of_a_list_the_most_important_first() -> None:
    first, *others = result().effects
    assert first.parameter == "model.latent_dim"
    assert first.best[:2] == ("8 to 10", 3)
    assert first.best.mean == pytest.approx(30 - 9 + 0.1)
    assert first.worst[:2] == ("2 to 4", 3)
    assert first.worst.mean == pytest.approx(30 - 3 + 0.1)
    assert first.difference == pytest.approx(6)
    activation = next(effect for effect in others if effect.parameter == "model.activation")
    assert {activation.best.values, activation.worst.values} == {"relu", "tanh"}
    assert activation.best.trials + activation.worst.trials == 9
    assert {effect.best.values for effect in others} & {"[64, 32]", "[400]"}


def test_the_best_values_are_those_of_the_highest_metric_if_that_is_the_direction() -> None:
    effect = result(direction="highest").effects[0]
    assert (effect.best.values, effect.worst.values) == ("2 to 4", "8 to 10")


def test_the_spread_over_seeds_is_pooled_over_settings() -> None:
    assert result(seeds=(0, 2)).spread == pytest.approx(0.2 / 2**0.5)
    assert result(seeds=(0,)).spread is None


def test_the_best_command_sets_the_fixed_values_those_of_the_best_trial_and_the_first_seed() -> None:
    found = result(recipe="mnist", fixed={"train.epochs": 3}, seeds=(4, 5))
    assert found.best_command == (
        "dvc exp run --name a-study-best $(cat recipes/mnist) -S train.epochs=3 -S model.latent_dim=10 "
        "-S train.learning_rate=0.0006 -S model.activation=relu -S 'model.hidden_dims=[64,32]' -S train.seed=4"
    )
    assert found.best_experiment == "a-study-08-seed-4"


def test_the_text_has_a_row_for_each_setting_and_each_parameter_and_the_best_setting() -> None:
    text = result().text()
    assert re.search(r"^a-study-08-seed-0 \+1 +10 ", text, re.MULTILINE)
    assert len(re.findall(r"^a-study-\d\d-seed-0 \+1 ", text, re.MULTILINE)) == 9
    assert re.search(r"^model.latent_dim +90% +8 to 10 +21.1 +2 to 4 +27.1 +6$", text, re.MULTILINE)
    assert "Best: trial 08, evaluate.test.negative_elbo 20.1: latent_dim 10, learning_rate 0.0006" in text


def test_a_study_without_a_finished_trial_has_no_result(tmp_path: Path) -> None:
    found = study()
    with pytest.raises(ResultError, match=r"a-study: no trial has finished \(2 failed\)"):
        Result.of(found, Sampling(found, tmp_path / "study.db"), lambda _trial, _seed: None, 2)


def test_a_trial_is_described_by_the_last_parts_of_its_parameters() -> None:
    assert described(study(parameters=SPACE), result().finished[0].trial) == (
        "latent_dim 10, learning_rate 0.0006, activation relu, hidden_dims [64, 32]"
    )


def test_the_scale_leaves_out_trials_that_are_much_worse_than_the_others_and_the_page_says_so() -> None:
    found = result()
    assert not charts.is_cut(found)
    far = Finished(Trial(9, found.finished[0].trial.setting), 500.0)
    runs = {**found.runs, 9: {0: run(found.study, 9, 0, far.trial.setting, 500.0)}}
    with_far = Result(found.study, [*found.finished, far], runs, found.importance, 0, 0)
    assert charts.is_cut(with_far)
    _, highest = charts._shown(with_far)
    assert found.finished[-1].value <= highest < 50


def test_a_line_of_parallel_coordinates_goes_from_the_bottom_to_the_top_of_each_axis() -> None:
    found = result()
    assert charts._height(found, "model.latent_dim", 2) == 0
    assert charts._height(found, "model.latent_dim", 16) == pytest.approx(1)
    assert charts._height(found, "model.latent_dim", 32**0.5) == pytest.approx(0.5)
    assert [charts._height(found, "model.hidden_dims", value) for value in ([64, 32], [400])] == [0, 1]


def test_pictures_are_of_the_three_best_and_the_three_worst_settings() -> None:
    names = list(page.best_and_worst(result()))
    assert [name.partition(":")[0] for name in names] == ["best", "rank 2", "rank 3", "rank 7", "rank 8", "worst"]
    assert [name.partition(":")[0] for name in page.best_and_worst(result(trials=4))] == [
        *("best", "rank 2", "rank 3", "worst")
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study with hostile markup in a value."""
    space = {**SPACE, "model.activation": ["relu", HOSTILE]}
    found = result()
    hostile = Result(
        found.study.model_copy(update={"parameters": study(parameters=space).parameters}),
        [
            Finished(Trial(each.trial.number, {**each.trial.setting, "model.activation": HOSTILE}), each.value)
            for each in found.finished
        ],
        found.runs,
        found.importance,
        0,
        0,
    )
    path = tmp_path_factory.mktemp("study") / "index.html"
    path.write_text(page.html(hostile), encoding="utf-8")
    return path


@needs_chromium
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_draws_its_charts_offline_and_no_value_in_it_runs_as_a_script(
    size: tuple[int, int], browser: Browser, written: Path
) -> None:
    with opened(browser, written, size) as seen:
        expect(seen.page.locator(".vega-embed svg.marks")).to_have_count(len(SPACE) + 2)
        for chart in seen.page.evaluate(DRAWN):
            assert chart["width"] > 200
            assert chart["marks"] >= 9
        assert seen.page.get_by_text(HOSTILE[:20]).count() > 0
        assert seen.page.locator("img[onerror], img[src=x]").count() == 0
        assert seen.page.evaluate(OVERFLOW) == 0
        assert seen.page.evaluate(CLIPPED) == []
        assert seen.requests == []
        assert seen.complaints == []


def test_a_table_is_written_beside_the_page_and_missing_models_are_named(tmp_path: Path) -> None:
    page.write_page(result(), tmp_path / "study")
    rows = (tmp_path / "study/table.csv").read_text().splitlines()
    assert len(rows) == 1 + 9
    assert "a-study-08-seed-0, a-study-08-seed-2" in rows[1]
    text = (tmp_path / "study/index.html").read_text()
    assert "No pictures of best: 20.1, trial 08: data/prepared/test.safetensors of a-study-08-seed-0 is not in" in text
