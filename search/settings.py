"""The parameters of trials: check them before anything runs, and write them as options of ``dvc exp run``."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from search.study import SEED, Range, Study, StudyError
from vae.base.params import Params, recipe_values
from vae.base.validation import explanations
from vae.base.yaml12 import YAMLError, parse_yaml

Setting = Mapping[str, Any]  # values by dotted key

PLAIN = re.compile(r"[A-Za-z_./][\w./-]*")  # text that DVC reads as it is
WORDS = {"true", "false", "null", "nan", "inf"}  # text that it would read as something else, in any case


def base_of(study: Study, project: Path = Path()) -> dict[str, Any]:
    """What all trials share: ``params.yaml`` with the values of the recipe and the fixed ones.

    Raises:
        StudyError: there is no such recipe, or a file cannot be read.
    """
    try:
        values = parse_yaml((project / "params.yaml").read_bytes())
        return changed(values, shared_changes(study, project))
    except (OSError, YAMLError) as error:
        raise StudyError(f"params.yaml: cannot be read: {error}") from error


def shared_changes(study: Study, project: Path = Path()) -> dict[str, Any]:
    """The values of the recipe and the fixed ones, by dotted key.

    Raises:
        StudyError: there is no such recipe.
    """
    if study.recipe is None:
        return dict(study.fixed)
    recipes = project / "recipes"
    names = sorted(path.name for path in recipes.iterdir()) if recipes.is_dir() else []
    if study.recipe not in names:
        raise StudyError(f"recipe: {study.recipe}: no such file in recipes/; choose from {', '.join(names)}")
    return recipe_values(recipes / study.recipe) | study.fixed


def changed(values: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """The sections of ``params.yaml`` with some values replaced, by dotted key."""
    result: dict[str, Any] = deepcopy(dict(values))
    for key, value in setting.items():
        section, _, name = key.partition(".")
        result.setdefault(section, {})[name] = value
    return result


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with parameters, by the key that an explanation begins with; nothing if they are valid."""
    try:
        Params.model_validate(values)
    except ValidationError as error:
        return {line.partition(":")[0]: line for line in explanations(error, Params)}
    return {}


def require_valid(study: Study, base: Mapping[str, Any]) -> None:
    """Check every value that a study may try.

    Every combination of a grid must be valid. In the other searches, each value must be valid beside the first values
    of the other parameters; a combination that is not valid fails when it is drawn.

    Raises:
        StudyError: a parameter is unknown, or a value is not valid.
    """
    found: dict[str, None] = {}
    for setting in grid(study) if study.search == "grid" else _one_by_one(study):
        for key, line in problems(changed(base, setting)).items():
            is_range = isinstance(study.parameters.get(key), Range)
            found[line + "; set whole: true" * (is_range and "whole number" in line)] = None
    if found:
        raise StudyError("\n".join(found))


def _one_by_one(study: Study) -> Iterator[dict[str, Any]]:
    """Settings with each value of each parameter, and the first values of the others."""
    for key, values in study.parameters.items():
        for value in values.ends if isinstance(values, Range) else values:
            yield {**first_values(study), key: value}


def first_values(study: Study) -> dict[str, Any]:
    """The first value of each searched parameter."""
    return {key: values.ends[0] if isinstance(values, Range) else values[0] for key, values in study.parameters.items()}


def grid(study: Study) -> Iterator[dict[str, Any]]:
    """All combinations of the values of a study whose parameters are lists."""
    lists = [values for values in study.parameters.values() if not isinstance(values, Range)]
    for values in product(*lists):
        yield dict(zip(study.parameters, values, strict=True))


def number_of_trials(study: Study) -> int:
    """How many settings a study tries."""
    return study.trials or sum(1 for _ in grid(study))


def options(setting: Setting) -> list[str]:
    """Options of ``dvc exp run`` that set parameters."""
    return [word for key, value in setting.items() for word in ("-S", f"{key}={_as_text(value)}")]


def of_trial(study: Study, setting: Setting, seed: int, project: Path = Path()) -> dict[str, Any]:
    """All that a trial sets: the values of the recipe, the fixed ones, its own, and the seed."""
    return {**shared_changes(study, project), **setting, SEED: seed}


def _as_text(value: Any) -> str:
    """A value in the grammar of DVC's options."""
    match value:
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case list() | tuple():
            return f"[{','.join(map(_as_text, value))}]"
        case str() if not PLAIN.fullmatch(value) or value.lower() in WORDS:
            text = re.sub(r"(\\*)'", r"\1\1\\'", value)
            return f"'{text}'"
        case _:
            return str(value)
