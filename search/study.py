"""Load a study file: which parameters are varied, how they are searched, and by which metric they are judged."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from vae.base.errors import VAEError
from vae.base.params import Count, Section, Seed
from vae.base.validation import described, explanations, validated_file

SEED = "train.seed"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")  # it becomes part of the names of experiments and of paths


class StudyError(VAEError):
    """A study file cannot be read, or something in it is unknown, missing or contradictory."""


class Range(Section):
    """Numbers from ``low`` to ``high``: only whole ones if ``whole``, evenly over the logarithm if ``log``."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _has_numbers(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low: {self.low:g} must be below high: {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low: {self.low:g} has no logarithm; log: true needs a low above 0")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"low: {self.low:g} and high: {self.high:g} must be whole numbers, as whole: true says")
        return self

    @property
    def ends(self) -> tuple[float, float] | tuple[int, int]:
        """The lowest and the highest number, of the type that the range has."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


Candidates = tuple[Any, ...] | Range


def _name(value: Any) -> Any:
    if isinstance(value, str) and not NAME.fullmatch(value):
        raise ValueError(f"name: expected up to 40 letters, digits, hyphens and underscores, got {described(value)}")
    return value


def _candidates(parameters: Any) -> Any:
    """Check and convert the values to try: a list of values, or a range."""
    if not isinstance(parameters, Mapping) or not parameters:
        raise ValueError(f"parameters: expected parameters and their values to try, got {described(parameters)}")
    found: dict[str, Candidates] = {}
    for key, values in parameters.items():
        match values:
            case Mapping():
                try:
                    found[key] = Range.model_validate(values)
                except ValidationError as error:
                    raise ValueError(f"parameters: {key}: {'; '.join(explanations(error, Range))}") from error
            case list() if len(values) > 1 and len(set(map(repr, values))) == len(values):
                found[key] = tuple(values)
            case _:
                raise ValueError(
                    f"parameters: {key}: expected a list of two or more different values, or a range such as "
                    f"{{low: 0.5, high: 2}}, got {described(values)}; a single value belongs to fixed"
                )
    return found


class Study(Section):
    """A study.

    Attributes:
        name: the first part of the names of its experiments.
        recipe: a file of ``recipes/`` with parameters for all trials.
        fixed: parameters of all trials, by dotted key.
        parameters: the values to try of each searched parameter: a list, or a range.
        seeds: each setting is run with each of these as ``train.seed``; its value is the mean over them.
        search: every combination of the lists; independent draws; or draws near what did well, by TPE.
        trials: how many settings to try; those of a grid are its combinations.
        metric: the metric that settings are ranked by.
        direction: which values of it are better.
        hours: no trial starts later than this after the command; None for no limit.
        pruning: whether to stop trials whose validation loss is worse than the median of earlier trials at an epoch.
        seed: the seed of the search.
    """

    name: Annotated[str, BeforeValidator(_name)]
    recipe: str | None = None
    fixed: dict[str, Any] = Field(default_factory=dict)
    parameters: Annotated[dict[str, Candidates], BeforeValidator(_candidates)]
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]
    search: Literal["grid", "random", "tpe"]
    trials: Count | None = None
    metric: str
    direction: Literal["lowest", "highest"]
    hours: Annotated[float, Field(gt=0)] | None = None
    pruning: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        ranges = [key for key, values in self.parameters.items() if isinstance(values, Range)]
        if self.search == "grid" and ranges:
            raise ValueError(f"parameters: {ranges[0]}: a grid has no ranges; list its values, or set search: tpe")
        if (self.search == "grid") != (self.trials is None):
            advice = "a grid has one for each combination; remove it" if self.search == "grid" else "missing; add it"
            raise ValueError(f"trials: {advice}")
        if twice := sorted(self.parameters.keys() & self.fixed.keys()):
            raise ValueError(f"fixed: {twice[0]}: also in parameters; remove it from one of the two")
        if SEED in self.parameters.keys() | self.fixed.keys():
            raise ValueError(f"{SEED}: set by seeds; remove it from parameters or fixed")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: a seed is listed twice; the second run would be the same as the first")
        if self.pruning and self.direction == "highest":
            raise ValueError(
                "pruning: stops trials of high validation loss, so it needs a metric with direction: lowest"
            )
        return self


def load_study(path: Path) -> Study:
    """Read and validate a study file.

    Raises:
        StudyError: the file is missing or not YAML, or something in it is wrong; the message has a line for each.
    """
    return validated_file(path, Study, StudyError)
