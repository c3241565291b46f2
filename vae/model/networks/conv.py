"""Convolutional networks: strided convolutions down, dense layers, transposed convolutions back.

Height and width are halved at least twice, and until the map has at most 64 pixels (8×8): twice for images of 28×28
pixels, three times for 64×64, five times for 256×256. Each halving doubles the channels, up to a limit, and is followed
by residual blocks, if there are any.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae.model.architecture import Architecture, ArchitectureError
from vae.model.networks import network
from vae.model.networks.network import ACTIVATIONS, dense_layers

FEWEST_HALVINGS = 2
LARGEST_MAP = 64  # pixels of the map before the dense layers
CHANNEL_LIMIT = 8  # times those of the first convolution; reached after four halvings
KERNEL, STRIDE, PADDING = 4, 2, 1  # the stride divides the kernel, so transposed convolutions cover pixels evenly


class FeatureMap(NamedTuple):
    """The shape of an image, or of a feature map between two convolutions."""

    channels: int
    height: int
    width: int


def feature_maps(architecture: Architecture) -> list[FeatureMap]:
    """The image and the map after each halving, which rounds down. The encoder goes from first to last.

    Raises:
        ArchitectureError: the images are too small.
    """
    maps = [FeatureMap(*architecture.image_shape)]
    while len(maps) <= FEWEST_HALVINGS or (prod(maps[-1][1:]) > LARGEST_MAP and min(maps[-1][1:]) > 1):
        channels = architecture.channels * min(2 ** (len(maps) - 1), CHANNEL_LIMIT)
        maps.append(FeatureMap(channels, maps[-1].height // 2, maps[-1].width // 2))
    if not prod(maps[-1]):
        least = 2**FEWEST_HALVINGS
        raise ArchitectureError(
            f"params.yaml: model.network: {architecture.network} needs a height and width of at least {least} pixels, "
            f"but images are {maps[0].height}×{maps[0].width}; set model.network=mlp"
        )
    return maps


class ResidualBlock(nn.Module):
    """A residual block, x + f(x), with two convolutions that each follow an activation (He et al. 2016, figure 1b).

    There is no normalization. Instead, the last convolution starts at zero, so that the block is the identity at first
    and a network of any depth starts like one without blocks (Zhang et al. 2019, "Fixup Initialization", section 3).
    """

    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        first, last = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.layers = nn.Sequential(ACTIVATIONS[activation](), first, ACTIVATIONS[activation](), last)
        initialize([first])
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        output: Tensor = x + self.layers(x)
        return output


def initialize(layers: Iterable[nn.Module]) -> None:
    """Draw weights from N(0, 2 / n) for n inputs of each output, and set biases to zero (He et al. 2015, section 2.2).

    Activations then keep their size through any number of layers. With PyTorch's weights, each layer would shrink their
    variance sixfold. Networks without residual blocks keep those, because published results depend on them.
    """
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            assert layer.bias is not None
            inputs = layer.weight.numel() / layer.bias.numel()
            if isinstance(layer, nn.ConvTranspose2d):
                inputs /= prod(layer.stride)
            nn.init.normal_(layer.weight, 0, (2 / inputs) ** 0.5)
            nn.init.zeros_(layer.bias)


def residual_blocks(architecture: Architecture, channels: int) -> list[ResidualBlock]:
    """The blocks between two changes of size."""
    return [ResidualBlock(channels, architecture.activation) for _ in range(architecture.residual_blocks)]


class Encoder(network.Encoder):
    """Strided convolutions (Radford et al. 2016), each followed by residual blocks, then dense layers."""

    def __init__(self, architecture: Architecture) -> None:
        """Build the layers, with random weights.

        Raises:
            ArchitectureError: the images are too small.
        """
        super().__init__(architecture)
        maps = feature_maps(architecture)
        layers: list[nn.Module] = []
        for before, after in pairwise(maps):
            layers += [
                nn.Conv2d(before.channels, after.channels, KERNEL, STRIDE, PADDING),
                *residual_blocks(architecture, after.channels),
                ACTIVATIONS[architecture.activation](),
            ]
        self.convolutions = nn.Sequential(*layers)
        widths = [prod(maps[-1]), *architecture.hidden_dims]
        self.hidden = dense_layers(widths, architecture.activation)
        self.posterior_params = nn.Linear(widths[-1], 2 * architecture.latent_dim)
        if architecture.residual_blocks:
            initialize([*self.convolutions, *self.hidden])

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
            ArchitectureError: the images are too small.
        """
        super().__init__(architecture)
        smallest, *larger = reversed(feature_maps(architecture))
        larger[-1] = larger[-1]._replace(channels=output_channels or architecture.output_channels)
        widths = [architecture.latent_dim, *reversed(architecture.hidden_dims), prod(smallest)]
        self.hidden = dense_layers(widths, architecture.activation)
        self.reshape = nn.Unflatten(1, smallest)
        layers: list[nn.Module] = []
        for before, after in pairwise([smallest, *larger]):
            blocks = residual_blocks(architecture, before.channels)
            if blocks or layers:  # the dense layers end with an activation
                layers += [*blocks, ACTIVATIONS[architecture.activation]()]
            halved = after.height % STRIDE, after.width % STRIDE  # what halving an odd size has rounded off
            layers.append(nn.ConvTranspose2d(before.channels, after.channels, KERNEL, STRIDE, PADDING, halved))
        self.convolutions = nn.Sequential(*layers)
        if architecture.residual_blocks:
            initialize([*self.hidden, *layers[:-1]])

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
