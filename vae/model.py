"""The VAE: encoder, reparameterisation, decoder and likelihood, put together from an architecture."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vae.errors import VAEError
from vae.likelihoods import likelihood
from vae.networks.autoregressive import AutoregressiveDecoder
from vae.networks.convolutional import REDUCTION, ConvolutionalDecoder, ConvolutionalEncoder
from vae.networks.dense import DenseDecoder, DenseEncoder
from vae.params import Count, ModelParams

Encoder = DenseEncoder | ConvolutionalEncoder
Decoder = DenseDecoder | ConvolutionalDecoder | AutoregressiveDecoder


class ArchitectureError(VAEError):
    """No such network can be built for such images."""


def reparameterize(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A differentiable sample from the posterior: z = μ + σ·ε (Kingma & Welling 2013, section 2.4).

    Args:
        mean: μ (…, D).
        log_variance: log σ² (…, D).
        noise: ε, standard normal (…, D).
    """
    return mean + torch.exp(0.5 * log_variance) * noise


class Architecture(ModelParams):
    """What a model is built from: the parameters of its section, and ``image_shape``: channels, height and width."""

    image_shape: Annotated[tuple[Count, Count, Count], Field(strict=False)]


class VAE(nn.Module):
    """A Variational Autoencoder (Kingma & Welling 2013) with a standard normal prior.

    Attributes:
        encoder: intensities (B, C, H, W) to μ and log σ² of q(z given x), each (B, D).
        decoder: codes (B, D), and where it is autoregressive images as well, to what the likelihood takes.
        likelihood: p(x given z), of what the decoder puts out.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Build the networks, with random weights.

        Raises:
            ArchitectureError: the image's height or width is no multiple of four, and the network has convolutions.
        """
        super().__init__()
        self.architecture = architecture
        self.latent_dim = architecture.latent_dim
        self.encoder: Encoder = _encoder(architecture)
        self.decoder: Decoder = _decoder(architecture)
        scale = None if architecture.scale == "learned" else architecture.scale
        self.likelihood = likelihood(architecture.likelihood, scale)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z given x), each (B, D), of intensities (B, C, H, W)."""
        mean, log_variance = self.encoder(x)
        return _single(mean), _single(log_variance)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x given z) in nats per image: (B, C, H, W) and (B, D) to (B,)."""
        output = self.decoder(z, x) if isinstance(self.decoder, AutoregressiveDecoder) else self.decoder(z)
        return self.likelihood.log_density(x, _single(output))


def _single(values: Tensor) -> Tensor:
    """What autocast left in half precision in float32, in which all terms of the objective are computed."""
    return values.float() if values.dtype in {torch.bfloat16, torch.float16} else values


def _encoder(architecture: Architecture) -> Encoder:
    shape, hidden_dims, latent_dim = architecture.image_shape, architecture.hidden_dims, architecture.latent_dim
    if architecture.network == "mlp":
        return DenseEncoder(shape, hidden_dims, latent_dim, architecture.activation)
    _require_divisible(architecture)
    return ConvolutionalEncoder(shape, architecture.channels, hidden_dims, latent_dim, architecture.activation)


def _decoder(architecture: Architecture) -> Decoder:
    shape, hidden_dims, latent_dim = architecture.image_shape, architecture.hidden_dims, architecture.latent_dim
    channels, activation = architecture.channels, architecture.activation
    match architecture.network:
        case "mlp":
            return DenseDecoder(shape, hidden_dims, latent_dim, activation)
        case "conv":
            return ConvolutionalDecoder(shape, channels, hidden_dims, latent_dim, activation)
        case "autoregressive":
            layers = architecture.masked_layers
            return AutoregressiveDecoder(shape, channels, layers, hidden_dims, latent_dim, activation)


def _require_divisible(architecture: Architecture) -> None:
    _, height, width = architecture.image_shape
    if height % REDUCTION or width % REDUCTION:
        raise ArchitectureError(
            f"params.yaml: model.network: {architecture.network} halves height and width twice, which images of "
            f"{height}×{width} do not allow; set model.network=mlp"
        )
