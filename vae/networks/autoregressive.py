"""A decoder that sees the pixels before each: p(x given z) = Π p(x_i given x_1 … x_{i-1}, z), in reading order.

Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016 for masked convolutions; van den Oord et al. 2016 (Conditional
image generation with PixelCNN decoders) for gates and conditioning; Gulrajani et al. 2017 (PixelVAE) for the latent
code. The gate is the linear one of Dauphin et al. 2017, y = a·sigmoid(b), which takes one transcendental function.

There is one stack of convolutions, not one for the rows above and one for the pixel's own: it costs half, and leaves
the blind spot of the second source (section 2.2), earlier pixels to the upper right that no layer reaches. What lies
there the latent code can tell.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.datasets import ImageShape
from vae.networks.convolutional import ConvolutionalDecoder
from vae.networks.dense import ACTIVATIONS

ROWS = 3  # that a masked convolution sees: the pixel's own and two above
FIRST_WIDTH, WIDTH = 7, 5  # columns, as many to the left as to the right


class MaskedConvolution(nn.Module):
    """A convolution that sees the rows above a pixel and what is left of it, and the pixel itself or not.

    The rows below are not in the kernel; in the pixel's own row weights are multiplied by a mask.
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
        padded = F.pad(x, (self.reach, self.reach, ROWS - 1, 0))
        return F.conv2d(padded, self.convolution.weight * self.mask, self.convolution.bias)


class AutoregressiveDecoder(nn.Module):
    """Gated masked convolutions over the image, conditioned on a map that transposed convolutions make of z.

    The first convolution leaves out the pixel itself; each gated layer adds to what it gets.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        channels: int,
        masked_layers: int,
        hidden_dims: Sequence[int],
        latent_dim: int,
        activation: str,
    ) -> None:
        super().__init__()
        image_channels, height, width = image_shape
        self.image_shape = image_shape
        self.condition = ConvolutionalDecoder((channels, height, width), channels, hidden_dims, latent_dim, activation)
        self.first = MaskedConvolution(image_channels, channels, FIRST_WIDTH, sees_itself=False)
        self.gated = nn.ModuleList(
            MaskedConvolution(channels, 2 * channels, WIDTH, sees_itself=True) for _ in range(masked_layers)
        )
        self.output = nn.Sequential(
            ACTIVATIONS[activation](),
            nn.Conv2d(channels, 2 * channels, 1),
            ACTIVATIONS[activation](),
            nn.Conv2d(2 * channels, image_channels, 1),
        )

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Latent codes (B, D) and images (B, C, H, W) to what the likelihood takes for each pixel (B, C, H, W)."""
        features = self.first(x) + self.condition(z)
        features = features.contiguous(memory_format=torch.channels_last)
        for layer in self.gated:
            features = features + F.glu(layer(features), 1)
        output: Tensor = self.output(features)
        return output.contiguous()

    def sample(
        self, z: Tensor, draw: Callable[[Tensor], Tensor], advance: Callable[[], object] = lambda: None
    ) -> Tensor:
        """Images pixel by pixel, each drawn given those before it.

        What a layer has computed for earlier pixels is kept, so that all together cost as much as one ``forward``.

        Args:
            z: latent codes (B, D).
            draw: from what the likelihood takes for a pixel of each image, (B, C, 1, 1), to that pixel.
            advance: called after each row of pixels.

        Returns:
            (B, C, H, W).
        """
        channels, height, width = self.image_shape
        condition = self.condition(z).permute(2, 3, 0, 1).contiguous()  # (H, W, B, channels)
        image = z.new_empty(len(z), channels, height, width)
        first, *gated = (_PixelByPixel(layer, len(z), width) for layer in (self.first, *self.gated))
        for row in range(height):
            for column in range(width):
                features = condition[row, column] + first.at(column)
                for layer in gated:
                    layer.see(column, features)
                    features = features + F.glu(layer.at(column), 1)
                pixel = draw(self.output(features[:, :, None, None]))
                first.see(column, pixel.flatten(1))
                image[:, :, row, column] = pixel.flatten(1)
            for layer in (first, *gated):
                layer.next_row()
            advance()
        return image


class _PixelByPixel:
    """A masked convolution at one pixel after the other, over what it has been shown so far."""

    def __init__(self, layer: MaskedConvolution, batch_size: int, width: int) -> None:
        weight = layer.convolution.weight * layer.mask
        self.reach = layer.reach
        self.columns = weight.shape[3]
        self.matrix = weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()
        assert layer.convolution.bias is not None
        self.bias = layer.convolution.bias
        # Pixels that have not been seen are zero here, so that the mask says again what is so already.
        self.rows = weight.new_zeros(batch_size, ROWS, width + 2 * layer.reach, weight.shape[1])

    def at(self, column: int) -> Tensor:
        """The output at a pixel: (B, outputs)."""
        window = self.rows[:, :, column : column + self.columns].flatten(1)
        return torch.addmm(self.bias, window, self.matrix)

    def see(self, column: int, features: Tensor) -> None:
        """Take up the input at a pixel: (B, inputs)."""
        self.rows[:, -1, column + self.reach] = features

    def next_row(self) -> None:
        """Go on to the row below."""
        self.rows = torch.cat([self.rows[:, 1:], torch.zeros_like(self.rows[:, :1])], 1)
