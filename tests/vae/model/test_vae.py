from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, ContinuousBernoulli, Distribution, Laplace, Normal

from tests.settings import architecture
from vae.base.runtime import seeded
from vae.model import likelihoods
from vae.model.vae import VAE, reparameterize

IMAGE_SHAPE = (2, 8, 4)  # three different numbers, so that a mixed-up order shows
LATENT_DIM = 3
NETWORKS = pytest.mark.parametrize("network", ["mlp", "conv", "autoregressive"])

MEAN = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
LOG_VARIANCE = torch.tensor([-1.5, 0.0, 1.0], dtype=torch.float64)
SIGMA = torch.exp(0.5 * LOG_VARIANCE)


def build(**changes: Any) -> VAE:
    with seeded(0, "weights"):
        return VAE(architecture(image_shape=IMAGE_SHAPE, latent_dim=LATENT_DIM, **changes))


def images(count: int) -> Tensor:
    return torch.rand(count, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(1))


def codes(count: int) -> Tensor:
    return torch.randn(count, LATENT_DIM, generator=torch.Generator().manual_seed(2))


def output_of(model: VAE, x: Tensor, z: Tensor) -> Tensor:
    """The decoder's output, which the likelihood takes."""
    output: Tensor = model.decoder(z, x) if model.architecture.network == "autoregressive" else model.decoder(z)
    return output


def normal(count: int) -> Tensor:
    return torch.randn(count, len(MEAN), dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_model_of_kingma_and_wellings_tutorial_has_652_824_parameters() -> None:
    model = VAE(architecture(image_shape=(1, 28, 28), hidden_dims=(400,), latent_dim=20))
    encoder = 784 * 400 + 400 + 2 * (400 * 20 + 20)
    decoder = 20 * 400 + 400 + 400 * 784 + 784
    assert sum(weight.numel() for weight in model.parameters()) == encoder + decoder == 652_824


@pytest.mark.parametrize("scale", ["learned", 0.2])
@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_scale_of_the_likelihood_is_a_parameter_if_learned_and_a_buffer_if_fixed(name: str, scale: float | str) -> None:
    model = build(likelihood=name, scale=scale)
    assert isinstance(model.likelihood, likelihoods.Gaussian if name == "gaussian" else likelihoods.Laplace)
    learned = {name for name, _ in model.named_parameters()}
    assert ("likelihood.log_scale" in learned) == (scale == "learned")
    assert "likelihood.log_scale" in model.state_dict()
    if scale != "learned":
        assert model.likelihood.log_scale.exp().item() == pytest.approx(scale)


@NETWORKS
def test_posterior_is_the_encoders_mean_and_log_variance(network: str) -> None:
    model, x = build(network=network), images(6)
    mean, log_variance = model.posterior(x)
    assert mean.shape == log_variance.shape == (6, LATENT_DIM)
    torch.testing.assert_close((mean, log_variance), model.encoder(x))


@NETWORKS
@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        ("bernoulli", lambda output: Bernoulli(logits=output, validate_args=False)),
        ("continuous_bernoulli", lambda output: ContinuousBernoulli(logits=output)),
        ("gaussian", lambda output: Normal(output, 0.4)),
        ("laplace", lambda output: Laplace(output, 0.4)),
    ],
)
def test_log_likelihood_agrees_with_torch_distributions(network: str, name: str, distribution: Any) -> None:
    model = build(network=network, likelihood=name, scale=0.4 if name in {"gaussian", "laplace"} else "learned")
    x, z = images(6), codes(6)
    expected: Distribution = distribution(output_of(model, x, z))
    log_likelihood = model.log_likelihood(x, z)
    assert log_likelihood.shape == (6,)
    torch.testing.assert_close(log_likelihood, expected.log_prob(x).sum((1, 2, 3)), rtol=1e-4, atol=1e-4)


@NETWORKS
def test_output_depends_on_the_image_with_an_autoregressive_decoder_only(network: str) -> None:
    model, x, z = build(network=network), images(6), codes(6)
    with torch.no_grad():
        shuffled = model.log_likelihood(x.flip(0), z)
        alone = model.likelihood.log_density(x.flip(0), output_of(model, x, z))
    assert torch.allclose(shuffled, alone) == (network != "autoregressive")


@NETWORKS
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_autocast_rounds_the_networks_and_leaves_posterior_and_log_likelihood_in_float32(
    network: str, likelihood: str
) -> None:
    """The networks compute in bfloat16; the posterior and the log-likelihood are float32."""
    model, x, z = build(network=network, likelihood=likelihood), images(6), codes(6)
    with torch.no_grad():
        exact = (*model.posterior(x), model.log_likelihood(x, z))
        with torch.autocast("cpu", torch.bfloat16):
            mean, log_variance = model.posterior(x)
            log_likelihood = model.log_likelihood(x, z)
            rounded = model.likelihood.log_density(x, output_of(model, x, z).float())
    assert mean.dtype == log_variance.dtype == log_likelihood.dtype == torch.float32
    assert torch.equal(log_likelihood, rounded)
    for value, expected in zip((mean, log_variance, log_likelihood), exact, strict=True):
        torch.testing.assert_close(value, expected, rtol=0.05, atol=0.05)
        assert not torch.equal(value, expected)


@NETWORKS
def test_device_of_a_model_is_that_of_its_weights(network: str) -> None:
    model = build(network=network)
    assert model.device.type == "cpu"
    assert model.to("meta").device.type == "meta"


def test_reparameterize_without_noise_gives_the_mean() -> None:
    assert torch.equal(reparameterize(MEAN, LOG_VARIANCE, torch.zeros(3, dtype=torch.float64)), MEAN)


def test_reparameterized_samples_have_the_given_mean_and_standard_deviation() -> None:
    count = 100_000
    z = reparameterize(MEAN, LOG_VARIANCE, normal(count))
    # Standard errors of a normal sample: σ/√n of the mean, σ/√(2n) of the standard deviation.
    assert ((z.mean(0) - MEAN).abs() < 4 * SIGMA / count**0.5).all()
    assert ((z.std(0) - SIGMA).abs() < 4 * SIGMA / (2 * count) ** 0.5).all()


def test_gradient_of_a_reparameterized_sample_is_one_by_the_mean_and_half_sigma_epsilon_by_the_log_variance() -> None:
    noise = normal(50)
    mean = MEAN.expand(50, 3).clone().requires_grad_()
    log_variance = LOG_VARIANCE.expand(50, 3).clone().requires_grad_()
    reparameterize(mean, log_variance, noise).sum().backward()
    assert mean.grad is not None
    assert torch.equal(mean.grad, torch.ones(50, 3, dtype=torch.float64))
    torch.testing.assert_close(log_variance.grad, 0.5 * SIGMA * noise, rtol=1e-14, atol=0)


def test_gradient_of_the_expected_square_through_reparameterize_is_exact_on_average() -> None:
    """E[z²] = μ² + σ², so its gradient is 2μ with respect to μ, and σ² with respect to log σ²."""
    count = 100_000
    mean, log_variance = MEAN.clone().requires_grad_(), LOG_VARIANCE.clone().requires_grad_()
    reparameterize(mean, log_variance, normal(count)).square().mean(0).sum().backward()
    # One sample's gradients are 2z, of variance 4σ², and zσε = μσε + σ²ε², of variance μ²σ² + 2σ⁴.
    error_by_mean = 2 * SIGMA / count**0.5
    error_by_log_variance = ((MEAN * SIGMA).square() + 2 * SIGMA**4).sqrt() / count**0.5
    assert mean.grad is not None
    assert log_variance.grad is not None
    assert ((mean.grad - 2 * MEAN).abs() < 4 * error_by_mean).all()
    assert ((log_variance.grad - SIGMA.square()).abs() < 4 * error_by_log_variance).all()
