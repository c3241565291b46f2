"""The interface of the decoder's distributions p(x|z)."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch.nn.functional as F
from torch import Generator, Tensor, nn

# About the standard deviation of intensities around each pixel's mean (0.26 on MNIST, 0.27 on the digits): the error of
# a decoder that has learned only the mean image. Starting from 1 would give the reconstruction a tenth of this weight
# relative to the KL at first.
INITIAL_SCALE = 0.3


class Neighbours(NamedTuple):
    """The pixels next to each pixel that come before it in reading order, each (B, C, H, W); 0 beyond the image."""

    left: Tensor
    above: Tensor
    above_left: Tensor


def neighbours(x: Tensor) -> Neighbours:
    """The neighbours of each pixel: intensities (B, C, H, W)."""
    padded = F.pad(x, (1, 0, 1, 0))
    return Neighbours(padded[:, :, 1:, :-1], padded[:, :, :-1, 1:], padded[:, :, :-1, :-1])


class Likelihood(nn.Module, ABC):
    """A distribution p(x|z) over images, whose parameters are the decoder's output for each pixel.

    The output has ``output_channels`` channels P for images with C channels.
    """

    def output_channels(self, image_channels: int) -> int:
        """The number of parameters of a pixel of an image with so many channels: by default one for each channel."""
        return image_channels

    def relative_to(self, output: Tensor, near: Neighbours) -> Tensor:
        """The parameters of an autoregressive decoder, from its output (B, P, H, W): by default the output itself.

        A likelihood may start its predictions of a pixel from the neighbours, so that only the difference is learned.
        """
        del near
        return output

    @abstractmethod
    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x|z) in nats per image, summed over pixels: images (B, C, H, W) and outputs (B, P, H, W) to (B,)."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """The expected image of each output: (B, P, H, W) to (B, C, H, W)."""

    @abstractmethod
    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Draw an image for each output: (B, P, H, W) to (B, C, H, W)."""
