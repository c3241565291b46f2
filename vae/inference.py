"""A trained model over a whole data set: every image once, to the same number in any batch size.

Random numbers are drawn for all images at once, before they are cut into batches, and averages are taken at the
end over all images, in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from vae.datasets import pixels
from vae.model import VAE
from vae.networks.autoregressive import AutoregressiveDecoder
from vae.objective import log_importance_weight, negative_elbo
from vae.runtime import generator

BATCH_SIZE = 500  # what two cores' caches hold of MNIST; of many sizes tried on a CPU as fast as any
CONVOLUTIONAL_BATCH_SIZE = 100  # of networks that have an activity for each pixel and channel
DRAWN_AT_ONCE = 500  # images, pixel by pixel; no parameter, since what is drawn depends on it
SAMPLES_AT_ONCE = 10  # per image, of the importance-weighted bound


class Posterior(NamedTuple):
    """q(z given x) = N(μ, diag σ²) of each image: ``mean`` μ (N, D) and ``log_variance`` log σ² (N, D)."""

    mean: Tensor
    log_variance: Tensor


@dataclass(frozen=True)
class Losses:
    """Averages over a data set, in nats per image.

    Attributes:
        reconstruction: of -log p(x given z), one posterior sample an image.
        kl_per_dimension: of the KL to the prior, float64 (D,).
        per_image: the negative ELBO of each image, float64 (N,).
    """

    reconstruction: float
    kl_per_dimension: Tensor
    per_image: Tensor

    @property
    def kl(self) -> float:
        """The KL, summed over latent dimensions."""
        return float(self.kl_per_dimension.sum())

    @property
    def negative_elbo(self) -> float:
        """Reconstruction plus KL, at β = 1 whatever was trained."""
        return self.reconstruction + self.kl


@torch.inference_mode()
def losses(model: VAE, images: Tensor, seed: int, *, batch_size: int | None = None) -> Losses:
    """The negative ELBO's terms, averaged over all images: uint8 (N, C, H, W)."""
    noise = _noise(model, len(images), seed, "posterior noise")
    terms = [negative_elbo(model, x, noise[rows]) for rows, x in _batches(model, images, batch_size)]
    reconstruction = torch.cat([batch.reconstruction for batch in terms])
    reconstruction = reconstruction.cpu().double()
    kl = torch.cat([batch.kl for batch in terms]).cpu().double()
    return Losses(float(reconstruction.mean()), kl.mean(0), reconstruction + kl.sum(1))


@torch.inference_mode()
def importance_weighted_bound(
    model: VAE, images: Tensor, samples: int, seed: int, *, batch_size: int | None = None, progress: bool = False
) -> Tensor:
    """log 1/k Σ w_i of k = ``samples`` posterior samples, in nats per image: uint8 (N, C, H, W) to float64 (N,).

    The noise of a few samples of every image is in memory at a time, whatever k is.
    """
    images = images.to(model.device)  # once, not once a sample
    posterior = encode(model, images, batch_size=batch_size)
    random = generator(seed, "importance noise", model.device)
    # In float64, or of a sum of many weights the next one would be rounded away.
    total = torch.full((len(images),), -torch.inf, dtype=torch.float64)
    with tqdm(total=samples, desc="importance samples", leave=False, disable=None if progress else True) as bar:
        for start in range(0, samples, SAMPLES_AT_ONCE):
            shape = (min(SAMPLES_AT_ONCE, samples - start), len(images))
            noise = [torch.randn(posterior.mean.shape, generator=random, device=model.device) for _ in range(shape[0])]
            log_weights = torch.empty(shape, device=model.device)
            for rows, x in _batches(model, images, batch_size):
                mean, log_variance = posterior.mean[rows], posterior.log_variance[rows]
                for place, epsilon in zip(log_weights, noise, strict=True):
                    place[rows] = log_importance_weight(model, x, mean, log_variance, epsilon[rows])
            total = torch.logaddexp(total, log_weights.cpu().double().logsumexp(0))
            bar.update(len(noise))
    return total - log(samples)


@torch.inference_mode()
def encode(model: VAE, images: Tensor, *, batch_size: int | None = None) -> Posterior:
    """The posterior of every image: uint8 (N, C, H, W) to twice (N, D), on the model's device."""
    parts = [model.posterior(x) for _, x in _batches(model, images, batch_size)]
    return Posterior(torch.cat([mean for mean, _ in parts]), torch.cat([log_variance for _, log_variance in parts]))


@torch.inference_mode()
def decode(model: VAE, z: Tensor, seed: int, *, batch_size: int | None = None, progress: bool = False) -> Tensor:
    """An image of every latent code: (N, D) to intensities (N, C, H, W), on the model's device.

    It is the expected image, or where the decoder is autoregressive, one drawn pixel by pixel, which takes a while.
    """
    z = z.to(model.device)
    if isinstance(model.decoder, AutoregressiveDecoder):
        return _draw(model, model.decoder, z, seed, progress)
    return torch.cat([model.likelihood.mean(model.decoder(part)) for part in z.split(batch_size or _batch_size(model))])


def _draw(model: VAE, decoder: AutoregressiveDecoder, z: Tensor, seed: int, progress: bool) -> Tensor:
    random = generator(seed, "drawn pixels", model.device)
    parts = z.split(DRAWN_AT_ONCE)
    rows = model.architecture.image_shape[1] * len(parts)
    with tqdm(total=rows, desc="drawing images", unit="row", leave=False, disable=None if progress else True) as bar:
        images = [
            decoder.sample(part, lambda output: model.likelihood.sample(output, random), bar.update) for part in parts
        ]
    return torch.cat(images)


def _noise(model: VAE, count: int, seed: int, purpose: str) -> Tensor:
    random = generator(seed, purpose, model.device)
    return torch.randn(count, model.latent_dim, generator=random, device=model.device)


def _batch_size(model: VAE) -> int:
    return BATCH_SIZE if model.architecture.network == "mlp" else CONVOLUTIONAL_BATCH_SIZE


def _batches(model: VAE, images: Tensor, batch_size: int | None) -> Iterator[tuple[slice, Tensor]]:
    batch_size = batch_size or _batch_size(model)
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        yield rows, pixels(images[rows].to(model.device))
