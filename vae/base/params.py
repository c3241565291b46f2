"""The typed, frozen, validated form of ``params.yaml``.

No parameter has a default here: a missing key is an error, never a silent choice. The file is read by the rules of
YAML 1.2, as DVC reads it, so that ``1e-3`` is a number to both.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from vae.base.errors import VAEError
from vae.base.yaml12 import YAMLError, parse_yaml

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]

CONTINUOUS_LIKELIHOODS = ("continuous_bernoulli", "gaussian", "laplace")
SCALED_LIKELIHOODS = ("gaussian", "laplace")


class ParamsError(VAEError):
    """``params.yaml`` cannot be read, or a parameter in it is unknown, missing, mistyped or out of range."""


class Section(BaseModel):
    """A mapping of ``params.yaml``: no unknown keys, no conversion between types, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PrepareParams(Section):
    """Which images, how many to train on, how they are split, and whether their pixels are made black and white.

    ``binarize``: ``none``; ``threshold``, white from ½ on; ``static``, one draw with the intensity as the probability
    of white; ``dynamic``, such a draw whenever a training image is used, and one for the other images.
    """

    dataset: Literal["digits", "mnist", "fashion_mnist", "kmnist"]
    validation_fraction: Annotated[float, Field(ge=0, lt=1)]
    train_images: Count | Literal["all"]
    binarize: Literal["none", "threshold", "static", "dynamic"]
    seed: Seed


class ModelParams(Section):
    """The networks, the size of the latent space, and the distribution of pixels that the decoder gives.

    Every network has dense layers of widths ``hidden_dims``, in the decoder the other way round. Those of convolutions
    have ``channels`` of them; the autoregressive decoder has ``masked_layers``.
    """

    network: Literal["mlp", "conv", "autoregressive"]
    hidden_dims: Annotated[tuple[Count, ...], Field(strict=False)]
    activation: Literal["relu", "tanh", "gelu", "silu"]
    channels: Count
    masked_layers: Count
    latent_dim: Count
    likelihood: Literal["bernoulli", "continuous_bernoulli", "gaussian", "laplace"]
    scale: Positive | Literal["learned"]

    @model_validator(mode="after")
    def _scale_belongs_to_the_likelihood(self) -> Self:
        if self.scale != "learned" and self.likelihood not in SCALED_LIKELIHOODS:
            raise ValueError(
                f"model.scale: {self.scale} fixes the scale of gaussian and laplace, but model.likelihood is "
                f"{self.likelihood}, which has none; set model.scale=learned or another likelihood"
            )
        return self


class TrainParams(Section):
    """The objective and its optimisation by Adam.

    ``beta`` weighs the KL, after a linear rise from 0 over ``kl_warmup_epochs``. A KL below ``free_bits``, in nats per
    latent dimension, is not penalised. More than one of ``importance_samples`` trains the importance-weighted bound of
    as many. ``gradient_clip`` is the largest norm of a gradient, 0 for no limit. ``precision`` is that of matrix
    products, tf32 on CUDA only.
    """

    epochs: Count
    batch_size: Count
    learning_rate: Positive
    schedule: Literal["constant", "cosine", "eight_stages"]
    beta: NotNegative
    kl_warmup_epochs: Annotated[int, Field(ge=0)]
    free_bits: NotNegative
    importance_samples: Count
    weight_decay: NotNegative
    gradient_clip: NotNegative
    precision: Literal["float32", "tf32", "bfloat16"]
    seed: Seed

    @model_validator(mode="after")
    def _objective_is_one_of_those_known(self) -> Self:
        if self.kl_warmup_epochs >= self.epochs:
            raise ValueError(
                f"train.kl_warmup_epochs: {self.kl_warmup_epochs} leaves none of train.epochs={self.epochs} at "
                "the full weight of the KL; lower it"
            )
        neutral = {"beta": 1, "kl_warmup_epochs": 0, "free_bits": 0}
        weighted = [name for name, value in neutral.items() if getattr(self, name) != value]
        if self.importance_samples > 1 and weighted:
            raise ValueError(
                f"train.importance_samples: the importance-weighted bound of {self.importance_samples} samples has no "
                f"KL term for train.{weighted[0]} to act on; set train.importance_samples=1, or train.beta=1, "
                "train.kl_warmup_epochs=0 and train.free_bits=0"
            )
        return self


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
    """The map of the picture and of the latent explorer, and the nearest-neighbour measures of the latent space."""

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

    @model_validator(mode="after")
    def _likelihood_is_one_of_such_pixels(self) -> Self:
        likelihood, binarize = self.model.likelihood, self.prepare.binarize
        if binarize != "none" and likelihood in CONTINUOUS_LIKELIHOODS:
            raise ValueError(
                f"model.likelihood: {likelihood} is a density over all intensities, without limit on the black and "
                f"white pixels of prepare.binarize={binarize}; set model.likelihood=bernoulli or prepare.binarize=none"
            )
        if self.model.network == "autoregressive" and likelihood == "bernoulli" and binarize == "none":
            raise ValueError(
                "model.network: autoregressive learns pixels from those before them, grey ones here, but would draw "
                "black and white ones from model.likelihood=bernoulli; binarise them by prepare.binarize, or set "
                "another likelihood"
            )
        return self


def load_params(path: Path) -> Params:
    """Read and validate the whole of a parameter file.

    Raises:
        ParamsError: the file is missing or no YAML, or a parameter is unknown, missing, mistyped or out of range;
            the message has one line for each such parameter.
    """
    try:
        values = parse_yaml(path.read_bytes())
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}") from error
    except YAMLError as error:
        line = f", line {error.line}" if error.line else ""
        raise ParamsError(f"{path}{line}: not valid YAML: {error.problem}") from error
    if not isinstance(values, dict):
        raise ParamsError(f"{path}: expected sections ({', '.join(Params.model_fields)}), found none")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError("\n".join(f"{path}: {line}" for line in _explanations(error))) from error


def _explanations(error: ValidationError) -> list[str]:
    """A line for each parameter; one that may be of several types has an error for each, of which one line is made."""
    first: dict[str, str] = {}
    for detail in error.errors():
        alternative = len(detail["loc"]) > 2 and not isinstance(detail["loc"][2], int)  # a type's name, no list index
        key = ".".join(str(part) for part in detail["loc"][: 2 if alternative else None])
        words = _explain(key, detail)
        if key in first:
            expected = words.removeprefix(f"{key}: expected ").split(", got ")[0]
            words = first[key].replace(", got ", f", or {expected}, got ")
        first[key] = words
    return list(first.values())


_PLAIN_WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid tuple": "a list",
    "greater than": "a number greater than",
    "less than": "a number less than",
}


def _explain(key: str, error: ErrorDetails) -> str:
    """One line about one parameter: its key, what is wrong with its value, the way out."""
    match error["type"]:
        case "missing":
            return f"{key}: missing; add it"
        case "extra_forbidden":
            return f"{key}: unknown parameter; {_suggest(error['loc'])}"
        case "invalid_key":
            return f"{key}: names are words, not {error['input']!r}"
        case "model_type":
            return f"{key}: expected a section with parameters, got {error['input']!r}"
        case "value_error":  # of parameters that do not go together; the message names them
            return str(error["ctx"]["error"])
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
