"""The decoder's distributions p(x|z): log-density, mean and sample of each family of densities, and their names."""

from math import log, pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from vae.model.discretized_logistic import DiscretizedLogistic, DiscretizedLogisticMixture
from vae.model.likelihood import INITIAL_SCALE, Likelihood

# Below this |l|, the mean of the continuous Bernoulli is computed by its Taylor series, Σ B_2n / (2n)!·l^(2n - 1) with
# Bernoulli numbers B, whose remainder is below 2e-16. Above it, the closed form loses at most a digit to cancellation.
NEAR_ZERO = 0.25
MEAN_SERIES = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)


class Bernoulli(Likelihood):
    """Independent pixels in {0, 1}; the decoder's output is their logits l.

    log p(x|z) = Σ x·log sigmoid(l) + (1 - x)·log sigmoid(-l) = Σ x·l - softplus(l)

    On grey pixels in [0, 1] this is the tutorial's cross-entropy and not a log-likelihood, because the density does not
    integrate to one over [0, 1]. Compare a bound on it only with other bounds on it.
    """

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x|z) in nats per image, from logits, because a sigmoid before the logarithm would saturate."""
        return F.softplus(output).addcmul_(x, output, value=-1).flatten(1).sum(1).neg_()

    def mean(self, output: Tensor) -> Tensor:
        """The probability of a one at each pixel."""
        return torch.sigmoid(output)

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Draw pixels of zero and one."""
        return torch.bernoulli(torch.sigmoid(output), generator=generator)


class ContinuousBernoulli(Likelihood):
    """Independent pixels in [0, 1]; the decoder's output is the logits l of λ = sigmoid(l).

        log p(x|z) = Σ x·l - softplus(l) + log C(λ),   C(λ) = 2·artanh(1 - 2λ) / (1 - 2λ), and 2 at λ = ½

    This is the Bernoulli's cross-entropy with the normalizing constant that it lacks on grey pixels: the density
    integrates to one (Loaiza-Ganem & Cunningham 2019, section 3). In terms of logits C = l / tanh(½·l), and the
    distribution is an exponential family:

        log p(x|z) = Σ x·l - A(l),   A(l) = log ((exp(l) - 1) / l),   E[x] = A'(l)
    """

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x|z) in nats per image, from logits, because λ would saturate."""
        return torch.mul(x, output).sub_(_LogPartition.apply(output)).flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """The expected intensity λ / (2λ - 1) + 1 / (2·artanh(1 - 2λ)) = 1 / (1 - exp(-l)) - 1/l, which is not λ."""
        distance = output.abs()
        # Clamped so that both formulas and their gradients are finite everywhere, even where the other one is used.
        inside, outside = output.clamp(-NEAR_ZERO, NEAR_ZERO), distance.clamp(min=NEAR_ZERO)
        square, series = inside.square(), torch.full_like(inside, MEAN_SERIES[-1])
        for coefficient in reversed(MEAN_SERIES[:-1]):
            series = torch.mul(series, square).add_(coefficient)
        closed_form = (1 / (1 - torch.exp(-outside))).sub_(1 / outside).sub_(0.5).copysign(output)
        return torch.where(distance < NEAR_ZERO, series * inside, closed_form).add_(0.5)

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Draw grey pixels by the inverse distribution function log(1 + u·(exp(l) - 1)) / l, u uniform in [0, 1)."""
        u = torch.rand(output.shape, generator=generator, dtype=output.dtype, device=output.device)
        distance = output.abs().clamp(min=torch.finfo(output.dtype).eps)  # below it x = u, to rounding
        # For l above zero, 1 - x is drawn with -l: exp(l) would overflow.
        x = (torch.log1p(u * torch.expm1(-distance)) / -distance).clamp(0, 1)
        return torch.where(output > 0, 1 - x, x)


class _LogPartition(torch.autograd.Function):
    """A(l) of the continuous Bernoulli, with the gradient A'(l) = E[x].

    Automatic differentiation of the formula for A would lose digits near zero.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        # log ((exp(l) - 1) / l) = max(l, 0) + log ((1 - exp(-|l|)) / |l|), in which nothing overflows.
        below = logits.abs().neg_().clamp_(max=-1e-30)  # zero becomes -1e-30
        return torch.expm1(below).div_(below).log_().add_(F.relu(logits))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        return gradient * ContinuousBernoulli().mean(logits)


class _LocationScale(Likelihood):
    """Independent pixels around the decoder's output μ, with one scale for all pixels.

    Attributes:
        log_scale: logarithm of the scale, a scalar; a parameter where it is learned, a buffer where it is fixed.
    """

    log_scale: Tensor

    def __init__(self, scale: float | None) -> None:
        """Fix the scale at a value above zero, or learn it if ``scale`` is None."""
        super().__init__()
        if scale is None:
            self.log_scale = nn.Parameter(torch.tensor(log(INITIAL_SCALE)))
        else:
            self.register_buffer("log_scale", torch.tensor(log(scale)))

    def mean(self, output: Tensor) -> Tensor:
        """The decoder's output μ itself, which may leave [0, 1]."""
        return output


class Gaussian(_LocationScale):
    """Independent pixels N(μ, σ²); the decoder's output is the means μ, and all pixels have the same σ.

    log p(x|z) = -Σ (x - μ)² / (2σ²) + log σ + ½·log 2π

    A fixed σ acts like β: 2σ² times the negative ELBO is squared error + 2σ²·KL plus a constant, so the choice of σ
    sets the weight between reconstruction and KL. A learned σ² converges to the mean squared error instead (Rybkin,
    Daniilidis & Levine 2021, "Simple and Effective VAE Training with Calibrated Decoders").
    """

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x|z) in nats per image."""
        squares = ((x - output) * torch.exp(-self.log_scale)).square().flatten(1)
        return -0.5 * squares.sum(1) - squares.shape[1] * (self.log_scale + 0.5 * log(2 * pi))

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Draw μ + σ·ε with ε standard normal. Pixels may leave [0, 1]."""
        noise = torch.randn(output.shape, generator=generator, dtype=output.dtype, device=output.device)
        return output + torch.exp(self.log_scale) * noise


class Laplace(_LocationScale):
    """Independent pixels with density exp(-|x - μ| / b) / 2b; the decoder's output is the locations μ.

    log p(x|z) = -Σ |x - μ| / b + log 2b

    A fixed b acts like β, as the Gaussian's σ does: b times the negative ELBO is absolute error + b·KL plus a constant.
    A learned b converges to the mean absolute error.
    """

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x|z) in nats per image."""
        distances = ((x - output) * torch.exp(-self.log_scale)).abs().flatten(1)
        return -distances.sum(1) - distances.shape[1] * (self.log_scale + log(2))

    def sample(self, output: Tensor, generator: Generator) -> Tensor:
        """Draw μ - b·sign(v)·log(1 - |v|) with v uniform in (-1, 1). Pixels may leave [0, 1]."""
        u = torch.rand(output.shape, generator=generator, dtype=output.dtype, device=output.device)
        v = (2 * u - 1).clamp(min=torch.finfo(u.dtype).eps - 1)  # at u = 0 x would be infinite
        return output - torch.exp(self.log_scale) * v.sign() * torch.log1p(-v.abs())


def likelihood(name: str, scale: float | None) -> Likelihood:
    """Create a likelihood by its name.

    Args:
        name: bernoulli, continuous_bernoulli, gaussian, laplace, discretized_logistic or discretized_logistic_mixture.
        scale: σ of gaussian or b of laplace, None to learn it; the others have no scale of this kind.

    Raises:
        ValueError: no likelihood has that name.
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
        case "discretized_logistic":
            return DiscretizedLogistic()
        case "discretized_logistic_mixture":
            return DiscretizedLogisticMixture()
        case _:
            raise ValueError(f"unknown likelihood {name!r}")
