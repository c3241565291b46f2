from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import ContinuousBernoulli, Laplace, Normal
from torch.distributions import kl_divergence as kl_of_torch

from tests.settings import architecture
from vae.backpropagation import NegativeElboGradient, Weights
from vae.differentiation import ObjectiveGradient
from vae.model import VAE
from vae.networks.autoregressive import AutoregressiveDecoder
from vae.runtime import seeded

IMAGE_SHAPE = (2, 4, 8)
PIXELS = 64
LATENT_DIM = 3
SAMPLES = 5
BATCH_SIZE = 6
ROUNDING = 2**-8  # of a number in bfloat16, relative to it
NETWORKS = pytest.mark.parametrize("network", ["mlp", "conv", "autoregressive"])
LIKELIHOODS: list[dict[str, Any]] = [
    {"likelihood": "bernoulli"},
    {"likelihood": "continuous_bernoulli"},
    {"likelihood": "gaussian"},
    {"likelihood": "gaussian", "scale": 0.5},
    {"likelihood": "laplace"},
    {"likelihood": "laplace", "scale": 0.5},
]
FREE_BITS = 0.6  # between the KLs of the dimensions: some are above it and some below
OBJECTIVES = pytest.mark.parametrize(
    ("beta", "free_bits"), [(1.0, 0.0), (0.0, 0.0), (0.3, 0.0), (4.0, 0.0), (1.0, FREE_BITS), (0.3, FREE_BITS)]
)


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(**changes: Any) -> VAE:
    """A model in which q depends on the image and every term of the objective counts."""
    model = VAE(architecture(**{"image_shape": IMAGE_SHAPE, "latent_dim": LATENT_DIM, **changes}))
    with seeded(0, "weights"), torch.no_grad():
        for weight in model.parameters():
            if weight.ndim:  # the scale keeps its own
                weight.normal_(0, 0.3)
    return model


def batch(size: int = BATCH_SIZE, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images as bytes (B, pixels), and noise (B, D)."""
    images = torch.randint(0, 256, (size, PIXELS), dtype=torch.uint8, generator=random(seed))
    return images, torch.randn(size, LATENT_DIM, generator=random(seed + 1))


def noises(size: int = BATCH_SIZE) -> Tensor:
    """Noise of several samples (B, k, D)."""
    return torch.randn(size, SAMPLES, LATENT_DIM, generator=random(3))


def gradient_of(
    model: VAE,
    images: Tensor,
    noise: Tensor,
    dtype: torch.dtype = torch.float32,
    beta: float = 1.0,
    free_bits: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The gradient by all weights, and the sums of loss, reconstruction and KL."""
    weights, losses = Weights(model), torch.empty(3)
    with torch.no_grad():
        ObjectiveGradient(model, weights, dtype, free_bits)(images, noise, torch.tensor(beta), losses)
    return weights.gather_gradient(), losses


def log_likelihood(model: VAE, x: Tensor, z: Tensor) -> Tensor:
    """log p(x given z) of each image, by PyTorch's own formulas: (B,)."""
    output = model.decoder(z, x) if isinstance(model.decoder, AutoregressiveDecoder) else model.decoder(z)
    scale = dict(model.likelihood.named_parameters()) | dict(model.likelihood.named_buffers())
    match model.architecture.likelihood:
        case "bernoulli":
            log_density = -F.binary_cross_entropy_with_logits(output, x, reduction="none")
        case "continuous_bernoulli":
            log_density = ContinuousBernoulli(logits=output).log_prob(x)
        case "gaussian":
            log_density = Normal(output, scale["log_scale"].exp()).log_prob(x)
        case "laplace":
            log_density = Laplace(output, scale["log_scale"].exp()).log_prob(x)
    return log_density.sum((1, 2, 3))


def as_intensities(images: Tensor) -> Tensor:
    return images.view(-1, *IMAGE_SHAPE).double() / 255


def flat_gradient(model: VAE) -> Tensor:
    """What automatic differentiation has left at each parameter."""
    return torch.cat(
        [torch.zeros(weight.numel()) if weight.grad is None else weight.grad.flatten() for weight in model.parameters()]
    )


def expected_gradient(
    model: VAE, images: Tensor, noise: Tensor, beta: float = 1.0, free_bits: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The same by the formula as it is published, in float64."""
    model, x = model.double(), as_intensities(images)
    mean, log_variance = model.encoder(x)
    posterior = Normal(mean, torch.exp(0.5 * log_variance))
    reconstruction = -log_likelihood(model, x, mean + posterior.stddev * noise.double()).mean()
    kl = kl_of_torch(posterior, Normal(0.0, 1.0)).mean(0)
    loss = reconstruction + beta * sum(torch.clamp(each, min=free_bits) for each in kl)
    loss.backward()
    return flat_gradient(model), torch.stack([loss, reconstruction, kl.sum()]).detach() * len(images)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Sums of terms of either sign are right to a share of the terms, not of what they leave."""
    size = expected.abs().max().item()
    assert size > 0.01
    torch.testing.assert_close(actual.double(), expected.double(), rtol=1e-4, atol=2e-5 * size)


class TestNegativeElbo:
    @NETWORKS
    @pytest.mark.parametrize("family", LIKELIHOODS, ids=lambda family: " ".join(map(str, family.values())))
    def test_gradient_and_losses_are_those_of_the_published_formula(self, network: str, family: dict[str, Any]) -> None:
        gradient, losses = gradient_of(build(network=network, **family), *batch())
        expected, expected_losses = expected_gradient(build(network=network, **family), *batch())
        assert_close(gradient, expected)
        torch.testing.assert_close(losses.double(), expected_losses, rtol=1e-5, atol=0)

    @NETWORKS
    @OBJECTIVES
    def test_so_they_are_with_the_kl_weighed_and_free_bits(self, network: str, beta: float, free_bits: float) -> None:
        gradient, losses = gradient_of(build(network=network), *batch(), beta=beta, free_bits=free_bits)
        expected, expected_losses = expected_gradient(build(network=network), *batch(), beta, free_bits)
        assert_close(gradient, expected)
        torch.testing.assert_close(losses.double(), expected_losses, rtol=1e-5, atol=0)

    @NETWORKS
    @pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu"])
    def test_so_they_are_with_every_activation(self, network: str, activation: str) -> None:
        gradient, _ = gradient_of(build(network=network, activation=activation), *batch())
        expected, _ = expected_gradient(build(network=network, activation=activation), *batch())
        assert_close(gradient, expected)

    @NETWORKS
    def test_some_dimensions_are_above_the_free_bits_and_some_below(self, network: str) -> None:
        """Or the comparisons above would show nothing of them."""
        model = build(network=network)
        with torch.no_grad():
            mean, log_variance = model.posterior(as_intensities(batch()[0]).float())
        kl = kl_of_torch(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0)).mean(0)
        assert (kl > FREE_BITS).any()
        assert (kl < FREE_BITS).any()

    def test_where_all_bits_are_free_the_kl_has_no_part_in_the_gradient(self) -> None:
        free, losses = gradient_of(build(), *batch(), free_bits=1e6)
        without, without_losses = gradient_of(build(), *batch(), beta=0.0)
        assert torch.equal(free, without)
        assert torch.equal(losses[1:], without_losses[1:])
        assert losses[0].item() == pytest.approx(losses[1].item() + BATCH_SIZE * LATENT_DIM * 1e6)

    @pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0])
    @pytest.mark.parametrize("hidden_dims", [(), (8,), (8, 6)], ids=str)
    def test_it_agrees_with_the_gradient_derived_by_hand(self, hidden_dims: tuple[int, ...], beta: float) -> None:
        gradient, losses = gradient_of(build(hidden_dims=hidden_dims), *batch(), beta=beta)
        model = build(hidden_dims=hidden_dims)
        weights, by_hand = Weights(model), torch.empty(3)
        with torch.no_grad():
            NegativeElboGradient(model, weights, BATCH_SIZE)(*batch(), torch.tensor(beta), by_hand)
        assert_close(gradient, weights.gather_gradient())
        torch.testing.assert_close(losses, by_hand, rtol=3e-6, atol=0)


def log_weights_of(model: VAE, x: Tensor, noise: Tensor) -> Tensor:
    """log p(x given z) + log p(z) - log q(z given x) of each sample of an image: (k,)."""
    mean, log_variance = (moment[0] for moment in model.encoder(x[None]))
    posterior = Normal(mean, torch.exp(0.5 * log_variance))
    z = mean + posterior.stddev * noise
    log_prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    log_posterior = posterior.log_prob(z).sum(1)
    log_weights: Tensor = log_likelihood(model, x.expand(len(z), *IMAGE_SHAPE), z) + log_prior - log_posterior
    return log_weights


class TestImportanceWeightedBound:
    @NETWORKS
    @pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
    def test_gradient_is_the_sum_of_normalised_weights_times_gradients_of_log_weights(
        self, network: str, likelihood: str
    ) -> None:
        """Burda, Grosse & Salakhutdinov 2015, section 3, an image and a sample after the other."""
        gradient, losses = gradient_of(build(network=network, likelihood=likelihood), batch()[0], noises())

        model, images = build(network=network, likelihood=likelihood).double(), as_intensities(batch()[0])
        expected, bound = torch.zeros(len(gradient)).double(), 0.0
        for x, noise in zip(images, noises().double(), strict=True):
            log_weights = log_weights_of(model, x, noise)
            bound += log_weights.exp().mean().log().item()
            for share, log_weight in zip(log_weights.softmax(0).tolist(), log_weights, strict=True):
                model.zero_grad()
                log_weight.backward(retain_graph=True)
                expected -= share * flat_gradient(model) / BATCH_SIZE
        assert_close(gradient, expected)
        assert losses[0].item() == pytest.approx(-bound, rel=1e-5)

    def test_no_weight_has_it_all(self) -> None:
        """Or the test above would not tell normalised weights from others."""
        with torch.no_grad():
            model = build().double()
            log_weights = log_weights_of(model, as_intensities(batch()[0])[0], noises().double()[0])
        assert log_weights.softmax(0).max() < 0.9
        assert log_weights.std() > 0.1

    def test_of_one_sample_the_loss_is_a_negative_elbo_with_the_kl_by_its_sample(self) -> None:
        """Whose expectation is the analytic one; reconstruction and KL are reported as ever."""
        images, noise = batch()
        _, losses = gradient_of(build(), images, noise[:, None])
        _, elbo = gradient_of(build(), images, noise)
        torch.testing.assert_close(losses[1:], elbo[1:], rtol=1e-6, atol=0)
        with torch.no_grad():
            model = build().double()
            log_weights = [
                log_weights_of(model, x, epsilon[None].double())
                for x, epsilon in zip(as_intensities(images), noise, strict=True)
            ]
        assert losses[0].item() == pytest.approx(-torch.cat(log_weights).sum().item(), rel=1e-5)

    def test_terms_are_the_average_reconstruction_of_all_samples_and_the_analytic_kl(self) -> None:
        images, noise = batch()[0], noises()
        _, losses = gradient_of(build(), images, noise)
        each = torch.stack([gradient_of(build(), images, noise[:, sample])[1] for sample in range(SAMPLES)])
        torch.testing.assert_close(losses[1:], each[:, 1:].mean(0), rtol=1e-5, atol=0)


class TestObjectiveGradient:
    @NETWORKS
    def test_gradients_land_where_weights_keep_them(self, network: str) -> None:
        model = build(network=network, likelihood="gaussian")
        weights = Weights(model)
        gradient = ObjectiveGradient(model, weights, torch.float32, 0.0)
        places = [parameter.grad.data_ptr() for parameter in model.parameters() if parameter.grad is not None]
        assert len(places) == len(list(model.parameters()))
        start, length = weights.gradient.data_ptr(), weights.gradient.numel() * weights.gradient.element_size()
        assert all(start <= place < start + length for place in places)
        for seed in (1, 10):
            with torch.no_grad():  # as the steps of an epoch are made
                gradient(*batch(seed=seed), torch.tensor(1.0), torch.empty(3))
            assert [parameter.grad.data_ptr() for parameter in model.parameters() if parameter.grad is not None] == (
                places
            )
            assert torch.equal(weights.gather_gradient(), flat_gradient(model))
            assert weights.gradient.any()

    @NETWORKS
    def test_a_batch_leaves_nothing_behind_for_the_next_whatever_its_size(self, network: str) -> None:
        alone, alone_losses = gradient_of(build(network=network), *batch())
        model = build(network=network)
        weights, losses = Weights(model), torch.empty(3)
        gradient = ObjectiveGradient(model, weights, torch.float32, 0.0)
        with torch.no_grad():
            gradient(*batch(3, seed=10), torch.tensor(0.5), torch.empty(3))
            images, noise = batch(seed=20)
            gradient(images, torch.full_like(noise, torch.nan), torch.tensor(2.0), losses)
            assert not weights.gather_gradient().isfinite().all()
            gradient(*batch(), torch.tensor(1.0), losses)
        assert torch.equal(weights.gather_gradient(), alone)
        assert torch.equal(losses, alone_losses)

    def test_gradient_goes_by_the_weights_of_the_moment(self) -> None:
        model, halved = build(activation="tanh"), build(activation="tanh")
        weights = Weights(model)
        gradient = ObjectiveGradient(model, weights, torch.float32, 0.0)
        with torch.no_grad():
            gradient(*batch(), torch.tensor(1.0), torch.empty(3))
            weights.vector.mul_(0.5)
            weights.refresh()
            gradient(*batch(), torch.tensor(1.0), torch.empty(3))
            for weight in halved.parameters():
                weight.mul_(0.5)
        assert_close(weights.gather_gradient(), expected_gradient(halved, *batch())[0])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
    @NETWORKS
    def test_images_noise_and_weights_stay_as_they_are(self, network: str, dtype: torch.dtype) -> None:
        images, noise = batch()
        model = build(network=network)
        gradient, losses = gradient_of(model, images, noise, dtype)
        assert torch.equal(images, batch()[0])
        assert torch.equal(noise, batch()[1])
        assert all(map(torch.equal, model.parameters(), build(network=network).parameters()))
        assert gradient.dtype == losses.dtype == torch.float32

    @NETWORKS
    @pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli", "gaussian", "laplace"])
    def test_bfloat16_gives_the_gradient_to_its_eight_bits(self, network: str, likelihood: str) -> None:
        """A layer's weight and input are rounded, there and back: an error in the gradient of so many roundings."""
        changes = {"network": network, "likelihood": likelihood}
        gradient, losses = gradient_of(build(**changes), *batch(), torch.bfloat16)
        expected, expected_losses = gradient_of(build(**changes), *batch())
        layers = sum(weight.ndim > 1 for weight in build(**changes).parameters())
        assert not torch.equal(gradient, expected)
        assert (gradient - expected).norm() <= 2 * layers * ROUNDING * expected.norm()
        torch.testing.assert_close(losses, expected_losses, rtol=4 * ROUNDING, atol=0)

    @NETWORKS
    def test_bfloat16_gives_the_importance_weighted_gradient_too(self, network: str) -> None:
        gradient, losses = gradient_of(build(network=network), batch()[0], noises(), torch.bfloat16)
        expected, expected_losses = gradient_of(build(network=network), batch()[0], noises())
        # A weight is the exponential of a log-likelihood, of which an eighth bit is worth much.
        assert F.cosine_similarity(gradient, expected, 0) > 0.97
        torch.testing.assert_close(losses, expected_losses, rtol=4 * ROUNDING, atol=0)
