"""The model file: weights, and the architecture from which the model is built."""

from pathlib import Path

import torch

from vae.base.module_file import ModuleFile, built
from vae.data.images import ImageShape
from vae.model.architecture import Architecture
from vae.model.vae import VAE

MODEL_FILE = ModuleFile("model", key="architecture", stage="train")


def save_model(path: Path, model: VAE) -> None:
    """Write a model as safetensors, with its architecture as JSON in the metadata.

    Raises:
        ArtifactError: the file cannot be written.
    """
    MODEL_FILE.save(path, model, model.architecture.model_dump(mode="json"))


def load_model(path: Path, device: torch.device, image_shape: ImageShape) -> VAE:
    """Load a model from its file, and check that it is for images of the given shape.

    Raises:
        ModuleFileError: the file is missing, damaged or invalid, or its model is for images of another shape.
    """
    with MODEL_FILE.reading(path) as (description, weights):
        architecture = Architecture.model_validate(description)
        layers = len(architecture.hidden_dims)
        if architecture.network != "mlp":
            layers += architecture.residual_blocks
        if architecture.network == "autoregressive":
            layers += architecture.masked_layers
        model = built(lambda: VAE(architecture), weights, layers)
    MODEL_FILE.require_shape(path, architecture.image_shape, image_shape)
    return model.to(device)
