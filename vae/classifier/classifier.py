"""A trained classifier, applied to whole data sets."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from vae.classifier.network import FEATURES, ImageClassifier, shrinking
from vae.data.images import pixels

BATCH_SIZE = 500  # fewer large images


class ClassifierKind(StrEnum):
    """Whether the network has learned to tell classes apart."""

    TRAINED = "classifier"
    RANDOM = "random network"  # its features still tell distributions apart, its probabilities mean nothing


@dataclass(frozen=True)
class Classifier:
    """A network that gives features of images and, if it is trained, the probabilities of their classes.

    Attributes:
        network: on the device to compute on.
        kind: trained, or a network with random weights (Naeem et al. 2020, section on random embeddings).
    """

    network: ImageClassifier
    kind: ClassifierKind

    @property
    def classes(self) -> int:
        """The number of classes K."""
        return self.network.classes

    def features(self, images: Tensor) -> Tensor:
        """The features of images: uint8 or intensities (M, C, H, W) to float32 (M, 64), on the CPU.

        Over the training images, the variances of the 64 features add up to one.
        """
        return self._apply(self.network.features, images, FEATURES)

    def probabilities(self, images: Tensor) -> Tensor:
        """The probability of each class: uint8 or intensities (M, C, H, W) to float64 (M, K), on the CPU."""
        return self._apply(self.network, images, self.classes).double().softmax(1)

    @torch.no_grad()
    def _apply(self, function: Callable[[Tensor], Tensor], images: Tensor, width: int) -> Tensor:
        device = next(self.network.parameters()).device
        batch_size = max(1, BATCH_SIZE // shrinking(images.shape) ** 2)
        batches = [function(_intensities(batch, device)).cpu() for batch in images.split(batch_size) if len(batch)]
        return torch.cat(batches) if batches else torch.empty(0, width)


def _intensities(images: Tensor, device: torch.device) -> Tensor:
    """A batch as intensities on the device."""
    return pixels(images.to(device)) if images.dtype == torch.uint8 else images.to(device, torch.float32)


def is_right(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Whether the most probable class of each image is its label: (M, K) and (M,) to bool (M,)."""
    return probabilities.argmax(1) == labels


def accuracy(probabilities: Tensor, labels: Tensor) -> float:
    """Share of images whose most probable class is their label: probabilities (M, K) and labels (M,)."""
    return float(is_right(probabilities, labels).double().mean())
