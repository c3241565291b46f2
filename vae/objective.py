"""The objective: every term in nats per image, summed over pixels and latent dimensions, never averaged over them."""

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
    mean, log_variance = model.encoder(x)
    z = reparameterize(mean, log_variance, noise)
    reconstruction = -model.likelihood.log_density(x, model.decoder(z))
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
    log_likelihood = model.likelihood.log_density(x, model.decoder(z))
    return log_likelihood + 0.5 * (log_variance + noise.square() - z.square()).sum(1)
