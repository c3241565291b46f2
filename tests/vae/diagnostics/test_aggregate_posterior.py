from math import log, pi

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from vae.diagnostics import aggregate_posterior as module
from vae.diagnostics.aggregate_posterior import (
    COMPONENTS,
    MarginalKL,
    Mixture,
    draw_codes,
    fit_mixture,
    marginal_kl,
)


@pytest.fixture(autouse=True)
def fewer_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit mixtures to fewer codes, which takes less time."""
    monkeypatch.setattr(module, "FITTED_CODES", 4000)


def normal(count: int, dimensions: int, seed: int) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def three_components() -> Mixture:
    factors = torch.tril(normal(6, 2, seed=1).double().view(3, 2, 2)) * 0.3
    factors[:, range(2), range(2)] = torch.tensor([[0.5, 1.0], [0.2, 0.3], [1.0, 0.4]], dtype=torch.float64)
    means = torch.tensor([[0.0, 0.0], [3.0, -2.0], [-4.0, 1.0]], dtype=torch.float64)
    return Mixture(torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64), means, factors)


def three_clusters(images: int, seed: int, deviation: float = 0.3) -> tuple[Tensor, Tensor]:
    """Posteriors around three corners, with two more dimensions that are collapsed."""
    mean = torch.zeros(images, 5)
    mean[:, :3] = 4 * torch.eye(3)[torch.arange(images) % 3] + deviation * normal(images, 3, seed)
    log_variance = torch.zeros(images, 5)
    log_variance[:, :3] = 2 * log(0.4)
    return mean, log_variance


def gaussian_posteriors(
    images: int, dimensions: int, seed: int, *, shift: float = 0.0, spread: float = 0.8, noise: float = 0.6
) -> tuple[Tensor, Tensor]:
    """Posteriors whose codes are distributed as N(shift, spread² + noise²) in each dimension."""
    mean = shift + spread * normal(images, dimensions, seed)
    return mean, torch.full((images, dimensions), 2 * log(noise))


def test_log_density_of_a_mixture_agrees_with_torch_distributions() -> None:
    mixture, codes = three_components(), 3 * normal(50, 2, seed=2)
    reference = MixtureSameFamily(
        Categorical(mixture.weights), MultivariateNormal(mixture.means, scale_tril=mixture.factors)
    )
    torch.testing.assert_close(mixture.log_density(codes), reference.log_prob(codes.double()))


def test_samples_of_a_mixture_have_its_mean_and_covariance_and_come_in_random_order() -> None:
    mixture = three_components()
    samples = mixture.sample(40_000, seed=0)
    assert samples.dtype == torch.float32
    assert samples.shape == (40_000, 2)
    weights = mixture.weights.unsqueeze(1)
    mean = (weights * mixture.means).sum(0)
    within = (mixture.weights.view(-1, 1, 1) * mixture.factors @ mixture.factors.mT).sum(0)
    between = (weights * (mixture.means - mean)).T @ (mixture.means - mean)
    torch.testing.assert_close(samples.double().mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(samples.double().T.cov(), within + between, atol=0.15, rtol=0)
    first, last = samples[:1000].mean(0), samples[-1000:].mean(0)
    torch.testing.assert_close(first, last, atol=0.5, rtol=0)


def test_a_fitted_mixture_and_its_samples_repeat_and_depend_on_the_seed() -> None:
    posteriors = three_clusters(60, seed=1)
    first, again, other = (fit_mixture(*posteriors, seed, components=5) for seed in (0, 0, 1))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first.means, other.means)
    assert torch.equal(first.sample(20, 3), again.sample(20, 3))
    assert not torch.equal(first.sample(20, 3), first.sample(20, 4))


def test_samples_of_a_fitted_mixture_lie_where_the_codes_lie() -> None:
    samples = fit_mixture(*three_clusters(300, seed=1), 0).sample(3000, 0)
    distances = torch.cdist(samples[:, :3], 4 * torch.eye(3))
    assert (distances.min(1).values < 2).float().mean() > 0.98
    shares = distances.argmin(1).bincount(minlength=3) / len(samples)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.04, rtol=0)
    torch.testing.assert_close(samples[:, 3:].T.cov(), torch.eye(2), atol=0.1, rtol=0)


def test_dimensions_that_are_not_active_are_independent_gaussians_in_every_component() -> None:
    mixture = fit_mixture(*three_clusters(300, seed=1), 0)
    covariances = mixture.factors @ mixture.factors.mT
    assert len(covariances) > 1
    assert torch.equal(covariances[:, 3:, :3], torch.zeros(len(covariances), 2, 3, dtype=torch.float64))
    torch.testing.assert_close(
        covariances[:, 3:, 3:], torch.eye(2).double().expand(len(covariances), 2, 2), atol=0.05, rtol=0
    )
    assert torch.equal(mixture.means[:, 3:], mixture.means[:1, 3:].expand(len(covariances), 2))


@pytest.mark.parametrize(("images", "dimensions"), [(1, 1), (2, 3), (50, 1), (50, 200)])
def test_a_mixture_can_be_fitted_to_few_images_and_to_any_number_of_dimensions(images: int, dimensions: int) -> None:
    posteriors = gaussian_posteriors(images, dimensions, seed=1)
    mixture = fit_mixture(*posteriors, 0)
    assert len(mixture.weights) <= max(1, images // (dimensions + 1))
    assert mixture.sample(7, 0).shape == (7, dimensions)
    assert mixture.log_density(posteriors[0]).isfinite().all()


def test_a_mixture_has_fewer_components_than_asked_for_where_there_are_few_images_for_each() -> None:
    counts = [len(fit_mixture(*gaussian_posteriors(images, 4, seed=1), 0).weights) for images in (4, 12, 200)]
    assert counts == [1, 2, COMPONENTS]
    assert len(fit_mixture(*gaussian_posteriors(400, 4, seed=1), 0, components=3).weights) == 3


def test_a_mixture_can_be_fitted_to_codes_that_are_all_equal() -> None:
    mixture = fit_mixture(torch.full((30, 2), 0.7), torch.full((30, 2), -60.0), 0)
    torch.testing.assert_close(mixture.sample(5, 0), torch.full((5, 2), 0.7), atol=1e-4, rtol=0)


def test_codes_are_drawn_from_each_posterior_as_often_as_from_any_other() -> None:
    mean = torch.arange(7.0).unsqueeze(1)
    codes = draw_codes(mean, torch.full((7, 1), -30.0), 17, 0)
    assert codes.dtype == torch.float64
    assert set(codes.round().long().flatten().bincount(minlength=7).tolist()) == {2, 3}
    assert len(draw_codes(mean, torch.full((7, 1), -30.0), 3, 0).round().unique()) == 3


def test_codes_have_the_mean_and_deviation_of_the_posterior() -> None:
    codes = draw_codes(torch.full((4, 1), 3.0), torch.full((4, 1), 2 * log(0.2)), 20_000, 0)
    assert float(codes.mean()) == pytest.approx(3, abs=0.01)
    assert float(codes.std()) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(("shift", "spread", "noise"), [(0, 0.8, 0.6), (0.5, 0.8, 0.6), (0, 1.6, 0.6), (0.3, 0.4, 0.2)])
def test_the_bounds_enclose_the_marginal_kl_of_gaussian_codes(shift: float, spread: float, noise: float) -> None:
    """KL(N(a, s²) ‖ N(0, 1)) = ½·(a² + s² - 1 - log s²) in each dimension."""
    variance = spread**2 + noise**2
    exact = 3 * 0.5 * (shift**2 + variance - 1 - log(variance))
    data = [gaussian_posteriors(2000, 3, seed, shift=shift, spread=spread, noise=noise) for seed in (1, 2)]
    bounds = marginal_kl(fit_mixture(*data[0], 0), *data[1], 0)
    error = 3 * bounds.standard_error + 0.02
    assert exact - 0.1 - error < bounds.lower < exact + error
    assert exact - error < bounds.upper < exact + 0.1 + error


def test_the_lower_bound_finds_the_mass_of_the_prior_that_is_removed() -> None:
    """If the codes are distributed as the prior without a share h of its mass, the marginal KL is -log(1 - h)."""
    narrow = torch.full((4000, 1), 2 * log(0.02))
    halves = [normal(4000, 1, seed).abs() for seed in (1, 2)]
    bounds = marginal_kl(fit_mixture(halves[0], narrow, 0), halves[1], narrow, 0)
    assert log(2) - 0.1 < bounds.lower < log(2) + 3 * bounds.standard_error


def test_the_lower_bound_of_collapsed_posteriors_is_zero() -> None:
    nothing = torch.zeros(1000, 10)
    bounds = marginal_kl(fit_mixture(nothing, nothing, 0), nothing, nothing, 0)
    assert bounds.kl == 0
    assert bounds.lower == pytest.approx(0, abs=0.02)
    assert bounds.upper == pytest.approx(0, abs=1e-9)


def test_the_lower_bound_of_a_wrong_mixture_is_lower_by_its_divergence_from_the_codes() -> None:
    """A density N(1, 1) of codes that are distributed as N(0, 1) is wrong by half a nat."""
    one = torch.ones(1, 1, dtype=torch.float64)
    wrong = Mixture(one[0], one, one.unsqueeze(0))
    bounds = marginal_kl(wrong, *gaussian_posteriors(2000, 1, seed=1), 0)
    assert bounds.lower == pytest.approx(-0.5, abs=4 * bounds.standard_error)
    assert bounds.standard_error == pytest.approx(1 / 2000**0.5, rel=0.1)


def test_the_kl_is_the_mean_over_images_and_at_most_log_n_of_it_is_information() -> None:
    mean, log_variance = 3 * normal(100, 4, seed=1), torch.full((100, 4), -6.0)
    bounds = marginal_kl(fit_mixture(mean, log_variance, 0), mean, log_variance, 0)
    expected = 0.5 * (mean.double().square() + log_variance.double().exp() - 1 - log_variance).sum(1).mean()
    assert isinstance(bounds, MarginalKL)
    assert bounds.kl == pytest.approx(float(expected), rel=1e-5)
    assert bounds.kl - bounds.upper == pytest.approx(log(100), abs=0.02)


def test_log_density_of_the_standard_normal_mixture_is_its_formula() -> None:
    standard = Mixture(torch.ones(1).double(), torch.zeros(1, 3).double(), torch.eye(3).double().unsqueeze(0))
    codes = normal(5, 3, seed=1)
    expected = -0.5 * codes.double().square().sum(1) - 1.5 * log(2 * pi)
    torch.testing.assert_close(standard.log_density(codes), expected)
