"""A map of encoded images: what the latent explorer's pages show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.data.images import LabelledImages, pixels
from vae.diagnostics import projection
from vae.figures.canvas import class_colours
from vae.model import inference
from vae.model.inference import Posterior
from vae.model.vae import VAE

POSTERIOR_SAMPLES = 16  # of each image, over which its negative ELBO is averaged


@dataclass(frozen=True)
class LatentMap:
    """Encoded images and their coordinates on a map of the latent space.

    Attributes:
        images: N images with their classes.
        indices: their indices among the test images, int64 (N,).
        codes: their posterior means (N, D).
        deviations: the standard deviations of their posteriors (N, D).
        points: their coordinates (N, 2); the codes themselves if D is two, or one (padded with zero).
        axis_names: what the two axes show.
        colours: the classes' colours for CSS, reused from the start if there are more classes.
        measures: a number for each image (N,) by the name of the measure, with its unit, as in "KL (nats)".
    """

    images: LabelledImages
    indices: Tensor
    codes: Tensor
    deviations: Tensor
    points: NDArray[np.float32]
    axis_names: tuple[str, str]
    colours: Sequence[str]
    measures: Mapping[str, Tensor]

    def first(self, count: int) -> "LatentMap":
        """A map of only the first images."""
        return replace(
            self,
            images=self.images[:count],
            indices=self.indices[:count],
            codes=self.codes[:count],
            deviations=self.deviations[:count],
            points=self.points[:count],
            measures={name: values[:count] for name, values in self.measures.items()},
        )

    @property
    def latent_dim(self) -> int:
        """D."""
        return self.codes.shape[1]

    @property
    def place_is_code(self) -> bool:
        """Whether the map shows the latent space itself instead of a projection."""
        return self.latent_dim <= 2

    @property
    def places(self) -> Tensor:
        """The coordinates of the drawn points (N, 2). With one latent dimension, each class has its own row."""
        if self.latent_dim > 1:
            return torch.tensor(self.points)
        return torch.stack([self.codes[:, 0].cpu(), -self.images.labels.float()], 1)


def latent_map(
    model: VAE, test: LabelledImages, chosen: Tensor, posterior: Posterior, method: str, seed: int
) -> LatentMap:
    """The map of some test images.

    Args:
        model: the model that encoded them.
        test: all test images.
        chosen: the indices of those on the map, int64 (N,).
        posterior: μ and log σ² of all test images, on the CPU.
        method: of the projection: ``tsne``, ``pca`` or ``umap``.
        seed: of the projection, and of the measures.
    """
    images, codes = test[chosen], posterior.mean[chosen]
    return LatentMap(
        images=images,
        indices=chosen,
        codes=codes,
        deviations=posterior.log_variance[chosen].mul(0.5).exp(),
        points=projection.project(codes.numpy(), method, seed),
        axis_names=projection.axis_names(model.latent_dim, method),
        colours=class_colours(images.labels.bincount(minlength=len(test.class_names)).tolist()),
        measures=image_measures(model, images, codes, seed),
    )


def image_measures(model: VAE, images: LabelledImages, codes: Tensor, seed: int) -> dict[str, Tensor]:
    """How well a model explains each of N images, by the name of the measure: (N,) each.

    The squared error is that of the image decoded from the code (N, D), summed over pixels. An autoregressive decoder
    has none, since it decodes no code to an expected image.
    """
    elbo, _ = inference.bounds(model, images.images, POSTERIOR_SAMPLES, seed)
    measures = {"Negative ELBO (nats)": elbo.loss, "KL (nats)": elbo.kl.sum(1)}
    if not model.decoder.needs_pixels:
        error = inference.expected_images(model, codes).cpu() - pixels(images.images)
        measures["Squared error"] = error.square().flatten(1).sum(1)
    return measures
