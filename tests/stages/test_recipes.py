"""Recipes: parameters for ``dvc exp run``, by the file."""

import re
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides  # what dvc exp run calls

from vae.base.params import Params, load_params

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
    """The committed parameters with some values changed, as DVC changes them."""
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
def test_a_recipe_does_not_depend_on_the_defaults_that_were_chosen_for_the_digits(recipe: Path) -> None:
    set_here = {value.split("=")[0] for value in overrides(recipe)}
    assert set_here >= {
        "prepare.dataset",
        "prepare.validation_fraction",
        "model.network",
        "model.hidden_dims",
        "model.activation",
        "model.latent_dim",
        "train.epochs",
        "train.batch_size",
        "train.learning_rate",
    }


def test_the_mnist_recipe_is_the_tutorials(tmp_path: Path) -> None:
    """784-400-20 with ReLU, a Bernoulli likelihood, β = 1, Adam at 0.001, batches of 128, 30 epochs of 60,000 images."""
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


def test_a_parameter_after_a_recipe_replaces_the_recipes_value(tmp_path: Path) -> None:
    changed = params(tmp_path, *overrides(ROOT / "recipes/mnist"), "train.epochs=10", "model.hidden_dims=[64,32]")
    assert (changed.train.epochs, changed.model.hidden_dims) == (10, (64, 32))
