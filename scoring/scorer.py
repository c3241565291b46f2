"""Scores images with a trained model, a piece at a time, so that memory does not grow with their number."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from tqdm import tqdm

from scoring.neighbours import Nearest, TrainingImages
from scoring.scores import Scores, scores_of, typical
from vae.base.errors import VAEError
from vae.base.runtime import derive
from vae.data.images import LabelledImages, fingerprint
from vae.model import inference
from vae.use.trained_model import TrainedModel

PIECE = 1000  # images


class OtherImagesError(VAEError):
    """Training images are not those that the model was trained on."""


class Piece(NamedTuple):
    """What is known about some images: their rows, codes (n, D), scores, and nearest training images."""

    rows: range
    codes: Tensor
    scores: Scores
    nearest: Nearest


class Scorer:
    """Scores images with a model, in comparison with its training images.

    Attributes:
        model: the model.
        training: its training images.
        typical: what their scores are.
    """

    def __init__(self, model: TrainedModel, train: LabelledImages, seed: int) -> None:
        """Encode the training images, and score some of them.

        Raises:
            TooFewImagesError: there are too few.
        """
        self.model = model
        self.seed = seed
        self.training = TrainingImages(model.network, train, seed)
        self.typical = typical(model.network, train, seed)

    def pieces(self, images: Tensor, progress: str = "scored") -> Iterator[Piece]:
        """Score images a piece at a time.

        Args:
            images: uint8 (N, C, H, W) of the size and the channels of the model.
            progress: what the progress bar says.
        """
        network = self.model.network
        with tqdm(total=len(images), desc=progress, unit="image", disable=None) as bar:
            for start in range(0, len(images), PIECE):
                rows = range(start, min(start + PIECE, len(images)))
                seed = derive(self.seed, f"images from {start}")
                intensities = images[start : rows.stop]
                seen = self.model.prepare(intensities, seed)
                codes = inference.encode(network, seen).mean.cpu()
                nearest = self.training.nearest(codes, intensities if self.training.in_grey else seen)
                scores = scores_of(network, seen, intensities, nearest.distance, self.typical, seed)
                yield Piece(rows, codes, scores, nearest)
                bar.update(len(rows))


def require_training_images(path: Path, train: LabelledImages, model_path: Path, model: TrainedModel) -> None:
    """Check that training images are those of a model.

    Raises:
        OtherImagesError: they are not.
    """
    if train.shape != model.image_shape or fingerprint(train) != model.origin.training_images:
        raise OtherImagesError(
            f"{path}: not the images that {model_path} was trained on; set TRAIN=… to those, or run dvc repro"
        )
