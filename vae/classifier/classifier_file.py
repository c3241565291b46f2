"""The classifier file: weights, and what the network is built from."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vae.base.artifacts import write_bytes
from vae.base.errors import VAEError
from vae.classifier.classifier import Classifier, ClassifierKind
from vae.classifier.network import ImageClassifier
from vae.data.images import ImageShape

METADATA_KEY = "classifier"  # the only key: safetensors writes several in an order that changes from run to run
MOST_CLASSES = 100_000  # more are a sign of a damaged file


class ClassifierFileError(VAEError):
    """A classifier file is missing, damaged or invalid, or does not fit the data."""


def save_classifier(path: Path, classifier: Classifier) -> None:
    """Write a classifier as safetensors, with its kind, image shape and number of classes as JSON in the metadata.

    Raises:
        ArtifactError: the file cannot be written.
    """
    network = classifier.network
    weights = {name: weight.cpu().contiguous() for name, weight in network.state_dict().items()}
    description = {"kind": classifier.kind, "image_shape": network.image_shape, "classes": network.classes}
    write_bytes(path, save(weights, {METADATA_KEY: json.dumps(description)}))


def load_classifier(path: Path, device: torch.device, image_shape: ImageShape) -> Classifier:
    """Load a classifier from its file, and check that it is for images of the given shape.

    Raises:
        ClassifierFileError: the file is missing, damaged or invalid, or its images have another shape.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {})[METADATA_KEY])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # safe_open is not a mapping
        kind = ClassifierKind(description["kind"])
        channels, height, width = (_positive(size) for size in description["image_shape"])
        classes = _positive(description["classes"])
        with torch.device("meta"):  # neither allocates nor draws weights, which are replaced next
            network = ImageClassifier((channels, height, width), classes)
        network.load_state_dict(weights, assign=True)
        if any(weight.dtype != torch.float32 for weight in weights.values()):
            raise TypeError("weights are not float32")
    except FileNotFoundError as error:
        raise ClassifierFileError(f"{path}: no such file; run dvc repro prepare, or dvc pull, to get it") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ClassifierFileError(
            f"{path}: damaged, or not a classifier of this version ({reason}); delete it and run dvc repro prepare"
        ) from error
    if network.image_shape != image_shape:
        trained, given = ("×".join(map(str, shape)) for shape in (network.image_shape, image_shape))
        raise ClassifierFileError(
            f"{path}: a classifier of {trained} images, but data/prepared holds {given} images; run dvc repro prepare"
        )
    return Classifier(network.to(memory_format=torch.channels_last).to(device), kind)


def _positive(value: object) -> int:
    if not isinstance(value, int) or not 0 < value <= MOST_CLASSES:
        raise ValueError(f"{value!r} is not a size")
    return value
