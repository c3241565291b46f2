"""Multilayer perceptrons, the tutorial's networks."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from vae.datasets import ImageShape

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}


class DenseEncoder(nn.Module):
    """The approximate posterior q(z given x) = N(μ(x), diag σ²(x)) by an MLP."""

    def __init__(self, image_shape: ImageShape, hidden_dims: Sequence[int], latent_dim: int, activation: str) -> None:
        super().__init__()
        widths = [prod(image_shape), *hidden_dims]
        self.hidden = dense_layers(widths, activation)
        self.moments = nn.Linear(widths[-1], 2 * latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Intensities (B, C, H, W) to μ and log σ², each (B, D)."""
        mean, log_variance = self.moments(self.hidden(x.flatten(1))).chunk(2, dim=1)
        return mean, log_variance


class DenseDecoder(nn.Module):
    """The parameters of p(x given z), a number a pixel, by an MLP."""

    def __init__(self, image_shape: ImageShape, hidden_dims: Sequence[int], latent_dim: int, activation: str) -> None:
        super().__init__()
        widths = [latent_dim, *reversed(hidden_dims)]
        self.image_shape = image_shape
        self.hidden = dense_layers(widths, activation)
        self.output = nn.Linear(widths[-1], prod(image_shape))

    def forward(self, z: Tensor) -> Tensor:
        """Latent codes (B, D) to what the likelihood takes for each pixel (B, C, H, W)."""
        output: Tensor = self.output(self.hidden(z))
        return output.view(len(z), *self.image_shape)


def dense_layers(widths: Sequence[int], activation: str) -> nn.Sequential:
    """Affine layers from each width to the next, each followed by the activation."""
    return nn.Sequential(
        *(
            layer
            for inputs, outputs in pairwise(widths)
            for layer in (nn.Linear(inputs, outputs), ACTIVATIONS[activation]())
        )
    )
