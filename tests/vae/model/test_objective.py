from math import expm1, log

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal
from torch.distributions import kl_divergence as kl_of_torch

from tests.settings import architecture
from vae.base.runtime import seeded
from vae.model import likelihoods, objective
from vae.model.objective import (
    Losses,
    average_loss,
    kl_divergence,
    log_importance_weight,
    negative_elbo,
    training_loss,
)
from vae.model.vae import VAE

IMAGE_SHAPE = (1, 2, 3)
LATENT_DIM = 2
PRIOR = Normal(torch.zeros(LATENT_DIM, dtype=torch.float64), 1.0)


@pytest.fixture
def model() -> VAE:
    """A model in float64, with weights so large that every term of the objective is large."""
    model = VAE(architecture(image_shape=IMAGE_SHAPE, latent_dim=LATENT_DIM)).double()
    with seeded(0, "weights"), torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.7)
    return model


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def binary_images(count: int) -> Tensor:
    return torch.randint(0, 2, (count, *IMAGE_SHAPE), generator=random(1)).double()


def normal(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=random(seed))


def posterior_of(mean: Tensor, log_variance: Tensor) -> Normal:
    return Normal(mean, torch.exp(0.5 * log_variance))


def log_joint(model: VAE, x: Tensor, z: Tensor) -> Tensor:
    """log p(x|z) + log p(z), by torch.distributions."""
    log_likelihood: Tensor = Bernoulli(logits=model.decoder(z)).log_prob(x).sum((1, 2, 3))
    log_prior: Tensor = PRIOR.log_prob(z).sum(1)
    return log_likelihood + log_prior


@pytest.mark.parametrize("shape", [(4,), (6, 4), (2, 3, 4)], ids=str)
def test_kl_divergence_agrees_with_torch_distributions_in_every_dimension(shape: tuple[int, ...]) -> None:
    mean, log_variance = normal(*shape, seed=1), normal(*shape, seed=2)
    expected = kl_of_torch(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0))
    kl = kl_divergence(mean, log_variance)
    assert kl.shape == shape
    torch.testing.assert_close(kl, expected, rtol=1e-12, atol=1e-14)


def test_kl_divergence_is_exactly_zero_at_the_prior() -> None:
    assert torch.equal(kl_divergence(torch.zeros(3), torch.zeros(3)), torch.zeros(3))


@pytest.mark.parametrize("magnitude", [1e-1, 1e-2, 1e-3])
def test_kl_divergence_keeps_its_digits_near_the_prior(magnitude: float) -> None:
    """There the KL is about v²/4 with v = log σ², and a rounding error relative to 1, not v, would be a large share."""
    log_variance = torch.tensor([-magnitude, magnitude])
    expected = torch.tensor([0.5 * (expm1(v) - v) for v in log_variance.tolist()], dtype=torch.float64)
    relative_error = (kl_divergence(torch.zeros(2), log_variance).double() - expected).abs() / expected
    # Two roundings at the size of v, against v²/2.
    assert (relative_error < 2 * torch.finfo(torch.float32).eps / magnitude).all()


def test_kl_divergence_is_never_negative() -> None:
    exponents = torch.linspace(-45, 1.5, 100_001)
    log_variance = torch.cat([10**exponents, -(10**exponents)])
    assert (kl_divergence(torch.zeros(()), log_variance) >= 0).all()
    assert (kl_divergence(torch.tensor(0.3), log_variance) > 0).all()


def test_negative_elbo_averages_to_its_definition(model: VAE) -> None:
    """E_q[log q(z|x) - log p(z) - log p(x|z)], by Monte Carlo."""
    count = 20_000
    for image in binary_images(3):
        x = image.expand(count, *IMAGE_SHAPE)
        with torch.no_grad():
            value = negative_elbo(model, x, normal(count, LATENT_DIM, seed=3)).loss
            posterior = posterior_of(*model.encoder(x))
            z = posterior.mean + posterior.stddev * normal(count, LATENT_DIM, seed=4)
            definition = posterior.log_prob(z).sum(1) - log_joint(model, x, z)
        standard_error = ((value.var() + definition.var()) / count).sqrt()
        assert (value.mean() - definition.mean()).abs() < 4 * standard_error
        assert standard_error < 0.05  # far below the terms themselves, or the comparison would be void


def test_negative_elbo_has_a_loss_and_a_reconstruction_per_image_and_a_kl_per_latent_dimension(model: VAE) -> None:
    x, noise = binary_images(7), normal(7, LATENT_DIM)
    posterior = posterior_of(*model.encoder(x))
    p = torch.sigmoid(model.decoder(posterior.mean + posterior.stddev * noise))
    reconstruction = -torch.where(x == 1, p, 1 - p).log().sum((1, 2, 3))
    kl = kl_of_torch(posterior, PRIOR)
    elbo = negative_elbo(model, x, noise)
    assert (elbo.loss.shape, elbo.reconstruction.shape, elbo.kl.shape) == ((7,), (7,), (7, LATENT_DIM))
    torch.testing.assert_close(elbo.loss, reconstruction + kl.sum(1), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(elbo.reconstruction, reconstruction, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(elbo.kl, kl, rtol=1e-10, atol=1e-12)


def test_negative_elbo_of_an_image_does_not_depend_on_the_other_images_of_its_batch(model: VAE) -> None:
    x, noise = binary_images(4), normal(4, LATENT_DIM)
    together = negative_elbo(model, x, noise)
    alone = [negative_elbo(model, x[row : row + 1], noise[row : row + 1]) for row in range(4)]
    for value, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(value, torch.cat(parts), rtol=1e-12, atol=1e-12)
    assert len(together.loss.unique()) == 4


@pytest.mark.parametrize(
    ("free_bits", "expected"), [(0.0, 2.6), (0.1, 2.7), (0.5, 3.1), (0.6, 3.2), (1.0, 4.0), (2.0, 6.0)]
)
def test_average_loss_penalizes_each_latent_dimension_by_its_kl_or_the_free_bits_if_they_are_more(
    free_bits: float, expected: float
) -> None:
    kl = torch.tensor([[0.0, 0.6, 2.0]])
    loss = average_loss(Losses(kl.sum(1) + 100, torch.tensor([100.0]), kl), free_bits=free_bits)
    assert loss.loss.item() == pytest.approx(100 + expected)
    assert (loss.reconstruction.item(), loss.kl.item()) == pytest.approx((100, 2.6))


def test_average_loss_has_no_gradient_by_a_kl_below_the_free_bits_and_the_full_one_by_a_kl_above() -> None:
    kl = torch.tensor([[0.1, 0.4, 0.6, 2.0]], requires_grad=True)
    average_loss(Losses(kl.sum(1), torch.zeros(1), kl), kl_weight=3.0, free_bits=0.5).loss.backward()
    assert kl.grad is not None
    assert kl.grad.tolist() == [[0, 0, 3, 3]]


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0, torch.tensor(0.25)], ids=str)
def test_training_loss_is_the_reconstruction_plus_the_weighted_kl(model: VAE, beta: float | Tensor) -> None:
    x, noise = binary_images(7), normal(7, LATENT_DIM)
    posterior = posterior_of(*model.encoder(x))
    z = posterior.mean + posterior.stddev * noise
    reconstruction = -Bernoulli(logits=model.decoder(z)).log_prob(x).sum((1, 2, 3)).mean()
    kl = kl_of_torch(posterior, PRIOR).sum(1).mean()
    loss = training_loss(model, x, noise, beta)
    torch.testing.assert_close(loss.loss, reconstruction + beta * kl, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loss.reconstruction, reconstruction, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loss.kl, kl, rtol=1e-10, atol=1e-12)  # at full weight


def test_training_loss_compares_free_bits_with_the_kl_averaged_over_the_batch(model: VAE) -> None:
    x, noise = binary_images(7), normal(7, LATENT_DIM)
    kl = kl_of_torch(posterior_of(*model.encoder(x)), PRIOR).detach()
    free_bits = float(kl.mean(0).mean())  # between the two dimensions
    assert kl.mean(0).min() < free_bits < kl.mean(0).max()
    expected = torch.maximum(kl.mean(0), torch.tensor(free_bits, dtype=torch.float64)).sum()
    loss = training_loss(model, x, noise, kl_weight=0.5, free_bits=free_bits)
    torch.testing.assert_close(loss.loss, loss.reconstruction + 0.5 * expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loss.kl, kl.sum(1).mean(), rtol=1e-10, atol=1e-12)  # without free bits
    of_each_image = kl.clamp(min=free_bits).sum(1).mean()
    assert of_each_image - expected > 0.1  # or the order of average and maximum would not show


def test_training_loss_at_full_weight_without_free_bits_is_the_mean_negative_elbo(model: VAE) -> None:
    x, noise = binary_images(7), normal(7, LATENT_DIM)
    expected = negative_elbo(model, x, noise).loss.mean()
    torch.testing.assert_close(training_loss(model, x, noise).loss, expected, rtol=1e-14, atol=0)


def test_the_loss_of_an_image_and_the_loss_of_a_batch_are_made_of_their_terms_by_one_function(
    model: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit of the objective changes both."""
    x, noise = binary_images(5), normal(5, LATENT_DIM)
    monkeypatch.setattr(objective, "total_loss", lambda reconstruction, kl, *_: 3 * reconstruction - kl.sum(-1))
    image, batch = negative_elbo(model, x, noise), training_loss(model, x, noise)
    torch.testing.assert_close(image.loss, 3 * image.reconstruction - image.kl.sum(1))
    torch.testing.assert_close(batch.loss, image.loss.mean())


@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize("free_bits", [0.0, 1.5])
def test_training_loss_is_the_average_loss_of_the_negative_elbo(model: VAE, beta: float, free_bits: float) -> None:
    """So validation, which averages the negative ELBO of each image, measures what training minimizes."""
    x, noise = binary_images(7), normal(7, LATENT_DIM)
    averaged = average_loss(negative_elbo(model, x, noise), beta, free_bits)
    for term, expected in zip(training_loss(model, x, noise, beta, free_bits), averaged, strict=True):
        assert torch.equal(term, expected)


@pytest.mark.parametrize("samples", [(), (3,)], ids=["negative ELBO", "importance-weighted"])
def test_training_loss_of_a_batch_is_the_average_over_its_images(model: VAE, samples: tuple[int, ...]) -> None:
    x, noise = binary_images(4), normal(4, *samples, LATENT_DIM)
    alone = [training_loss(model, x[row : row + 1], noise[row : row + 1], 0.5) for row in range(4)]
    for value, parts in zip(training_loss(model, x, noise, 0.5), zip(*alone, strict=True), strict=True):
        assert value.ndim == 0
        torch.testing.assert_close(value, torch.stack(parts).mean(), rtol=1e-12, atol=1e-12)


def test_log_importance_weight_is_the_joint_over_the_posterior_density(model: VAE) -> None:
    x, noise = binary_images(7), normal(7, LATENT_DIM)
    mean, log_variance = normal(7, LATENT_DIM, seed=5), normal(7, LATENT_DIM, seed=6)
    posterior = posterior_of(mean, log_variance)
    z = mean + posterior.stddev * noise
    log_weight, log_likelihood = log_importance_weight(model, x, mean, log_variance, noise)
    assert log_weight.shape == log_likelihood.shape == (7,)
    expected = log_joint(model, x, z) - posterior.log_prob(z).sum(1)
    torch.testing.assert_close(log_weight, expected, rtol=1e-10, atol=1e-12)
    expected = Bernoulli(logits=model.decoder(z)).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(log_likelihood, expected, rtol=1e-10, atol=1e-12)


def test_importance_weights_average_to_the_marginal_likelihood(model: VAE) -> None:
    """There are 64 images of six black or white pixels, and their likelihoods add up to one."""
    count = 2_000
    every_image = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 6).view(64, *IMAGE_SHAPE)
    x = every_image.repeat_interleave(count, 0)
    prior = torch.zeros(len(x), LATENT_DIM, dtype=torch.float64)
    with torch.no_grad():
        log_weights, _ = log_importance_weight(model, x, prior, prior, normal(len(x), LATENT_DIM))
    weights = log_weights.exp().view(64, count)
    total, standard_error = weights.mean(1).sum(), (weights.var(1) / count).sum().sqrt()
    assert (total - 1).abs() < 4 * standard_error
    assert standard_error < 0.01


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_importance_weighted_loss_is_minus_the_logarithm_of_the_average_weight(model: VAE, samples: int) -> None:
    x, noise = binary_images(7), normal(7, samples, LATENT_DIM)
    posterior = posterior_of(*model.encoder(x))
    log_weights, log_likelihoods = [], []
    for sample in range(samples):
        z = posterior.mean + posterior.stddev * noise[:, sample]
        log_weights.append(log_joint(model, x, z) - posterior.log_prob(z).sum(1))
        log_likelihoods.append(Bernoulli(logits=model.decoder(z)).log_prob(x).sum((1, 2, 3)))
    bound = torch.stack(log_weights).exp().mean(0).log()
    loss = training_loss(model, x, noise)
    torch.testing.assert_close(loss.loss, -bound.mean(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loss.reconstruction, -torch.stack(log_likelihoods).mean(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(loss.kl, kl_of_torch(posterior, PRIOR).sum(1).mean(), rtol=1e-10, atol=1e-12)


class ConstantLikelihood(likelihoods.Bernoulli):
    """The same log-likelihood for every image and code."""

    def __init__(self, log_likelihood: float) -> None:
        super().__init__()
        self.log_likelihood = log_likelihood

    def log_density(self, x: Tensor, output: Tensor) -> Tensor:  # noqa: ARG002
        return torch.full((len(x),), self.log_likelihood, dtype=torch.float64)


@pytest.mark.parametrize("log_weight", [-5000.0, 0.0, 5000.0])
@pytest.mark.parametrize("samples", [1, 2, 1000])
def test_importance_weighted_loss_neither_overflows_nor_underflows(model: VAE, samples: int, log_weight: float) -> None:
    """If q is the prior and all likelihoods are equal, every weight is that likelihood, and so is their average."""
    model.likelihood = ConstantLikelihood(log_weight)
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight.zero_()
        loss = training_loss(model, binary_images(3), normal(3, samples, LATENT_DIM)).loss
    assert loss.item() == pytest.approx(-log_weight, rel=1e-14, abs=1e-14)


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_importance_weighted_loss_of_all_samples_is_below_the_average_loss_of_groups_of_them(
    model: VAE, groups: int
) -> None:
    """Burda, Grosse & Salakhutdinov 2015, theorem 1, for any weights: the logarithm is concave."""
    for image, noise in zip(binary_images(20), normal(20, 6, LATENT_DIM), strict=True):
        x = image.unsqueeze(0)
        of_groups = [training_loss(model, x, part.unsqueeze(0)).loss for part in noise.chunk(groups)]
        assert training_loss(model, x, noise.unsqueeze(0)).loss < torch.stack(of_groups).mean()


def test_importance_weighted_loss_of_one_sample_is_the_negative_elbo_in_expectation(model: VAE) -> None:
    count = 20_000
    for image in binary_images(3):
        x = image.expand(count, *IMAGE_SHAPE)
        with torch.no_grad():
            elbos = negative_elbo(model, x, normal(count, LATENT_DIM, seed=3)).loss
            mean, log_variance = model.encoder(x)
            log_weights, _ = log_importance_weight(model, x, mean, log_variance, normal(count, LATENT_DIM, seed=4))
            loss = training_loss(model, x, normal(count, 1, LATENT_DIM, seed=4)).loss
        standard_error = ((elbos.var() + log_weights.var()) / count).sqrt()
        assert (loss - elbos.mean()).abs() < 4 * standard_error
        assert standard_error < 0.05


def test_importance_weighted_loss_falls_towards_minus_log_p_with_the_number_of_samples(model: VAE) -> None:
    """Samples from the prior estimate -log p(x) independently of the encoder."""
    x = binary_images(20)
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight.mul_(0.5)  # nearer to the prior, whose weights vary less
        losses = [
            torch.stack(
                [training_loss(model, x, normal(20, samples, LATENT_DIM, seed=seed)).loss for seed in range(40)]
            )
            for samples in (1, 10, 1000)
        ]
        z = normal(100_000, LATENT_DIM)
        from_prior = torch.stack([Bernoulli(logits=model.decoder(z)).log_prob(image).sum((1, 2, 3)) for image in x])
    loose, tighter, tightest = losses
    for higher, lower in ((loose, tighter), (tighter, tightest)):
        assert higher.mean() - lower.mean() > 4 * ((higher.var() + lower.var()) / 40).sqrt()
    exact = -(from_prior.logsumexp(1) - log(len(z))).mean()
    assert (tightest.mean() - exact).abs() < 0.1 * (loose.mean() - exact)
