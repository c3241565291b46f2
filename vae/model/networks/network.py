"""The interface of encoders and decoders, and functions that build them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import ClassVar

from torch import Generator, Tensor, nn

from vae.base.errors import VAEError
from vae.model.architecture import Architecture
from vae.model.likelihood import Likelihood

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}


class NoExpectedImageError(VAEError):
    """The decoder can draw images, but has no expected image in closed form."""


class Encoder(nn.Module, ABC):
    """The approximate posterior q(z|x) = N(μ(x), diag σ²(x))."""

    @abstractmethod
    def __init__(self, architecture: Architecture) -> None:
        """Build the layers, with random weights."""
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Intensities (B, C, H, W) to μ and log σ², each (B, D)."""


class Decoder(nn.Module, ABC):
    """Latent codes to the parameters of the likelihood for each pixel.

    Attributes:
        needs_pixels: whether ``forward`` also takes the images, as in an autoregressive decoder. Such a decoder has no
            expected images, and must override ``drawn_images``, which gets only codes.
        batch_size: how many images evaluation passes through the network at once; affects only speed.
    """

    needs_pixels: ClassVar[bool] = False
    batch_size: ClassVar[int] = 500  # fits the caches of two cores on MNIST; as fast as any size tried on a CPU

    @abstractmethod
    def __init__(self, architecture: Architecture) -> None:
        """Build the layers, with random weights."""
        super().__init__()

    @property
    def layers(self) -> Sequence[nn.Module] | None:
        """The modules that turn codes into the output when applied in order; None if there is no such sequence.

        A decoder with such a sequence can run in the browser, on the latent explorer's page.
        """
        return None

    def expected_images(self, z: Tensor, likelihood: Likelihood) -> Tensor:
        """The expected image E[x|z] of each latent code.

        Args:
            z: latent codes (B, D).
            likelihood: p(x|z).

        Returns:
            intensities (B, C, H, W).

        Raises:
            NoExpectedImageError: the decoder needs pixels, so that the expected image is a sum over all images.
        """
        if self.needs_pixels:
            raise NoExpectedImageError(
                "params.yaml: model.network: a decoder that needs the preceding pixels, such as autoregressive, has no "
                "expected image in closed form; draw images instead, or set model.network to mlp or conv"
            )
        return likelihood.mean(self(z))

    @property
    def steps_of_drawing(self) -> int:
        """How often ``drawn_images`` calls ``advance``."""
        return 1

    def drawn_images(
        self, z: Tensor, likelihood: Likelihood, random: Generator, advance: Callable[[], object]
    ) -> Tensor:
        """Draw an image x ~ p(x|z) for each latent code.

        Args:
            z: latent codes (B, D).
            likelihood: p(x|z).
            random: the generator, on the device of the codes.
            advance: called after each step, for progress.

        Returns:
            images (B, C, H, W).
        """
        images = likelihood.sample(self(z), random)
        advance()
        return images


def dense_layers(widths: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers from each width to the next, each followed by the activation."""
    return nn.Sequential(
        *(
            layer
            for inputs, outputs in pairwise(widths)
            for layer in (nn.Linear(inputs, outputs), ACTIVATIONS[activation]())
        )
    )


def build(architecture: Architecture) -> tuple[Encoder, Decoder]:
    """Build the encoder and the decoder of an architecture, with random weights.

    Raises:
        ArchitectureError: the network cannot take images of this size.
    """
    module = import_module(f"vae.model.networks.{architecture.network}")
    encoder: Encoder = module.Encoder(architecture)
    decoder: Decoder = module.Decoder(architecture)
    return encoder, decoder
