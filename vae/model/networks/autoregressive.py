"""A PixelCNN decoder: p(x|z) = Π p(x_i|x_1 … x_{i-1}, z), pixel by pixel in reading order.

Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016 for masked convolutions; van den Oord et al. 2016 (Conditional
image generation with PixelCNN decoders) for gates and conditioning; Gulrajani et al. 2017 (PixelVAE) for the latent
code. The gate is the linear one of Dauphin et al. 2017, y = a·sigmoid(b), which is cheaper than tanh(a)·sigmoid(b).

There is a single stack of convolutions, instead of one for the rows above and another for the pixel's own row. That
halves the cost but leaves the blind spot that the second source describes (section 2.2): earlier pixels to the upper
right that no layer reaches. The latent code can carry what lies there.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from vae.model.architecture import Architecture
from vae.model.likelihood import Likelihood, Neighbours
from vae.model.networks import conv, network
from vae.model.networks.network import ACTIVATIONS

ROWS = 3  # of a kernel: the pixel's own and two above
FIRST_WIDTH, WIDTH = 7, 5  # columns of a kernel, centred on the pixel


class MaskedConvolution(nn.Module):
    """A convolution that sees the rows above a pixel, the pixels to its left, and optionally the pixel itself.

    The kernel has no rows below the pixel; a mask zeroes the weights to its right in its own row.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, width: int, *, sees_itself: bool) -> None:
        super().__init__()
        self.reach = width // 2
        self.convolution = nn.Conv2d(inputs, outputs, (ROWS, width))
        mask = torch.ones(ROWS, width)
        mask[-1, self.reach + sees_itself :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        padded = F.pad(x, (0, 0, ROWS - 1, 0))
        weight = self.convolution.weight * self.mask
        return F.conv2d(padded, weight, self.convolution.bias, padding=(0, self.reach))


def gate(x: Tensor) -> Tensor:
    """The linear gate y = a·sigmoid(b) of the two halves of the channels, (B, 2·channels, H, W) to (B, channels, H, W).

    The same as ``F.glu(x, 1)``, but two to five times as fast in training: PyTorch does not vectorize operations on
    halves of the channels in channels-last order.
    """
    a, b = x.chunk(2, 1)
    return a * b.contiguous(memory_format=torch.channels_last).sigmoid()


class Encoder(conv.Encoder):
    """The encoder of the convolutional network."""


class Decoder(network.Decoder):
    """Gated masked convolutions over the image, conditioned on a feature map decoded from z.

    The first convolution does not see the pixel itself; each gated layer has a residual connection.
    """

    needs_pixels = True
    batch_size = 50  # smaller than for dense layers: there are activations for each pixel and channel of every layer

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        image_channels = architecture.image_shape[0]
        channels, activation = architecture.channels, ACTIVATIONS[architecture.activation]
        self.image_shape = architecture.image_shape
        self.condition = conv.Decoder(architecture, output_channels=channels)
        self.first = MaskedConvolution(image_channels, channels, FIRST_WIDTH, sees_itself=False)
        self.gated = nn.ModuleList(
            MaskedConvolution(channels, 2 * channels, WIDTH, sees_itself=True)
            for _ in range(architecture.masked_layers)
        )
        self.output = nn.Sequential(
            activation(),
            nn.Conv2d(channels, 2 * channels, 1),
            activation(),
            nn.Conv2d(2 * channels, architecture.output_channels, 1),
        )

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Latent codes (B, D) and images (B, C, H, W) to the parameters of the likelihood (B, P, H, W)."""
        features = self.first(x.to(memory_format=torch.channels_last)) + self.condition.feature_map(z)
        for layer in self.gated:
            features = features + gate(layer(features))
        output: Tensor = self.output(features)
        return output.contiguous()

    def sample(
        self, z: Tensor, draw: Callable[[Tensor, Neighbours], Tensor], advance: Callable[[], object] = lambda: None
    ) -> Tensor:
        """Draw images pixel by pixel, each pixel given the earlier ones.

        Each layer keeps its inputs at earlier pixels, so a whole image costs no more than one ``forward``.

        Args:
            z: latent codes (B, D).
            draw: draws one pixel of each image, from the output (B, P, 1, 1) and the neighbours, to (B, C, 1, 1).
            advance: called after each row of pixels.

        Returns:
            (B, C, H, W).
        """
        channels, height, width = self.image_shape
        condition = self.condition(z).permute(2, 3, 0, 1).contiguous()  # (H, W, B, channels)
        image = z.new_zeros(len(z), channels, height + 1, width + 1)  # with a border for the neighbours
        first, *gated = (_PixelByPixel(layer, len(z), width) for layer in (self.first, *self.gated))
        for row in range(height):
            for column in range(width):
                features = condition[row, column] + first.at(column)
                for layer in gated:
                    layer.see(column, features)
                    features = features + F.glu(layer.at(column), 1)
                here = image[:, :, row : row + 2, column : column + 2]
                near = Neighbours(here[:, :, 1:, :1], here[:, :, :1, 1:], here[:, :, :1, :1])
                pixel = draw(self.output(features[:, :, None, None]), near)
                first.see(column, pixel.flatten(1))
                here[:, :, 1:, 1:] = pixel
            for layer in (first, *gated):
                layer.next_row()
            advance()
        return image[:, :, 1:, 1:].contiguous()

    @property
    def steps_of_drawing(self) -> int:
        """One for each row of pixels."""
        return self.image_shape[1]

    def drawn_images(
        self, z: Tensor, likelihood: Likelihood, random: Generator, advance: Callable[[], object]
    ) -> Tensor:
        """Draw an image x ~ p(x|z) for each latent code, pixel by pixel: (B, D) to (B, C, H, W)."""

        def draw(output: Tensor, near: Neighbours) -> Tensor:
            return likelihood.sample(likelihood.relative_to(output, near), random)

        return self.sample(z, draw, advance)


class _PixelByPixel:
    """A masked convolution that is evaluated one pixel at a time, on the inputs seen so far."""

    def __init__(self, layer: MaskedConvolution, batch_size: int, width: int) -> None:
        weight = layer.convolution.weight * layer.mask
        self.reach = layer.reach
        self.columns = weight.shape[3]
        self.matrix = weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()
        assert layer.convolution.bias is not None
        self.bias = layer.convolution.bias
        # The inputs of the last ROWS rows. Later pixels are still zero here, as the mask requires.
        self.rows = weight.new_zeros(batch_size, ROWS, width + 2 * layer.reach, weight.shape[1])

    def at(self, column: int) -> Tensor:
        """The output at a pixel of the current row: (B, outputs)."""
        window = self.rows[:, :, column : column + self.columns].flatten(1)
        return torch.addmm(self.bias, window, self.matrix)

    def see(self, column: int, features: Tensor) -> None:
        """Store the input at a pixel of the current row: (B, inputs)."""
        self.rows[:, -1, column + self.reach] = features

    def next_row(self) -> None:
        """Move to the row below."""
        self.rows = torch.cat([self.rows[:, 1:], torch.zeros_like(self.rows[:, :1])], 1)
