"""Convolutional networks: two strided convolutions down, dense layers, two transposed convolutions back."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae.datasets import ImageShape
from vae.networks.dense import ACTIVATIONS, dense_layers

REDUCTION = 4  # of height and width: each of the two convolutions halves them
KERNEL, STRIDE, PADDING = 4, 2, 1  # an even kernel: transposed, it covers every pixel equally often


class ConvolutionalEncoder(nn.Module):
    """The approximate posterior q(z given x) = N(μ(x), diag σ²(x)) by strided convolutions (Radford et al. 2016)."""

    def __init__(
        self, image_shape: ImageShape, channels: int, hidden_dims: Sequence[int], latent_dim: int, activation: str
    ) -> None:
        super().__init__()
        image_channels, height, width = image_shape
        self.convolutions = nn.Sequential(
            nn.Conv2d(image_channels, channels, KERNEL, STRIDE, PADDING),
            ACTIVATIONS[activation](),
            nn.Conv2d(channels, 2 * channels, KERNEL, STRIDE, PADDING),
            ACTIVATIONS[activation](),
        )
        widths = [2 * channels * (height // REDUCTION) * (width // REDUCTION), *hidden_dims]
        self.hidden = dense_layers(widths, activation)
        self.moments = nn.Linear(widths[-1], 2 * latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Intensities (B, C, H, W) to μ and log σ², each (B, D)."""
        features = self.convolutions(x.to(memory_format=torch.channels_last))
        mean, log_variance = self.moments(self.hidden(features.flatten(1))).chunk(2, dim=1)
        return mean, log_variance


class ConvolutionalDecoder(nn.Module):
    """A number a pixel and channel from a latent code, by transposed convolutions: the encoder the other way round."""

    def __init__(
        self, image_shape: ImageShape, channels: int, hidden_dims: Sequence[int], latent_dim: int, activation: str
    ) -> None:
        super().__init__()
        image_channels, height, width = image_shape
        self.smallest = (2 * channels, height // REDUCTION, width // REDUCTION)
        features = self.smallest[0] * self.smallest[1] * self.smallest[2]
        self.hidden = dense_layers([latent_dim, *reversed(hidden_dims), features], activation)
        self.convolutions = nn.Sequential(
            nn.ConvTranspose2d(2 * channels, channels, KERNEL, STRIDE, PADDING),
            ACTIVATIONS[activation](),
            nn.ConvTranspose2d(channels, image_channels, KERNEL, STRIDE, PADDING),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Latent codes (B, D) to what the likelihood takes for each pixel (B, C, H, W)."""
        features = self.hidden(z).view(len(z), *self.smallest).contiguous(memory_format=torch.channels_last)
        output: Tensor = self.convolutions(features)
        return output.contiguous()
