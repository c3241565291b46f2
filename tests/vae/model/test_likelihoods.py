from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from math import log

import numpy as np
import pytest
import torch
import torch.distributions as D
from torch import Tensor

from vae.model.likelihood import Likelihood
from vae.model.likelihoods import Bernoulli, ContinuousBernoulli, Gaussian, Laplace, likelihood

SHAPE = (5, 2, 3, 4)


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits() -> Tensor:
    return 3 * torch.randn(SHAPE, dtype=torch.float64, generator=random(0))


def test_bernoulli_log_density_of_binary_images_agrees_with_torch_distributions_summed_over_pixels() -> None:
    x = torch.randint(0, 2, SHAPE, generator=random(1)).double()
    expected = torch.distributions.Bernoulli(logits=logits()).log_prob(x).sum((1, 2, 3))
    log_density = Bernoulli().log_density(x, logits())
    assert log_density.shape == (5,)
    torch.testing.assert_close(log_density, expected, rtol=1e-13, atol=0)


def test_bernoulli_log_density_of_grey_images_is_the_negative_cross_entropy() -> None:
    x = torch.rand(SHAPE, dtype=torch.float64, generator=random(1))
    p = 1 / (1 + torch.exp(-logits()))
    expected = (x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
    torch.testing.assert_close(Bernoulli().log_density(x, logits()), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("pixel", "logit", "expected"),
    [(1.0, 1000.0, 0.0), (0.0, -1000.0, 0.0), (0.0, 1000.0, -1000.0), (1.0, -1000.0, -1000.0), (0.25, 1000.0, -750.0)],
)
def test_bernoulli_log_density_does_not_saturate_at_extreme_logits(pixel: float, logit: float, expected: float) -> None:
    log_density = Bernoulli().log_density(torch.full((1, 1, 1, 1), pixel), torch.full((1, 1, 1, 1), logit))
    assert log_density.item() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("pixel", "logit", "expected"),
    [
        (1.0, 1000.0, 0.0),
        (0.0, -1000.0, 0.0),
        (0.0, 1000.0, -1.0),
        (1.0, -1000.0, 1.0),
        (0.25, 1000.0, -0.75),
        (0.25, -1000.0, 0.25),
        (0.25, 0.0, -0.25),
    ],
)
def test_gradient_of_the_bernoulli_log_density_is_exact_at_extreme_logits(
    pixel: float, logit: float, expected: float, dtype: torch.dtype
) -> None:
    """The gradient with respect to the logit l is x - sigmoid(l)."""
    output = torch.full((1, 1, 1, 1), logit, dtype=dtype, requires_grad=True)
    Bernoulli().log_density(torch.full((1, 1, 1, 1), pixel, dtype=dtype), output).sum().backward()
    assert output.grad is not None
    assert output.grad.item() == expected


def test_bernoulli_mean_is_the_probability_of_a_one() -> None:
    torch.testing.assert_close(Bernoulli().mean(logits()), 1 / (1 + torch.exp(-logits())), rtol=1e-14, atol=0)


def test_bernoulli_samples_are_zeros_and_ones_with_the_given_probability() -> None:
    count = 20_000
    output = logits()[:1]
    samples = Bernoulli().sample(output.expand(count, 2, 3, 4), random(1))
    assert samples.shape == (count, 2, 3, 4)
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    p = torch.sigmoid(output[0])
    assert ((samples.mean(0) - p).abs() < 4 * (p * (1 - p) / count).sqrt()).all()


def one_pixel(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=dtype)


def pixels(values: Sequence[float], dtype: torch.dtype = torch.float64) -> Tensor:
    """A one-pixel image for each value."""
    return torch.tensor(values, dtype=dtype).view(-1, 1, 1, 1)


def greys() -> Tensor:
    return torch.rand(SHAPE, dtype=torch.float64, generator=random(1))


def quadrature(low: float, high: float) -> tuple[Tensor, Tensor]:
    """Nodes (as one-pixel images) and weights of Gauss-Legendre quadrature, exact for polynomials of degree 399."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    half = (high - low) / 2
    return torch.from_numpy(low + half * (nodes + 1)).view(-1, 1, 1, 1), torch.from_numpy(half * weights)


def exact_log_density(x: float, logit: float) -> Decimal:
    """log p(x) of the continuous Bernoulli as exp(l·x) over its integral from 0 to 1, in 300 digits."""
    with localcontext(prec=300):
        by = Decimal(logit)
        return Decimal(x) * by - ((by.exp() - 1) / by).ln() if by else by


def exact_mean(logit: float) -> Decimal:
    with localcontext(prec=300):
        by = Decimal(logit)
        return 1 / (1 - (-by).exp()) - 1 / by if by else Decimal("0.5")


EVERY_FAMILY = pytest.mark.parametrize(
    "family",
    [Bernoulli(), ContinuousBernoulli(), Gaussian(0.2), Laplace(0.2)],
    ids=lambda family: type(family).__name__,
)
SCALED = pytest.mark.parametrize("family", [Gaussian, Laplace])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
# Either side of zero, of where the mean's series ends, and of where exponentials would overflow.
TINY = (1e-100, 1e-45, 1e-38, 1e-20, 1e-12, 1e-8, 1e-4)
MAGNITUDES = (0, *TINY, 0.01, 0.1, 0.24, 0.25, 0.26, 0.5, 1, 5, 15, 20.5, 37, 90, 1000)
LOGITS = (*MAGNITUDES, *(-magnitude for magnitude in MAGNITUDES))


@EVERY_FAMILY
@DTYPES
def test_log_density_mean_and_sample_keep_shape_and_precision(family: Likelihood, dtype: torch.dtype) -> None:
    x, output = greys().to(dtype), logits().to(dtype)
    log_density = family.log_density(x, output)
    assert (log_density.shape, log_density.dtype) == ((5,), dtype)
    for image in (family.mean(output), family.sample(output, random(1))):
        assert (image.shape, image.dtype) == (SHAPE, dtype)


@EVERY_FAMILY
def test_log_density_mean_and_sample_do_not_change_their_inputs(family: Likelihood) -> None:
    x, output = greys(), logits()
    family.log_density(x, output)
    family.sample(output, random(1))
    family.mean(output)
    assert torch.equal(x, greys())
    assert torch.equal(output, logits())


@EVERY_FAMILY
def test_gradient_of_the_log_density_agrees_with_finite_differences(family: Likelihood) -> None:
    outputs = pixels([0, 1e-12, -1e-9, 1e-5, -0.01, 0.2, -0.3, 1, -3, 8, -15])
    x = torch.rand(outputs.shape, dtype=torch.float64, generator=random(1)) + 0.01  # apart from every μ, a kink
    assert torch.autograd.gradcheck(family.log_density, (x, outputs.requires_grad_()))


@EVERY_FAMILY
def test_gradient_of_the_mean_agrees_with_finite_differences(family: Likelihood) -> None:
    outputs = pixels([0, 1e-12, -1e-9, 1e-5, -0.01, 0.2, -0.3, 1, -3, 8, -15]).requires_grad_()
    assert torch.autograd.gradcheck(family.mean, (outputs,))


@EVERY_FAMILY
def test_samples_average_to_the_mean(family: Likelihood) -> None:
    count = 40_000
    output = logits()[:1]
    samples = family.sample(output.expand(count, *SHAPE[1:]), random(1))
    standard_error = samples.std(0) / count**0.5
    assert ((samples.mean(0) - family.mean(output)[0]).abs() < 4 * standard_error).all()


@pytest.mark.parametrize(
    ("family", "distribution"),
    [
        (ContinuousBernoulli(), lambda output: D.ContinuousBernoulli(logits=output)),
        (Gaussian(0.2), lambda output: D.Normal(output, 0.2)),
        (Laplace(0.2), lambda output: D.Laplace(output, 0.2)),
    ],
    ids=["ContinuousBernoulli", "Gaussian", "Laplace"],
)
@DTYPES
def test_samples_follow_the_distribution_function_of_torch_distributions(
    family: Likelihood, distribution: Callable[[Tensor], D.Distribution], dtype: torch.dtype
) -> None:
    """Kolmogorov-Smirnov test: a larger distance from the distribution function has a probability of 1e-3."""
    count = 20_000
    for output in pixels([-12, -3, -0.1, 0, 1e-6, 2, 12], dtype):
        samples = family.sample(output.expand(count, 1, 1, 1), random(1)).flatten().double().sort().values
        expected = distribution(output.flatten().double()).cdf(samples)
        assert (expected - torch.arange(0.5, count) / count).abs().max() < 1.95 / count**0.5


@EVERY_FAMILY
def test_samples_repeat_with_the_seed_of_their_generator_only(family: Likelihood) -> None:
    output = torch.zeros(1, 1, 20, 20)
    samples = family.sample(output, random(1))
    assert torch.equal(samples, family.sample(output, random(1)))
    assert not torch.equal(samples, family.sample(output, random(2)))


@pytest.mark.parametrize("family", [ContinuousBernoulli(), Gaussian(1.0), Laplace(1.0)], ids=lambda f: type(f).__name__)
def test_samples_in_float64_have_more_digits_than_float32(family: Likelihood) -> None:
    output = torch.zeros(1, 1, 20, 20, dtype=torch.float64)
    samples = family.sample(output, random(1))
    assert (samples.float().double() != samples).any()


def test_samples_are_finite_where_the_uniform_draw_is_zero() -> None:
    """The inverse distribution function is infinite there: one draw in 17 million, of which this is one."""
    shape = (1, 1, 1, 1000)
    assert (torch.rand(shape, generator=random(11993)) == 0).any()
    assert Laplace(1.0).sample(torch.zeros(shape), random(11993)).isfinite().all()
    assert ContinuousBernoulli().sample(torch.zeros(shape), random(11993)).isfinite().all()


class TestContinuousBernoulli:
    def test_continuous_bernoulli_log_density_agrees_with_torch_distributions_summed_over_pixels(self) -> None:
        # Which goes by a shorter series where λ is between 0.45 and 0.55.
        expected = D.ContinuousBernoulli(logits=logits(), lims=(0.45, 0.55)).log_prob(greys()).sum((1, 2, 3))
        log_density = ContinuousBernoulli().log_density(greys(), logits())
        torch.testing.assert_close(log_density, expected, rtol=1e-7, atol=0)

    def test_continuous_bernoulli_log_density_exceeds_the_bernoullis_by_the_normalizing_constant(self) -> None:
        p = torch.sigmoid(logits())
        constant = torch.log(2 * torch.atanh(1 - 2 * p) / (1 - 2 * p)).sum((1, 2, 3))
        expected = Bernoulli().log_density(greys(), logits()) + constant
        torch.testing.assert_close(ContinuousBernoulli().log_density(greys(), logits()), expected, rtol=1e-12, atol=0)

    @DTYPES
    def test_continuous_bernoulli_log_density_is_zero_at_logit_zero_where_it_is_uniform(
        self, dtype: torch.dtype
    ) -> None:
        x = greys().to(dtype)
        assert torch.equal(ContinuousBernoulli().log_density(x, torch.zeros_like(x)), torch.zeros(5, dtype=dtype))

    @pytest.mark.parametrize("logit", LOGITS)
    def test_continuous_bernoulli_density_integrates_to_one_over_the_intensities(self, logit: float) -> None:
        x, weights = quadrature(0, 1)
        density = ContinuousBernoulli().log_density(x, torch.full_like(x, logit)).exp()
        assert (weights * density).sum().item() == pytest.approx(1, rel=1e-11)

    @pytest.mark.parametrize("logit", LOGITS)
    def test_continuous_bernoulli_mean_is_the_integral_of_intensity_times_density(self, logit: float) -> None:
        x, weights = quadrature(0, 1)
        density = ContinuousBernoulli().log_density(x, torch.full_like(x, logit)).exp()
        mean = ContinuousBernoulli().mean(one_pixel(logit)).item()
        assert mean == pytest.approx((weights * x.flatten() * density).sum().item(), rel=1e-11)

    @DTYPES
    @pytest.mark.parametrize("pixel", [0.0, 0.25, 0.5, 1.0])
    def test_continuous_bernoulli_log_density_and_gradient_are_exact_to_rounding_at_every_logit(
        self, pixel: float, dtype: torch.dtype
    ) -> None:
        output = pixels(LOGITS, dtype).requires_grad_()
        log_density = ContinuousBernoulli().log_density(torch.full_like(output, pixel), output)
        log_density.sum().backward()
        assert output.grad is not None
        exactly = [float(exact_log_density(pixel, logit)) for logit in output.flatten().tolist()]
        slopes = [float(Decimal(pixel) - exact_mean(logit)) for logit in output.flatten().tolist()]
        eps = torch.finfo(dtype).eps
        # The terms are no larger than 1 + |l|, and those of the gradient than 1 / NEAR_ZERO.
        errors = (log_density.double() - torch.tensor(exactly, dtype=torch.float64)).abs()
        assert (errors <= 2 * eps * (1 + output.flatten().abs())).all()
        torch.testing.assert_close(output.grad.flatten().double(), pixels(slopes).flatten(), rtol=0, atol=8 * eps)

    @DTYPES
    def test_continuous_bernoulli_mean_is_exact_to_rounding_at_every_logit(self, dtype: torch.dtype) -> None:
        output = pixels(LOGITS, dtype)
        exactly = pixels([float(exact_mean(logit)) for logit in output.flatten().tolist()])
        mean = ContinuousBernoulli().mean(output).double()
        torch.testing.assert_close(mean, exactly, rtol=0, atol=8 * torch.finfo(dtype).eps)

    @DTYPES
    def test_continuous_bernoulli_mean_rises_with_the_logit_from_zero_to_one_through_a_half(
        self, dtype: torch.dtype
    ) -> None:
        mean = ContinuousBernoulli().mean(pixels((torch.arange(-5000, 5001) / 100).tolist(), dtype)).flatten()
        assert (mean.diff() >= -8 * torch.finfo(dtype).eps).all()
        assert ((mean > 0) & (mean < 1)).all()
        assert mean[5000] == 0.5

    @DTYPES
    @pytest.mark.parametrize("logit", LOGITS)
    def test_continuous_bernoulli_samples_lie_in_0_to_1_and_average_to_the_mean_at_every_logit(
        self, logit: float, dtype: torch.dtype
    ) -> None:
        samples = ContinuousBernoulli().sample(torch.full((1, 1, 50, 50), logit, dtype=dtype), random(1))
        assert ((samples >= 0) & (samples <= 1)).all()
        mean = ContinuousBernoulli().mean(one_pixel(logit, dtype)).item()
        assert samples.mean().item() == pytest.approx(mean, abs=4 * samples.std().item() / 50)


def slope_by_scale(learned: Gaussian | Laplace, scale: Tensor) -> float:
    """The gradient of the log-density of all images with respect to the logarithm of the scale."""
    with torch.no_grad():
        learned.log_scale.copy_(scale.log())
    (slope,) = torch.autograd.grad(learned.log_density(greys(), logits()).sum(), [learned.log_scale])
    return slope.item()


class TestScaledFamilies:
    @pytest.mark.parametrize(("family", "distribution"), [(Gaussian, D.Normal), (Laplace, D.Laplace)])
    @pytest.mark.parametrize("scale", [0.05, 1.0, 3.0])
    def test_gaussian_and_laplace_log_densities_agree_with_torch_distributions_summed_over_pixels(
        self, family: type[Gaussian | Laplace], distribution: type[D.Normal | D.Laplace], scale: float
    ) -> None:
        fixed = family(scale).double()
        # The scale is kept in float32.
        expected: Tensor = distribution(logits(), fixed.log_scale.exp()).log_prob(greys())  # type: ignore[no-untyped-call]
        assert fixed.log_scale.exp().item() == pytest.approx(scale, rel=3e-7)
        torch.testing.assert_close(fixed.log_density(greys(), logits()), expected.sum((1, 2, 3)), rtol=1e-13, atol=0)

    @SCALED
    @pytest.mark.parametrize("scale", [0.01, 0.3, 2.0])
    def test_gaussian_and_laplace_densities_integrate_to_one(
        self, family: type[Gaussian | Laplace], scale: float
    ) -> None:
        fixed = family(scale).double()
        integral = 0.0
        for low, high in ((0.4 - 50 * scale, 0.4), (0.4, 0.4 + 50 * scale)):
            x, weights = quadrature(low, high)
            integral += (weights * fixed.log_density(x, torch.full_like(x, 0.4)).exp()).sum().item()
        assert integral == pytest.approx(1, rel=1e-12)

    @SCALED
    def test_gaussian_and_laplace_means_are_the_decoders_output(self, family: type[Gaussian | Laplace]) -> None:
        assert torch.equal(family(0.3).mean(logits()), logits())

    @SCALED
    def test_learned_scale_is_a_parameter_that_starts_at_0_3(self, family: type[Gaussian | Laplace]) -> None:
        learned = family(None)
        assert dict(learned.named_parameters()).keys() == {"log_scale"}
        assert learned.log_scale.item() == pytest.approx(log(0.3))

    @SCALED
    def test_fixed_scale_is_saved_but_is_no_parameter(self, family: type[Gaussian | Laplace]) -> None:
        fixed = family(0.25)
        assert list(fixed.parameters()) == []
        assert fixed.state_dict()["log_scale"].item() == pytest.approx(log(0.25))
        assert fixed.state_dict().keys() == family(None).state_dict().keys()

    @SCALED
    def test_gradient_of_the_log_density_by_the_scale_agrees_with_finite_differences(
        self, family: type[Gaussian | Laplace]
    ) -> None:
        learned = family(None).double()
        assert torch.autograd.gradcheck(lambda _: learned.log_density(greys(), logits()), (learned.log_scale,))

    def test_gaussian_log_density_is_highest_where_the_scale_is_the_root_mean_squared_error(self) -> None:
        learned, best = Gaussian(None).double(), (greys() - logits()).square().mean().sqrt()
        assert slope_by_scale(learned, best) == pytest.approx(0, abs=1e-11)
        assert slope_by_scale(learned, 0.9 * best) > 1
        assert slope_by_scale(learned, 1.1 * best) < -1

    def test_laplace_log_density_is_highest_where_the_scale_is_the_mean_absolute_error(self) -> None:
        learned, best = Laplace(None).double(), (greys() - logits()).abs().mean()
        assert slope_by_scale(learned, best) == pytest.approx(0, abs=1e-11)
        assert slope_by_scale(learned, 0.9 * best) > 1
        assert slope_by_scale(learned, 1.1 * best) < -1

    def test_gaussian_of_fixed_scale_weighs_the_squared_error_by_half_the_inverse_square_of_the_scale(self) -> None:
        """The difference between two reconstructions, in which the constants cancel."""
        gain = Gaussian(0.1).log_density(greys(), logits()) - Gaussian(0.1).log_density(greys(), torch.zeros(SHAPE))
        squares = greys().square().sum((1, 2, 3)) - (greys() - logits()).square().sum((1, 2, 3))
        torch.testing.assert_close(gain, squares / (2 * 0.1**2), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("bernoulli", Bernoulli),
        ("continuous_bernoulli", ContinuousBernoulli),
        ("gaussian", Gaussian),
        ("laplace", Laplace),
    ],
)
def test_likelihood_makes_the_family_of_the_given_name(name: str, family: type[Likelihood]) -> None:
    assert type(likelihood(name, None)) is family


def test_likelihood_gives_the_scale_to_gaussian_and_laplace() -> None:
    assert likelihood("gaussian", 0.5).state_dict()["log_scale"].exp().item() == pytest.approx(0.5)
    assert likelihood("laplace", 0.5).state_dict()["log_scale"].exp().item() == pytest.approx(0.5)


def test_families_without_a_scale_have_no_saved_state() -> None:
    assert not likelihood("bernoulli", None).state_dict()
    assert not likelihood("continuous_bernoulli", None).state_dict()


def test_a_likelihood_of_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="'poisson'"):
        likelihood("poisson", None)
