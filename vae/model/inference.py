"""Evaluate a model on a whole data set: every image once, with the same result for any batch size.

Noise is drawn for all images before they are split into batches, and averages are taken over all images at the end, in
float64.
"""

from collections.abc import Iterator
from math import log
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from vae.base.runtime import generator
from vae.data.images import pixels
from vae.model import objective
from vae.model.objective import Losses, log_importance_weight
from vae.model.vae import VAE

SAMPLES_AT_ONCE = 10  # per image, in the importance-weighted bound


class Posterior(NamedTuple):
    """q(z|x) = N(μ, diag σ²) of each image: ``mean`` μ (N, D) and ``log_variance`` log σ² (N, D)."""

    mean: Tensor
    log_variance: Tensor


@torch.inference_mode()
def negative_elbo(model: VAE, images: Tensor, seed: int, *, batch_size: int | None = None) -> Losses[Tensor]:
    """The negative ELBO of every image, with one posterior sample each: uint8 (N, C, H, W).

    Returns:
        loss (N,), reconstruction (N,) and the KL of each latent dimension (N, D), nats per image in float64;
        ``average_loss`` averages them.
    """
    noise = _noise(model, len(images), seed, "posterior noise")
    parts = [objective.negative_elbo(model, x, noise[rows]) for rows, x in _batches(model, images, batch_size)]
    return Losses(*(torch.cat(terms).cpu().double() for terms in zip(*parts, strict=True)))


@torch.inference_mode()
def importance_weighted_bound(
    model: VAE, images: Tensor, samples: int, seed: int, *, batch_size: int | None = None, progress: bool = False
) -> Tensor:
    """The importance-weighted bound log 1/k Σ w_i of every image: uint8 (N, C, H, W) to float64 (N,), in nats.

    k is ``samples``. Memory does not grow with k, because only the noise of ``SAMPLES_AT_ONCE`` samples is held at a
    time.
    """
    images = images.to(model.device)  # once, not for each sample
    posterior = encode(model, images, batch_size=batch_size)
    random = generator(seed, "importance noise", model.device)
    # In float64; in float32, a large sum would round the next weight away.
    total = torch.full((len(images),), -torch.inf, dtype=torch.float64)
    with tqdm(total=samples, desc="importance samples", leave=False, disable=None if progress else True) as bar:
        for start in range(0, samples, SAMPLES_AT_ONCE):
            shape = (min(SAMPLES_AT_ONCE, samples - start), len(images))
            noise = [torch.randn(posterior.mean.shape, generator=random, device=model.device) for _ in range(shape[0])]
            log_weights = torch.empty(shape, device=model.device)
            for rows, x in _batches(model, images, batch_size):
                mean, log_variance = posterior.mean[rows], posterior.log_variance[rows]
                for log_weight, epsilon in zip(log_weights, noise, strict=True):
                    log_weight[rows], _ = log_importance_weight(model, x, mean, log_variance, epsilon[rows])
            total = torch.logaddexp(total, log_weights.cpu().double().logsumexp(0))
            bar.update(len(noise))
    return total - log(samples)


@torch.inference_mode()
def encode(model: VAE, images: Tensor, *, batch_size: int | None = None) -> Posterior:
    """The posterior of every image: uint8 (N, C, H, W) to μ and log σ², each (N, D), on the model's device."""
    parts = [model.posterior(x) for _, x in _batches(model, images, batch_size)]
    return Posterior(torch.cat([mean for mean, _ in parts]), torch.cat([log_variance for _, log_variance in parts]))


@torch.inference_mode()
def decode(model: VAE, z: Tensor, seed: int, *, batch_size: int | None = None, progress: bool = False) -> Tensor:
    """Decode every latent code to an image: (N, D) to intensities (N, C, H, W), on the model's device.

    It is the expected image, except that an autoregressive decoder draws it pixel by pixel, which is slow.
    """
    random = generator(seed, "drawn pixels", model.device)
    return model.decoder.images(z.to(model.device), model.likelihood, random, batch_size=batch_size, progress=progress)


def _noise(model: VAE, count: int, seed: int, purpose: str) -> Tensor:
    random = generator(seed, purpose, model.device)
    return torch.randn(count, model.latent_dim, generator=random, device=model.device)


def _batches(model: VAE, images: Tensor, batch_size: int | None) -> Iterator[tuple[slice, Tensor]]:
    batch_size = batch_size or model.decoder.batch_size
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        yield rows, pixels(images[rows].to(model.device))
