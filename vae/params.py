"""The typed, frozen, validated form of ``params.yaml``.

No parameter has a default here: a missing key is an error, never a silent choice. The file is read by the rules of
YAML 1.2, as DVC reads it, so that ``1e-3`` is a number to both.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from vae.errors import VAEError

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class ParamsError(VAEError):
    """``params.yaml`` cannot be read, or a parameter in it is unknown, missing, mistyped or out of range."""


class Section(BaseModel):
    """A mapping of ``params.yaml``: no unknown keys, no conversion between types, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PrepareParams(Section):
    """Which images, and how they are split."""

    dataset: Literal["digits", "mnist", "fashion_mnist", "kmnist"]
    validation_fraction: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed


class ModelParams(Section):
    """The networks: widths of the encoder's hidden layers (the decoder mirrors them) and size of the latent space."""

    hidden_dims: Annotated[tuple[Count, ...], Field(strict=False)]
    latent_dim: Count


class TrainParams(Section):
    """The optimisation. ``learning_rate`` is Adam's; ``precision`` is that of matrix products, tf32 on CUDA only."""

    epochs: Count
    batch_size: Count
    learning_rate: Positive
    precision: Literal["float32", "tf32", "bfloat16"]
    seed: Seed


class EvaluateParams(Section):
    """The measures on the test images. ``importance_samples`` is the bound's k."""

    importance_samples: Count
    seed: Seed


class GenerateParams(Section):
    """Samples, and the nearest-neighbour measures of their quality and diversity."""

    samples: Count
    neighbours: Count
    seed: Seed


class EmbedParams(Section):
    """The projection to two dimensions, and the nearest-neighbour measures of the latent space."""

    method: Literal["tsne", "pca", "umap"]
    points: Annotated[int, Field(ge=10)]
    neighbours: Count
    seed: Seed


class Params(Section):
    """The whole of ``params.yaml``: one section a stage, and ``model``."""

    prepare: PrepareParams
    model: ModelParams
    train: TrainParams
    evaluate: EvaluateParams
    generate: GenerateParams
    embed: EmbedParams


def load_params(path: Path) -> Params:
    """Read and validate the whole of a parameter file.

    Raises:
        ParamsError: the file is missing or no YAML, or a parameter is unknown, missing, mistyped or out of range;
            the message has one line for each such parameter.
    """
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}") from error
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ParamsError(f"{path}{line}: not valid YAML: {error.problem}") from error
    except (YAMLError, ValueError) as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ParamsError(f"{path}: expected sections ({', '.join(Params.model_fields)}), found none")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError("\n".join(f"{path}: {_explain(detail)}" for detail in error.errors())) from error


_PLAIN_WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid tuple": "a list",
    "greater than": "a number greater than",
    "less than": "a number less than",
}


def _explain(error: ErrorDetails) -> str:
    """One line about one parameter: its key, what is wrong with its value, the way out."""
    key = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "missing":
            return f"{key}: missing; add it"
        case "extra_forbidden":
            return f"{key}: unknown parameter; {_suggest(error['loc'])}"
        case "invalid_key":
            return f"{key}: names are words, not {error['input']!r}"
        case "model_type":
            return f"{key}: expected a section with parameters, got {error['input']!r}"
        case _:
            expected = error["msg"].removeprefix("Input should be ")
            for pydantic_words, plain_words in _PLAIN_WORDS.items():
                expected = expected.replace(pydantic_words, plain_words)
            return f"{key}: expected {expected}, got {_describe(error['input'])}"


def _suggest(location: tuple[int | str, ...]) -> str:
    section: type[BaseModel] = Params
    for part in location[:-1]:
        section = section.model_fields[str(part)].annotation  # type: ignore[assignment]  # sections nest sections only
    close = get_close_matches(str(location[-1]), section.model_fields, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(section.model_fields)}"


def _describe(value: Any) -> str:
    return f"the string {value!r}" if isinstance(value, str) else "nothing" if value is None else repr(value)
