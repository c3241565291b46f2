"""Evaluate a model on a whole data set: every image once, with the same result for any batch size.

Noise is drawn for all images before they are split into batches, and averages are taken over all images at the end, in
float64.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import log, prod
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from vae.base import collective, processes
from vae.base.runtime import derive, generator
from vae.data.images import pixels
from vae.model import objective
from vae.model.objective import Losses, kl_divergence, log_importance_weight, total_loss
from vae.model.vae import VAE

R = TypeVar("R")

DRAWN_AT_ONCE = 500  # images; a constant, since the images drawn depend on it
SAMPLES_AT_ONCE = 10  # per image, in ``bounds``
VALUES_AT_ONCE = 32_000_000  # pixels times channels, in ``decode_in_pieces``: 10,000 colour images of 32×32


class Bounds(NamedTuple):
    """Two lower bounds on log p(x) of each image, in float64.

    Attributes:
        elbo: the negative ELBO: loss (N,), reconstruction (N,) and the KL of each latent dimension (N, D).
        importance_weighted: the importance-weighted bound, at least the ELBO in expectation (N,).
    """

    elbo: Losses[Tensor]
    importance_weighted: Tensor


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
    parts = _by_batches(model, images, batch_size, lambda rows, x: objective.negative_elbo(model, x, noise[rows]))
    return Losses(*_to_cpu([torch.cat(terms) for terms in zip(*parts, strict=True)]))


@torch.inference_mode()
def bounds(
    model: VAE, images: Tensor, samples: int, seed: int, *, batch_size: int | None = None, progress: bool = False
) -> Bounds:
    """The ELBO and the importance-weighted bound of every image, from the same k posterior samples.

        -ELBO(x) = -1/k Σ log p(x|z_i) + KL(q(z|x) ‖ p(z)),   L_k(x) = log 1/k Σ w_i

    The average over k samples has a kth of the variance of ``negative_elbo``, and its KL is the same. Memory does not
    grow with k, because only the noise of ``SAMPLES_AT_ONCE`` samples is held at a time.

    Args:
        model: the VAE.
        images: uint8 (N, C, H, W).
        samples: k.
        seed: of the posterior samples.
        batch_size: images to decode at once, which affects only speed; ``Decoder.batch_size`` if None.
        progress: whether to show a progress bar, with the time left.

    Returns:
        nats per image in float64, on the CPU.
    """
    images = images.to(model.device)  # once, not for each sample
    posterior = encode(model, images, batch_size=batch_size)
    random = generator(seed, "importance noise", model.device)
    # In float64; in float32, a large sum would round the next term away.
    total_weight = torch.full((len(images),), -torch.inf, dtype=torch.float64)
    total_log_likelihood = torch.zeros(len(images), dtype=torch.float64)
    hidden = processes.hides_progress(wanted=progress)
    work = samples * len(images)
    with tqdm(total=work, desc="importance samples", unit="image", unit_scale=True, leave=False, disable=hidden) as bar:
        for start in range(0, samples, SAMPLES_AT_ONCE):
            drawn = range(min(SAMPLES_AT_ONCE, samples - start))
            noise = [torch.randn(posterior.mean.shape, generator=random, device=model.device) for _ in drawn]

            def terms(rows: slice, x: Tensor, noise: Sequence[Tensor] = noise) -> Tensor:
                """log w and log p(x|z) of a batch, for each of the drawn samples (2, samples, B)."""
                mean, log_variance = posterior.mean[rows], posterior.log_variance[rows]
                each = [log_importance_weight(model, x, mean, log_variance, epsilon[rows]) for epsilon in noise]
                bar.update(len(noise) * len(x) * processes.count())
                return torch.stack([torch.stack(both) for both in each], 1)

            log_weights, log_likelihoods = torch.cat(_by_batches(model, images, batch_size, terms), 2).cpu().double()
            total_weight = torch.logaddexp(total_weight, log_weights.logsumexp(0))
            total_log_likelihood += log_likelihoods.sum(0)
    reconstruction, kl = -total_log_likelihood / samples, kl_divergence(*posterior).cpu().double()
    return Bounds(Losses(total_loss(reconstruction, kl), reconstruction, kl), total_weight - log(samples))


@torch.inference_mode()
def encode(model: VAE, images: Tensor, *, batch_size: int | None = None) -> Posterior:
    """The posterior of every image: uint8 (N, C, H, W) to μ and log σ², each (N, D), on the model's device."""
    parts = _by_batches(model, images, batch_size, lambda _, x: model.posterior(x))
    return Posterior(torch.cat([mean for mean, _ in parts]), torch.cat([log_variance for _, log_variance in parts]))


def decode(model: VAE, z: Tensor, seed: int, *, batch_size: int | None = None, progress: bool = False) -> Tensor:
    """Decode every latent code to the image that pictures show: (N, D) to (N, C, H, W), on the model's device.

    It is the expected image, except that an autoregressive decoder, which has none in closed form, draws an image.
    """
    if model.decoder.needs_pixels:
        return drawn_images(model, z, seed, progress=progress)
    return expected_images(model, z, batch_size=batch_size)


def decode_in_pieces(model: VAE, z: Tensor, seed: int, *, binary: bool = False) -> Iterator[tuple[range, "Decoded"]]:
    """Decode many codes (N, D) a piece at a time, so that memory holds ``VALUES_AT_ONCE`` pixels at most.

    Args:
        model: the VAE.
        z: latent codes (N, D).
        seed: for drawn images; those of the first piece are those of ``decode_to_compare``.
        binary: whether every pixel of the data is black or white.

    Yields:
        the rows of each piece, and the images decoded from them.
    """
    count = max(1, VALUES_AT_ONCE // prod(model.architecture.image_shape))
    for start in range(0, len(z), count):
        rows = range(start, min(start + count, len(z)))
        own_seed = derive(seed, f"codes from {start}") if start else seed
        yield rows, decode_to_compare(model, z[rows.start : rows.stop], own_seed, binary=binary, progress=True)


class Decoded(NamedTuple):
    """Decoded images (N, C, H, W): as pictures show them, and as they are compared with real images."""

    shown: Tensor
    compared: Tensor


def decode_to_compare(model: VAE, z: Tensor, seed: int, *, binary: bool, progress: bool = False) -> Decoded:
    """Decode every latent code, to show the image and to compare it with real ones: (N, D) to (N, C, H, W) twice.

    Real images whose pixels are black or white are compared with draws from p(x|z), since expected images are grey.
    Grey images are compared with what pictures show.

    Args:
        model: the VAE.
        z: latent codes (N, D).
        seed: for drawn images.
        binary: whether every pixel of the data is black or white.
        progress: whether a slow decoder shows a progress bar.
    """
    shown = decode(model, z, seed, progress=progress)
    if model.decoder.needs_pixels or not binary:  # the first draws what it shows
        return Decoded(shown, shown)
    return Decoded(shown, drawn_images(model, z, seed))


@torch.inference_mode()
def expected_images(model: VAE, z: Tensor, *, batch_size: int | None = None) -> Tensor:
    """The expected image E[x|z] of every latent code: (N, D) to intensities (N, C, H, W), on the model's device.

    Raises:
        NoExpectedImageError: the decoder is autoregressive.
    """
    batches = z.to(model.device).split(batch_size or model.decoder.batch_size)
    return torch.cat(collective.shared(batches, lambda codes: model.decoder.expected_images(codes, model.likelihood)))


@torch.inference_mode()
def drawn_images(model: VAE, z: Tensor, seed: int, *, progress: bool = False) -> Tensor:
    """Draw an image x ~ p(x|z) for every latent code: (N, D) to (N, C, H, W), on the model's device.

    Draws of a Gaussian or Laplace likelihood may leave [0, 1]. An autoregressive decoder draws pixel by pixel, which is
    slow.
    """
    parts = list(enumerate(z.to(model.device).split(DRAWN_AT_ONCE)))
    steps, hidden = len(parts) * model.decoder.steps_of_drawing, processes.hides_progress(wanted=progress)
    with tqdm(total=steps, desc="drawing images", unit="row", leave=False, disable=hidden) as bar:

        def draw(part: tuple[int, Tensor]) -> Tensor:
            number, codes = part
            random = generator(derive(seed, f"part {number}") if number else seed, "drawn pixels", model.device)
            advance = partial(bar.update, processes.count())
            return model.decoder.drawn_images(codes, model.likelihood, random, advance)

        return torch.cat(collective.shared(parts, draw))


def _noise(model: VAE, count: int, seed: int, purpose: str) -> Tensor:
    random = generator(seed, purpose, model.device)
    return torch.randn(count, model.latent_dim, generator=random, device=model.device)


def _to_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors to the CPU, in float64. They are copied as one, because each copy waits for the device."""
    values = torch.cat([tensor.flatten() for tensor in tensors]).cpu().double()
    parts = values.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _by_batches(model: VAE, images: Tensor, batch_size: int | None, compute: Callable[[slice, Tensor], R]) -> list[R]:
    """What a function of a batch's rows and intensities returns for each batch, in order."""
    batch_size = batch_size or model.decoder.batch_size
    batches = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
    return collective.shared(batches, lambda rows: compute(rows, pixels(images[rows].to(model.device))))
