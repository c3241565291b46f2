from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vae.model import VAE, Architecture, reparameterize
from vae.runtime import seeded

IMAGE_SHAPE = (2, 3, 4)  # three different numbers, so that a mixed-up order shows
LATENT_DIM = 3
HIDDEN_DIMS = pytest.mark.parametrize("hidden_dims", [(), (5,), (7, 5), (7, 5, 4)], ids=str)

MEAN = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
LOG_VARIANCE = torch.tensor([-1.5, 0.0, 1.0], dtype=torch.float64)
SIGMA = torch.exp(0.5 * LOG_VARIANCE)


def build(hidden_dims: Sequence[int], image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> VAE:
    with seeded(0, "weights"):
        return VAE(Architecture(image_shape=image_shape, hidden_dims=tuple(hidden_dims), latent_dim=LATENT_DIM))


def images(count: int) -> Tensor:
    return torch.rand(count, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(1))


def codes(count: int) -> Tensor:
    return torch.randn(count, LATENT_DIM, generator=torch.Generator().manual_seed(2))


def normal(count: int) -> Tensor:
    return torch.randn(count, len(MEAN), dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


def mlp(network: nn.Module, inputs: Tensor) -> NDArray[np.float64]:
    """The network in NumPy: affine maps with max(0, ·) between them and nothing after the last."""
    activity = inputs.flatten(1).double().numpy()
    layers = linear_layers(network)
    for layer in layers:
        activity = activity @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        if layer is not layers[-1]:
            activity = np.maximum(activity, 0)
    return activity


@HIDDEN_DIMS
def test_encoder_gives_mean_and_log_variance_of_every_latent_dimension(hidden_dims: tuple[int, ...]) -> None:
    mean, log_variance = build(hidden_dims).encoder(images(6))
    assert mean.shape == log_variance.shape == (6, LATENT_DIM)


@HIDDEN_DIMS
def test_decoder_gives_a_number_a_pixel(hidden_dims: tuple[int, ...]) -> None:
    assert build(hidden_dims).decoder(codes(6)).shape == (6, *IMAGE_SHAPE)


@HIDDEN_DIMS
def test_decoder_mirrors_encoder(hidden_dims: tuple[int, ...]) -> None:
    model = build(hidden_dims)
    encoder = [(layer.in_features, layer.out_features) for layer in linear_layers(model.encoder)]
    decoder = [(layer.in_features, layer.out_features) for layer in linear_layers(model.decoder)]
    widths = [24, *hidden_dims]
    assert encoder == [*pairwise(widths), (widths[-1], 2 * LATENT_DIM)]
    widths = [LATENT_DIM, *hidden_dims[::-1], 24]
    assert decoder == list(pairwise(widths))


@HIDDEN_DIMS
def test_encoder_is_an_mlp_whose_output_is_the_means_before_the_log_variances(hidden_dims: tuple[int, ...]) -> None:
    model, x = build(hidden_dims), images(6)
    mean, log_variance = model.encoder(x)
    moments = torch.cat([mean, log_variance], dim=1).detach().numpy()
    np.testing.assert_allclose(moments, mlp(model.encoder, x), rtol=1e-5, atol=1e-6)


@HIDDEN_DIMS
def test_decoder_is_an_mlp_whose_output_is_an_image_row_by_row(hidden_dims: tuple[int, ...]) -> None:
    model, z = build(hidden_dims), codes(6)
    expected = mlp(model.decoder, z).reshape(6, *IMAGE_SHAPE)
    np.testing.assert_allclose(model.decoder(z).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_tutorials_model_has_652_824_parameters() -> None:
    model = VAE(Architecture(image_shape=(1, 28, 28), hidden_dims=(400,), latent_dim=20))
    encoder = 784 * 400 + 400 + 2 * (400 * 20 + 20)
    decoder = 20 * 400 + 400 + 400 * 784 + 784
    assert sum(weight.numel() for weight in model.parameters()) == encoder + decoder == 652_824


def test_device_is_where_the_weights_lie() -> None:
    model = build((5,))
    assert model.device.type == "cpu"
    assert model.to("meta").device.type == "meta"


def test_sample_without_noise_is_the_mean() -> None:
    assert torch.equal(reparameterize(MEAN, LOG_VARIANCE, torch.zeros(3, dtype=torch.float64)), MEAN)


def test_samples_have_the_mean_and_standard_deviation_asked_for() -> None:
    count = 100_000
    z = reparameterize(MEAN, LOG_VARIANCE, normal(count))
    # Standard errors of a normal sample: σ/√n of the mean, σ/√(2n) of the standard deviation.
    assert ((z.mean(0) - MEAN).abs() < 4 * SIGMA / count**0.5).all()
    assert ((z.std(0) - SIGMA).abs() < 4 * SIGMA / (2 * count) ** 0.5).all()


def test_gradient_is_one_by_the_mean_and_half_sigma_epsilon_by_the_log_variance() -> None:
    noise = normal(50)
    mean = MEAN.expand(50, 3).clone().requires_grad_()
    log_variance = LOG_VARIANCE.expand(50, 3).clone().requires_grad_()
    reparameterize(mean, log_variance, noise).sum().backward()
    assert mean.grad is not None
    assert torch.equal(mean.grad, torch.ones(50, 3, dtype=torch.float64))
    torch.testing.assert_close(log_variance.grad, 0.5 * SIGMA * noise, rtol=1e-14, atol=0)


def test_pathwise_gradient_of_the_expected_square_is_right() -> None:
    """E[z²] = μ² + σ², so its gradient is 2μ by μ and σ² by log σ²."""
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
