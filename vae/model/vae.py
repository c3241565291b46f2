"""The VAE: encoder, reparameterization, decoder and likelihood, built from an architecture."""

import torch
from torch import Tensor, nn

from vae.model.architecture import Architecture
from vae.model.likelihood import neighbours
from vae.model.likelihoods import likelihood
from vae.model.networks.network import build


def reparameterize(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A differentiable sample from the posterior: z = μ + σ·ε (Kingma & Welling 2013, section 2.4).

    Args:
        mean: μ (…, D).
        log_variance: log σ² (…, D).
        noise: ε, standard normal (…, D).
    """
    return mean + torch.exp(0.5 * log_variance) * noise


class VAE(nn.Module):
    """A Variational Autoencoder (Kingma & Welling 2013) with a standard normal prior.

    Attributes:
        encoder: intensities (B, C, H, W) to μ and log σ² of q(z|x), each (B, D).
        decoder: codes (B, D) to the likelihood's parameters (B, C, H, W); takes the images too if it ``needs_pixels``.
        likelihood: p(x|z), with the decoder's output as its parameters.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Build the networks, with random weights.

        Raises:
            ArchitectureError: the network cannot take images of this size.
        """
        super().__init__()
        self.architecture = architecture
        self.latent_dim = architecture.latent_dim
        self.encoder, self.decoder = build(architecture)
        scale = None if architecture.scale == "learned" else architecture.scale
        self.likelihood = likelihood(architecture.likelihood, scale)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of q(z|x): intensities (B, C, H, W) to (B, D) each."""
        mean, log_variance = self.encoder(x)
        return _single(mean), _single(log_variance)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) in nats per image: intensities (B, C, H, W) and codes (B, D) to (B,)."""
        if self.decoder.needs_pixels:
            output = self.likelihood.relative_to(_single(self.decoder(z, x)), neighbours(x))
        else:
            output = _single(self.decoder(z))
        return self.likelihood.log_density(x, output)


def _single(values: Tensor) -> Tensor:
    """Convert autocast's half precision to float32, in which all terms of the objective are computed."""
    return values.float() if values.dtype in {torch.bfloat16, torch.float16} else values
