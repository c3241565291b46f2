"""The model file: weights, the architecture from which the model is built, and what it was trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vae.base.module_file import ModuleFile, ModuleFileError, built
from vae.base.params import LIKELIHOODS_OF_8_BITS, Section
from vae.data.images import ImageShape
from vae.data.preparation import Preparation
from vae.model.architecture import Architecture
from vae.model.vae import VAE

MODEL_FILE = ModuleFile("model", key="architecture", stage="train")

# Raise it when the same weights come to mean something else, and refuse older files of such models in
# ``_require_same_meaning``. Files without a number are of format 1.
FORMAT = 2


class Origin(Section):
    """What a model was trained on.

    Attributes:
        preparation: how the training images were prepared.
        training_images: the fingerprint of the training images.
    """

    preparation: Preparation
    training_images: str


def save_model(path: Path, model: VAE, origin: Origin | None = None) -> None:
    """Write a model as safetensors, with its architecture and its origin as JSON in the metadata.

    Raises:
        ArtifactError: the file cannot be written.
    """
    architecture = model.architecture.model_dump(mode="json")
    MODEL_FILE.save(path, model, {**architecture, "format": FORMAT, "origin": origin and origin.model_dump()})


def read_model(path: Path, device: torch.device) -> tuple[VAE, Origin | None]:
    """Read a model and its origin, which is None if it is unknown.

    Raises:
        ModuleFileError: the file is missing, damaged or invalid, or of another version of the code.
    """
    with MODEL_FILE.reading(path) as (description, weights):
        number, origin = description.pop("format", 1), description.pop("origin", None)
        _require_same_meaning(path, number, description)
        architecture = Architecture.model_validate(description)
        layers = len(architecture.hidden_dims)
        if architecture.network != "mlp":
            layers += architecture.residual_blocks
        if architecture.network == "autoregressive":
            layers += architecture.masked_layers
        model = built(lambda: VAE(architecture), weights, layers)
        known = None if origin is None else Origin.model_validate(origin)
    return model.to(device), known


def load_model(path: Path, device: torch.device, image_shape: ImageShape) -> VAE:
    """Load a model from its file, and check that it is for images of the given shape.

    Raises:
        ModuleFileError: the file is missing, damaged or invalid, or its model is for images of another shape.
    """
    model, _ = read_model(path, device)
    MODEL_FILE.require_shape(path, model.architecture.image_shape, image_shape)
    return model


def _require_same_meaning(path: Path, number: object, architecture: Mapping[str, Any]) -> None:
    """Refuse a file whose weights mean something else to this version of the code.

    Since format 2, an autoregressive decoder predicts 8-bit pixels relative to their neighbours
    (``Likelihood.relative_to``).

    Raises:
        ModuleFileError: they do.
    """
    network, likelihood = architecture.get("network"), architecture.get("likelihood")
    if type(number) is not int or number < 1:
        raise ValueError(f"format {number!r}")
    if number > FORMAT:
        raise ModuleFileError(
            f"{path}: of format {number}, which a newer version of the code wrote; this one reads formats up to "
            f"{FORMAT}: update it, or run dvc repro train"
        )
    if number < 2 and network == "autoregressive" and likelihood in LIKELIHOODS_OF_8_BITS:
        raise ModuleFileError(
            f"{path}: of format {number}; since format 2 the weights of an autoregressive decoder with {likelihood} "
            "have another meaning; run dvc repro train to train the model again"
        )
