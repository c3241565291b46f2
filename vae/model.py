"""The networks of the VAE: q(z given x), p(x given z), and the reparameterisation between them."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vae.datasets import ImageShape
from vae.likelihoods import Bernoulli, Likelihood
from vae.params import Count, Section


def reparameterize(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A differentiable sample from the posterior: z = μ + σ·ε (Kingma & Welling 2013, section 2.4).

    Args:
        mean: μ (…, D).
        log_variance: log σ² (…, D).
        noise: ε, standard normal (…, D).
    """
    return mean + torch.exp(0.5 * log_variance) * noise


class Encoder(nn.Module):
    """The approximate posterior q(z given x) = N(μ(x), diag σ²(x)): an MLP with ReLU."""

    def __init__(self, image_shape: ImageShape, hidden_dims: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        widths = [prod(image_shape), *hidden_dims]
        self.hidden = _hidden_layers(widths)
        self.moments = nn.Linear(widths[-1], 2 * latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Intensities (B, C, H, W) to μ and log σ², each (B, D)."""
        mean, log_variance = self.moments(self.hidden(x.flatten(1))).chunk(2, dim=1)
        return mean, log_variance


class Decoder(nn.Module):
    """The parameters of p(x given z), a number a pixel: an MLP with ReLU."""

    def __init__(self, image_shape: ImageShape, hidden_dims: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        widths = [latent_dim, *reversed(hidden_dims)]
        self.image_shape = image_shape
        self.hidden = _hidden_layers(widths)
        self.output = nn.Linear(widths[-1], prod(image_shape))

    def forward(self, z: Tensor) -> Tensor:
        """Latent codes (B, D) to logits (B, C, H, W)."""
        logits: Tensor = self.output(self.hidden(z))
        return logits.view(len(z), *self.image_shape)


class Architecture(Section):
    """What a model is built from.

    Attributes:
        image_shape: channels, height and width.
        hidden_dims: widths of the encoder's hidden layers; the decoder mirrors them. None make it linear.
        latent_dim: D.
    """

    image_shape: Annotated[tuple[Count, Count, Count], Field(strict=False)]
    hidden_dims: Annotated[tuple[Count, ...], Field(strict=False)]
    latent_dim: Count


class VAE(nn.Module):
    """A Variational Autoencoder (Kingma & Welling 2013): encoder, decoder, likelihood, and a standard normal prior."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        shape, hidden_dims, latent_dim = architecture.image_shape, architecture.hidden_dims, architecture.latent_dim
        self.architecture = architecture
        self.latent_dim = latent_dim
        self.encoder = Encoder(shape, hidden_dims, latent_dim)
        self.decoder = Decoder(shape, hidden_dims, latent_dim)
        self.likelihood: Likelihood = Bernoulli()

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.encoder.moments.weight.device


def _hidden_layers(widths: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(
        *(layer for inputs, outputs in pairwise(widths) for layer in (nn.Linear(inputs, outputs), nn.ReLU()))
    )
