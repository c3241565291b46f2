from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.settings import architecture
from vae.base.runtime import seeded
from vae.model.networks.mlp import Decoder, Encoder
from vae.model.networks.network import ACTIVATIONS

IMAGE_SHAPE = (2, 3, 4)  # three different numbers, so that a mixed-up order shows
LATENT_DIM = 3
HIDDEN_DIMS = pytest.mark.parametrize("hidden_dims", [(), (5,), (7, 5), (7, 5, 4)], ids=str)


def encoder_of(hidden_dims: Sequence[int], activation: str = "relu") -> Encoder:
    with seeded(0, "weights"):
        return Encoder(
            architecture(image_shape=IMAGE_SHAPE, hidden_dims=hidden_dims, latent_dim=LATENT_DIM, activation=activation)
        )


def decoder_of(hidden_dims: Sequence[int], activation: str = "relu") -> Decoder:
    with seeded(0, "weights"):
        return Decoder(
            architecture(image_shape=IMAGE_SHAPE, hidden_dims=hidden_dims, latent_dim=LATENT_DIM, activation=activation)
        )


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
def test_decoder_has_the_layer_widths_of_the_encoder_in_reverse(hidden_dims: tuple[int, ...]) -> None:
    encoder = [(layer.in_features, layer.out_features) for layer in linear_layers(encoder_of(hidden_dims))]
    decoder = [(layer.in_features, layer.out_features) for layer in linear_layers(decoder_of(hidden_dims))]
    widths = [24, *hidden_dims]
    assert encoder == [*pairwise(widths), (widths[-1], 2 * LATENT_DIM)]
    widths = [LATENT_DIM, *hidden_dims[::-1], 24]
    assert decoder == list(pairwise(widths))


@HIDDEN_DIMS
def test_encoder_is_an_mlp_that_gives_all_means_and_then_all_log_variances(hidden_dims: tuple[int, ...]) -> None:
    encoder, x = encoder_of(hidden_dims), images(6)
    mean, log_variance = encoder(x)
    assert mean.shape == log_variance.shape == (6, LATENT_DIM)
    output = torch.cat([mean, log_variance], dim=1).detach().numpy()
    np.testing.assert_allclose(output, mlp(encoder, x), rtol=1e-5, atol=1e-6)


@HIDDEN_DIMS
def test_decoder_is_an_mlp_that_gives_an_image_row_by_row(hidden_dims: tuple[int, ...]) -> None:
    decoder, z = decoder_of(hidden_dims), codes(6)
    expected = mlp(decoder, z).reshape(6, *IMAGE_SHAPE)
    np.testing.assert_allclose(decoder(z).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_follows_every_layer_but_the_last(name: str) -> None:
    kind = ACTIVATIONS[name]
    for network in (encoder_of((7, 5), name), decoder_of((7, 5), name)):
        kinds = [type(layer) for layer in network.modules() if isinstance(layer, (nn.Linear, kind))]
        assert kinds == [nn.Linear, kind, nn.Linear, kind, nn.Linear]
