"""One step: its gradient by automatic differentiation next to published formulas, and its move next to PyTorch's."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import ContinuousBernoulli, Laplace, Normal
from torch.distributions import kl_divergence as kl_of_torch

from tests.settings import architecture, train_params
from tests.weights import entries, gaps
from vae.base.params import TrainParams
from vae.base.runtime import seeded
from vae.model.objective import training_loss
from vae.model.vae import VAE
from vae.optimizer.weights import Weights
from vae.training.accelerators import accelerate
from vae.training.handwritten_gradient import NegativeElboGradient
from vae.training.step import AutomaticDifferentiation, Step, StepResult, decay_of_each

IMAGE_SHAPE = (2, 4, 8)
PIXELS = 64
LATENT_DIM = 3
SAMPLES = 5
BATCH_SIZE = 6
ROUNDING = 2**-8  # of a number in bfloat16, relative to it
LEARNING_RATE = 0.01
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
    ("beta", "free_bits"), [(0.0, 0.0), (0.3, 0.0), (4.0, 0.0), (1.0, FREE_BITS), (0.3, FREE_BITS)]
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


def call(backward: AutomaticDifferentiation, batch: tuple[Tensor, Tensor], beta: float = 1.0) -> tuple[Tensor, Tensor]:
    """The gradient, and loss, reconstruction and KL (3,), computed where gradients are off, as an epoch's steps are."""
    with torch.no_grad():
        losses = backward(*batch, torch.tensor(beta))
    return entries(backward.weights, backward.weights.gradient), torch.stack(list(losses))


def gradient_of(
    model: VAE,
    images: Tensor,
    noise: Tensor,
    dtype: torch.dtype = torch.float32,
    beta: float = 1.0,
    free_bits: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The gradient by all weights, and loss, reconstruction and KL (3,), by ``AutomaticDifferentiation``."""
    return call(AutomaticDifferentiation(model, Weights(model), free_bits, dtype), (images, noise), beta)


def log_likelihood(model: VAE, x: Tensor, z: Tensor) -> Tensor:
    """log p(x|z) of each image, by PyTorch's own formulas: (B,)."""
    output = model.decoder(z, x) if model.architecture.network == "autoregressive" else model.decoder(z)
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
    return flat_gradient(model), torch.stack([loss, reconstruction, kl.sum()]).detach()


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Sums of terms of either sign are right to a share of the terms, not of what they leave."""
    size = expected.abs().max().item()
    assert size > 0.01
    torch.testing.assert_close(actual.double(), expected.double(), rtol=1e-4, atol=2e-5 * size)


class TestNegativeElbo:
    @NETWORKS
    @pytest.mark.parametrize("family", LIKELIHOODS, ids=lambda family: " ".join(map(str, family.values())))
    def test_gradient_and_losses_follow_the_published_formula_for_every_network_and_likelihood(
        self, network: str, family: dict[str, Any]
    ) -> None:
        gradient, losses = gradient_of(build(network=network, **family), *batch())
        expected, expected_losses = expected_gradient(build(network=network, **family), *batch())
        assert_close(gradient, expected)
        torch.testing.assert_close(losses.double(), expected_losses, rtol=1e-5, atol=0)

    @NETWORKS
    @OBJECTIVES
    def test_gradient_and_losses_follow_the_published_formula_with_a_kl_weight_and_free_bits(
        self, network: str, beta: float, free_bits: float
    ) -> None:
        gradient, losses = gradient_of(build(network=network), *batch(), beta=beta, free_bits=free_bits)
        expected, expected_losses = expected_gradient(build(network=network), *batch(), beta, free_bits)
        assert_close(gradient, expected)
        torch.testing.assert_close(losses.double(), expected_losses, rtol=1e-5, atol=0)

    @NETWORKS
    @pytest.mark.parametrize("activation", ["tanh", "gelu", "silu"])
    def test_gradient_follows_the_published_formula_with_every_activation(self, network: str, activation: str) -> None:
        gradient, _ = gradient_of(build(network=network, activation=activation), *batch())
        expected, _ = expected_gradient(build(network=network, activation=activation), *batch())
        assert_close(gradient, expected)

    @NETWORKS
    def test_in_these_models_some_latent_dimensions_are_above_the_free_bits_and_some_below(self, network: str) -> None:
        """Otherwise the comparison with free bits would show nothing."""
        model = build(network=network)
        with torch.no_grad():
            mean, log_variance = model.posterior(as_intensities(batch()[0]).float())
        kl = kl_of_torch(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0)).mean(0)
        assert (kl > FREE_BITS).any()
        assert (kl < FREE_BITS).any()

    def test_with_more_free_bits_than_kl_the_kl_contributes_nothing_to_the_gradient(self) -> None:
        free, losses = gradient_of(build(), *batch(), free_bits=1e6)
        without, without_losses = gradient_of(build(), *batch(), beta=0.0)
        assert torch.equal(free, without)
        assert torch.equal(losses[1:], without_losses[1:])
        assert losses[0].item() == pytest.approx(losses[1].item() + LATENT_DIM * 1e6)


def log_weights_of(model: VAE, x: Tensor, noise: Tensor) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) of each sample of an image: (k,)."""
    mean, log_variance = (values[0] for values in model.encoder(x[None]))
    posterior = Normal(mean, torch.exp(0.5 * log_variance))
    z = mean + posterior.stddev * noise
    log_prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    log_posterior = posterior.log_prob(z).sum(1)
    log_weights: Tensor = log_likelihood(model, x.expand(len(z), *IMAGE_SHAPE), z) + log_prior - log_posterior
    return log_weights


class TestImportanceWeightedBound:
    @NETWORKS
    @pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
    def test_gradient_is_the_sum_of_normalized_weights_times_gradients_of_log_weights(
        self, network: str, likelihood: str
    ) -> None:
        """Burda, Grosse & Salakhutdinov 2015, section 3, one image and one sample at a time."""
        gradient, losses = gradient_of(build(network=network, likelihood=likelihood), batch()[0], noises())

        model, images = build(network=network, likelihood=likelihood).double(), as_intensities(batch()[0])
        expected, bound = torch.zeros(len(gradient)).double(), 0.0
        for x, noise in zip(images, noises().double(), strict=True):
            log_weights = log_weights_of(model, x, noise)
            bound += log_weights.exp().mean().log().item() / BATCH_SIZE
            for share, log_weight in zip(log_weights.softmax(0).tolist(), log_weights, strict=True):
                model.zero_grad()
                log_weight.backward(retain_graph=True)
                expected -= share * flat_gradient(model) / BATCH_SIZE
        assert_close(gradient, expected)
        assert losses[0].item() == pytest.approx(-bound, rel=1e-5)

    def test_in_this_model_no_sample_has_nearly_all_of_the_weight(self) -> None:
        """Otherwise the test above would not tell normalized weights from others."""
        with torch.no_grad():
            model = build().double()
            log_weights = log_weights_of(model, as_intensities(batch()[0])[0], noises().double()[0])
        assert log_weights.softmax(0).max() < 0.9
        assert log_weights.std() > 0.1

    def test_with_one_sample_the_loss_is_a_negative_elbo_whose_kl_is_that_of_the_sample(self) -> None:
        """Its expectation is the analytic KL, which is reported."""
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
        assert losses[0].item() == pytest.approx(-torch.cat(log_weights).mean().item(), rel=1e-5)

    def test_reported_are_the_reconstruction_averaged_over_samples_and_the_analytic_kl(self) -> None:
        images, noise = batch()[0], noises()
        _, losses = gradient_of(build(), images, noise)
        each = torch.stack([gradient_of(build(), images, noise[:, sample])[1] for sample in range(SAMPLES)])
        torch.testing.assert_close(losses[1:], each[:, 1:].mean(0), rtol=1e-5, atol=0)


class TestAutomaticDifferentiation:
    @NETWORKS
    def test_the_gradient_is_written_in_place_to_the_gradient_of_the_weights(self, network: str) -> None:
        model = build(network=network, likelihood="gaussian")
        weights = Weights(model)
        places = [parameter.grad.data_ptr() for parameter in model.parameters() if parameter.grad is not None]
        assert len(places) == len(list(model.parameters()))
        backward = AutomaticDifferentiation(model, weights, 0.0, torch.float32)
        for seed in (1, 10):
            gradient, _ = call(backward, batch(seed=seed))
            assert [parameter.grad.data_ptr() for parameter in model.parameters() if parameter.grad is not None] == (
                places
            )
            assert torch.equal(gradient, flat_gradient(model))
            assert gradient.any()

    @NETWORKS
    def test_the_gradient_of_a_batch_does_not_depend_on_batches_before_it(self, network: str) -> None:
        """Of another size, with another KL weight, or with an overflow."""
        alone, alone_losses = gradient_of(build(network=network), *batch())
        model = build(network=network)
        backward = AutomaticDifferentiation(model, Weights(model), 0.0, torch.float32)
        call(backward, batch(3, seed=10), beta=0.5)
        images, noise = batch(seed=20)
        overflowed, _ = call(backward, (images, torch.full_like(noise, torch.nan)), beta=2.0)
        assert not overflowed.isfinite().all()
        gradient, losses = call(backward, batch())
        assert torch.equal(gradient, alone)
        assert torch.equal(losses, alone_losses)

    def test_the_gradient_is_taken_at_the_weights_of_the_moment(self) -> None:
        model, halved = build(activation="tanh"), build(activation="tanh")
        backward = AutomaticDifferentiation(model, Weights(model), 0.0, torch.float32)
        call(backward, batch())
        backward.weights.vector.mul_(0.5)
        with torch.no_grad():
            for weight in halved.parameters():
                weight.mul_(0.5)
        assert_close(call(backward, batch())[0], expected_gradient(halved, *batch())[0])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
    @NETWORKS
    def test_images_noise_and_weights_are_left_unchanged_and_results_are_float32(
        self, network: str, dtype: torch.dtype
    ) -> None:
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
    def test_bfloat16_gives_nearly_the_importance_weighted_gradient(self, network: str) -> None:
        gradient, losses = gradient_of(build(network=network), batch()[0], noises(), torch.bfloat16)
        expected, expected_losses = gradient_of(build(network=network), batch()[0], noises())
        # A weight is the exponential of a log-likelihood, of which an eighth bit is worth much.
        assert F.cosine_similarity(gradient, expected, 0) > 0.97
        torch.testing.assert_close(losses, expected_losses, rtol=4 * ROUNDING, atol=0)


@torch.no_grad()
def make_step(
    model: VAE, params: TrainParams, images: Tensor, noise: Tensor, *, accelerated: bool = False
) -> tuple[Step, StepResult]:
    """A step of a model on a batch, by automatic differentiation or by an accelerator."""
    step = Step(model, params)
    if accelerated:
        accelerate(step, model, params, images, noise)
        assert isinstance(step.backward, NegativeElboGradient)
    return step, step(images, noise, torch.tensor(params.beta), torch.tensor(params.learning_rate))


class TestStep:
    @pytest.mark.parametrize("gradient_clip", [0.0, 0.5], ids=["unclipped", "clipped"])
    @pytest.mark.parametrize(
        ("network", "accelerated"), [("mlp", False), ("mlp", True), ("conv", False), ("autoregressive", False)]
    )
    def test_gradient_norm_is_that_of_the_float64_gradient_before_clipping(
        self, network: str, accelerated: bool, gradient_clip: float
    ) -> None:
        params = train_params(gradient_clip=gradient_clip, beta=0.7)
        _, result = make_step(build(network=network), params, *batch(), accelerated=accelerated)
        expected, _ = expected_gradient(build(network=network), *batch(), beta=0.7)
        assert expected.norm() > 2 * gradient_clip
        assert result.gradient_norm.shape == ()
        assert result.gradient_norm.item() == pytest.approx(expected.norm().item(), rel=1e-5)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"beta": 4.0},
            {"free_bits": FREE_BITS},
            {"importance_samples": SAMPLES},
            {"weight_decay": 0.3},
            {"gradient_clip": 0.5},
            {"weight_decay": 0.3, "gradient_clip": 0.5},
        ],
        ids=str,
    )
    @NETWORKS
    def test_a_step_equals_backward_and_adamw_step_of_pytorch(self, network: str, changes: dict[str, Any]) -> None:
        params = train_params(learning_rate=LEARNING_RATE, **changes)
        images, noise = batch()
        if params.importance_samples > 1:
            noise = noises()
        step, result = make_step(build(network=network), params, images, noise)

        model = build(network=network)
        matrices = [weight for weight in model.parameters() if weight.ndim > 1]
        vectors = [weight for weight in model.parameters() if weight.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": params.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=params.learning_rate)
        losses = training_loss(model, as_intensities(images).float(), noise, params.beta, params.free_bits)
        losses.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), params.gradient_clip or torch.inf)
        optimizer.step()

        assert [term.item() for term in result.losses] == pytest.approx([term.item() for term in losses], rel=1e-6)
        assert result.gradient_norm.item() == pytest.approx(norm.item(), rel=1e-6)
        expected = torch.cat([weight.detach().flatten() for weight in model.parameters()])
        start = torch.cat([weight.detach().flatten() for weight in build(network=network).parameters()])
        assert (expected - start).abs().max() > 0.9 * LEARNING_RATE
        torch.testing.assert_close(entries(step.weights, step.weights.vector), expected, rtol=1e-6, atol=1e-7)

    @NETWORKS
    def test_the_losses_of_a_step_are_those_of_the_weights_before_it(self, network: str) -> None:
        _, result = make_step(build(network=network), train_params(learning_rate=1.0), *batch())
        _, expected = gradient_of(build(network=network), *batch())
        assert torch.equal(torch.stack(list(result.losses)), expected)

    @NETWORKS
    def test_by_automatic_differentiation_bfloat16_rounds_and_tf32_does_not_on_a_cpu(self, network: str) -> None:
        losses = {}
        for precision in ("float32", "tf32", "bfloat16"):
            step, result = make_step(build(network=network), train_params(precision=precision), *batch())
            losses[precision] = torch.stack(list(result.losses))
            assert step.weights.vector.dtype == torch.float32
        assert torch.equal(losses["tf32"], losses["float32"])
        assert not torch.equal(losses["bfloat16"], losses["float32"])

    @pytest.mark.parametrize(
        ("network", "likelihood"), [("mlp", "bernoulli"), ("conv", "gaussian"), ("autoregressive", "laplace")]
    )
    def test_weight_decay_applies_to_matrices_and_kernels_but_not_to_biases_and_scales(
        self, network: str, likelihood: str
    ) -> None:
        model = build(network=network, likelihood=likelihood)
        weights = Weights(model)
        decay = decay_of_each(weights, 0.3)
        assert decay.shape == weights.vector.shape
        for (name, _), part in zip(model.named_parameters(), weights.slices.values(), strict=True):
            assert (decay[part] == (0.3 if name.endswith("weight") else 0)).all(), name
        assert not gaps(weights, decay).any()
