"""The scores of images: how unlike the training images they are. The higher a score, the odder the image."""

from dataclasses import dataclass, fields
from math import log
from typing import Any

import torch
from torch import Tensor

from vae.base.runtime import derive, permutation
from vae.data.codecs import least_bits
from vae.data.images import LabelledImages, drawn_once, pixels
from vae.model import inference
from vae.model.vae import VAE

DRAWS = 10  # of each image's posterior, to average the negative ELBO over
SAMPLED = 2000  # training images at most, drawn at random, whose scores the others are compared with


@dataclass(frozen=True)
class Scores:
    """Scores of N images, float64 (N,) each. None where the model or the images have no such score.

    Attributes:
        negative_elbo: -ELBO(x) in nats, averaged over ``DRAWS`` draws from the posterior.
        standard_error: of that average.
        complexity_corrected: -ELBO(x) - L(x) in nats, where L is what PNG or lossless WebP needs, whichever is smaller
            (Serrà et al. 2020, "Input Complexity and Out-of-distribution Detection with Likelihood-based Generative
            Models"). Images that are simple for everyone do not pass for typical ones.
        typicality: |-ELBO(x) - mean over training images| in nats (Nalisnick et al. 2019, "Detecting
            Out-of-Distribution Inputs to Deep Generative Models Using Typicality", for batches of one image).
        likelihood_path: the Mahalanobis distance of (‖x - x̂‖, ‖μ(x)‖, ‖σ(x)‖) from the training images, where x̂ is the
            image that the mean μ decodes to. The three norms are those of Huang, He & Lui 2024, "Rethinking Test-time
            Likelihood: The Likelihood Path Principle and Its Application to OOD Detection", who compare them by
            other means.
        code_distance: the mean Euclidean distance of μ(x) to the nearest ``neighbours.NEAREST`` training codes.
    """

    negative_elbo: Tensor
    standard_error: Tensor
    complexity_corrected: Tensor | None
    typicality: Tensor
    likelihood_path: Tensor | None
    code_distance: Tensor


@dataclass(frozen=True)
class Typical:
    """What the scores of training images are, to compare others with.

    Attributes:
        negative_elbo: of a random sample of the training images, float64 (n,).
        path_mean: mean of their three norms (3,); None for an autoregressive decoder.
        path_factor: the Cholesky factor of their covariance (3, 3).
    """

    negative_elbo: Tensor
    path_mean: Tensor | None
    path_factor: Tensor | None


def typical(model: VAE, train: LabelledImages, seed: int) -> Typical:
    """Score a random sample of the training images."""
    chosen = drawn_once(train[permutation(len(train), seed, "scored training images")[:SAMPLED]], seed, "pixels")
    loss, _ = averaged_negative_elbo(model, chosen.images, derive(seed, "training images"))
    norms = path_norms(model, chosen.images)
    if norms is None or len(norms) < 5:
        return Typical(loss, None, None)
    covariance = norms.T.cov()
    # A millionth more variance, so that norms which are all the same do not make it singular.
    ridge = 1e-6 * covariance.diagonal().clamp(min=1e-12).diag()
    return Typical(loss, norms.mean(0), torch.linalg.cholesky(covariance + ridge))


def scores_of(
    model: VAE, images: Tensor, intensities: Tensor, code_distance: Tensor, reference: Typical, seed: int
) -> Scores:
    """The scores of images.

    Args:
        model: the VAE.
        images: as the model sees them, uint8 (N, C, H, W).
        intensities: the same before pixels were drawn black or white, for codecs.
        code_distance: to the nearest training codes (N,).
        reference: what the scores of training images are.
        seed: of the draws.
    """
    loss, standard_error = averaged_negative_elbo(model, images, seed)
    bits, norms = least_bits(intensities), path_norms(model, images)
    return Scores(
        negative_elbo=loss,
        standard_error=standard_error,
        complexity_corrected=None if bits is None else loss - log(2) * bits,
        typicality=(loss - reference.negative_elbo.mean()).abs(),
        likelihood_path=None if norms is None else mahalanobis(norms, reference),
        code_distance=code_distance,
    )


def averaged_negative_elbo(model: VAE, images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The negative ELBO of each image averaged over draws from its posterior, and the standard error: (N,) each."""
    draws = [inference.negative_elbo(model, images, derive(seed, f"draw {number}")).loss for number in range(DRAWS)]
    losses = torch.stack(draws)
    return losses.mean(0), losses.std(0) / DRAWS**0.5


def path_norms(model: VAE, images: Tensor) -> Tensor | None:
    """‖x - x̂‖, ‖μ(x)‖ and ‖σ(x)‖ of each image, float64 (N, 3); None for an autoregressive decoder, which has no x̂."""
    if model.decoder.needs_pixels:
        return None
    mean, log_variance = inference.encode(model, images)
    error = pixels(images).sub_(inference.expected_images(model, mean).cpu()).flatten(1)
    parts = [error.cpu().double(), mean.cpu().double(), (0.5 * log_variance).exp().cpu().double()]
    return torch.stack([part.norm(dim=1) for part in parts], 1)


def mahalanobis(norms: Tensor, reference: Typical) -> Tensor | None:
    """√((v - m)ᵀ C⁻¹ (v - m)) for the mean m and the covariance C of training images: (N, 3) to (N,)."""
    if reference.path_mean is None or reference.path_factor is None:
        return None
    difference = (norms - reference.path_mean).T
    whitened = torch.linalg.solve_triangular(reference.path_factor, difference, upper=False)
    return torch.sum(whitened**2, 0).sqrt()


def joined(parts: list[Scores]) -> Scores:
    """The scores of several pieces as one."""
    values: dict[str, Any] = {}
    for field in fields(Scores):
        tensors = [getattr(part, field.name) for part in parts]
        values[field.name] = None if any(tensor is None for tensor in tensors) else torch.cat(tensors)
    return Scores(**values)
