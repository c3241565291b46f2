"""The decoder's distributions p(x given z): log-density, mean and sample of each family."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


class Likelihood(Protocol):
    """A distribution over images, given what the decoder puts out for each pixel."""

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x given z) in nats per image, summed over pixels: (B, C, H, W) twice to (B,)."""
        ...

    def log_density_gradient(self, x: Tensor, output: Tensor) -> Tensor:
        """∂ log p(x given z) / ∂ output: (B, C, H, W) twice to a new tensor of the same."""
        ...

    def mean(self, output: Tensor) -> Tensor:
        """The expected image: (B, C, H, W) to the same."""
        ...

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """An image drawn from the distribution: (B, C, H, W) to the same."""
        ...


class Bernoulli:
    """Independent pixels in {0, 1}, of which the decoder gives the logits l.

    log p(x given z) = Σ x·log sigmoid(l) + (1 - x)·log sigmoid(-l) = Σ x·l - softplus(l)

    On grey pixels in [0, 1] this is the tutorial's cross-entropy, but no log-likelihood: the densities do not
    integrate to one, so the bound made of it may be compared with other such bounds only.
    """

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x given z) in nats per image, from logits: a sigmoid before the logarithm would saturate."""
        return F.softplus(output).addcmul_(x, output, value=-1).flatten(1).sum(1).neg_()

    def log_density_gradient(self, x: Tensor, output: Tensor) -> Tensor:
        """x - sigmoid(l)."""
        return torch.sub(x, torch.sigmoid(output))

    def mean(self, output: Tensor) -> Tensor:
        """The probability of a one at each pixel."""
        return torch.sigmoid(output)

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Pixels of zero and one."""
        return torch.bernoulli(torch.sigmoid(output), generator=generator)
