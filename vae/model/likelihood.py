"""The interface of the decoder's distributions p(x|z)."""

from abc import ABC, abstractmethod

from torch import Generator, Tensor, nn

# About the standard deviation of intensities around each pixel's mean (0.26 on MNIST, 0.27 on the digits): the error of
# a decoder that has learned only the mean image. Starting from 1 would give the reconstruction a tenth of this weight
# relative to the KL at first.
INITIAL_SCALE = 0.3


class Likelihood(nn.Module, ABC):
    """A distribution p(x|z) over images, whose parameters are the decoder's output for each pixel.

    The output has ``output_channels`` channels P for images with C channels.
    """

    def output_channels(self, image_channels: int) -> int:
        """The number of parameters of a pixel of an image with so many channels: by default one for each channel."""
        return image_channels

    @abstractmethod
    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x|z) in nats per image, summed over pixels: images (B, C, H, W) and outputs (B, P, H, W) to (B,)."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """The expected image of each output: (B, P, H, W) to (B, C, H, W)."""

    @abstractmethod
    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Draw an image for each output: (B, P, H, W) to (B, C, H, W)."""
