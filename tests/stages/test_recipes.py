"""The recipes: files with parameters for ``dvc exp run``."""

import re
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides  # called by dvc exp run

from vae.base.params import Params, load_params
from vae.base.yaml12 import parse_yaml

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").iterdir())
EVERY_RECIPE = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
OPTION = re.compile(r"--set-param=([a-z_.]+=\S+)")


def overrides(recipe: Path) -> list[str]:
    """The parameters that a recipe sets, as ``key=value``."""
    options = [OPTION.fullmatch(line) for line in recipe.read_text(encoding="utf-8").splitlines()]
    assert all(options), f"{recipe.name}: every line is --set-param=KEY=VALUE"
    return [option[1] for option in options if option]


def params(tmp_path: Path, *values: str) -> Params:
    """The committed parameters, with values changed by DVC."""
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    apply_overrides(path, list(values))
    return load_params(path)


@EVERY_RECIPE
def test_a_recipe_sets_each_parameter_once_to_a_valid_value(recipe: Path, tmp_path: Path) -> None:
    values = overrides(recipe)
    keys = [value.split("=")[0] for value in values]
    assert len(set(keys)) == len(keys)
    params(tmp_path, *values)


@EVERY_RECIPE
def test_a_recipe_sets_all_parameters_so_that_nothing_left_by_another_experiment_changes_it(recipe: Path) -> None:
    parameters = parse_yaml((ROOT / "params.yaml").read_bytes())
    keys = [f"{section}.{key}" for section, values in parameters.items() for key in values]
    assert [value.split("=")[0] for value in overrides(recipe)] == keys


def test_the_mnist_recipe_has_the_settings_of_the_tutorial(tmp_path: Path) -> None:
    """784-400-20 with ReLU, Bernoulli likelihood, β = 1, Adam at 0.001, batches of 128, 30 epochs on 60,000 images."""
    recipe = params(tmp_path, *overrides(ROOT / "recipes/mnist"))
    assert (recipe.prepare.dataset, recipe.prepare.validation_fraction, recipe.prepare.train_images) == (
        "mnist",
        0,
        "all",
    )
    model, train = recipe.model, recipe.train
    assert (model.network, model.hidden_dims, model.activation, model.latent_dim) == ("mlp", (400,), "relu", 20)
    assert (model.likelihood, train.beta, train.importance_samples) == ("bernoulli", 1, 1)
    assert (train.epochs, train.batch_size, train.learning_rate, train.schedule) == (30, 128, 0.001, "constant")


def test_a_parameter_after_a_recipe_overrides_the_recipe(tmp_path: Path) -> None:
    changed = params(tmp_path, *overrides(ROOT / "recipes/mnist"), "train.epochs=10", "model.hidden_dims=[64,32]")
    assert (changed.train.epochs, changed.model.hidden_dims) == (10, (64, 32))
