from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from tests.settings import architecture, train_params
from vae.backpropagation import AffineLayer, NegativeElboGradient, Weights, known_by_hand
from vae.likelihoods import Bernoulli
from vae.model import VAE
from vae.networks.dense import DenseDecoder, DenseEncoder
from vae.objective import training_loss
from vae.runtime import seeded

IMAGE_SHAPE = (2, 3, 4)
PIXELS = 24
LATENT_DIM = 3
ONE = torch.tensor(1.0)
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


def plain_losses(model: VAE, images: Tensor, noise: Tensor, beta: float = 1.0) -> Tensor:
    """Loss, reconstruction and KL, averages over a batch, by the plain formula in float64 (3,)."""
    x = images.view(-1, *IMAGE_SHAPE).double() / 255
    return torch.stack(training_loss(model, x, noise.double(), beta))


def by_autograd(model: VAE, images: Tensor, noise: Tensor, beta: float = 1.0) -> tuple[list[Tensor], Tensor]:
    """The gradient by each parameter, and the sums of loss, reconstruction and KL over the batch."""
    losses = plain_losses(model.double(), images, noise, beta)
    losses[0].backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    return gradients, losses.detach() * len(images)


def by_hand(
    model: VAE, images: Tensor, noise: Tensor, dtype: torch.dtype = torch.float32, beta: float = 1.0
) -> tuple[list[Tensor], Tensor]:
    """The same from ``NegativeElboGradient``."""
    weights, losses = Weights(model, dtype), torch.empty(3)
    NegativeElboGradient(model, weights, len(images))(images, noise, torch.tensor(beta), losses)
    parameters = list(model.parameters())
    parts = weights.gather_gradient().split([parameter.numel() for parameter in parameters])
    return [part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)], losses


def moments(model: VAE) -> nn.Linear:
    """The encoder's last layer."""
    assert isinstance(model.encoder, DenseEncoder)
    return model.encoder.moments


def output(model: VAE) -> nn.Linear:
    """The decoder's last layer."""
    assert isinstance(model.decoder, DenseDecoder)
    return model.decoder.output


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)]


class TestNegativeElboGradient:
    @KL_WEIGHTS
    @HIDDEN_DIMS
    @BATCH_SIZES
    def test_gradient_and_losses_are_those_of_automatic_differentiation(
        self, hidden_dims: tuple[int, ...], batch_size: int, beta: float
    ) -> None:
        gradients, losses = by_hand(build(hidden_dims), *batch(batch_size), beta=beta)
        expected_gradients, expected_losses = by_autograd(build(hidden_dims), *batch(batch_size), beta)
        torch.testing.assert_close(losses.double(), expected_losses, rtol=3e-6, atol=0)
        assert len(gradients) == len(expected_gradients) == 2 * 2 * (len(hidden_dims) + 1)
        for gradient, expected in zip(gradients, expected_gradients, strict=True):
            # Sums of terms of either sign are right to a share of the terms, not of what they leave.
            size = expected.abs().max().item()
            assert size > 0.01
            torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=2e-6 * size)

    @KL_WEIGHTS
    @HIDDEN_DIMS
    def test_gradient_says_how_the_loss_changes_in_any_direction(
        self, hidden_dims: tuple[int, ...], beta: float
    ) -> None:
        images, noise = batch(7)
        gradients, _ = by_hand(build(hidden_dims), images, noise, beta=beta)
        gradient = torch.cat([part.flatten() for part in gradients]).double()
        model = build(hidden_dims).double()
        theta = parameters_to_vector(model.parameters()).detach()

        def loss(at: Tensor) -> float:
            vector_to_parameters(at, model.parameters())
            return plain_losses(model, images, noise, beta)[0].item()

        for seed in range(5):
            direction = F.normalize(torch.randn(len(theta), dtype=torch.float64, generator=random(seed)), dim=0)
            slope = (loss(theta + 1e-6 * direction) - loss(theta - 1e-6 * direction)) / 2e-6
            assert slope == pytest.approx((gradient @ direction).item(), abs=1e-6 * gradient.norm().item())

    @HIDDEN_DIMS
    @BATCH_SIZES
    def test_products_in_bfloat16_give_the_gradient_to_its_eight_bits(
        self, hidden_dims: tuple[int, ...], batch_size: int
    ) -> None:
        """A layer's weight and input are rounded, there and back: an error in the gradient of so many roundings."""
        gradients, losses = by_hand(build(hidden_dims), *batch(batch_size), torch.bfloat16)
        expected_gradients, expected_losses = by_autograd(build(hidden_dims), *batch(batch_size))
        torch.testing.assert_close(losses.double(), expected_losses, rtol=4 * ROUNDING, atol=0)
        layers = 2 * (len(hidden_dims) + 1)
        for gradient, expected in zip(gradients, expected_gradients, strict=True):
            assert (gradient - expected).norm() <= 2 * layers * ROUNDING * expected.norm()

    @PRECISIONS
    def test_loss_is_that_of_the_weighted_kl_and_the_terms_are_not_weighted(self, dtype: torch.dtype) -> None:
        _, plain = by_hand(build(), *batch(7), dtype)
        _, losses = by_hand(build(), *batch(7), dtype, beta=0.3)
        assert torch.equal(losses[1:], plain[1:])
        torch.testing.assert_close(losses[0], plain[1] + 0.3 * plain[2])
        torch.testing.assert_close(plain[0], plain[1] + plain[2])

    def test_without_any_weight_the_kl_has_no_part_in_the_gradient(self) -> None:
        """With a decoder that ignores z, nothing is left for the encoder to learn; with the KL there is."""
        for beta, moves in ((0.0, False), (0.01, True)):
            model = build(())
            with torch.no_grad():
                output(model).weight.zero_()
            gradients, _ = by_hand(model, *batch(7), beta=beta)
            assert gradients[0].any() == moves
            assert gradients[-1].any()

    def test_the_weight_of_the_kl_is_that_of_the_moment(self) -> None:
        """One object for all steps, while the weight rises."""
        model, beta, losses = build(), torch.tensor(0.0), torch.empty(3)
        weights = Weights(model)
        gradient = NegativeElboGradient(model, weights, 7)
        for value in (0.0, 0.5, 1.0):
            beta.fill_(value)
            gradient(*batch(7), beta, losses)
            alone, alone_losses = by_hand(build(), *batch(7), beta=value)
            assert torch.equal(weights.gather_gradient(), torch.cat([part.flatten() for part in alone]))
            assert torch.equal(losses, alone_losses)

    @PRECISIONS
    @HIDDEN_DIMS
    def test_a_batch_leaves_nothing_behind_for_the_next(self, hidden_dims: tuple[int, ...], dtype: torch.dtype) -> None:
        alone, alone_losses = by_hand(build(hidden_dims), *batch(7), dtype)
        model = build(hidden_dims)
        weights, losses = Weights(model, dtype), torch.empty(3)
        gradient = NegativeElboGradient(model, weights, 7)
        gradient_of_others = NegativeElboGradient(model, weights, 5)  # writes to the same weights' gradient
        for seed in (10, 20):
            gradient(*batch(7, seed), torch.tensor(0.5), torch.empty(3))
            gradient_of_others(*batch(5, seed), torch.tensor(2.0), torch.empty(3))
        gradient(*batch(7), ONE, losses)
        assert torch.equal(weights.gather_gradient(), torch.cat([part.flatten() for part in alone]))
        assert torch.equal(losses, alone_losses)

    @PRECISIONS
    def test_a_batch_that_overflowed_leaves_nothing_behind_either(self, dtype: torch.dtype) -> None:
        alone, _ = by_hand(build(), *batch(7), dtype)
        model = build()
        weights, losses = Weights(model, dtype), torch.empty(3)
        gradient = NegativeElboGradient(model, weights, 7)
        images, noise = batch(7)
        gradient(images, torch.full_like(noise, torch.nan), ONE, losses)
        assert not weights.gather_gradient().isfinite().all()
        gradient(images, noise, ONE, losses)
        assert torch.equal(weights.gather_gradient(), torch.cat([part.flatten() for part in alone]))
        assert losses.isfinite().all()

    @PRECISIONS
    def test_images_noise_and_weights_stay_as_they_are(self, dtype: torch.dtype) -> None:
        images, noise = batch(7)
        model = build()
        by_hand(model, images, noise, dtype)
        assert torch.equal(images, batch(7)[0])
        assert torch.equal(noise, batch(7)[1])
        assert all(map(torch.equal, model.parameters(), build().parameters()))

    def test_gradient_goes_by_the_weights_of_the_moment(self) -> None:
        model = build()
        weights, losses = Weights(model), torch.empty(3)
        gradient = NegativeElboGradient(model, weights, 7)
        gradient(*batch(7), ONE, losses)
        weights.vector.mul_(0.5)
        weights.refresh()
        gradient(*batch(7), ONE, losses)
        halved = build()
        with torch.no_grad():
            for weight in halved.parameters():
                weight.mul_(0.5)
        expected, expected_losses = by_autograd(halved, *batch(7))
        flat = torch.cat([part.flatten() for part in expected])
        torch.testing.assert_close(weights.gather_gradient().double(), flat, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(losses.double(), expected_losses, rtol=3e-6, atol=0)

    def test_gradient_is_that_of_the_models_likelihood(self) -> None:
        """One that counts everything threefold, in a linear decoder: its gradient is three times as large."""

        class Threefold(Bernoulli):
            def log_density(self, x: Tensor, output: Tensor) -> Tensor:
                return 3 * super().log_density(x, output)

            def log_density_gradient(self, x: Tensor, output: Tensor) -> Tensor:
                return 3 * super().log_density_gradient(x, output)

        model = build(())
        model.likelihood = Threefold()
        (*_, by_weight, by_bias), losses = by_hand(model, *batch(7))
        (*_, once_by_weight, once_by_bias), once = by_hand(build(()), *batch(7))
        torch.testing.assert_close(by_weight, 3 * once_by_weight, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(by_bias, 3 * once_by_bias, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(losses[1:], once[1:] * torch.tensor([3, 1]), rtol=1e-6, atol=0)
        torch.testing.assert_close(losses[0], losses[1] + losses[2], rtol=1e-6, atol=0)

    def test_kl_of_nearly_collapsed_dimensions_keeps_its_digits(self) -> None:
        """Of log σ² = 1e-4 the KL is ½·(e^1e-4 - 1 - 1e-4) = 2.5e-9, which float32 would lose in σ² - 1 itself."""
        model = build(())
        with torch.no_grad():
            moments(model).weight.zero_()
            moments(model).bias.zero_()
            moments(model).bias[LATENT_DIM:] = 1e-4
        _, losses = by_hand(model, *batch(7))
        # The digits that are left: two terms of 1e-4, each to 6e-8 of itself.
        assert losses[2].item() == pytest.approx(7 * LATENT_DIM * 2.5e-9, rel=3e-3)


class TestKnownByHand:
    def test_the_tutorials_network_and_objective_are(self) -> None:
        assert known_by_hand(architecture(), train_params())

    @pytest.mark.parametrize(
        "changes",
        [
            {"hidden_dims": ()},
            {"hidden_dims": (8, 6)},
            {"latent_dim": 1},
            {"image_shape": (3, 2, 2)},
            {"channels": 1, "masked_layers": 9},  # which this network does not have
        ],
        ids=str,
    )
    def test_so_is_one_of_any_size(self, changes: dict[str, Any]) -> None:
        assert known_by_hand(architecture(**changes), train_params())

    @pytest.mark.parametrize(
        "changes",
        [
            {"beta": 0.0},
            {"beta": 4.0},
            {"kl_warmup_epochs": 2},
            {"schedule": "cosine"},
            {"schedule": "eight_stages"},
            {"weight_decay": 0.1},
            {"gradient_clip": 1.0},
            {"precision": "bfloat16"},
            {"precision": "tf32"},
        ],
        ids=str,
    )
    def test_so_is_any_weight_of_the_kl_and_any_optimisation(self, changes: dict[str, Any]) -> None:
        assert known_by_hand(architecture(), train_params(**changes))

    @pytest.mark.parametrize(
        "changes",
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
    def test_no_other_network_activation_or_likelihood_is(self, changes: dict[str, Any]) -> None:
        assert not known_by_hand(architecture(**changes), train_params())

    @pytest.mark.parametrize("changes", [{"importance_samples": 2}, {"free_bits": 0.1}], ids=str)
    def test_no_other_objective_is(self, changes: dict[str, Any]) -> None:
        assert not known_by_hand(architecture(), train_params(**changes))


class TestWeights:
    @PRECISIONS
    def test_the_models_parameters_are_views_of_the_vector_in_their_order(self, dtype: torch.dtype) -> None:
        model = build()
        weights = Weights(model, dtype)
        assert weights.vector.dtype == torch.float32
        weights.vector.copy_(torch.arange(len(weights.vector)))
        assert torch.equal(parameters_to_vector(model.parameters()), torch.arange(len(weights.vector)).float())
        with torch.no_grad():
            moments(model).bias.fill_(-1)
        assert (weights.vector == -1).sum() == 2 * LATENT_DIM

    def test_the_model_computes_with_what_the_vector_holds(self) -> None:
        model, other = build(), build()
        Weights(model).vector.neg_()
        with torch.no_grad():
            for weight in other.parameters():
                weight.neg_()
        z = torch.randn(5, LATENT_DIM, generator=random(3))
        assert torch.equal(model.decoder(z), other.decoder(z))
        assert not torch.equal(model.decoder(z), build().decoder(z))

    @PRECISIONS
    @HIDDEN_DIMS
    def test_the_state_dict_keeps_its_names_and_values(self, hidden_dims: tuple[int, ...], dtype: torch.dtype) -> None:
        model, before = build(hidden_dims), build(hidden_dims).state_dict()
        Weights(model, dtype)
        after = model.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[name], before[name]) for name in before)
        assert all(parameter.requires_grad for parameter in model.parameters())

    @PRECISIONS
    def test_products_see_each_parameter_in_their_precision(self, dtype: torch.dtype) -> None:
        model = build()
        weights = Weights(model, dtype)
        for parameter in model.parameters():
            value, gradient = weights.of(parameter)
            assert value.dtype == gradient.dtype == dtype
            assert value.shape == gradient.shape == parameter.shape
            assert torch.equal(value, parameter.to(dtype))

    @PRECISIONS
    def test_products_see_a_change_of_the_vector_once_refreshed(self, dtype: torch.dtype) -> None:
        model = build()
        weights = Weights(model, dtype)
        weights.vector.mul_(3)
        changed = weights.vector.clone()
        weights.refresh()
        assert torch.equal(weights.vector, changed)
        for parameter, before in zip(model.parameters(), build().parameters(), strict=True):
            assert torch.equal(weights.of(parameter)[0], (3 * before).to(dtype))

    def test_steps_too_small_for_bfloat16_add_up_in_the_vector(self) -> None:
        """1 + 2⁻¹⁰ is 1 in bfloat16, but eight of them are 1 + 2⁻⁷."""
        model = build()
        weights = Weights(model, torch.bfloat16)
        weights.vector.fill_(1)
        seen = []
        for _ in range(8):
            weights.vector.add_(2**-10)
            weights.refresh()
            seen.append(weights.of(output(model).bias)[0][0].item())
        assert seen[0] == 1
        assert seen[-1] == 1 + 2**-7

    @PRECISIONS
    def test_the_gathered_gradient_holds_what_products_wrote_in_the_order_of_the_vector(
        self, dtype: torch.dtype
    ) -> None:
        model = build()
        weights = Weights(model, dtype)
        for number, parameter in enumerate(model.parameters()):
            weights.of(parameter)[1].fill_(number)
        gathered = weights.gather_gradient()
        expected = [torch.full((weight.numel(),), float(number)) for number, weight in enumerate(model.parameters())]
        assert gathered.dtype == torch.float32
        assert torch.equal(gathered, torch.cat(expected))
        assert torch.equal(weights.gradient, gathered)
        assert torch.equal(weights.vector, parameters_to_vector(build().parameters()))


class TestAffineLayer:
    BATCH = 5

    def inputs(self) -> tuple[Tensor, Tensor]:
        """x, and a gradient by the output."""
        return torch.randn(self.BATCH, PIXELS, generator=random(1)), torch.randn(self.BATCH, 8, generator=random(2))

    def layer(self, *, relu: bool) -> tuple[AffineLayer, nn.Linear]:
        """The first layer of a model, with a unit in it whose output is exactly zero."""
        model = build()
        linear = linear_layers(model.encoder)[0]
        with torch.no_grad():
            linear.weight[3] = 0
            linear.bias[3] = 0
        return AffineLayer(linear, Weights(model), self.BATCH, relu=relu), linear

    @pytest.mark.parametrize("relu", [True, False])
    def test_forward_and_backward_are_those_of_pytorchs_modules(self, relu: bool) -> None:
        x, gradient = self.inputs()
        layer, linear = self.layer(relu=relu)
        by_input = x.clone().requires_grad_()
        expected = torch.relu(linear(by_input)) if relu else linear(by_input)
        expected.backward(gradient)

        output = layer.forward(x)
        torch.testing.assert_close(output, expected.detach(), rtol=1e-6, atol=1e-6)
        assert (output[:, 3] == 0).all()
        assert (output < 0).any() != relu

        for actual, reference in (
            (layer.backward_to_input(gradient.clone()), by_input.grad),
            (layer.weight_gradient, linear.weight.grad),
            (layer.bias_gradient, linear.bias.grad),
        ):
            assert reference is not None
            torch.testing.assert_close(actual, reference, rtol=1e-6, atol=1e-5)

    @pytest.mark.parametrize("relu", [True, False])
    def test_backward_gives_weight_and_bias_the_same_with_and_without_the_gradient_by_the_input(
        self, relu: bool
    ) -> None:
        x, gradient = self.inputs()
        layer, _ = self.layer(relu=relu)
        layer.forward(x)
        layer.backward_to_input(gradient.clone())
        first = layer.weight_gradient.clone(), layer.bias_gradient.clone()
        layer.weight_gradient.fill_(torch.nan)
        layer.bias_gradient.fill_(torch.nan)
        layer.backward(gradient.clone())
        assert torch.equal(layer.weight_gradient, first[0])
        assert torch.equal(layer.bias_gradient, first[1])

    def test_no_gradient_passes_where_the_relu_is_off_or_on_the_edge(self) -> None:
        x, gradient = self.inputs()
        layer, _ = self.layer(relu=True)
        off = layer.forward(x) == 0
        assert not off.all()
        layer.backward(gradient)
        assert off[:, 3].all()
        assert (gradient[off] == 0).all()
        assert torch.equal(gradient[~off], self.inputs()[1][~off])
        assert not layer.weight_gradient[3].any()
        assert layer.bias_gradient[3] == 0
