"""The classifier file: weights, and what the network is built from."""

from pathlib import Path

import torch

from vae.base.module_file import ModuleFile, built
from vae.classifier.classifier import Classifier, ClassifierKind
from vae.classifier.network import ImageClassifier
from vae.data.images import ImageShape

CLASSIFIER_FILE = ModuleFile("classifier", key="classifier", stage="prepare")
MOST_CLASSES = 100_000  # more are a sign of a damaged file


def save_classifier(path: Path, classifier: Classifier) -> None:
    """Write a classifier as safetensors, with its kind, image shape and number of classes in the metadata.

    Raises:
        ArtifactError: the file cannot be written.
    """
    network = classifier.network
    description = {"kind": classifier.kind, "image_shape": network.image_shape, "classes": network.classes}
    CLASSIFIER_FILE.save(path, network, description)


def load_classifier(path: Path, device: torch.device, image_shape: ImageShape) -> Classifier:
    """Load a classifier from its file, and check that it is for images of the given shape.

    Raises:
        ModuleFileError: the file is missing, damaged or invalid, or its images have another shape.
    """
    with CLASSIFIER_FILE.reading(path) as (description, weights):
        kind = ClassifierKind(description["kind"])
        channels, height, width = (_positive(size) for size in description["image_shape"])
        classes = _positive(description["classes"])
        network = built(lambda: ImageClassifier((channels, height, width), classes), weights)
    CLASSIFIER_FILE.require_shape(path, network.image_shape, image_shape)
    return Classifier(network.to(memory_format=torch.channels_last).to(device), kind)


def _positive(value: object) -> int:
    if not isinstance(value, int) or not 0 < value <= MOST_CLASSES:
        raise ValueError(f"{value!r} is not a size")
    return value
