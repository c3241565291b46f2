"""A trained model for images in any common form."""

from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.base import runtime
from vae.base.errors import VAEError
from vae.base.module_file import ModuleFileError
from vae.data.images import ImageShape, draw_pixels, threshold_pixels
from vae.model import inference
from vae.model.model_file import Origin, read_model
from vae.model.vae import VAE
from vae.use.pictures import Batch, Pictures, as_batch

Numbers: TypeAlias = NDArray[Any] | Tensor


class CodesError(VAEError):
    """Something given as latent codes, or as a number of samples, cannot be used as such."""


class GaussianPosterior(NamedTuple):
    """q(z|x) = N(μ, diag σ²): ``mean`` μ and ``log_variance`` log σ², each (N, D), or (D,) for a single image."""

    mean: Numbers
    log_variance: Numbers


class TrainedModel:
    """A trained model, which prepares images as its training images were prepared.

    Images are whatever ``vae.use.pictures.as_batch`` takes: files, Pillow images, arrays or tensors, one or several.
    Results are tensors on the same device if tensors were given, else arrays; without an axis for several images if
    one image was given. The same call gives the same result.

    Attributes:
        network: the VAE.
        origin: what it was trained on.
    """

    def __init__(self, network: VAE, origin: Origin) -> None:
        self.network = network
        self.origin = origin

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height and width of the images."""
        return self.network.architecture.image_shape

    @property
    def latent_dim(self) -> int:
        """The number D of latent dimensions."""
        return self.network.latent_dim

    def prepare(self, images: Pictures, seed: int = 0) -> Tensor:
        """What the model sees: uint8 (N, C, H, W) on the CPU.

        If training images were made black and white by a draw, so are these.

        Args:
            images: one or several.
            seed: of that draw.

        Raises:
            PicturesError: there is no image, or one cannot be used; the message says which.
        """
        return self._prepared(images, seed).images

    def encode(self, images: Pictures, seed: int = 0) -> Numbers:
        """The latent codes: the means of the posteriors, float32 (N, D).

        Raises:
            PicturesError: as ``prepare``.
        """
        return self.posterior(images, seed).mean

    def posterior(self, images: Pictures, seed: int = 0) -> GaussianPosterior:
        """The posterior q(z|x) of each image, float32.

        Raises:
            PicturesError: as ``prepare``.
        """
        batch = self._prepared(images, seed)
        return GaussianPosterior(*(_like(batch, part) for part in inference.encode(self.network, batch.images)))

    def decode(self, codes: Numbers, seed: int = 0) -> Numbers:
        """The image of each latent code: (N, D) or (D,) to intensities from 0 to 1, float32 (N, C, H, W) or (C, H, W).

        It is the expected image, except that an autoregressive decoder draws one.

        Args:
            codes: finite numbers.
            seed: of that draw.

        Raises:
            CodesError: they are not codes of this model.
        """
        z = torch.as_tensor(codes).detach()
        if z.ndim not in (1, 2) or z.shape[-1] != self.latent_dim or not z.numel():
            raise CodesError(
                f"codes of shape {'×'.join(map(str, z.shape))}; expected N×{self.latent_dim}, or {self.latent_dim} for "
                "one code"
            )
        z = z.float()
        if not z.isfinite().all():
            raise CodesError("codes that are not finite numbers")
        decoded = inference.decode(self.network, torch.atleast_2d(z), seed).clamp(0, 1)
        device = codes.device if isinstance(codes, Tensor) else None
        return _like(Batch(decoded, z.ndim == 1, device), decoded)

    def reconstruct(self, images: Pictures, seed: int = 0) -> Numbers:
        """The images that the codes of images decode to: intensities from 0 to 1, float32 (N, C, H, W).

        Raises:
            PicturesError: as ``prepare``.
        """
        return self.decode(self.encode(images, seed), seed)

    def sample(self, count: int, seed: int = 0) -> NDArray[np.float32]:
        """New images, decoded from draws of the prior: intensities from 0 to 1, float32 (N, C, H, W).

        Raises:
            CodesError: the count is below one.
        """
        if count < 1:
            raise CodesError(f"{count} samples; expected 1 at least")
        random = runtime.generator(seed, "samples")
        images = self.decode(torch.randn(count, self.latent_dim, generator=random), seed)
        return np.asarray(images)

    def negative_elbo(self, images: Pictures, samples: int = 10, seed: int = 0) -> Numbers:
        """The negative ELBO of each image in nats, float64 (N,): the average over draws from its posterior.

        Args:
            images: one or several.
            samples: draws for each image.
            seed: of the draws.

        Raises:
            PicturesError: as ``prepare``.
            CodesError: there are no draws.
        """
        if samples < 1:
            raise CodesError(f"{samples} samples; expected 1 at least")
        batch = self._prepared(images, seed)
        return _like(batch, inference.bounds(self.network, batch.images, samples, seed).elbo.loss)

    def _prepared(self, given: Pictures, seed: int) -> Batch:
        channels, height, width = self.image_shape
        preparation = self.origin.preparation
        batch = as_batch(given, preparation.framing(height, width), channels)
        match preparation.binarize:
            case "none":
                return batch
            case "threshold":
                return batch._replace(images=threshold_pixels(batch.images))
            case _:
                return batch._replace(images=draw_pixels(batch.images, runtime.generator(seed, "pixels")))


def load_trained(path: Path, device: str | None) -> TrainedModel:
    """Load a model with the preparation of its images; ``vae.load`` says more."""
    model, origin = read_model(path, runtime.device(device))
    if origin is None:
        raise ModuleFileError(
            f"{path}: does not say how its training images were prepared, as files of older versions; run dvc repro "
            "to train the model again"
        )
    return TrainedModel(model, origin)


def _like(batch: Batch, result: Tensor) -> Numbers:
    """A result in the form in which the images were given."""
    result = result[0] if batch.single else result
    return result.to(batch.device) if batch.device is not None else result.cpu().numpy()[()]
