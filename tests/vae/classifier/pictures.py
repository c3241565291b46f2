"""Small labelled images that are easy to classify."""

import torch

from vae.classifier.classifier import Classifier, ClassifierKind
from vae.classifier.network import ImageClassifier
from vae.data.images import ImageShape, LabelledImages, PixelKind


def stripes(
    count: int, classes: tuple[int, ...], *, of: int = 5, seed: int = 0, kind: PixelKind = PixelKind.GREY
) -> LabelledImages:
    """Noisy images of 8×8 pixels: row k is bright in images of class k."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes)[torch.arange(count) % len(classes)]
    images = torch.randint(0, 100, (count, 1, 8, 8), dtype=torch.uint8, generator=random)
    images[torch.arange(count), 0, labels] += 150
    return LabelledImages(images, labels, tuple(map(str, range(of))), kind)


def random_classifier(shape: ImageShape = (1, 8, 8), classes: int = 5, seed: int = 0) -> Classifier:
    network = ImageClassifier(shape, classes)
    network.draw_weights(torch.Generator().manual_seed(seed))
    network.to(memory_format=torch.channels_last)  # as a trained one
    return Classifier(network, ClassifierKind.TRAINED)


def noise(count: int, shape: ImageShape = (1, 8, 8), seed: int = 0) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))
