"""The aggregate posterior: how far it is from the prior, and a density of the codes to sample from in its place.

The aggregate posterior is the distribution of the codes of all images, q(z) = E_x q(z|x). The decoder is trained on its
codes, but samples are decoded from the prior p(z). The KL consists of two parts (Hoffman & Johnson 2016):

    E_x KL(q(z|x) ‖ p(z)) = I_q(x; z) + KL(q(z) ‖ p(z))

The mutual information is what a code says about its image. The marginal KL is the mismatch of aggregate posterior and
prior, which spoils samples.
"""

import warnings
from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor

from vae.base.precision import standard_error
from vae.base.runtime import derive, generator, one_thread, permutation
from vae.diagnostics.collapse import ACTIVE_VARIANCE, mean_variances, mutual_information
from vae.model.objective import kl_divergence
from vae.model.vae import reparameterize

# Ghosh et al. 2020 use 10. On MNIST (β = 1), 20% of the samples are unclear with 10, 15% with 20 and 12% with 40
# components, and 10% of reconstructions. The lower bound on the marginal KL is 3.4, 4.2 and 4.7 nats. On digits, 40 are
# as good as 10 or better.
COMPONENTS = 40
FITTED_CODES = 20_000  # enough for the dimensions that models use, and few enough for seconds
LEAST_DEVIATION = 1e-6  # of a code, so that a dimension in which all codes are equal can be scaled


class Mixture(NamedTuple):
    """A mixture of K Gaussians, m(z) = Σ_k π_k N(z; μ_k, L_k L_kᵀ), in float64 on the CPU.

    Attributes:
        weights: π (K,), positive, with sum 1.
        means: μ (K, D).
        factors: L, lower triangular with a positive diagonal (K, D, D).
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def log_density(self, codes: Tensor) -> Tensor:
        """log m(z) in nats: codes (N, D) to float64 (N,)."""
        codes = codes.cpu().double()
        parts = []
        for weight, mean, factor in zip(*self, strict=True):
            scaled = torch.linalg.solve_triangular(factor, (codes - mean).T, upper=False)
            parts.append(weight.log() - factor.diagonal().log().sum() + _standard_normal(scaled.T))
        return torch.stack(parts).logsumexp(0)

    def sample(self, count: int, seed: int) -> Tensor:
        """Codes drawn from the mixture, in random order: float32 (count, D) on the CPU."""
        random = generator(seed, "samples of the mixture")
        components = torch.multinomial(self.weights, count, replacement=True, generator=random)
        noise = torch.randn(count, self.means.shape[1], dtype=torch.float64, generator=random)
        codes = self.means[components]
        for component, factor in enumerate(self.factors):
            chosen = components == component
            codes[chosen] += noise[chosen] @ factor.T
        return codes.float()


class MarginalKL(NamedTuple):
    """The KL of codes and prior, and bounds on the part of it that is KL(q(z) ‖ p(z)); all in nats per image.

    Attributes:
        kl: E_x KL(q(z|x) ‖ p(z)), the whole. The rest of it is the mutual information of code and image.
        lower: a lower bound on KL(q(z) ‖ p(z)). It is 0 at least; an estimate below 0 says no more than that.
        standard_error: of ``lower``, over images.
        upper: an upper bound on KL(q(z) ‖ p(z)).
    """

    kl: float
    lower: float
    standard_error: float
    upper: float


@one_thread()
def fit_mixture(mean: Tensor, log_variance: Tensor, seed: int, *, components: int = COMPONENTS) -> Mixture:
    """Fit a Gaussian mixture with full covariances to the codes of training images, as an ex-post density of the codes.

    It is fitted by expectation-maximization to ``FITTED_CODES`` draws from the posteriors. Its samples are decoded in
    place of draws from the prior (Ghosh et al. 2020, section 4).

    Each covariance is then averaged with the mean variances within components, as if D + 1 further images had shown
    these. This matters where a component has few images. Dimensions that are not active (``collapse.active_units``)
    are independent Gaussians with the mean and the variance of all codes, so they add neither noise nor time.

    Args:
        mean: μ of the training images (N, D), at least one.
        log_variance: log σ² (N, D).
        seed: for the codes and for the initial components.
        components: at most; fewer if there are not D + 1 images, D counting active dimensions, for each.
    """
    dimensions = mean.shape[1]
    codes = draw_codes(mean, log_variance, FITTED_CODES, seed)
    centre, deviation = codes.mean(0), codes.std(0).clamp_min(LEAST_DEVIATION)
    scaled = (codes - centre) / deviation
    active = mean_variances(mean) > ACTIVE_VARIANCE
    imagined = int(active.sum()) + 1
    count = max(1, min(components, len(mean) // imagined))
    weights = torch.ones(1, dtype=torch.float64)
    means, covariances = torch.zeros(1, dimensions, dtype=torch.float64), _identities(1, dimensions)
    if active.any():
        weights, active_means, seen = _expectation_maximization(scaled[:, active], count, derive(seed, "mixture"))
        shares = weights.view(-1, 1, 1)
        within = (shares * seen).sum(0).diagonal().diag()
        averaged = (len(mean) * shares * seen + imagined * within) / (len(mean) * shares + imagined)
        means, covariances = torch.zeros(count, dimensions, dtype=torch.float64), _identities(count, dimensions)
        means[:, active] = active_means
        covariances[:, active.unsqueeze(1) & active] = averaged.flatten(1)
    factors = deviation.unsqueeze(1) * torch.linalg.cholesky(covariances)
    return Mixture(weights, centre + deviation * means, factors)


def draw_codes(mean: Tensor, log_variance: Tensor, count: int, seed: int) -> Tensor:
    """Codes from the posteriors of images, the same number of each image, give or take one.

    Args:
        mean: μ (N, D).
        log_variance: log σ² (N, D).
        count: of the codes; if it is below N, the images are chosen at random.
        seed: for the choice and the noise.

    Returns:
        float64 (count, D), on the CPU.
    """
    images = permutation(len(mean), seed, "images of codes").repeat(-(-count // len(mean)))[:count]
    noise = torch.randn(count, mean.shape[1], generator=generator(seed, "noise of codes"))
    return reparameterize(mean.cpu().double()[images], log_variance.cpu().double()[images], noise.double())


def marginal_kl(mixture: Mixture, mean: Tensor, log_variance: Tensor, seed: int) -> MarginalKL:
    """Bounds on the marginal KL of the codes of held-out images.

        lower = E_q(z) [log m(z) - log p(z)] = KL(q(z) ‖ p(z)) - KL(q(z) ‖ m(z))
        upper = E_x KL(q(z|x) ‖ p(z)) - Î_q(x; z)

    with m the mixture and Î the estimate of ``collapse.mutual_information``. q(z) is the aggregate posterior of all
    images of this kind, not only of the N held-out ones.

    The held-out codes are draws from q(z), and m was fitted to other images. So the first estimate is too low on
    average, by KL(q(z) ‖ m(z)): by what the mixture fails to describe. That grows if the encoder places training
    images elsewhere than held-out ones.

    The second is too high on average, since Î is too low. Î cannot exceed log N. Codes usually carry more than that,
    and then the upper bound says little.

    Args:
        mixture: fitted to the codes of training images.
        mean: μ of held-out images (N, D).
        log_variance: log σ² (N, D).
        seed: for the noise.
    """
    mean, log_variance = mean.cpu(), log_variance.cpu()
    noise = torch.randn(mean.shape, generator=generator(seed, "noise of held-out codes"))
    codes = reparameterize(mean, log_variance, noise).double()
    log_ratio = mixture.log_density(codes) - _standard_normal(codes)
    kl = float(kl_divergence(mean, log_variance).double().sum(1).mean())
    return MarginalKL(
        kl=kl,
        lower=float(log_ratio.mean()),
        standard_error=standard_error(log_ratio),
        upper=kl - mutual_information(mean, log_variance, noise),
    )


def _standard_normal(codes: Tensor) -> Tensor:
    """The log-density of the standard normal distribution: (N, D) to (N,)."""
    return -0.5 * (codes.square().sum(1) + codes.shape[1] * log(2 * pi))


def _expectation_maximization(codes: Tensor, components: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (K,), means (K, D) and covariances (K, D, D) of a Gaussian mixture: codes (N, D), of unit variance."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(components, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # more iterations hardly improve the fit
        model.fit(codes.numpy())
    return torch.from_numpy(model.weights_), torch.from_numpy(model.means_), torch.from_numpy(model.covariances_)


def _identities(count: int, dimensions: int) -> Tensor:
    """Identity matrices: float64 (count, D, D)."""
    return torch.eye(dimensions, dtype=torch.float64).repeat(count, 1, 1)
