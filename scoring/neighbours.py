"""The training images that are nearest to an image: by their codes, then by their pixels."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae.base.errors import VAEError
from vae.base.runtime import one_thread
from vae.data.images import LabelledImages, PixelKind, drawn_once, pixels
from vae.model import inference
from vae.model.vae import VAE

NEAREST = 5  # codes
CANDIDATES = 10  # nearest codes, among which the nearest image is looked for

# The largest root mean square of the differences between the pixels of duplicates, on the scale from 0 to 255. An image
# of MNIST that is saved as JPEG (quality 75) differs from itself by 5.2 on average and by 6.5 at most (300 images); 500
# test images differ from the nearest of 60,000 training images by 10.2 or more.
DUPLICATE = 8.0


class TooFewImagesError(VAEError):
    """There are fewer training images than neighbours to look for."""


class Nearest(NamedTuple):
    """What is nearest to each of N images.

    Attributes:
        distance: mean Euclidean distance to the nearest ``NEAREST`` training codes, float64 (N,).
        image: the index of the training image that is nearest by its pixels, among ``CANDIDATES`` nearest codes (N,).
        difference: root mean square of the differences to its pixels, on the scale from 0 to 255, float64 (N,).
    """

    distance: Tensor
    image: Tensor
    difference: Tensor


class TrainingImages:
    """Training images and their codes, among which neighbours are looked for."""

    def __init__(self, model: VAE, data: LabelledImages, seed: int) -> None:
        """Encode the training images.

        Raises:
            TooFewImagesError: there are fewer than ``CANDIDATES``.
        """
        if len(data) < CANDIDATES:
            raise TooFewImagesError(f"{len(data)} training images; at least {CANDIDATES} are needed to compare with")
        from sklearn.neighbors import NearestNeighbors

        self.data = data
        images = drawn_once(data, seed, "training pixels").images
        codes = inference.encode(model, images).mean.cpu().numpy()
        self._search = NearestNeighbors(n_neighbors=CANDIDATES).fit(codes)

    @property
    def in_grey(self) -> bool:
        """Whether their pixels have intensities, and are not black or white."""
        return self.data.kind != PixelKind.BINARY

    @one_thread()
    def nearest(self, codes: Tensor, images: Tensor) -> Nearest:
        """Find the nearest training images.

        Args:
            codes: float32 (N, D).
            images: uint8 (N, C, H, W), of the same kind of pixels as the training images.
        """
        distances, indices = self._search.kneighbors(codes.cpu().numpy().astype(np.float32))
        differences = torch.stack(
            [
                (pixels(self.data.images[torch.from_numpy(row)]) - pixels(image)).square().flatten(1).mean(1).sqrt()
                for row, image in zip(indices, images, strict=True)
            ]
        )
        best = differences.argmin(1, keepdim=True)
        return Nearest(
            distance=torch.from_numpy(distances[:, :NEAREST]).double().mean(1),
            image=torch.from_numpy(indices).gather(1, best).flatten(),
            difference=255 * differences.gather(1, best).flatten().double(),
        )
