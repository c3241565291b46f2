from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vae.networks.dense import ACTIVATIONS, DenseDecoder, DenseEncoder, dense_layers
from vae.runtime import seeded

IMAGE_SHAPE = (2, 3, 4)  # three different numbers, so that a mixed-up order shows
LATENT_DIM = 3
HIDDEN_DIMS = pytest.mark.parametrize("hidden_dims", [(), (5,), (7, 5), (7, 5, 4)], ids=str)


def encoder_of(hidden_dims: Sequence[int]) -> DenseEncoder:
    with seeded(0, "weights"):
        return DenseEncoder(IMAGE_SHAPE, hidden_dims, LATENT_DIM, "relu")


def decoder_of(hidden_dims: Sequence[int]) -> DenseDecoder:
    with seeded(0, "weights"):
        return DenseDecoder(IMAGE_SHAPE, hidden_dims, LATENT_DIM, "relu")


def images(count: int) -> Tensor:
    return torch.rand(count, *IMAGE_SHAPE, generator=torch.Generator().manual_seed(1))


def codes(count: int) -> Tensor:
    return torch.randn(count, LATENT_DIM, generator=torch.Generator().manual_seed(2))


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
    mean, log_variance = encoder_of(hidden_dims)(images(6))
    assert mean.shape == log_variance.shape == (6, LATENT_DIM)


@HIDDEN_DIMS
def test_decoder_gives_a_number_a_pixel(hidden_dims: tuple[int, ...]) -> None:
    assert decoder_of(hidden_dims)(codes(6)).shape == (6, *IMAGE_SHAPE)


@HIDDEN_DIMS
def test_decoder_mirrors_encoder(hidden_dims: tuple[int, ...]) -> None:
    encoder = [(layer.in_features, layer.out_features) for layer in linear_layers(encoder_of(hidden_dims))]
    decoder = [(layer.in_features, layer.out_features) for layer in linear_layers(decoder_of(hidden_dims))]
    widths = [24, *hidden_dims]
    assert encoder == [*pairwise(widths), (widths[-1], 2 * LATENT_DIM)]
    widths = [LATENT_DIM, *hidden_dims[::-1], 24]
    assert decoder == list(pairwise(widths))


@HIDDEN_DIMS
def test_encoder_is_an_mlp_whose_output_is_the_means_before_the_log_variances(hidden_dims: tuple[int, ...]) -> None:
    encoder, x = encoder_of(hidden_dims), images(6)
    mean, log_variance = encoder(x)
    moments = torch.cat([mean, log_variance], dim=1).detach().numpy()
    np.testing.assert_allclose(moments, mlp(encoder, x), rtol=1e-5, atol=1e-6)


@HIDDEN_DIMS
def test_decoder_is_an_mlp_whose_output_is_an_image_row_by_row(hidden_dims: tuple[int, ...]) -> None:
    decoder, z = decoder_of(hidden_dims), codes(6)
    expected = mlp(decoder, z).reshape(6, *IMAGE_SHAPE)
    np.testing.assert_allclose(decoder(z).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "at_minus_one", "at_two"),
    [
        ("relu", 0.0, 2.0),
        ("tanh", -0.761594, 0.964028),
        ("gelu", -0.158655, 1.954500),  # a·Φ(a)
        ("silu", -0.268941, 1.761594),  # a·sigmoid(a)
    ],
)
def test_every_layer_ends_in_the_activation_asked_for(name: str, at_minus_one: float, at_two: float) -> None:
    layers = dense_layers([2, 2], name)
    with torch.no_grad():
        for weight in layers.parameters():
            weight.copy_(torch.eye(2) if weight.ndim == 2 else torch.zeros(2))
        activity = layers(torch.tensor([[-1.0, 2.0]]))
    torch.testing.assert_close(activity, torch.tensor([[at_minus_one, at_two]]), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_stands_between_layers_but_after_no_output(name: str) -> None:
    kind = ACTIVATIONS[name]
    for network in (
        DenseEncoder(IMAGE_SHAPE, (7, 5), LATENT_DIM, name),
        DenseDecoder(IMAGE_SHAPE, (7, 5), LATENT_DIM, name),
    ):
        kinds = [type(layer) for layer in network.modules() if not any(layer.children())]
        assert kinds == [nn.Linear, kind, nn.Linear, kind, nn.Linear]
