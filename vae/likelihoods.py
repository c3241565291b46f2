"""The decoder's distributions p(x given z): log-density, mean and sample of each family."""

from abc import ABC, abstractmethod
from math import log, pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

# About the spread of intensities around each pixel's mean, 0.26 on MNIST and 0.27 on the digits, which is what is left
# to explain when training starts. From 1 the reconstruction would have a tenth of its weight against the KL at first.
INITIAL_SCALE = 0.3

# Up to this |l| the mean of the continuous Bernoulli goes by its Taylor series, Σ B_2n / (2n)!·l^(2n - 1) of Bernoulli
# numbers B, whose rest is below 2e-16; from there on the closed form loses a digit at most to cancellation.
NEAR_ZERO = 0.25
MEAN_SERIES = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)


class Likelihood(nn.Module, ABC):
    """A distribution over images, given what the decoder puts out for each pixel."""

    @abstractmethod
    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x given z) in nats per image, summed over pixels: (B, C, H, W) twice to (B,)."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """The expected image: (B, C, H, W) to the same."""

    @abstractmethod
    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """An image drawn from the distribution: (B, C, H, W) to the same."""


class Bernoulli(Likelihood):
    """Independent pixels in {0, 1}, of which the decoder gives the logits l.

    log p(x given z) = Σ x·log sigmoid(l) + (1 - x)·log sigmoid(-l) = Σ x·l - softplus(l)

    On grey pixels in [0, 1] this is the tutorial's cross-entropy, but no log-likelihood: the densities do not
    integrate to one, so the bound made of it may be compared with other such bounds only.
    """

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x given z) in nats per image, from logits: a sigmoid before the logarithm would saturate."""
        return F.softplus(output).addcmul_(x, output, value=-1).flatten(1).sum(1).neg_()

    def log_density_gradient(self, x: Tensor, output: Tensor) -> Tensor:
        """∂ log p(x given z) / ∂l = x - sigmoid(l): (B, C, H, W) twice to a new tensor of the same."""
        return torch.sub(x, torch.sigmoid(output))

    def mean(self, output: Tensor) -> Tensor:
        """The probability of a one at each pixel."""
        return torch.sigmoid(output)

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Pixels of zero and one."""
        return torch.bernoulli(torch.sigmoid(output), generator=generator)


class ContinuousBernoulli(Likelihood):
    """Independent pixels in [0, 1], of which the decoder gives the logits l of λ = sigmoid(l).

        log p(x given z) = Σ x·l - softplus(l) + log C(λ),   C(λ) = 2·artanh(1 - 2λ) / (1 - 2λ), and 2 at λ = ½

    The Bernoulli's cross-entropy and the constant that it lacks on grey pixels: with it the densities integrate to
    one (Loaiza-Ganem & Cunningham 2019, section 3). In logits C is l / tanh(½·l), and the family exponential:

        log p(x given z) = Σ x·l - A(l),   A(l) = log ((exp(l) - 1) / l),   E[x] = A'(l)
    """

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x given z) in nats per image, from logits: λ would saturate."""
        return torch.mul(x, output).sub_(_LogPartition.apply(output)).flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """The expected intensity λ / (2λ - 1) + 1 / (2·artanh(1 - 2λ)) = 1 / (1 - exp(-l)) - 1/l, which is not λ."""
        distance = output.abs()
        # Within these limits both formulas are finite, and so are their gradients, also where the other is taken.
        inside, outside = output.clamp(-NEAR_ZERO, NEAR_ZERO), distance.clamp(min=NEAR_ZERO)
        square, series = inside.square(), torch.full_like(inside, MEAN_SERIES[-1])
        for coefficient in reversed(MEAN_SERIES[:-1]):
            series = torch.mul(series, square).add_(coefficient)
        closed_form = (1 / (1 - torch.exp(-outside))).sub_(1 / outside).sub_(0.5).copysign(output)
        return torch.where(distance < NEAR_ZERO, series * inside, closed_form).add_(0.5)

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Grey pixels: the inverse distribution function log(1 + u·(exp(l) - 1)) / l, of u uniform in [0, 1)."""
        u = torch.rand(output.shape, generator=generator, dtype=output.dtype, device=output.device)
        distance = output.abs().clamp(min=torch.finfo(output.dtype).eps)  # from where on x is u
        # An l above zero draws 1 - x of -l: exp(l) would overflow.
        x = (torch.log1p(u * torch.expm1(-distance)) / -distance).clamp(0, 1)
        return torch.where(output > 0, 1 - x, x)


class _LogPartition(torch.autograd.Function):
    """A(l) of the continuous Bernoulli, with A'(l) = E[x]: derived from A's formula it would lose digits near zero."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        # log ((exp(l) - 1) / l) = max(l, 0) + log ((1 - exp(-|l|)) / |l|), in which nothing overflows.
        below = logits.abs().neg_().clamp_(max=-1e-30)  # which stands for zero too
        return torch.expm1(below).div_(below).log_().add_(F.relu(logits))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        return gradient * ContinuousBernoulli().mean(logits)


class _LocationScale(Likelihood):
    """Independent pixels around the decoder's output μ, all with one scale.

    Attributes:
        log_scale: logarithm of the scale, a scalar; a parameter where it is learned, a buffer where it is fixed.
    """

    log_scale: Tensor

    def __init__(self, scale: float | None) -> None:
        """Take a fixed scale, above zero; None learns it."""
        super().__init__()
        if scale is None:
            self.log_scale = nn.Parameter(torch.tensor(log(INITIAL_SCALE)))
        else:
            self.register_buffer("log_scale", torch.tensor(log(scale)))

    def mean(self, output: Tensor) -> Tensor:
        """The decoder's output μ itself, which may leave [0, 1]."""
        return output


class Gaussian(_LocationScale):
    """Independent pixels N(μ, σ²), of which the decoder gives the means μ; one σ for all.

    log p(x given z) = -Σ (x - μ)² / (2σ²) + log σ + ½·log 2π

    A fixed σ is a hidden β: times 2σ² the negative ELBO is squared error + 2σ²·KL and a constant, so that choosing σ
    chooses the weight between reconstruction and KL. A learned σ² comes to the mean squared error instead (Rybkin,
    Daniilidis & Levine 2021, "Simple and Effective VAE Training with Calibrated Decoders").
    """

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x given z) in nats per image."""
        squares = ((x - output) * torch.exp(-self.log_scale)).square().flatten(1)
        return -0.5 * squares.sum(1) - squares.shape[1] * (self.log_scale + 0.5 * log(2 * pi))

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """μ + σ·ε of standard normal ε: pixels that may leave [0, 1]."""
        noise = torch.randn(output.shape, generator=generator, dtype=output.dtype, device=output.device)
        return output + torch.exp(self.log_scale) * noise


class Laplace(_LocationScale):
    """Independent pixels with density exp(-|x - μ| / b) / 2b, of which the decoder gives the locations μ.

    log p(x given z) = -Σ |x - μ| / b + log 2b

    A fixed b is a hidden β as the Gaussian's σ is: times b the negative ELBO is absolute error + b·KL and a constant.
    A learned b comes to the mean absolute error.
    """

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x given z) in nats per image."""
        distances = ((x - output) * torch.exp(-self.log_scale)).abs().flatten(1)
        return -distances.sum(1) - distances.shape[1] * (self.log_scale + log(2))

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """μ - b·sign(v)·log(1 - |v|) of v uniform in (-1, 1), the inverse distribution function; may leave [0, 1]."""
        u = torch.rand(output.shape, generator=generator, dtype=output.dtype, device=output.device)
        v = (2 * u - 1).clamp(min=torch.finfo(u.dtype).eps - 1)  # u may be zero, whose x would be infinite
        return output - torch.exp(self.log_scale) * v.sign() * torch.log1p(-v.abs())


def likelihood(name: str, scale: float | None) -> Likelihood:
    """A family by its name.

    Args:
        name: bernoulli, continuous_bernoulli, gaussian or laplace.
        scale: σ or b of the latter two, None to learn it; the others have none.

    Raises:
        ValueError: no family has that name.
    """
    match name:
        case "bernoulli":
            return Bernoulli()
        case "continuous_bernoulli":
            return ContinuousBernoulli()
        case "gaussian":
            return Gaussian(scale)
        case "laplace":
            return Laplace(scale)
        case _:
            raise ValueError(f"no likelihood is called {name!r}")
