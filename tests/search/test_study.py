"""Study files: what is allowed in them, and what an error says."""

import json
from pathlib import Path
from typing import Any

import pytest

from faults.project import ROOT
from search import settings
from search.study import Range, Study, StudyError, load_study
from vae.base.yaml12 import parse_yaml

FILES = sorted((ROOT / "studies").glob("*.yaml"))
GOOD: dict[str, Any] = {
    "name": "a-study",
    "parameters": {"model.latent_dim": [2, 10], "train.beta": {"low": 0.5, "high": 4, "log": True}},
    "seeds": [0, 1],
    "search": "random",
    "trials": 5,
    "metric": "negative_elbo",
    "direction": "lowest",
}


def study(**changes: Any) -> Study:
    """A valid study with changes."""
    return Study.model_validate({**GOOD, **changes})


def refusal(tmp_path: Path, text: str) -> str:
    """What is said about a study file."""
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError) as error:
        load_study(path)
    return str(error.value).replace(f"{path}: ", "")


def lines(**changes: Any) -> str:
    """A study file with changes, None for a line that is missing; JSON is YAML."""
    values = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    return json.dumps(values)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_name_of_a_committed_study_is_that_of_its_file_and_every_value_in_it_is_valid(path: Path) -> None:
    found = load_study(path)
    assert found.name == path.stem
    settings.require_valid(found, settings.base_of(found, ROOT))


def test_the_study_of_the_document_is_a_grid_of_nine_settings_with_three_seeds() -> None:
    found = load_study(ROOT / "studies/latent-by-beta.yaml")
    assert settings.number_of_trials(found) == 9
    assert found.seeds == (0, 1, 2)
    base = settings.base_of(found, ROOT)
    assert (base["prepare"]["dataset"], base["train"]["epochs"], base["train"]["batch_size"]) == ("mnist", 10, 128)


def test_twelve_parameters_are_searched_on_mnist_by_tpe() -> None:
    found = load_study(ROOT / "studies/twelve-parameters.yaml")
    assert (len(found.parameters), found.search) == (12, "tpe")


def test_a_range_has_numbers_of_the_type_that_it_says() -> None:
    assert study().parameters["train.beta"] == Range(low=0.5, high=4, log=True)
    whole = study(parameters={"model.latent_dim": {"low": 2, "high": 8, "whole": True}}).parameters["model.latent_dim"]
    assert isinstance(whole, Range)
    assert [type(end) for end in whole.ends] == [int, int]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "name: expected up to 40 letters, digits, hyphens and underscores, got the string 'a/b'"),
        ({"name": "-rf"}, "name: expected up to 40 letters"),
        ({"name": "x" * 41}, "name: expected up to 40 letters"),
        ({"name": None}, "name: missing; add it"),
        ({"nome": "x"}, "nome: unknown key; did you mean name?"),
        ({"parameters": {}}, "parameters: expected parameters and their values to try, got {}"),
        ({"parameters": {"train.beta": []}}, "parameters: train.beta: expected a list of two or more different values"),
        ({"parameters": {"train.beta": [1]}}, "a single value belongs to fixed"),
        ({"parameters": {"train.beta": [1, 2, 1]}}, "expected a list of two or more different values"),
        ({"parameters": {"train.beta": 1}}, "got 1; a single value belongs to fixed"),
        ({"parameters": {"train.beta": {"low": 2, "high": 2}}}, "train.beta: low: 2 must be below high: 2"),
        ({"parameters": {"train.beta": {"low": 3, "high": 2}}}, "train.beta: low: 3 must be below high: 2"),
        ({"parameters": {"train.beta": {"low": 0, "high": 2, "log": True}}}, "train.beta: low: 0 has no logarithm"),
        ({"parameters": {"train.beta": {"low": 0.5, "high": 2, "whole": True}}}, "must be whole numbers"),
        ({"parameters": {"train.beta": {"low": 1}}}, "train.beta: high: missing; add it"),
        ({"parameters": {"train.beta": {"low": 1, "hihg": 2}}}, "hihg: unknown key; did you mean high?"),
        ({"search": "grid", "trials": None}, "parameters: train.beta: a grid has no ranges"),
        ({"search": "grid", "parameters": {"train.beta": [1, 2]}}, "trials: a grid has one for each combination"),
        ({"search": "bayes"}, "search: expected 'grid', 'random' or 'tpe', got the string 'bayes'"),
        ({"trials": None}, "trials: missing; add it"),
        ({"trials": 0}, "trials: expected a number greater than or equal to 1, got 0"),
        ({"fixed": {"train.beta": 1}}, "fixed: train.beta: also in parameters"),
        ({"fixed": {"train.seed": 1}}, "train.seed: set by seeds"),
        ({"seeds": []}, "seeds: expected "),
        ({"seeds": [1, 1]}, "seeds: a seed is listed twice"),
        ({"hours": 0}, "hours: expected a number greater than 0, got 0"),
        ({"pruning": True, "direction": "highest"}, "pruning: stops trials of high validation loss"),
    ],
)
def test_a_mistake_in_a_study_is_explained_by_its_key(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, lines(**changes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the keys name, recipe"),
        ("- a", "expected the keys name, recipe"),
        ("name: [", "not valid YAML: "),
    ],
)
def test_a_file_that_is_no_study_is_refused(text: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path, text)


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"gone\.yaml: cannot be read: No such file"):
        load_study(tmp_path / "gone.yaml")


def test_a_study_begins_as_params_yaml_with_the_values_of_its_recipe_and_then_the_fixed_ones() -> None:
    found = settings.base_of(study(recipe="mnist", fixed={"train.epochs": 3}), ROOT)
    default = parse_yaml((ROOT / "params.yaml").read_bytes())
    assert (default["model"]["latent_dim"], found["model"]["latent_dim"], found["train"]["epochs"]) == (6, 20, 3)


def test_an_unknown_recipe_is_refused_with_those_that_exist() -> None:
    with pytest.raises(StudyError, match=r"recipe: emnist: no such file in recipes/; choose from .*mnist"):
        settings.base_of(study(recipe="emnist"), ROOT)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"train.beat": [1.0, 2.0]}, "train.beat: unknown key; did you mean beta?"),
        ({"tarin.beta": [1.0, 2.0]}, "tarin: unknown key; did you mean train?"),
        ({"model.latent_dim": {"low": 2, "high": 8}}, "expected a whole number, got 2.0; set whole: true"),
        ({"train.beta": [1.0, "two"]}, "train.beta: expected a number, got the string 'two'"),
        ({"train.beta": {"low": -1, "high": 1}}, "train.beta: expected a number greater than or equal to 0, got -1.0"),
        ({"train.kl_warmup_epochs": [0, 1000]}, "train.kl_warmup_epochs: 1000 must be below train.epochs=1000"),
    ],
)
def test_a_value_that_no_stage_would_take_is_refused_before_any_trial(parameters: dict[str, Any], message: str) -> None:
    found = study(parameters=parameters)
    with pytest.raises(StudyError) as error:
        settings.require_valid(found, settings.base_of(found, ROOT))
    assert message in str(error.value)


def test_every_combination_of_a_grid_must_be_valid() -> None:
    found = study(
        search="grid",
        trials=None,
        parameters={"model.scale": ["learned", 0.1], "model.likelihood": ["gaussian", "bernoulli"]},
    )
    with pytest.raises(StudyError, match=r"model\.scale: 0\.1 applies only to gaussian"):
        settings.require_valid(found, settings.base_of(found, ROOT))
