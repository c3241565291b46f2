"""Multilayer perceptrons: the networks of the tutorial."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from vae.model.architecture import Architecture
from vae.model.networks import network
from vae.model.networks.network import dense_layers


class Encoder(network.Encoder):
    """Dense layers of widths ``hidden_dims``, then one whose output is μ and log σ²."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        widths = [prod(architecture.image_shape), *architecture.hidden_dims]
        self.hidden = dense_layers(widths, architecture.activation)
        self.posterior_params = nn.Linear(widths[-1], 2 * architecture.latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Intensities (B, C, H, W) to μ and log σ², each (B, D)."""
        mean, log_variance = self.posterior_params(self.hidden(x.flatten(1))).chunk(2, dim=1)
        return mean, log_variance


class Decoder(network.Decoder):
    """The encoder's dense layers in reverse order, then one with the likelihood's parameters for each pixel."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        widths = [architecture.latent_dim, *reversed(architecture.hidden_dims)]
        self.hidden = dense_layers(widths, architecture.activation)
        output_shape = (architecture.output_channels, *architecture.image_shape[1:])
        self.output = nn.Linear(widths[-1], prod(output_shape))
        self.reshape = nn.Unflatten(1, output_shape)

    def forward(self, z: Tensor) -> Tensor:
        """Latent codes (B, D) to the parameters of the likelihood (B, P, H, W)."""
        output: Tensor = self.reshape(self.output(self.hidden(z)))
        return output

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The modules that turn codes into the output when applied in order."""
        return [*self.hidden, self.output, self.reshape]
