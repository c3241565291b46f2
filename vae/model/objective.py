"""The objective: what training minimizes and evaluation measures, in nats per image.

Every term is summed, never averaged, over pixels and latent dimensions.
"""

from math import log, prod
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from vae.model.vae import VAE, reparameterize

T = TypeVar("T", Tensor, float)


class Losses(NamedTuple, Generic[T]):
    """The loss and its two terms in nats per image: for each image, or averaged over a batch, an epoch or a data set.

    Attributes:
        loss: what is minimized. By default the negative ELBO, the sum of the other two terms.
        reconstruction: -log p(x|z).
        kl: KL(q(z|x) ‖ p(z)), without any weight.
    """

    loss: T
    reconstruction: T
    kl: T


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½·(μ² + σ² - 1 - log σ²) (Kingma & Welling 2013, appendix B).

    Args:
        mean: μ (…, D).
        log_variance: log σ² (…, D).

    Returns:
        nats per latent dimension (…, D).
    """
    # expm1 is precise where σ² is close to 1, as in every collapsed dimension; exp(·) - 1 is not.
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance)


def total_loss(reconstruction: Tensor, kl: Tensor, kl_weight: Tensor | float = 1.0, free_bits: float = 0.0) -> Tensor:
    """The loss from its two terms, -log p(x|z) + β Σ_d max(λ, KL_d).

    KL below λ in a latent dimension is not penalized: there the term is constant and has no gradient (free bits;
    Kingma et al. 2016, section C.8).

    Args:
        reconstruction: -log p(x|z), nats per image (…).
        kl: nats per latent dimension (…, D).
        kl_weight: β.
        free_bits: λ, nats per latent dimension.

    Returns:
        nats per image (…); with β = 1 and λ = 0 the negative ELBO.
    """
    return reconstruction + kl_weight * kl.clamp(min=free_bits).sum(-1)


def bits_per_dimension(nats: float, image_shape: tuple[int, int, int]) -> float:
    """A bound in nats per image as bits for each pixel and channel: nats / (C·H·W·log 2).

    Meaningful for probabilities of 8-bit values only, and then comparable with what an image codec needs.
    """
    return nats / (prod(image_shape) * log(2))


def negative_elbo(model: VAE, x: Tensor, noise: Tensor) -> Losses[Tensor]:
    """The negative evidence lower bound (ELBO) of each image in a batch (Kingma & Welling 2013, equation 10).

        -ELBO(x) = -log p(x|z) + KL(q(z|x) ‖ p(z)),   z = μ + σ·ε

    Args:
        model: the VAE.
        x: intensities in [0, 1] (B, C, H, W).
        noise: ε, standard normal (B, D).

    Returns:
        loss (B,), reconstruction (B,), and the KL of each latent dimension (B, D).
    """
    mean, log_variance = model.posterior(x)
    reconstruction = -model.log_likelihood(x, reparameterize(mean, log_variance, noise))
    kl = kl_divergence(mean, log_variance)
    return Losses(total_loss(reconstruction, kl), reconstruction, kl)


def average_loss(elbo: Losses[Tensor], kl_weight: Tensor | float = 1.0, free_bits: float = 0.0) -> Losses[Tensor]:
    """The loss of a batch or of a data set, from the negative ELBO of each of its images.

        L = E[-log p(x|z)] + β Σ_d max(λ, E[KL_d])

    The KL is averaged over images before the maximum is taken.

    Args:
        elbo: the terms of B images, from ``negative_elbo``.
        kl_weight: β.
        free_bits: λ, nats per latent dimension.

    Returns:
        averages over the images, 0-dimensional.
    """
    reconstruction, kl = elbo.reconstruction.mean(), elbo.kl.mean(0)
    return Losses(total_loss(reconstruction, kl, kl_weight, free_bits), reconstruction, kl.sum())


def log_importance_weight(
    model: VAE, x: Tensor, mean: Tensor, log_variance: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """log w = log p(x|z) + log p(z) - log q(z|x), where E[w] = p(x) under z ~ q.

    The mean of k such weights gives the importance-weighted bound, log p(x) ≥ E[log 1/k Σ w_i], which tightens
    with k (Burda, Grosse & Salakhutdinov 2015, equation 8). With z = μ + σ·ε the quadratic term of log q(z|x)
    is -½·ε², and the constants ½·log 2π cancel.

    Args:
        model: the VAE.
        x: intensities in [0, 1] (B, C, H, W).
        mean: μ of the posterior (B, D).
        log_variance: log σ² of the posterior (B, D).
        noise: ε, standard normal (B, D).

    Returns:
        log w, and log p(x|z) alone, each in nats per image (B,).
    """
    z = reparameterize(mean, log_variance, noise)
    log_likelihood = model.log_likelihood(x, z)
    log_prior_over_posterior = 0.5 * (log_variance + noise.square() - z.square()).sum(1)
    return log_likelihood + log_prior_over_posterior, log_likelihood


def training_loss(
    model: VAE, x: Tensor, noise: Tensor, kl_weight: Tensor | float = 1.0, free_bits: float = 0.0
) -> Losses[Tensor]:
    """The loss of a batch, which training minimizes.

        L = E[-log p(x|z)] + β Σ_d max(λ, E[KL_d])     or     L = -E[log 1/k Σ w_i]

    Args:
        model: the VAE.
        x: intensities in [0, 1] (B, C, H, W).
        noise: ε, standard normal: (B, D) for the first loss, (B, k, D) for the second, the importance-weighted one.
        kl_weight: β of the first.
        free_bits: λ of the first, nats per latent dimension.

    Returns:
        averages over the batch, 0-dimensional.
    """
    if noise.ndim == 3:
        return _importance_weighted_loss(model, x, noise)
    return average_loss(negative_elbo(model, x, noise), kl_weight, free_bits)


def _importance_weighted_loss(model: VAE, x: Tensor, noise: Tensor) -> Losses[Tensor]:
    """Minus the importance-weighted bound. The reconstruction is averaged over the k samples of each image."""
    samples = noise.shape[1]
    mean, log_variance = model.posterior(x)
    x_k, mean_k, log_variance_k = (each.repeat_interleave(samples, 0) for each in (x, mean, log_variance))
    log_weights, log_likelihood = log_importance_weight(model, x_k, mean_k, log_variance_k, noise.flatten(0, 1))
    bound = torch.logsumexp(log_weights.view(len(x), samples), 1) - log(samples)
    kl = kl_divergence(mean, log_variance).sum(1)
    return Losses(-bound.mean(), -log_likelihood.mean(), kl.mean())
