"""The gradient of the negative ELBO derived by hand, compared with automatic differentiation in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.settings import architecture, train_params
from tests.weights import entries, gaps
from vae.base.products import Product, by_openblas, by_torch
from vae.base.runtime import CPU, seeded
from vae.base.side_stream import SideStream
from vae.model.networks import mlp
from vae.model.objective import training_loss
from vae.model.vae import VAE
from vae.optimizer.weights import Weights
from vae.training import handwritten_gradient
from vae.training.handwritten_gradient import AffineLayer, NegativeElboGradient, ProductWeights, backward

IMAGE_SHAPE = (2, 3, 4)
PIXELS = 24
LATENT_DIM = 3
ROUNDING = 2**-8  # of a number in bfloat16, relative to it: of its 8 bits the last is right to a half
HIDDEN_DIMS = pytest.mark.parametrize("hidden_dims", [(), (8,), (8, 6)], ids=str)
KL_WEIGHTS = pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0])
BATCH_SIZES = pytest.mark.parametrize("batch_size", [1, 7])
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(hidden_dims: tuple[int, ...] = (8,)) -> VAE:
    """A model with weights so large that ReLUs are off, q depends on the image and the KL counts."""
    model = VAE(architecture(image_shape=IMAGE_SHAPE, hidden_dims=hidden_dims, latent_dim=LATENT_DIM))
    with seeded(0, "weights"), torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.5)
    return model


def batch(size: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images as bytes (B, pixels), and noise (B, D)."""
    images = torch.randint(0, 256, (size, PIXELS), dtype=torch.uint8, generator=random(seed))
    return images, torch.randn(size, LATENT_DIM, generator=random(seed + 1))


def by_autograd(model: VAE, images: Tensor, noise: Tensor, beta: float = 1.0) -> tuple[list[Tensor], Tensor]:
    """The gradient of each parameter, and loss, reconstruction and KL (3,), from the plain formula in float64."""
    x = images.view(-1, *IMAGE_SHAPE).double() / 255
    losses = training_loss(model.double(), x, noise.double(), beta)
    losses.loss.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    return gradients, torch.stack(list(losses)).detach()


def call(gradient: NegativeElboGradient, batch: tuple[Tensor, Tensor], beta: float = 1.0) -> tuple[Tensor, Tensor]:
    """The gradient as one vector, and loss, reconstruction and KL (3,)."""
    with torch.no_grad():
        losses = gradient(*batch, torch.tensor(beta))
    weights = gradient.products.weights
    return entries(weights, weights.gradient), torch.stack(list(losses))


def by_hand(
    model: VAE, images: Tensor, noise: Tensor, dtype: torch.dtype = torch.float32, beta: float = 1.0
) -> tuple[list[Tensor], Tensor]:
    """The gradient of each parameter, and loss, reconstruction and KL (3,), from ``NegativeElboGradient``."""
    weights = Weights(model)
    _, losses = call(NegativeElboGradient(model, weights, dtype), (images, noise), beta)
    return [weights.gradient[part].view_as(parameter) for parameter, part in weights.slices.items()], losses


def flat(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def posterior_params(model: VAE) -> nn.Linear:
    """The encoder's last layer."""
    assert isinstance(model.encoder, mlp.Encoder)
    return model.encoder.posterior_params


def output(model: VAE) -> nn.Linear:
    """The decoder's last layer."""
    assert isinstance(model.decoder, mlp.Decoder)
    return model.decoder.output


class TestNegativeElboGradient:
    @KL_WEIGHTS
    @HIDDEN_DIMS
    @BATCH_SIZES
    @pytest.mark.parametrize("product", [by_torch, by_openblas])
    def test_gradient_and_losses_are_those_of_automatic_differentiation_in_float64(
        self,
        product: Product,
        hidden_dims: tuple[int, ...],
        batch_size: int,
        beta: float,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(handwritten_gradient, "product_for", lambda _: product)
        gradients, losses = by_hand(build(hidden_dims), *batch(batch_size), beta=beta)
        expected_gradients, expected_losses = by_autograd(build(hidden_dims), *batch(batch_size), beta)
        assert losses.dtype == torch.float32
        torch.testing.assert_close(losses.double(), expected_losses, rtol=3e-6, atol=0)
        assert len(gradients) == len(expected_gradients) == 2 * 2 * (len(hidden_dims) + 1)
        for gradient, expected in zip(gradients, expected_gradients, strict=True):
            # Sums of terms of either sign are right to a share of the terms, not of what they leave.
            size = expected.abs().max().item()
            assert size > 0.01
            torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=2e-6 * size)

    @HIDDEN_DIMS
    @BATCH_SIZES
    def test_products_in_bfloat16_give_the_gradient_to_its_eight_bits(
        self, hidden_dims: tuple[int, ...], batch_size: int
    ) -> None:
        """Each layer's weight and input are rounded in the forward and backward pass, and the errors add up."""
        gradients, losses = by_hand(build(hidden_dims), *batch(batch_size), torch.bfloat16)
        in_float32, _ = by_hand(build(hidden_dims), *batch(batch_size))
        expected_gradients, expected_losses = by_autograd(build(hidden_dims), *batch(batch_size))
        assert not torch.equal(flat(gradients), flat(in_float32))
        torch.testing.assert_close(losses.double(), expected_losses, rtol=4 * ROUNDING, atol=0)
        layers = 2 * (len(hidden_dims) + 1)
        for gradient, expected in zip(gradients, expected_gradients, strict=True):
            assert (gradient - expected).norm() <= 2 * layers * ROUNDING * expected.norm()

    @PRECISIONS
    def test_the_kl_weight_changes_the_loss_but_not_the_reported_reconstruction_and_kl(
        self, dtype: torch.dtype
    ) -> None:
        _, plain = by_hand(build(), *batch(7), dtype)
        _, losses = by_hand(build(), *batch(7), dtype, beta=0.3)
        assert torch.equal(losses[1:], plain[1:])
        torch.testing.assert_close(losses[0], plain[1] + 0.3 * plain[2])
        torch.testing.assert_close(plain[0], plain[1] + plain[2])

    def test_with_a_kl_weight_of_zero_the_kl_contributes_nothing_to_the_gradient(self) -> None:
        """With a decoder that ignores z, the encoder's gradient is that of the KL alone."""
        for beta, moves in ((0.0, False), (0.01, True)):
            model = build(())
            with torch.no_grad():
                output(model).weight.zero_()
            gradients, _ = by_hand(model, *batch(7), beta=beta)
            assert gradients[0].any() == moves
            assert gradients[-1].any()

    def test_the_kl_weight_is_read_at_each_call(self) -> None:
        """A warm-up changes it from step to step, in place where a CUDA graph replays the steps."""
        model, beta = build(), torch.tensor(0.0)
        weights = Weights(model)
        gradient = NegativeElboGradient(model, weights, torch.float32)
        for value in (0.0, 0.5, 1.0):
            beta.fill_(value)
            with torch.no_grad():
                losses = gradient(*batch(7), beta)
            alone, alone_losses = by_hand(build(), *batch(7), beta=value)
            assert torch.equal(entries(weights, weights.gradient), flat(alone))
            assert torch.equal(torch.stack(list(losses)), alone_losses)

    @PRECISIONS
    @HIDDEN_DIMS
    def test_the_gradient_of_a_batch_does_not_depend_on_batches_before_it(
        self, hidden_dims: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        """Of the same size or another, with another KL weight, or with an overflow."""
        alone, alone_losses = by_hand(build(hidden_dims), *batch(7), dtype)
        model = build(hidden_dims)
        gradient = NegativeElboGradient(model, Weights(model), dtype)
        for seed in (10, 20):
            call(gradient, batch(7, seed), beta=0.5)
            call(gradient, batch(5, seed), beta=2.0)
        images, noise = batch(7)
        overflowed, _ = call(gradient, (images, torch.full_like(noise, torch.nan)))
        assert not overflowed.isfinite().all()
        again, losses = call(gradient, batch(7))
        assert torch.equal(again, flat(alone))
        assert torch.equal(losses, alone_losses)

    @PRECISIONS
    def test_images_noise_and_weights_are_left_unchanged(self, dtype: torch.dtype) -> None:
        images, noise = batch(7)
        model = build()
        by_hand(model, images, noise, dtype)
        assert torch.equal(images, batch(7)[0])
        assert torch.equal(noise, batch(7)[1])
        assert all(map(torch.equal, model.parameters(), build().parameters()))

    @PRECISIONS
    def test_the_gradient_is_taken_at_the_weights_of_the_moment(self, dtype: torch.dtype) -> None:
        model, halved = build(), build()
        gradient = NegativeElboGradient(model, Weights(model), dtype)
        call(gradient, batch(7))
        gradient.products.weights.vector.mul_(0.5)
        with torch.no_grad():
            for weight in halved.parameters():
                weight.mul_(0.5)
        expected, expected_losses = by_hand(halved, *batch(7), dtype)
        after, losses = call(gradient, batch(7))
        assert torch.equal(after, flat(expected))
        assert torch.equal(losses, expected_losses)

    def test_the_kl_of_nearly_collapsed_dimensions_keeps_its_digits(self) -> None:
        """With log σ² = 1e-4 the KL is ½·(e^1e-4 - 1 - 1e-4) = 2.5e-9, which float32 would lose in σ² - 1 itself."""
        model = build(())
        with torch.no_grad():
            posterior_params(model).weight.zero_()
            posterior_params(model).bias.zero_()
            posterior_params(model).bias[LATENT_DIM:] = 1e-4
        _, losses = by_hand(model, *batch(7))
        # The digits that are left: two terms of 1e-4, each to 6e-8 of itself.
        assert losses[2].item() == pytest.approx(LATENT_DIM * 2.5e-9, rel=3e-3)


def applies(network: dict[str, Any], training: dict[str, Any], dtype: torch.dtype = torch.float32) -> bool:
    """Whether there is a handwritten gradient for such a training."""
    model = VAE(architecture(**{"image_shape": (1, 4, 4), **network}))
    gradient = backward(model, Weights(model), train_params(**training), dtype)
    assert gradient is None or gradient.dtype == dtype
    return gradient is not None


class TestBackward:
    @PRECISIONS
    @pytest.mark.parametrize(
        "network",
        [
            {},
            {"hidden_dims": ()},
            {"hidden_dims": (8, 6)},
            {"latent_dim": 1},
            {"image_shape": (3, 2, 2)},
            {"channels": 1, "masked_layers": 9},  # which this network does not have
        ],
        ids=str,
    )
    def test_the_handwritten_gradient_applies_to_relu_mlps_of_any_size(
        self, network: dict[str, Any], dtype: torch.dtype
    ) -> None:
        assert applies(network, {}, dtype)

    @pytest.mark.parametrize(
        "training",
        [
            {"beta": 0.0},
            {"beta": 4.0},
            {"kl_warmup_epochs": 2},
            {"schedule": "cosine"},
            {"schedule": "eight_stages"},
            {"weight_decay": 0.1},
            {"gradient_clip": 1.0, "skip_above": 100.0},
            {"ema_decay": 0.99, "warmup_epochs": 1.0},
            {"precision": "bfloat16"},
            {"precision": "tf32"},
        ],
        ids=str,
    )
    def test_the_handwritten_gradient_applies_with_any_kl_weight_and_any_optimization(
        self, training: dict[str, Any]
    ) -> None:
        assert applies({}, training)

    @pytest.mark.parametrize(
        "network",
        [
            {"network": "conv"},
            {"network": "autoregressive"},
            {"activation": "tanh"},
            {"activation": "gelu"},
            {"activation": "silu"},
            {"likelihood": "continuous_bernoulli"},
            {"likelihood": "gaussian"},
            {"likelihood": "laplace", "scale": 0.5},
        ],
        ids=str,
    )
    def test_the_handwritten_gradient_does_not_apply_to_another_network_activation_or_likelihood(
        self, network: dict[str, Any]
    ) -> None:
        assert not applies(network, {})

    @pytest.mark.parametrize("layer", [nn.Tanh(), nn.Dropout(), nn.BatchNorm1d(8)], ids=str)
    @pytest.mark.parametrize("part", ["encoder", "decoder"])
    def test_the_handwritten_gradient_does_not_apply_where_one_layer_is_of_another_kind(
        self, part: str, layer: nn.Module
    ) -> None:
        model = build()
        hidden = getattr(model, part).hidden
        hidden.append(layer)
        assert backward(model, Weights(model), train_params(), torch.float32) is None

    @pytest.mark.parametrize("training", [{"importance_samples": 2}, {"free_bits": 0.1}], ids=str)
    def test_the_handwritten_gradient_does_not_apply_to_another_objective(self, training: dict[str, Any]) -> None:
        assert not applies({}, training)


class TestProductWeights:
    @PRECISIONS
    def test_products_see_each_parameter_and_its_gradient_in_their_precision(self, dtype: torch.dtype) -> None:
        model = build()
        products = ProductWeights(Weights(model), dtype)
        for parameter in model.parameters():
            value, gradient = products.of(parameter)
            assert value.dtype == gradient.dtype == dtype
            assert value.shape == gradient.shape == parameter.shape
            assert torch.equal(value, parameter.to(dtype))

    @PRECISIONS
    def test_reading_shows_products_the_weights_of_the_moment_and_leaves_those_unchanged(
        self, dtype: torch.dtype
    ) -> None:
        model = build()
        weights = Weights(model)
        products = ProductWeights(weights, dtype)
        weights.vector.mul_(3)
        changed = weights.vector.clone()
        products.read()
        assert torch.equal(weights.vector, changed)
        for parameter, before in zip(model.parameters(), build().parameters(), strict=True):
            assert torch.equal(products.of(parameter)[0], (3 * before).to(dtype))

    def test_changes_of_the_weights_too_small_for_bfloat16_add_up(self) -> None:
        """1 + 2⁻¹⁰ is 1 in bfloat16, but eight of them are 1 + 2⁻⁷."""
        model = build()
        weights = Weights(model)
        products = ProductWeights(weights, torch.bfloat16)
        weights.vector.fill_(1)
        seen = []
        for _ in range(8):
            weights.vector.add_(2**-10)
            products.read()
            seen.append(products.of(output(model).bias)[0][0].item())
        assert seen[0] == 1
        assert seen[-1] == 1 + 2**-7

    @PRECISIONS
    def test_writing_puts_the_gradient_of_the_products_into_that_of_the_weights_in_their_order(
        self, dtype: torch.dtype
    ) -> None:
        model = build()
        weights = Weights(model)
        products = ProductWeights(weights, dtype)
        for number, parameter in enumerate(model.parameters()):
            products.of(parameter)[1].fill_(number)
        products.write()
        expected = [torch.full((weight.numel(),), float(number)) for number, weight in enumerate(model.parameters())]
        assert weights.gradient.dtype == torch.float32
        assert torch.equal(entries(weights, weights.gradient), torch.cat(expected))
        assert not gaps(weights, weights.gradient).any()
        assert all(map(torch.equal, model.parameters(), build().parameters()))


@pytest.mark.parametrize("relu", [True, False])
def test_an_affine_layer_goes_forward_and_backward_as_pytorchs_modules_do(relu: bool) -> None:
    """With a unit whose output is exactly zero, where the derivative of ReLU is zero."""
    linear = nn.Linear(PIXELS, 8)
    with seeded(0, "weights"), torch.no_grad():
        linear.weight.normal_()
        linear.bias.normal_()
        linear.weight[3] = 0
        linear.bias[3] = 0
    model = build()
    first = next(layer for layer in model.encoder.modules() if isinstance(layer, nn.Linear))
    first.load_state_dict(linear.state_dict())
    layer = AffineLayer(first, ProductWeights(Weights(model), torch.float32), 5, SideStream(CPU), relu=relu)
    x, gradient = torch.randn(5, PIXELS, generator=random(1)), torch.randn(5, 8, generator=random(2))

    by_input = x.clone().requires_grad_()
    expected = torch.relu(linear(by_input)) if relu else linear(by_input)
    expected.backward(gradient)

    with torch.no_grad():
        result = layer.forward(x)
        torch.testing.assert_close(result, expected.detach(), rtol=1e-6, atol=1e-6)
        assert (result[:, 3] == 0).all()
        assert (result < 0).any() != relu
        assert (result > 0).any()
        gradient_by_input = layer.backward_to_input(gradient.clone())
    for actual, reference in (
        (gradient_by_input, by_input.grad),
        (layer.weight_gradient, linear.weight.grad),
        (layer.bias_gradient, linear.bias.grad),
    ):
        assert reference is not None
        torch.testing.assert_close(actual, reference, rtol=1e-6, atol=1e-5)
    assert layer.weight_gradient[3].any() != relu
