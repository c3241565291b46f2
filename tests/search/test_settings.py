"""Settings as options of ``dvc exp run``."""

from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides  # called by dvc exp run

from search import settings
from tests.search.test_study import study
from vae.base.yaml12 import parse_yaml


@pytest.mark.parametrize(
    "value",
    [
        *[0, -3, 2.0, 0.0013, 1e-05, 3e20, True, False, None, [64, 32], [], "relu", "images/mine", "white"],
        *["my images", "it's", "a\\'b", "a,b", "#ffffff", "1", "true", "null", "NaN", "$x", "a=b", "[1]", "über"],
    ],
)
def test_dvc_writes_the_value_that_an_option_was_made_from(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("prepare:\n  folder: images\n", encoding="utf-8")
    flag, option = settings.options({"prepare.folder": value})
    assert flag == "-S"
    apply_overrides(path, [option])
    found = parse_yaml(path.read_bytes())["prepare"]["folder"]
    assert (found, type(found)) == (value, type(value))


def test_a_trial_sets_the_fixed_values_its_own_and_the_seed_each_once() -> None:
    found = settings.of_trial(study(fixed={"train.epochs": 3}), {"train.beta": 2.0}, seed=7)
    assert found == {"train.epochs": 3, "train.beta": 2.0, "train.seed": 7}
    assert settings.options(found) == ["-S", "train.epochs=3", "-S", "train.beta=2.0", "-S", "train.seed=7"]


def test_a_grid_is_every_combination_of_the_lists() -> None:
    grid = study(search="grid", trials=None, parameters={"model.latent_dim": [2, 10], "train.beta": [0.5, 4.0]})
    assert [tuple(each.values()) for each in settings.grid(grid)] == [(2, 0.5), (2, 4.0), (10, 0.5), (10, 4.0)]
    assert settings.number_of_trials(grid) == 4
    assert settings.number_of_trials(study(trials=5)) == 5
