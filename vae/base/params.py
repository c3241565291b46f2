"""Load ``params.yaml`` into typed, frozen and validated parameters.

No parameter has a default here: a missing key is an error. The file is parsed as YAML 1.2, as DVC does, so that
``1e-3`` is a number to both.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vae.base.errors import VAEError
from vae.base.validation import described, validated_file
from vae.base.yaml12 import parse_yaml

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]

Fit = Literal["crop", "pad", "stretch"]
Binarization = Literal["none", "threshold", "static", "dynamic"]

LONGEST_SIDE = 1024  # of an image, in pixels

CONTINUOUS_LIKELIHOODS = ("continuous_bernoulli", "gaussian", "laplace")
SCALED_LIKELIHOODS = ("gaussian", "laplace")
LIKELIHOODS_OF_8_BITS = ("discretized_logistic", "discretized_logistic_mixture")


class ParamsError(VAEError):
    """``params.yaml`` cannot be read, or a parameter in it is unknown, missing, mistyped or out of range."""


def _image_size(value: Any) -> int | tuple[int, int]:
    """Check a number, or a list of height and width, with one message for both."""
    sides = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= LONGEST_SIDE for side in sides):
        raise ValueError(
            f"prepare.image_size: expected a whole number from 1 to {LONGEST_SIDE}, or two as [height, width], "
            f"got {described(value)}"
        )
    return sides if isinstance(value, list | tuple) else value


ImageSize = Annotated[int | tuple[int, int], BeforeValidator(_image_size)]


class Section(BaseModel):
    """A section of ``params.yaml``: no unknown keys, no conversion between types, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PrepareParams(Section):
    """The data set, its split, the number of training images, and how pixels are binarized.

    ``binarize`` is one of ``none``; ``threshold``: intensities of ½ or more become white; ``static``: each pixel is
    drawn once, with its intensity as the probability of white; ``dynamic``: the pixels of a training image are drawn
    each time it is used, those of other images once. The parameters from ``folder`` to ``max_skipped`` apply to
    ``dataset="folder"`` only.
    """

    dataset: Literal["digits", "mnist", "fashion_mnist", "kmnist", "folder"]
    folder: Annotated[str, Field(min_length=1)]
    image_size: ImageSize
    fit: Fit
    channels: Literal["auto", 1, 3]
    background: str
    max_skipped: Annotated[float, Field(ge=0, le=1)]
    validation_fraction: Annotated[float, Field(ge=0, lt=1)]
    train_images: Count | Literal["all"]
    binarize: Binarization
    seed: Seed

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the images of a folder."""
        return self.image_size if isinstance(self.image_size, tuple) else (self.image_size, self.image_size)

    @model_validator(mode="after")
    def _background_is_a_colour(self) -> Self:
        if self.dataset == "folder":
            from PIL import ImageColor

            try:
                ImageColor.getrgb(self.background)
            except ValueError as error:
                raise ValueError(
                    f"prepare.background: expected a colour, such as white or #ffffff, got {self.background!r}"
                ) from error
        return self


class ModelParams(Section):
    """The networks, the size of the latent space, and the likelihood.

    Every network has dense layers of widths ``hidden_dims``, in reverse order in the decoder. The first convolution has
    ``channels`` channels, and ``residual_blocks`` blocks follow each halving of the image. The autoregressive decoder
    has ``masked_layers`` gated convolutions.
    """

    network: Literal["mlp", "conv", "autoregressive"]
    hidden_dims: Annotated[tuple[Count, ...], Field(strict=False)]
    activation: Literal["relu", "tanh", "gelu", "silu"]
    channels: Count
    residual_blocks: Annotated[int, Field(ge=0)]
    masked_layers: Count
    latent_dim: Count
    likelihood: Literal[
        "bernoulli",
        "continuous_bernoulli",
        "gaussian",
        "laplace",
        "discretized_logistic",
        "discretized_logistic_mixture",
    ]
    scale: Positive | Literal["learned"]

    @model_validator(mode="after")
    def _scale_belongs_to_the_likelihood(self) -> Self:
        if self.scale != "learned" and self.likelihood not in SCALED_LIKELIHOODS:
            raise ValueError(
                f"model.scale: {self.scale} applies only to gaussian and laplace, but model.likelihood is "
                f"{self.likelihood}, which has no fixed scale; set model.scale=learned or another likelihood"
            )
        return self


class TrainParams(Section):
    """The objective and its optimization by Adam.

    Each batch is cut into ``shards`` of equal size, whose gradients are computed one by one, or by several processes.
    ``beta`` is the weight of the KL, which rises linearly from 0 over ``kl_warmup_epochs``. KL below ``free_bits``, in
    nats per latent dimension, is not penalized. If ``importance_samples`` is above 1, the importance-weighted bound of
    that many samples is trained. The learning rate rises linearly from 0 over ``warmup_epochs``, which may be a
    fraction. ``gradient_clip`` is the largest norm of a gradient, 0 for no limit. A step whose gradient has a norm
    above ``skip_above``, or one that is not finite, does not change the weights; 0 to skip none. ``ema_decay`` is that
    of an exponential moving average of the weights, which is then the model; 0 for none. ``precision`` is that of
    matrix products; tf32 has an effect on CUDA only.
    """

    epochs: Count
    batch_size: Count
    shards: Count
    learning_rate: Positive
    schedule: Literal["constant", "cosine", "eight_stages"]
    warmup_epochs: NotNegative
    beta: NotNegative
    kl_warmup_epochs: Annotated[int, Field(ge=0)]
    free_bits: NotNegative
    importance_samples: Count
    weight_decay: NotNegative
    gradient_clip: NotNegative
    skip_above: NotNegative
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    precision: Literal["float32", "tf32", "bfloat16"]
    seed: Seed

    @model_validator(mode="after")
    def _objective_is_one_of_those_known(self) -> Self:
        if self.kl_warmup_epochs >= self.epochs:
            raise ValueError(
                f"train.kl_warmup_epochs: {self.kl_warmup_epochs} must be below train.epochs={self.epochs}, or the KL "
                "never reaches its full weight; lower it"
            )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"train.warmup_epochs: {self.warmup_epochs} must be below train.epochs={self.epochs}, or the learning "
                "rate never reaches train.learning_rate; lower it"
            )
        if self.shards > self.batch_size:
            raise ValueError(
                f"train.shards: {self.shards} must not be above train.batch_size={self.batch_size}, because each shard "
                "of a batch needs an image; lower it"
            )
        if self.shards > 1 and self.free_bits:
            raise ValueError(
                f"train.shards: {self.shards} shards have no common average of the KL for train.free_bits to act on; "
                "set train.shards=1 or train.free_bits=0"
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
    """Evaluation on the test images. ``importance_samples`` is k of the importance-weighted bound."""

    importance_samples: Count
    seed: Seed


class GenerateParams(Section):
    """Samples, and the nearest-neighbour measures of their quality and diversity."""

    samples: Count
    neighbours: Count
    seed: Seed


class EmbedParams(Section):
    """The projection for the picture and the latent explorer, and nearest-neighbour measures of the latent space."""

    method: Literal["tsne", "pca", "umap"]
    points: Annotated[int, Field(ge=10)]
    neighbours: Count
    seed: Seed


class Params(Section):
    """All of ``params.yaml``: a section for each stage, and ``model``."""

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
                f"model.likelihood: {likelihood} is a density over all intensities, and grows without limit on the "
                f"black and white pixels of prepare.binarize={binarize}; set model.likelihood=bernoulli or "
                "prepare.binarize=none"
            )
        if binarize != "none" and likelihood in LIKELIHOODS_OF_8_BITS:
            raise ValueError(
                f"model.likelihood: {likelihood} is a distribution over 256 intensities, but "
                f"prepare.binarize={binarize} leaves two; set model.likelihood=bernoulli or prepare.binarize=none"
            )
        if self.model.network == "autoregressive" and likelihood == "bernoulli" and binarize == "none":
            raise ValueError(
                "model.network: autoregressive predicts each pixel from earlier ones, which are grey in training, but "
                "model.likelihood=bernoulli would draw black and white ones; set prepare.binarize or another "
                "model.likelihood"
            )
        return self


def recipe_values(path: Path) -> dict[str, Any]:
    """The values that a recipe sets, by dotted key: a file of ``--set-param=KEY=VALUE``."""
    options = (option.removeprefix("--set-param=").partition("=") for option in path.read_text("utf-8").split())
    return {key: parse_yaml(value) for key, _, value in options}


def load_params(path: Path) -> Params:
    """Read and validate a parameter file.

    Raises:
        ParamsError: the file is missing or not YAML, or a parameter is unknown, missing, mistyped or out of range;
            the message has one line for each such parameter.
    """
    return validated_file(path, Params, ParamsError)
