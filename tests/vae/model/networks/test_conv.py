from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from tests.settings import architecture
from vae.base.runtime import seeded
from vae.data.images import ImageShape
from vae.model.architecture import Architecture, ArchitectureError
from vae.model.networks.conv import Decoder, Encoder
from vae.model.vae import VAE

LATENT_DIM = 3
CHANNELS = 4
SHAPES = pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 8, 12)], ids=str)
HIDDEN_DIMS = pytest.mark.parametrize("hidden_dims", [(), (5,), (7, 5)], ids=str)


def convolutional(shape: ImageShape, hidden_dims: tuple[int, ...], activation: str) -> Architecture:
    return architecture(
        network="conv",
        image_shape=shape,
        channels=CHANNELS,
        hidden_dims=hidden_dims,
        latent_dim=LATENT_DIM,
        activation=activation,
    )


def encoder_of(shape: ImageShape, hidden_dims: tuple[int, ...] = (5,), activation: str = "tanh") -> Encoder:
    with seeded(0, "weights"):
        return Encoder(convolutional(shape, hidden_dims, activation)).double()


def decoder_of(shape: ImageShape, hidden_dims: tuple[int, ...] = (5,), activation: str = "tanh") -> Decoder:
    with seeded(0, "weights"):
        return Decoder(convolutional(shape, hidden_dims, activation)).double()


def images(count: int, shape: ImageShape) -> Tensor:
    return torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def codes(count: int) -> Tensor:
    return torch.randn(count, LATENT_DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def sizes(network: nn.Module) -> list[tuple[int, int]]:
    """What each layer takes and gives: channels of convolutions, numbers of dense layers."""
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    return [
        (layer.in_channels, layer.out_channels)
        if isinstance(layer, convolutions)
        else (layer.in_features, layer.out_features)
        for layer in network.modules()
        if isinstance(layer, (*convolutions, nn.Linear))
    ]


@SHAPES
@HIDDEN_DIMS
def test_encoder_gives_mean_and_log_variance_of_every_latent_dimension(
    shape: ImageShape, hidden_dims: tuple[int, ...]
) -> None:
    mean, log_variance = encoder_of(shape, hidden_dims)(images(6, shape))
    assert mean.shape == log_variance.shape == (6, LATENT_DIM)
    assert not torch.allclose(mean, log_variance)


@SHAPES
@HIDDEN_DIMS
def test_decoder_gives_one_number_for_each_pixel(shape: ImageShape, hidden_dims: tuple[int, ...]) -> None:
    assert decoder_of(shape, hidden_dims)(codes(6)).shape == (6, *shape)


@SHAPES
@HIDDEN_DIMS
def test_decoder_has_the_layer_sizes_of_the_encoder_in_reverse(shape: ImageShape, hidden_dims: tuple[int, ...]) -> None:
    channels, height, width = shape
    features = 2 * CHANNELS * (height // 4) * (width // 4)
    encoder, decoder = encoder_of(shape, hidden_dims), decoder_of(shape, hidden_dims)
    convolutions = [(channels, CHANNELS), (CHANNELS, 2 * CHANNELS)]
    assert sizes(encoder.convolutions) == convolutions
    assert sizes(decoder.convolutions) == [(after, before) for before, after in convolutions[::-1]]
    widths = [features, *hidden_dims]
    dense = list(pairwise(widths))
    assert sizes(encoder.hidden) == dense
    assert sizes(encoder.posterior_params) == [(widths[-1], 2 * LATENT_DIM)]
    assert sizes(decoder.hidden) == [(LATENT_DIM, widths[-1]), *((after, before) for before, after in dense[::-1])]


def test_encoder_features_of_an_image_moved_by_four_pixels_move_by_one() -> None:
    convolutions = encoder_of((3, 24, 24)).convolutions
    x = images(2, (3, 24, 24))
    here, there = convolutions(x), convolutions(x.roll((4, 8), (2, 3)))
    # Away from the edges, where the padding shows.
    torch.testing.assert_close(there[:, :, 2:-1, 3:-1], here[:, :, 1:-2, 1:-3], rtol=1e-12, atol=1e-12)


def test_decoder_output_of_features_moved_by_one_moves_by_four_pixels() -> None:
    convolutions = decoder_of((3, 24, 24)).convolutions
    features = torch.randn(2, 2 * CHANNELS, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    here, there = convolutions(features), convolutions(features.roll((1, 2), (2, 3)))
    torch.testing.assert_close(there[:, :, 8:-4, 12:-4], here[:, :, 4:-8, 4:-12], rtol=1e-12, atol=1e-12)


def test_transposed_convolutions_cover_every_pixel_equally_often() -> None:
    """With equal weights an odd kernel would leave a checkerboard pattern."""
    convolutions = decoder_of((1, 16, 16), activation="relu").convolutions
    with torch.no_grad():
        for weight in convolutions.parameters():
            weight.fill_(0.1)
        image = convolutions(torch.ones(1, 2 * CHANNELS, 4, 4, dtype=torch.float64))[0, 0]
    inner = image[3:-3, 3:-3]
    torch.testing.assert_close(inner, torch.full_like(inner, inner[0, 0].item()))


def test_posterior_depends_on_every_pixel_and_every_decoded_pixel_on_the_code() -> None:
    shape = (2, 8, 8)
    x = images(1, shape).requires_grad_()
    output = torch.cat(encoder_of(shape)(x), 1)[0]
    by_image = torch.stack([torch.autograd.grad(each, x, retain_graph=True)[0] for each in output])
    assert (by_image != 0).all()
    by_code = torch.autograd.functional.jacobian(decoder_of(shape), codes(1))
    assert (by_code != 0).all()


@pytest.mark.parametrize("network", ["conv", "autoregressive"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 8, 12)], ids=str)
def test_every_parameter_of_a_convolutional_model_gets_a_gradient(network: str, shape: ImageShape) -> None:
    with seeded(0, "weights"):
        model = VAE(architecture(network=network, image_shape=shape, likelihood="gaussian", activation="gelu"))
    x = images(5, shape).float()
    mean, log_variance = model.posterior(x)
    model.log_likelihood(x, mean + log_variance.exp()).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("network", ["conv", "autoregressive"])
@pytest.mark.parametrize(("height", "width"), [(6, 8), (8, 7), (3, 3), (2, 4)])
def test_image_sizes_that_cannot_be_halved_twice_are_refused_with_the_parameter_and_what_to_set(
    network: str, height: int, width: int
) -> None:
    message = f"^params.yaml: model.network: {network} .*{height}×{width}.*; set model.network=mlp$"
    with pytest.raises(ArchitectureError, match=message):
        VAE(architecture(network=network, image_shape=(1, height, width)))
    VAE(architecture(network="mlp", image_shape=(1, height, width)))
