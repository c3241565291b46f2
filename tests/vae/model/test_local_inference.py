from math import expm1
from typing import Any, NamedTuple, get_args

import pytest
import torch
from torch import Tensor, nn

from tests.settings import LIKELIHOODS, architecture
from vae.base.params import ModelParams
from vae.base.precision import standard_error
from vae.base.runtime import permutation, seeded
from vae.model import inference, local_inference
from vae.model.inference import Posterior
from vae.model.local_inference import elbo_gradient, inference_gap, measure_gaps, optimize_posterior
from vae.model.networks import mlp
from vae.model.vae import VAE

IMAGE_SHAPE = (1, 3, 4)
CONVOLVED_SHAPE = (1, 4, 8)  # which can be halved twice
PIXELS, LATENT_DIM, IMAGES = 12, 2, 40
SCALE = 0.3
NETWORKS = ("mlp", "conv", "autoregressive")


class Linear(NamedTuple):
    """p(z) = N(0, I) and p(x|z) = N(Wz + b, s²I), with the columns of W at an angle.

    The posterior is N(μ(x), P⁻¹) with P = WᵀW/s² + I (Bishop 2006, equations 2.116 and 2.117). The diagonal Gaussian
    with the least KL to it has the same mean and the variances 1/P_dd (equation 10.15).
    """

    model: VAE
    precision: Tensor
    log_likelihood: Tensor

    @property
    def best_variance(self) -> Tensor:
        return 1 / self.precision.diagonal()

    @property
    def approximation_gap(self) -> float:
        """KL(N(μ, diag 1/P_dd) ‖ N(μ, P⁻¹)) = ½·(Σ log P_dd - log det P)."""
        return float(0.5 * (self.precision.diagonal().log().sum() - torch.logdet(self.precision)))

    def amortization_gap(self, shift: float, log_factor: float) -> float:
        """½·(μ - μ*)ᵀP(μ - μ*) + ½·Σ_d (P_dd·σ_d² - 1 - log P_dd·σ_d²), since log p(x, z) is quadratic in z."""
        deviation = shift * self.best_variance.sqrt()
        return float(
            0.5 * (deviation @ self.precision @ deviation) + 0.5 * LATENT_DIM * (expm1(log_factor) - log_factor)
        )


def some_images(shape: tuple[int, int, int] = IMAGE_SHAPE, count: int = IMAGES) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=random)


def linear(*, angle: float, shift: float = 0, log_factor: float = 0) -> Linear:
    """A linear model whose encoder is the best diagonal Gaussian, or wrong.

    Args:
        angle: the cosine of the angle between the columns of W.
        shift: what is added to the encoder's means, in standard deviations of the best Gaussian.
        log_factor: what is added to the encoder's log-variances.
    """
    random = torch.Generator().manual_seed(2)
    directions, _ = torch.linalg.qr(torch.randn(PIXELS, LATENT_DIM, dtype=torch.float64, generator=random))
    mix = torch.tensor([[1.0, angle], [0.0, (1 - angle**2) ** 0.5]], dtype=torch.float64)
    weight = directions @ mix * torch.tensor([1.0, 0.5], dtype=torch.float64)
    bias = torch.rand(PIXELS, dtype=torch.float64, generator=random)
    precision = weight.T @ weight / SCALE**2 + torch.eye(LATENT_DIM, dtype=torch.float64)
    to_mean = torch.linalg.solve(precision, weight.T) / SCALE**2
    variance = 1 / precision.diagonal()
    model = VAE(architecture(hidden_dims=(), latent_dim=LATENT_DIM, likelihood="gaussian", scale=SCALE))
    assert isinstance(model.decoder, mlp.Decoder)
    encoder = model.encoder.posterior_params
    assert isinstance(encoder, nn.Linear)
    with torch.no_grad():
        model.decoder.output.weight.copy_(weight)
        model.decoder.output.bias.copy_(bias)
        encoder.weight.copy_(torch.cat([to_mean, torch.zeros_like(to_mean)]))
        encoder.bias.copy_(torch.cat([shift * variance.sqrt() - to_mean @ bias, variance.log() + log_factor]))
    covariance = weight @ weight.T + SCALE**2 * torch.eye(PIXELS, dtype=torch.float64)
    marginal = torch.distributions.MultivariateNormal(bias, covariance)
    return Linear(model, precision, marginal.log_prob(some_images().flatten(1).double() / 255))


def build(network: str = "mlp", likelihood: str = "bernoulli", **changes: Any) -> VAE:
    """A model with weights so large that the encoder's posterior is wrong."""
    shape = IMAGE_SHAPE if network == "mlp" else CONVOLVED_SHAPE
    model = VAE(architecture(network=network, image_shape=shape, likelihood=likelihood, **changes))
    with seeded(0, "weights"), torch.no_grad():
        for weight in model.encoder.parameters():
            weight.normal_(0, 0.5)
        for weight in model.decoder.parameters():
            weight.normal_(0, 0.5)
    return model


def images_of(model: VAE, count: int = IMAGES) -> Tensor:
    return some_images(model.architecture.image_shape, count)


SHIFTS = pytest.mark.parametrize(
    ("shift", "log_factor"), [(0.0, 0.0), (1.0, 0.0), (3.0, 0.0), (0.0, 2.0), (-1.0, -2.0)]
)


@SHIFTS
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_optimized_posterior_of_a_linear_model_is_its_best_gaussian(
    angle: float, shift: float, log_factor: float
) -> None:
    expected = linear(angle=angle)
    truth = inference.encode(expected.model, some_images()).mean.clone()
    model = linear(angle=angle, shift=shift, log_factor=log_factor).model
    mean, log_variance = optimize_posterior(model, some_images(), seed=0, steps=300)
    error = (mean - truth) / expected.best_variance.sqrt()
    assert error.abs().max() < 0.15
    assert error.abs().mean() < 0.03
    # With the columns at an angle, noise remains in the variances. An error of 0.1 costs 0.0025 nats.
    log_error = log_variance - expected.best_variance.log()
    assert log_error.abs().mean() < 0.1
    assert log_error.mean(0).abs().max() < 0.03


@SHIFTS
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_gaps_of_a_linear_model_are_those_of_the_closed_form(angle: float, shift: float, log_factor: float) -> None:
    case = linear(angle=angle, shift=shift, log_factor=log_factor)
    gap = inference_gap(case.model, some_images(), seed=0)
    expected = case.amortization_gap(shift, log_factor)
    assert gap.amortization == pytest.approx(expected, abs=0.02 + 0.01 * expected + 4 * gap.amortization_se)
    assert gap.amortization_se < 0.02 + 0.05 * expected
    assert gap.approximation == pytest.approx(case.approximation_gap, abs=0.04)
    assert gap.total == pytest.approx(gap.amortization + gap.approximation, rel=1e-6, abs=1e-9)


def test_approximation_gap_of_a_linear_model_vanishes_only_if_the_columns_of_its_decoder_are_orthogonal() -> None:
    assert linear(angle=0).approximation_gap == pytest.approx(0, abs=1e-9)
    assert linear(angle=0.7).approximation_gap > 0.2
    assert abs(inference_gap(linear(angle=0, shift=1).model, some_images(), seed=0).approximation) < 0.02


def test_log_likelihood_is_estimated_well_even_where_the_encoder_is_far_off() -> None:
    case = linear(angle=0, shift=3)
    best = inference.encode(linear(angle=0).model, some_images())
    gaps = measure_gaps(case.model, some_images(), best, seed=0)
    # The best Gaussian is the true posterior here, so that its ELBO is log p(x).
    assert gaps.approximation.abs().max() < 0.1
    assert abs(gaps.approximation.mean()) < 0.01
    assert gaps.amortization.mean().item() == pytest.approx(case.amortization_gap(3, 0), rel=0.05)


def test_gradient_of_the_elbo_vanishes_at_the_true_posterior_for_any_noise() -> None:
    model = linear(angle=0).model
    x = some_images() / 255
    posterior = Posterior(*(each.detach() for each in model.posterior(x)))
    noise = torch.randn(IMAGES, LATENT_DIM, generator=torch.Generator().manual_seed(4))
    assert elbo_gradient(model, x, posterior, noise).abs().max() < 1e-3


def test_gradient_of_the_elbo_is_unbiased() -> None:
    """In μ it is -P(μ - μ*), in log σ² ½·(1 - P_dd·σ²), averaged over the noise."""
    case = linear(angle=0.7, shift=1, log_factor=1)
    draws = 20_000
    x = (some_images(count=1) / 255).expand(draws, *IMAGE_SHAPE)
    posterior = Posterior(*(each.detach() for each in case.model.posterior(x)))
    noise = torch.randn(draws, LATENT_DIM, generator=torch.Generator().manual_seed(4))
    gradient = elbo_gradient(case.model, x, posterior, noise).double()
    deviation = case.best_variance.sqrt()
    expected = torch.stack([-case.precision @ deviation, (1 - torch.ones(2).exp().double()) / 2])
    error = 5 * gradient.std(1) / draws**0.5 + 1e-3
    assert ((gradient.mean(1) - expected).abs() < error).all()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("network", NETWORKS)
def test_elbo_rises_for_every_network_and_likelihood(network: str, likelihood: str) -> None:
    model = build(network, likelihood)
    images = images_of(model, 20)
    best = optimize_posterior(model, images, seed=0, steps=20)
    gaps = measure_gaps(model, images, best, seed=0, samples=10)
    assert gaps.amortization.mean() > 2 * standard_error(gaps.amortization) > 0
    assert gaps.approximation.mean() > -1e-3


@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("network", NETWORKS)
def test_gaps_do_not_depend_on_the_batch_size(network: str, batch_size: int | None) -> None:
    model = build(network)
    images = images_of(model, 10)
    whole, parts = (
        measure_gaps(model, images, optimize_posterior(model, images, 0, steps=3, batch_size=size), 0, batch_size=size)
        for size in (100, batch_size)
    )
    for expected, actual in zip(whole, parts, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)


def test_same_seed_gives_the_same_bytes_and_another_seed_another_result() -> None:
    model = build()
    first, again, other = (inference_gap(model, images_of(model), seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_model_and_its_gradients_do_not_change() -> None:
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inference_gap(model, images_of(model), seed=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())


def test_global_random_state_does_not_matter() -> None:
    model = build()
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        results.append(inference_gap(model, images_of(model), seed=0))
    assert results[0] == results[1]


def test_gap_averages_the_gaps_of_randomly_chosen_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(local_inference.IMAGES, "mlp", 7)
    model = build()
    gap = inference_gap(model, images_of(model), seed=3)
    chosen = images_of(model)[permutation(IMAGES, 3, "images of the inference gap")[:7]]
    gaps = measure_gaps(model, chosen, optimize_posterior(model, chosen, 3), 3)
    total = gaps.amortization + gaps.approximation
    assert gap.images == 7
    for value, error, expected in (
        (gap.amortization, gap.amortization_se, gaps.amortization),
        (gap.approximation, gap.approximation_se, gaps.approximation),
        (gap.total, gap.total_se, total),
    ):
        assert value == pytest.approx(expected.mean().item(), rel=1e-9)
        assert error == pytest.approx(expected.std().item() / 7**0.5, rel=1e-9)
    assert gap.best_kl == pytest.approx(gaps.kl.mean().item())


@pytest.mark.parametrize(
    ("network", "side", "count"),
    [("mlp", 28, 1000), ("conv", 32, 200), ("conv", 64, 50), ("conv", 256, 8), ("autoregressive", 64, 8)],
)
def test_larger_images_are_fewer_so_that_the_time_does_not_grow_with_their_size(
    network: str, side: int, count: int
) -> None:
    of_images = architecture(network=network, image_shape=(1, side, side))
    assert local_inference.number_of_images(of_images) == count


def test_number_of_images_is_set_for_every_network() -> None:
    assert set(local_inference.IMAGES) == set(get_args(ModelParams.model_fields["network"].annotation))
