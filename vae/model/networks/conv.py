"""Convolutional networks: two strided convolutions down, dense layers, two transposed convolutions back."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from vae.model.architecture import Architecture, ArchitectureError
from vae.model.networks import network
from vae.model.networks.network import ACTIVATIONS, dense_layers

REDUCTION = 4  # of height and width: each of the two convolutions halves them
KERNEL, STRIDE, PADDING = 4, 2, 1  # the stride divides the kernel, so transposed convolutions cover pixels evenly


class Encoder(network.Encoder):
    """Strided convolutions (Radford et al. 2016), then dense layers."""

    def __init__(self, architecture: Architecture) -> None:
        """Build the layers, with random weights.

        Raises:
            ArchitectureError: the images' height or width is not a multiple of four.
        """
        super().__init__(architecture)
        image_channels, channels = architecture.image_shape[0], architecture.channels
        activation = ACTIVATIONS[architecture.activation]
        self.convolutions = nn.Sequential(
            nn.Conv2d(image_channels, channels, KERNEL, STRIDE, PADDING),
            activation(),
            nn.Conv2d(channels, 2 * channels, KERNEL, STRIDE, PADDING),
            activation(),
        )
        widths = [prod(reduced_shape(architecture)), *architecture.hidden_dims]
        self.hidden = dense_layers(widths, architecture.activation)
        self.posterior_params = nn.Linear(widths[-1], 2 * architecture.latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Intensities (B, C, H, W) to μ and log σ², each (B, D)."""
        features = self.convolutions(x.to(memory_format=torch.channels_last))
        mean, log_variance = self.posterior_params(self.hidden(features.flatten(1))).chunk(2, dim=1)
        return mean, log_variance


class Decoder(network.Decoder):
    """The encoder's layers in reverse order, by transposed convolutions."""

    batch_size = 100  # smaller than for dense layers: there is an activation for each pixel and channel

    def __init__(self, architecture: Architecture, output_channels: int | None = None) -> None:
        """Build the layers, with random weights.

        Args:
            architecture: of the model.
            output_channels: of the last layer; those that the likelihood needs if None.

        Raises:
            ArchitectureError: the images' height or width is not a multiple of four.
        """
        super().__init__(architecture)
        channels, outputs = architecture.channels, output_channels or architecture.output_channels
        smallest = reduced_shape(architecture)
        widths = [architecture.latent_dim, *reversed(architecture.hidden_dims), prod(smallest)]
        self.hidden = dense_layers(widths, architecture.activation)
        self.reshape = nn.Unflatten(1, smallest)
        self.convolutions = nn.Sequential(
            nn.ConvTranspose2d(2 * channels, channels, KERNEL, STRIDE, PADDING),
            ACTIVATIONS[architecture.activation](),
            nn.ConvTranspose2d(channels, outputs, KERNEL, STRIDE, PADDING),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Latent codes (B, D) to the parameters of the likelihood (B, P, H, W)."""
        return self.feature_map(z).contiguous()

    def feature_map(self, z: Tensor) -> Tensor:
        """The same as ``forward``, but in the channels-last order in which convolutions are fast."""
        features = self.reshape(self.hidden(z)).contiguous(memory_format=torch.channels_last)
        output: Tensor = self.convolutions(features)
        return output

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The modules that turn codes into the output when applied in order."""
        return [*self.hidden, self.reshape, *self.convolutions]


def reduced_shape(architecture: Architecture) -> tuple[int, int, int]:
    """Channels, height and width between the convolutions and the dense layers."""
    _, height, width = architecture.image_shape
    if height % REDUCTION or width % REDUCTION:
        raise ArchitectureError(
            f"params.yaml: model.network: {architecture.network} needs a height and width that are multiples of "
            f"{REDUCTION}, but images are {height}×{width}; set model.network=mlp"
        )
    return 2 * architecture.channels, height // REDUCTION, width // REDUCTION
