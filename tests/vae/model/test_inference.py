from contextlib import nullcontext
from math import exp, log, sqrt
from typing import Any, NamedTuple
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.settings import architecture
from vae.base.runtime import generator, seeded
from vae.data.images import ImageShape, pixels
from vae.model import inference, objective
from vae.model.likelihoods import Bernoulli
from vae.model.networks import autoregressive, mlp
from vae.model.networks.network import NoExpectedImageError
from vae.model.objective import average_loss, training_loss
from vae.model.vae import VAE

IMAGE_SHAPE = (1, 3, 4)
CONVOLVED_SHAPE = (1, 4, 8)  # which can be halved twice
PIXELS = 12
LATENT_DIM = 2
BATCH_SIZES = pytest.mark.parametrize("batch_size", [1, 7, 1000, None])
NOISE_SCALE = 0.3
IMAGES = 50


class LinearGaussian(NamedTuple):
    """p(z) = N(0, I) and p(x|z) = N(Wz + b, s²I), so p(x) = N(b, WWᵀ + s²I) (Tipping & Bishop 1999).

    The columns of W are orthogonal, so an encoder can be the exact posterior N(μ(x), diag σ²): μ(x) is linear, and
    the covariance is diagonal.
    """

    model: VAE
    posterior_variance: Tensor
    log_likelihood: Tensor

    def move_encoder(self, *, by: float, variance_times: float) -> None:
        """Make q wrong: its mean by so many posterior standard deviations, its variance by a factor."""
        with torch.no_grad():
            mean, log_variance = posterior_params(self.model).bias.chunk(2)
            mean += by * self.posterior_variance.sqrt()
            log_variance += log(variance_times)


def some_images(count: int = IMAGES, shape: ImageShape = IMAGE_SHAPE) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=random)


def posterior_params(model: VAE) -> nn.Linear:
    """The encoder's last layer, which gives μ and log σ²."""
    layer = model.encoder.posterior_params
    assert isinstance(layer, nn.Linear)
    return layer


def remove_noise(model: VAE) -> None:
    """Set σ = e^-20, so that the posterior noise makes no difference."""
    with torch.no_grad():
        posterior_params(model).weight[LATENT_DIM:] = 0
        posterior_params(model).bias[LATENT_DIM:] = -40


def images_of(model: VAE) -> Tensor:
    return some_images(shape=model.architecture.image_shape)


def some_codes(count: int) -> Tensor:
    return torch.randn(count, LATENT_DIM, generator=torch.Generator().manual_seed(3))


def build(spread: float = 0.7, **changes: Any) -> VAE:
    """A model with weights so large that the posterior is far from the prior, and wrong."""
    model = VAE(architecture(**{"image_shape": IMAGE_SHAPE, "latent_dim": LATENT_DIM, **changes}))
    with seeded(0, "weights"), torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, spread)
    return model


@pytest.fixture
def model() -> VAE:
    """A small MLP."""
    return build()


@pytest.fixture(params=["mlp", "conv", "autoregressive"])
def any_model(request: pytest.FixtureRequest) -> VAE:
    """A model of each network; those with more layers have smaller weights."""
    if request.param == "mlp":
        return build()
    return build(0.4, network=request.param, image_shape=CONVOLVED_SHAPE)


@pytest.fixture
def linear_gaussian() -> LinearGaussian:
    random = torch.Generator().manual_seed(2)
    directions, _ = torch.linalg.qr(torch.randn(PIXELS, LATENT_DIM, dtype=torch.float64, generator=random))
    weight = directions * torch.tensor([1.5, 0.5], dtype=torch.float64)
    bias = torch.rand(PIXELS, dtype=torch.float64, generator=random)
    noise = NOISE_SCALE**2

    model = build(hidden_dims=(), likelihood="gaussian", scale=NOISE_SCALE)
    assert isinstance(model.decoder, mlp.Decoder)
    # The posterior's precision is WᵀW/s² + I, and its mean Wᵀ(x - b)/s² divided by that.
    variance = noise / (weight.square().sum(0) + noise)
    to_mean = (weight * variance / noise).T
    with torch.no_grad():
        model.decoder.output.weight.copy_(weight)
        model.decoder.output.bias.copy_(bias)
        posterior_params(model).weight.copy_(torch.cat([to_mean, torch.zeros_like(to_mean)]))
        posterior_params(model).bias.copy_(torch.cat([-to_mean @ bias, variance.log()]))

    covariance = weight @ weight.T + noise * torch.eye(PIXELS, dtype=torch.float64)
    marginal = torch.distributions.MultivariateNormal(bias, covariance)
    return LinearGaussian(model, variance, marginal.log_prob(some_images().flatten(1).double() / 255))


def relative_variance_of_weights(shift: float, factor: float) -> float:
    """Var(w)/p(x)² under q, for a q whose mean is off by ``shift`` and whose variance is ``factor`` times too large.

    E_q[w²]/p(x)² = ∫ p(z|x)²/q(z) dz, which is f/√(2f - 1)·exp(δ²/(2f - 1)) in each dimension, with δ the shift
    in posterior standard deviations and f the factor.
    """
    narrowness = 2 * factor - 1
    return (factor / sqrt(narrowness) * exp(shift**2 / narrowness)) ** LATENT_DIM - 1


@BATCH_SIZES
def test_negative_elbo_does_not_depend_on_the_batch_size(any_model: VAE, batch_size: int | None) -> None:
    whole = inference.negative_elbo(any_model, images_of(any_model), seed=0, batch_size=IMAGES)
    parts = inference.negative_elbo(any_model, images_of(any_model), seed=0, batch_size=batch_size)
    # Matrix products of other shapes may add up in another order.
    for term, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(term, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(term.mean(0), expected.mean(0), rtol=1e-6, atol=0)


@BATCH_SIZES
def test_negative_elbo_counts_every_image_once(model: VAE, batch_size: int | None) -> None:
    """Without noise, a plain loop over images gives the same numbers."""
    remove_noise(model)
    reconstructions, kls = [], []
    for image in some_images():
        x = image.unsqueeze(0) / 255
        with torch.no_grad():
            mean = model.encoder(x)[0]
            logits = model.decoder(mean)
        reconstructions.append(F.binary_cross_entropy_with_logits(logits, x, reduction="sum").double())
        kls.append((mean[0].double().square() - 1 + 40) / 2)
    reconstruction, kl = torch.stack(reconstructions), torch.stack(kls)
    result = inference.negative_elbo(model, some_images(), seed=0, batch_size=batch_size)
    torch.testing.assert_close(result.reconstruction, reconstruction, rtol=1e-5, atol=0)
    torch.testing.assert_close(result.kl, kl, rtol=1e-5, atol=0)
    torch.testing.assert_close(result.loss, reconstruction + kl.sum(1), rtol=1e-5, atol=0)
    average = average_loss(result)
    assert average.reconstruction.item() == pytest.approx(reconstruction.mean().item(), rel=1e-6)
    assert average.kl.item() == pytest.approx(kl.sum(1).mean().item(), rel=1e-6)
    assert average.loss.item() == pytest.approx((reconstruction + kl.sum(1)).mean().item(), rel=1e-6)


def test_negative_elbo_gives_float64_terms_for_each_image_on_the_cpu(any_model: VAE) -> None:
    result = inference.negative_elbo(any_model, images_of(any_model), seed=0)
    assert (result.loss.shape, result.reconstruction.shape, result.kl.shape) == (
        (IMAGES,),
        (IMAGES,),
        (IMAGES, LATENT_DIM),
    )
    assert {term.dtype for term in result} == {torch.float64}
    assert {term.device.type for term in result} == {"cpu"}
    torch.testing.assert_close(result.loss, result.reconstruction + result.kl.sum(1), rtol=1e-6, atol=0)
    assert len(result.loss.unique()) == IMAGES


def test_negative_elbo_is_the_objective_of_all_images(any_model: VAE) -> None:
    """Without noise, any draw gives the same result."""
    remove_noise(any_model)
    with torch.no_grad():
        expected = objective.negative_elbo(any_model, pixels(images_of(any_model)), torch.zeros(IMAGES, LATENT_DIM))
    result = inference.negative_elbo(any_model, images_of(any_model), seed=0, batch_size=7)
    for term, whole in zip(result, expected, strict=True):
        torch.testing.assert_close(term, whole.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("beta", "free_bits"), [(1.0, 0.0), (0.3, 1.5)])
def test_validation_loss_is_the_training_loss_on_the_same_images_and_noise(
    any_model: VAE, beta: float, free_bits: float
) -> None:
    noise = torch.randn(IMAGES, LATENT_DIM, generator=generator(5, "posterior noise"))
    with torch.no_grad():
        in_training = training_loss(any_model, pixels(images_of(any_model)), noise, beta, free_bits)
    elbo = inference.negative_elbo(any_model, images_of(any_model), seed=5, batch_size=7)
    in_validation = average_loss(elbo, beta, free_bits)
    for term, expected in zip(in_validation, in_training, strict=True):
        torch.testing.assert_close(term, expected.double(), rtol=1e-5, atol=0)


def test_negative_elbo_repeats_with_its_seed_only(model: VAE) -> None:
    first, again, other = (inference.negative_elbo(model, some_images(), seed) for seed in (0, 0, 1))
    assert torch.equal(first.loss, again.loss)
    assert not torch.isclose(first.reconstruction, other.reconstruction, rtol=1e-5).any()
    assert torch.equal(first.kl, other.kl)  # analytic: it takes no noise


def test_importance_weighted_bound_draws_separate_noise_for_each_image(model: VAE) -> None:
    copies = some_images(1).expand(IMAGES, *IMAGE_SHAPE)
    bounds = inference.bounds(model, copies, samples=1, seed=0, batch_size=20).importance_weighted
    assert len(bounds.unique()) == IMAGES


@BATCH_SIZES
def test_bounds_do_not_depend_on_the_batch_size(any_model: VAE, batch_size: int | None) -> None:
    whole = inference.bounds(any_model, images_of(any_model), 5, seed=0, batch_size=IMAGES)
    parts = inference.bounds(any_model, images_of(any_model), 5, seed=0, batch_size=batch_size)
    assert parts.importance_weighted.shape == (IMAGES,)
    torch.testing.assert_close(parts.importance_weighted, whole.importance_weighted, rtol=1e-6, atol=1e-6)
    for term, expected in zip(parts.elbo, whole.elbo, strict=True):
        torch.testing.assert_close(term, expected, rtol=1e-5, atol=1e-6)


def test_bounds_are_in_float64_for_each_image_on_the_cpu(any_model: VAE) -> None:
    elbo, importance_weighted = inference.bounds(any_model, images_of(any_model), 3, seed=0)
    terms = (*elbo, importance_weighted)
    assert [tuple(term.shape) for term in terms] == [(IMAGES,), (IMAGES,), (IMAGES, LATENT_DIM), (IMAGES,)]
    assert {(term.dtype, term.device.type) for term in terms} == {(torch.float64, "cpu")}
    torch.testing.assert_close(elbo.loss, elbo.reconstruction + elbo.kl.sum(1), rtol=1e-12, atol=0)


def test_bounds_of_one_sample_are_both_log_w_whose_elbo_has_the_analytic_kl(any_model: VAE) -> None:
    """log w = log p(x|z) + log p(z) - log q(z|x), computed here from densities of torch.distributions."""
    x, normal = pixels(images_of(any_model)), torch.distributions.Normal
    noise = torch.randn(IMAGES, LATENT_DIM, generator=generator(7, "importance noise"))
    with torch.no_grad():
        mean, log_variance = any_model.posterior(x)
        q, prior = normal(mean, (log_variance / 2).exp()), normal(0, 1)
        z = mean + q.scale * noise
        log_likelihood = any_model.log_likelihood(x, z)
        kl = torch.distributions.kl_divergence(q, normal(torch.zeros_like(mean), 1))
    elbo, importance_weighted = inference.bounds(any_model, images_of(any_model), 1, seed=7)
    log_weight = log_likelihood + (prior.log_prob(z) - q.log_prob(z)).sum(1)
    torch.testing.assert_close(importance_weighted, log_weight.double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(elbo.reconstruction, -log_likelihood.double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(elbo.kl, kl.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 10, 23])
def test_reconstruction_of_bounds_is_averaged_over_the_samples_of_each_image(model: VAE, samples: int) -> None:
    """23 are more than are held at a time, in three parts."""
    random, x = generator(0, "importance noise"), pixels(some_images())
    total = torch.zeros(IMAGES, dtype=torch.float64)
    with torch.no_grad():
        mean, log_variance = model.posterior(x)
        for _ in range(samples):
            z = mean + (log_variance / 2).exp() * torch.randn(IMAGES, LATENT_DIM, generator=random)
            losses = F.binary_cross_entropy_with_logits(model.decoder(z), x, reduction="none")
            total += losses.flatten(1).double().sum(1)
    elbo = inference.bounds(model, some_images(), samples, seed=0).elbo
    torch.testing.assert_close(elbo.reconstruction, total / samples, rtol=1e-6, atol=0)


def test_negative_elbo_of_bounds_scatters_over_seeds_by_the_square_root_of_the_number_of_samples_less(
    model: VAE,
) -> None:
    samples, seeds = 25, 40
    images = some_images(400)
    single = [inference.negative_elbo(model, images, seed).loss for seed in range(seeds)]
    averaged = [inference.bounds(model, images, samples, seed).elbo.loss for seed in range(seeds)]
    variance, fewer = (torch.stack(losses).var(0).mean().item() for losses in (single, averaged))
    assert variance / fewer == pytest.approx(samples, rel=0.15)
    difference = torch.stack(single).mean() - torch.stack(averaged).mean()
    assert abs(difference.item()) < 4 * sqrt((variance + fewer) / seeds / len(images))


def test_kl_of_bounds_is_that_of_negative_elbo_since_it_takes_no_noise(any_model: VAE) -> None:
    elbo = inference.negative_elbo(any_model, images_of(any_model), seed=0)
    assert torch.equal(inference.bounds(any_model, images_of(any_model), 2, seed=1).elbo.kl, elbo.kl)


def test_bounds_of_a_wrong_encoder_differ_by_its_kl_to_the_exact_posterior(linear_gaussian: LinearGaussian) -> None:
    linear_gaussian.move_encoder(by=1.0, variance_times=4.0)
    elbo, importance_weighted = inference.bounds(linear_gaussian.model, some_images(), 2000, seed=0)
    kl = LATENT_DIM * 0.5 * (4.0 + 1.0 - 1 - log(4.0))
    gaps = importance_weighted + elbo.loss
    # Both scatter over samples: by 0.04 (below), and by the square root of 2000 less than a single sample's ELBO.
    assert gaps.mean().item() == pytest.approx(kl, abs=4 * gaps.std().item() / sqrt(IMAGES) + 1e-3)
    assert gaps.std() < 0.2


def test_importance_weighted_bound_repeats_with_its_seed_only(model: VAE) -> None:
    first, again, other = (inference.bounds(model, some_images(), 5, seed).importance_weighted for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.isclose(first, other, rtol=1e-5).any()


def test_importance_weighted_bound_of_one_sample_is_the_elbo_in_expectation(model: VAE) -> None:
    copies = some_images(1).expand(400, *IMAGE_SHAPE)
    seeds = range(20)
    elbos = -torch.stack([inference.negative_elbo(model, copies, seed).loss.mean() for seed in seeds])
    bounds = torch.stack([inference.bounds(model, copies, 1, seed).importance_weighted.mean() for seed in seeds])
    standard_error = sqrt((elbos.var().item() + bounds.var().item()) / len(seeds))
    assert bounds.mean().item() == pytest.approx(elbos.mean().item(), abs=4 * standard_error)
    assert standard_error < 0.1


def test_importance_weighted_bound_tightens_with_the_number_of_samples(any_model: VAE) -> None:
    loose, tighter, tightest = (
        inference.bounds(any_model, images_of(any_model), samples, seed=0).importance_weighted
        for samples in (1, 10, 100)
    )
    for lower, higher in ((loose, tighter), (tighter, tightest)):
        gain = higher - lower
        assert gain.mean() > 4 * gain.std() / sqrt(IMAGES)


@pytest.mark.parametrize("samples", [1, 100])
def test_importance_weighted_bound_of_the_exact_posterior_is_the_log_likelihood(
    linear_gaussian: LinearGaussian, samples: int
) -> None:
    """w = p(x, z)/p(z|x) = p(x), whatever z."""
    bound = inference.bounds(linear_gaussian.model, some_images(), samples, seed=0).importance_weighted
    # float32: terms of some tens, each rounded by 6e-8 of itself.
    torch.testing.assert_close(bound, linear_gaussian.log_likelihood, rtol=0, atol=3e-5)


def test_elbo_of_the_exact_posterior_averages_to_the_log_likelihood(linear_gaussian: LinearGaussian) -> None:
    """In expectation only, because the reconstruction still depends on the posterior sample."""
    model, images = linear_gaussian.model, some_images()
    seeds = range(40)
    elbos = -torch.stack([inference.negative_elbo(model, images, seed).loss.mean() for seed in seeds])
    expected = linear_gaussian.log_likelihood.mean()
    # A sample's log p(x|z) varies as ½(z² - ε²) with z = μ + σε does: by μ²σ² + ½(σ² - 1)² in each dimension.
    variance = linear_gaussian.posterior_variance
    mean = inference.encode(model, images).mean.double()
    spread = (mean.square() * variance + 0.5 * (variance - 1).square()).sum(1).mean().sqrt()
    standard_error = spread / sqrt(IMAGES * len(seeds))
    assert (elbos.mean() - expected).abs() < 4 * standard_error
    assert standard_error < 0.03


def test_a_wrong_encoder_lowers_the_elbo_by_its_kl_to_the_exact_posterior(
    linear_gaussian: LinearGaussian,
) -> None:
    linear_gaussian.move_encoder(by=1.0, variance_times=4.0)
    seeds = range(100)
    bounds = [inference.bounds(linear_gaussian.model, some_images(), 1, seed).importance_weighted for seed in seeds]
    gaps = linear_gaussian.log_likelihood - torch.stack(bounds)
    expected = LATENT_DIM * 0.5 * (4.0 + 1.0 - 1 - log(4.0))
    assert gaps.mean().item() == pytest.approx(expected, abs=4 * gaps.std().item() / sqrt(gaps.numel()))


def test_importance_weighted_bound_of_a_wrong_encoder_approaches_the_log_likelihood_from_below(
    linear_gaussian: LinearGaussian,
) -> None:
    samples = 2000
    linear_gaussian.move_encoder(by=1.0, variance_times=4.0)
    bound = inference.bounds(linear_gaussian.model, some_images(), samples, seed=0).importance_weighted
    gap = linear_gaussian.log_likelihood - bound
    # With V = Var(w)/p(x)² the bound falls short by V/(2k) and scatters by √(V/k) (delta method).
    variance = relative_variance_of_weights(shift=1.0, factor=4.0)
    standard_error = sqrt(variance / samples)
    assert gap.mean().item() == pytest.approx(variance / samples / 2, abs=4 * standard_error / sqrt(IMAGES))
    assert gap.min() > -4.5 * standard_error
    assert standard_error < 0.04


@pytest.mark.parametrize("samples", [1, 30])
def test_bounds_decode_no_more_images_at_once_with_more_samples(model: VAE, samples: int) -> None:
    seen = {"encoder": [0], "decoder": [0]}
    for name, part in (("encoder", model.encoder), ("decoder", model.decoder)):
        part.register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(len(inputs[0])))
    inference.bounds(model, some_images(), samples, seed=0, batch_size=20)
    assert max(seen["decoder"]) == max(seen["encoder"]) == 20
    assert sum(seen["decoder"]) == IMAGES * samples
    assert sum(seen["encoder"]) == IMAGES


def test_progress_of_bounds_advances_with_every_batch_up_to_all_images_of_all_samples(
    model: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the time left is known early, even where a batch takes seconds."""
    bar = Mock()
    shown = Mock(return_value=nullcontext(bar))
    monkeypatch.setattr(inference, "tqdm", shown)
    inference.bounds(model, some_images(), 12, seed=0, batch_size=20, progress=True)
    steps = [call.args[0] for call in bar.update.call_args_list]
    assert steps == [200, 200, 100, 40, 40, 20]
    assert shown.call_args.kwargs["total"] == sum(steps) == 12 * IMAGES


@pytest.mark.parametrize("samples", [1, 13])
def test_bounds_of_an_autoregressive_decoder_that_ignores_the_code_are_its_log_likelihood(samples: int) -> None:
    """An autoregressive decoder does not need the code; if q is the prior, every weight is p(x)."""
    model = build(0.4, network="autoregressive", image_shape=CONVOLVED_SHAPE)
    assert isinstance(model.decoder, autoregressive.Decoder)
    with torch.no_grad():
        for weight in (*posterior_params(model).parameters(), *model.decoder.condition.parameters()):
            weight.zero_()
        expected = model.log_likelihood(pixels(images_of(model)), some_codes(IMAGES)).double()
    bound = inference.bounds(model, images_of(model), samples, seed=0).importance_weighted
    torch.testing.assert_close(bound, expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1
    elbo = inference.negative_elbo(model, images_of(model), seed=0)
    torch.testing.assert_close(elbo.loss, -expected, rtol=1e-5, atol=1e-5)


@BATCH_SIZES
def test_encode_gives_the_posterior_of_every_image(any_model: VAE, batch_size: int | None) -> None:
    posterior = inference.encode(any_model, images_of(any_model), batch_size=batch_size)
    with torch.no_grad():
        mean, log_variance = any_model.encoder(pixels(images_of(any_model)))
    torch.testing.assert_close(posterior.mean, mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(posterior.log_variance, log_variance, rtol=1e-5, atol=1e-5)


@BATCH_SIZES
@pytest.mark.parametrize(("network", "shape"), [("mlp", IMAGE_SHAPE), ("conv", CONVOLVED_SHAPE)])
def test_decode_gives_the_expected_image_of_every_code_and_draws_nothing(
    network: str, shape: ImageShape, batch_size: int | None
) -> None:
    model, z = build(network=network, image_shape=shape), some_codes(IMAGES)
    decoded = inference.decode(model, z, seed=0, batch_size=batch_size)
    with torch.no_grad():
        expected = torch.sigmoid(model.decoder(z))
    assert decoded.shape == (IMAGES, *shape)
    torch.testing.assert_close(decoded, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(decoded, inference.decode(model, z, seed=1, batch_size=batch_size))  # nothing is drawn


def test_decode_gives_the_mean_of_the_models_likelihood(linear_gaussian: LinearGaussian) -> None:
    model = linear_gaussian.model
    z = some_codes(3)
    with torch.no_grad():
        expected = model.decoder(z)
    torch.testing.assert_close(inference.decode(model, z, seed=0), expected)


@pytest.mark.parametrize(
    ("changes", "largest_deviation"),
    [
        ({"likelihood": "bernoulli"}, 0.5),
        ({"likelihood": "continuous_bernoulli"}, 1 / sqrt(12)),  # that of the uniform distribution
        ({"likelihood": "gaussian", "scale": NOISE_SCALE}, NOISE_SCALE),
        ({"likelihood": "laplace", "scale": NOISE_SCALE}, sqrt(2) * NOISE_SCALE),
    ],
    ids=str,
)
def test_drawn_images_average_to_the_expected_image(changes: dict[str, Any], largest_deviation: float) -> None:
    """The mean of n draws is normal around the expectation; the largest of 12 pixels within 4.5 standard errors."""
    count = 4000
    model = build(**changes)
    z = some_codes(1)
    drawn = inference.drawn_images(model, z.expand(count, LATENT_DIM), seed=0)
    assert drawn.shape == (count, *IMAGE_SHAPE)
    expected = inference.expected_images(model, z)[0]
    assert (drawn.mean(0) - expected).abs().max() < 4.5 * largest_deviation / sqrt(count)
    assert len(drawn.flatten(1).unique(dim=0)) > 50


def test_drawn_images_of_a_bernoulli_model_are_black_and_white_where_expected_ones_are_grey(model: VAE) -> None:
    drawn, expected = inference.drawn_images(model, some_codes(20), 0), inference.expected_images(model, some_codes(20))
    assert drawn.unique().tolist() == [0, 1]
    assert ((expected > 0.01) & (expected < 0.99)).float().mean() > 0.5


def test_a_drawn_image_of_any_network_is_likelier_under_its_own_code_than_under_another(any_model: VAE) -> None:
    count = 400
    z = some_codes(count)
    drawn = inference.drawn_images(any_model, z, seed=0)
    with torch.no_grad():
        gain = any_model.log_likelihood(drawn, z) - any_model.log_likelihood(drawn, z.flip(0))
    assert gain.mean() > 4 * gain.std() / sqrt(count)


def test_drawn_images_of_any_network_repeat_with_their_seed_only(any_model: VAE) -> None:
    first, again, other = (inference.drawn_images(any_model, some_codes(5), seed) for seed in (0, 0, 1))
    assert first.shape == (5, *any_model.architecture.image_shape)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_image_is_drawn_with_separate_randomness_also_across_batches(
    any_model: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "DRAWN_AT_ONCE", 3)
    drawn = inference.drawn_images(any_model, some_codes(1).expand(8, LATENT_DIM), seed=0)
    assert ((drawn == 0) | (drawn == 1)).all()
    assert len(drawn.unique(dim=0)) == 8


def test_an_autoregressive_model_has_no_expected_images_and_pictures_show_drawn_ones() -> None:
    model = build(0.4, network="autoregressive", image_shape=CONVOLVED_SHAPE)
    assert torch.equal(inference.decode(model, some_codes(5), 3), inference.drawn_images(model, some_codes(5), 3))
    with pytest.raises(NoExpectedImageError, match=r"model\.network"):
        inference.expected_images(model, some_codes(5))


class TestDecodeOfAnAutoregressiveModel:
    @pytest.fixture
    def model(self) -> VAE:
        """An autoregressive model of black and white pixels."""
        return build(0.4, network="autoregressive", image_shape=CONVOLVED_SHAPE)

    def test_drawn_images_do_not_depend_on_the_batch_size(self, model: VAE) -> None:
        drawn = [inference.decode(model, some_codes(5), 0, batch_size=size) for size in (None, 1, 2)]
        assert torch.equal(drawn[0], drawn[1])
        assert torch.equal(drawn[0], drawn[2])

    def test_each_pixel_is_drawn_given_the_pixels_before_it(self) -> None:
        """With a tiny scale, each pixel equals the mean that the finished image gives."""
        shape = (2, 4, 8)
        model = build(0.3, network="autoregressive", image_shape=shape, likelihood="gaussian", scale=1e-6)
        z = some_codes(20)
        drawn = inference.decode(model, z, seed=0)
        with torch.no_grad():
            means = model.decoder(z, drawn)
            of_black = model.decoder(z, torch.zeros(20, *shape))
        torch.testing.assert_close(drawn, means, rtol=0, atol=1e-4)
        assert (drawn - of_black).abs().max() > 0.1


class Constant(Bernoulli):
    """The same log-likelihood for every image and code."""

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:  # noqa: ARG002
        return torch.full((len(x),), -5000.0)


def test_importance_weighted_bound_keeps_its_digits_over_many_samples(model: VAE) -> None:
    """If q is the prior and all likelihoods are equal, every weight is the same, and so is their average."""
    model.likelihood = Constant()
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight.zero_()
    bound = inference.bounds(model, some_images(), samples=1000, seed=0).importance_weighted
    torch.testing.assert_close(bound, torch.full((IMAGES,), -5000.0, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("binary", [False, True])
def test_decoding_in_pieces_gives_every_image_once_and_the_first_piece_as_without_pieces(
    binary: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with seeded(0, "weights"):
        model = VAE(architecture())
    codes = torch.randn(10, LATENT_DIM, generator=generator(0, "codes"))
    whole = inference.decode_to_compare(model, codes, 0, binary=binary)
    (alone,) = inference.decode_in_pieces(model, codes, 0, binary=binary)
    assert alone[0] == range(10)
    assert torch.equal(alone[1].compared, whole.compared)
    monkeypatch.setattr(inference, "VALUES_AT_ONCE", 4 * PIXELS)
    pieces = list(inference.decode_in_pieces(model, codes, 0, binary=binary))
    assert [rows for rows, _ in pieces] == [range(4), range(4, 8), range(8, 10)]
    torch.testing.assert_close(torch.cat([images.shown for _, images in pieces]), whole.shown)
    if binary:
        again = inference.decode_to_compare(model, codes[4:8], 0, binary=True).compared
        assert not torch.equal(pieces[1][1].compared, again), "each piece has draws of its own"
