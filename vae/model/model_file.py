"""The model file: weights, and the architecture from which the model is built."""

from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vae.base.artifacts import write_bytes
from vae.base.errors import VAEError
from vae.data.images import ImageShape
from vae.model.architecture import Architecture, ArchitectureError
from vae.model.vae import VAE

METADATA_KEY = "architecture"  # the only key: safetensors writes several in an order that changes from run to run


class ModelFileError(VAEError):
    """A model file is missing, damaged or invalid, or does not fit the data."""


def save_model(path: Path, model: VAE) -> None:
    """Write a model as safetensors, with its architecture as JSON in the metadata.

    Raises:
        ArtifactError: the file cannot be written.
    """
    weights = {name: weight.cpu().contiguous() for name, weight in model.state_dict().items()}
    write_bytes(path, save(weights, {METADATA_KEY: model.architecture.model_dump_json()}))


def load_model(path: Path, device: torch.device, image_shape: ImageShape) -> VAE:
    """Load a model from its file, and check that it is for images of the given shape.

    Raises:
        ModelFileError: the file is missing, damaged or invalid, or its model is for images of another shape.
    """
    try:
        with safe_open(path, framework="pt") as file:
            architecture = Architecture.model_validate_json((file.metadata() or {})[METADATA_KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # safe_open is not a mapping
        with torch.device("meta"):  # neither allocates nor draws weights, which are replaced next
            model = VAE(architecture)
        model.load_state_dict(weights, assign=True)
        if any(weight.dtype != torch.float32 for weight in weights.values()):
            raise TypeError("weights are not float32")
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file; run dvc repro train, or dvc pull, to get it") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValidationError, RuntimeError, ArchitectureError) as error:
        reason = " ".join(str(error).split())
        raise ModelFileError(
            f"{path}: damaged, or not a model of this version ({reason}); delete it and run dvc repro train"
        ) from error
    if architecture.image_shape != image_shape:
        trained, given = ("×".join(map(str, shape)) for shape in (architecture.image_shape, image_shape))
        raise ModelFileError(
            f"{path}: a model for {trained} images, but data/prepared holds {given} images; run dvc repro train"
        )
    return model.to(device)
