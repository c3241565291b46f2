"""The Fréchet distance between two sets of features."""

import torch
from torch import Tensor

GROUPS = 20  # of the jackknife


def frechet_distance(real: Tensor, samples: Tensor) -> float:
    """The Fréchet distance of two Gaussians with the means μ and covariances Σ of real images and of samples.

        ‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2·(Σ₁·Σ₂)^½)

    It is in squared units of the features, and 0 if the moments are equal. Few images bias it upwards. In the features
    of ``vae.classifier``, the total variance of training images is 1. Sources: Heusel et al. 2017, equation 6; Dowson &
    Landau 1982.

    Args:
        real: features (N, F).
        samples: features (M, F).
    """
    return _between(_moments(real.cpu().double()), _moments(samples.cpu().double()))


def frechet_standard_error(real: Tensor, samples: Tensor) -> float:
    """The standard error of the Fréchet distance, by a delete-a-group jackknife over both sets at once.

        √((G - 1) / G · Σ_g (d_g - mean d)²),    where d_g leaves out every G-th image and sample

    Source: Efron & Tibshirani 1993, section 11.5.

    Args:
        real: features (N, F), in random order.
        samples: features (M, F), in random order.
    """
    groups = min(GROUPS, len(real), len(samples))
    sets = real.cpu().double(), samples.cpu().double()
    without = torch.tensor(
        [
            _between(*(_moments(points[torch.arange(len(points)) % groups != group]) for points in sets))
            for group in range(groups)
        ],
        dtype=torch.float64,
    )
    return float(((groups - 1) * without.var(correction=0)).sqrt())


def _between(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> float:
    """The Fréchet distance of two Gaussians, given as mean (F,) and a factor R of the covariance RᵀR."""
    (first_mean, first_factor), (second_mean, second_factor) = first, second
    # Σ₁·Σ₂ = R₁ᵀ·(R₁·R₂ᵀ)·R₂ has the eigenvalues of (R₁·R₂ᵀ)·(R₁·R₂ᵀ)ᵀ, so the trace of its root is the sum of the
    # singular values of R₁·R₂ᵀ. A root of the covariances themselves would turn an error of 1e-18 in an eigenvalue of
    # zero, which differs between processors, into one of 1e-9.
    trace = torch.linalg.svdvals(first_factor @ second_factor.T).sum()
    spread = first_factor.square().sum() + second_factor.square().sum() - 2 * trace
    return max(float((first_mean - second_mean).square().sum() + spread), 0.0)


def _moments(points: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (F,) of points (N, F), and a factor R of their covariance RᵀR, (min(N, F), F)."""
    mean = points.mean(0)
    factor = torch.linalg.qr(points - mean, mode="r").R
    return mean, factor / max(len(points) - 1, 1) ** 0.5
