"""The objective: every term in nats per image, summed over pixels and latent dimensions, never averaged over them."""

from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from vae.model import VAE, reparameterize


class NegativeElbo(NamedTuple):
    """The two terms of the negative evidence lower bound (Kingma & Welling 2013, equation 10).

        -ELBO(x) = -log p(x given z) + KL(q(z given x) ‖ p(z)),   z = μ + σ·ε

    Attributes:
        reconstruction: -log p(x given z) at one posterior sample, nats per image (B,).
        kl: the analytic KL, nats per latent dimension and image (B, D).
    """

    reconstruction: Tensor
    kl: Tensor


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½·(μ² + σ² - 1 - log σ²) (Kingma & Welling 2013, appendix B).

    Args:
        mean: μ (…, D).
        log_variance: log σ² (…, D).

    Returns:
        nats per latent dimension (…, D).
    """
    # expm1 keeps the digits that exp(·) - 1 loses where σ² is close to 1, as in every collapsed dimension.
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance)


def negative_elbo(model: VAE, x: Tensor, noise: Tensor) -> NegativeElbo:
    """The negative ELBO of each image of a batch, its two terms apart.

    Args:
        model: the VAE.
        x: intensities in [0, 1] (B, C, H, W).
        noise: ε, standard normal (B, D).
    """
    mean, log_variance = model.posterior(x)
    reconstruction = -model.log_likelihood(x, reparameterize(mean, log_variance, noise))
    return NegativeElbo(reconstruction, kl_divergence(mean, log_variance))


def log_importance_weight(model: VAE, x: Tensor, mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """log w = log p(x given z) + log p(z) - log q(z given x), of which E[w] = p(x) under z ~ q.

    The mean of k such weights makes the importance-weighted bound, log p(x) ≥ E[log 1/k Σ w_i], which tightens
    with k (Burda, Grosse & Salakhutdinov 2015, equation 8). With z = μ + σ·ε the squared term of log q(z given x)
    is that of ε, and the constants ½·log 2π cancel.

    Args:
        model: the VAE.
        x: intensities in [0, 1] (B, C, H, W).
        mean: μ of the posterior (B, D).
        log_variance: log σ² of the posterior (B, D).
        noise: ε, standard normal (B, D).

    Returns:
        nats per image (B,).
    """
    z = reparameterize(mean, log_variance, noise)
    return model.log_likelihood(x, z) + _log_prior_over_posterior(log_variance, noise, z)


def importance_weighted_bound(log_weights: Tensor) -> Tensor:
    """log 1/k Σ w_i, by which k samples bound log p(x) from below: log w (B, k) to nats per image (B,).

    Source: Burda, Grosse & Salakhutdinov 2015, equation 8. With k = 1 it is the ELBO.
    """
    return torch.logsumexp(log_weights, 1) - log(log_weights.shape[1])


def with_free_bits(kl: Tensor, free_bits: float) -> Tensor:
    """Σ_d max(λ, KL_d): each latent dimension carries λ nats for nothing, so that this term never drives its KL below.

    Args:
        kl: nats per latent dimension, averaged over the images of a batch (D,) (Kingma et al. 2016, section C.8: the
            average before the maximum).
        free_bits: λ, nats per latent dimension.

    Returns:
        nats per image, 0-dimensional.
    """
    return kl.clamp(min=free_bits).sum()


class TrainingLoss(NamedTuple):
    """What a step minimises, and the two terms at their full weight: averages over a batch, nats per image."""

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor


def training_loss(
    model: VAE, x: Tensor, noise: Tensor, kl_weight: Tensor | float = 1.0, free_bits: float = 0.0
) -> TrainingLoss:
    """The loss of a batch.

        L = E[-log p(x given z)] + β Σ_d max(λ, KL_d)     or     L = -E[log 1/k Σ w_i]

    Args:
        model: the VAE.
        x: intensities in [0, 1] (B, C, H, W).
        noise: ε, standard normal: (B, D) for the first loss, (B, k, D) for the second, the importance-weighted one.
        kl_weight: β of the first.
        free_bits: λ of the first, nats per latent dimension.
    """
    if noise.ndim == 3:
        return _importance_weighted_loss(model, x, noise)
    terms = negative_elbo(model, x, noise)
    reconstruction, kl = terms.reconstruction.mean(), terms.kl.mean(0)
    return TrainingLoss(reconstruction + kl_weight * with_free_bits(kl, free_bits), reconstruction, kl.sum())


def _importance_weighted_loss(model: VAE, x: Tensor, noise: Tensor) -> TrainingLoss:
    """The images are decoded k times each; of the reconstruction the average over the k samples is reported."""
    samples = noise.shape[1]
    mean, log_variance = model.posterior(x)
    mean_k, log_variance_k, x_k = (each.repeat_interleave(samples, 0) for each in (mean, log_variance, x))
    epsilon = noise.flatten(0, 1)
    z = reparameterize(mean_k, log_variance_k, epsilon)
    log_likelihood = model.log_likelihood(x_k, z)
    log_weights = log_likelihood + _log_prior_over_posterior(log_variance_k, epsilon, z)
    bound = importance_weighted_bound(log_weights.view(len(x), samples))
    kl = kl_divergence(mean, log_variance).sum(1)
    return TrainingLoss(-bound.mean(), -log_likelihood.mean(), kl.mean())


def _log_prior_over_posterior(log_variance: Tensor, noise: Tensor, z: Tensor) -> Tensor:
    """log p(z) - log q(z given x) at z = μ + σ·ε, (B, D) thrice to (B,): the constants ½·log 2π cancel."""
    return 0.5 * (log_variance + noise.square() - z.square()).sum(1)
