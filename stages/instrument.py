"""What the generate stage measures decoded codes with."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from stages import decoded
from vae.classifier.classifier import Classifier
from vae.diagnostics import blur
from vae.diagnostics.sample_quality import Comparison, RealImages
from vae.model import inference
from vae.model.vae import VAE


class Samples(NamedTuple):
    """Images decoded from M codes.

    Attributes:
        images: the first of them, to draw and to measure their blur, on the CPU.
        probabilities: of the classes of all (M, K).
        comparison: of all with real images.
    """

    images: Tensor
    probabilities: Tensor
    comparison: Comparison


@dataclass(frozen=True)
class Instrument:
    """What samples are measured with.

    Attributes:
        classifier: of the prepare stage.
        real_images: test images, in the classifier's features.
        binary: whether every pixel of the data is black or white.
    """

    classifier: Classifier
    real_images: RealImages
    binary: bool

    def compare(self, images: Tensor) -> Comparison:
        """Compare images with test images."""
        return self.real_images.compare(self.classifier.features(images))

    def decode(self, model: VAE, codes: Tensor, seed: int) -> Samples:
        """Decode codes, and measure the images."""
        shown: list[Tensor] = []
        features, probabilities = [], []
        kept = max(blur.compared(model.architecture.image_shape), decoded.SAMPLE_ROWS * decoded.SAMPLE_COLUMNS)
        for rows, images in inference.decode_in_pieces(model, codes, seed, binary=self.binary):
            shown.append(images.shown[: max(0, kept - rows.start)].cpu())
            features.append(self.classifier.features(images.compared))
            probabilities.append(self.classifier.probabilities(images.compared))
        return Samples(torch.cat(shown), torch.cat(probabilities), self.real_images.compare(torch.cat(features)))
