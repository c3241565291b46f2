from itertools import pairwise
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.settings import architecture
from vae.base.runtime import seeded
from vae.data.images import ImageShape
from vae.model.architecture import Architecture, ArchitectureError
from vae.model.networks.conv import Decoder, Encoder, ResidualBlock, feature_maps
from vae.model.vae import VAE

M = TypeVar("M", bound=nn.Module)

LATENT_DIM = 3
CHANNELS = 4
SHAPES = pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 9, 13)], ids=str)
HIDDEN_DIMS = pytest.mark.parametrize("hidden_dims", [(), (5,), (7, 5)], ids=str)


def convolutional(
    shape: ImageShape, hidden_dims: tuple[int, ...], activation: str, residual_blocks: int = 0
) -> Architecture:
    return architecture(
        network="conv",
        image_shape=shape,
        channels=CHANNELS,
        residual_blocks=residual_blocks,
        hidden_dims=hidden_dims,
        latent_dim=LATENT_DIM,
        activation=activation,
    )


def encoder_of(
    shape: ImageShape, hidden_dims: tuple[int, ...] = (5,), activation: str = "tanh", residual_blocks: int = 0
) -> Encoder:
    with seeded(0, "weights"):
        return Encoder(convolutional(shape, hidden_dims, activation, residual_blocks)).double()


def decoder_of(
    shape: ImageShape, hidden_dims: tuple[int, ...] = (5,), activation: str = "tanh", residual_blocks: int = 0
) -> Decoder:
    with seeded(0, "weights"):
        return Decoder(convolutional(shape, hidden_dims, activation, residual_blocks)).double()


def without_zeros(module: M) -> M:
    """The module with random weights in place of zeros, which residual blocks start with."""
    with seeded(1, "weights"), torch.no_grad():
        for weight in module.parameters():
            if not weight.any():
                weight.normal_(0, 0.1)
    return module


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


@pytest.mark.parametrize("residual_blocks", [0, 1])
@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 9, 11), (3, 17, 10), (1, 7, 5), (1, 25, 18)], ids=str)
def test_posterior_depends_on_every_pixel_and_every_decoded_pixel_on_the_code(
    shape: ImageShape, residual_blocks: int
) -> None:
    x = images(1, shape).requires_grad_()
    encoder = without_zeros(encoder_of(shape, residual_blocks=residual_blocks))
    mean, log_variance = encoder(x)
    for output in (mean.sum(), log_variance.sum()):
        (by_image,) = torch.autograd.grad(output, x, retain_graph=True)
        assert (by_image != 0).all()
    decoder = without_zeros(decoder_of(shape, residual_blocks=residual_blocks))
    by_code = torch.autograd.functional.jacobian(decoder, codes(1))
    assert by_code.shape[:4] == (1, *shape)
    assert (by_code != 0).all()


@pytest.mark.parametrize("network", ["conv", "autoregressive"])
@pytest.mark.parametrize("residual_blocks", [0, 2])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 9, 14)], ids=str)
def test_every_parameter_of_a_convolutional_model_gets_a_gradient(
    network: str, shape: ImageShape, residual_blocks: int
) -> None:
    sizes = {"image_shape": shape, "residual_blocks": residual_blocks}
    with seeded(0, "weights"):
        model = without_zeros(VAE(architecture(network=network, likelihood="gaussian", activation="gelu", **sizes)))
    x = images(5, shape).float()
    mean, log_variance = model.posterior(x)
    model.log_likelihood(x, mean + log_variance.exp()).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("height", "width", "halvings", "smallest"),
    [
        (4, 4, 2, (1, 1)),
        (8, 8, 2, (2, 2)),
        (28, 28, 2, (7, 7)),
        (32, 32, 2, (8, 8)),
        (35, 35, 2, (8, 8)),
        (36, 36, 3, (4, 4)),
        (50, 37, 3, (6, 4)),
        (64, 64, 3, (8, 8)),
        (128, 128, 4, (8, 8)),
        (255, 255, 5, (7, 7)),
        (256, 256, 5, (8, 8)),
        (256, 8, 3, (32, 1)),
        (8, 256, 3, (1, 32)),
    ],
)
def test_an_image_is_halved_at_least_twice_and_until_at_most_64_pixels_are_left(
    height: int, width: int, halvings: int, smallest: tuple[int, int]
) -> None:
    network = convolutional((1, height, width), (), "relu")
    maps = feature_maps(network)
    assert len(maps) == 1 + halvings
    assert maps[-1][1:] == smallest
    assert [shape.channels for shape in maps[1:]] == [4, 8, 16, 32, 32][:halvings]  # at most eight times the first


def test_every_size_from_8_to_256_pixels_has_a_smallest_map_with_1_to_64_pixels() -> None:
    for height in range(8, 257):
        for width in (8, 9, 15, 16, 17, 31, 33, height, 255, 256):
            smallest = feature_maps(convolutional((1, height, width), (), "relu"))[-1]
            assert 1 <= smallest.height * smallest.width <= 64


@pytest.mark.parametrize("network", ["conv", "autoregressive"])
@pytest.mark.parametrize(("height", "width"), [(3, 8), (8, 3), (3, 3), (2, 4)])
def test_images_that_cannot_be_halved_twice_are_refused_with_the_parameter_and_what_to_set(
    network: str, height: int, width: int
) -> None:
    message = f"^params.yaml: model.network: {network} .*{height}×{width}.*; set model.network=mlp$"
    with pytest.raises(ArchitectureError, match=message):
        VAE(architecture(network=network, image_shape=(1, height, width)))
    VAE(architecture(network="mlp", image_shape=(1, height, width)))


@pytest.mark.parametrize("residual_blocks", [1, 2])
def test_residual_blocks_follow_each_halving_and_precede_each_doubling(residual_blocks: int) -> None:
    encoder, decoder = (of((1, 64, 40), residual_blocks=residual_blocks) for of in (encoder_of, decoder_of))
    kinds = [type(layer).__name__ for layer in encoder.convolutions]
    assert kinds == ["Conv2d", *["ResidualBlock"] * residual_blocks, "Tanh"] * 3
    kinds = [type(layer).__name__ for layer in decoder.convolutions]
    assert kinds == [*["ResidualBlock"] * residual_blocks, "Tanh", "ConvTranspose2d"] * 3


def test_residual_blocks_are_the_identity_at_first_so_that_depth_does_not_change_the_start() -> None:
    block, x = ResidualBlock(4, "relu").double(), images(2, (4, 5, 6))
    assert torch.equal(block(x), x)
    last = block.layers[-1]
    assert isinstance(last, nn.Conv2d)
    with torch.no_grad():
        last.weight.fill_(1)
    assert not torch.allclose(block(x), x)


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 128, 64)], ids=str)
def test_activations_keep_their_size_from_layer_to_layer_before_training(shape: ImageShape) -> None:
    network = convolutional(shape, (400, 200), "relu", residual_blocks=2).model_copy(update={"channels": 16})
    with seeded(0, "weights"):
        model = VAE(network)
    sizes: list[float] = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _, __, output: sizes.append(output.square().mean().sqrt().item()))
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1))
    model.encoder(x)
    between = len(sizes)
    model.decoder(torch.randn(8, LATENT_DIM, generator=torch.Generator().manual_seed(2)))
    for part in (sizes[:between], sizes[between:]):
        assert max(part) < 3 * min(part)


def test_a_residual_block_adds_two_convolutions_that_each_follow_an_activation() -> None:
    block, x = without_zeros(ResidualBlock(4, "silu").double()), images(2, (4, 5, 6)) - 0.5
    first, second = (layer for layer in block.layers if isinstance(layer, nn.Conv2d))
    inner = F.conv2d(F.silu(x), first.weight, first.bias, padding=1)
    expected = x + F.conv2d(F.silu(inner), second.weight, second.bias, padding=1)
    torch.testing.assert_close(block(x), expected, rtol=1e-12, atol=1e-12)


def test_feature_maps_are_in_channels_last_order() -> None:
    """In which convolutions are fast; a layer that changed the order would slow the layers after it."""
    model = VAE(convolutional((3, 25, 18), (5,), "relu").model_copy(update={"residual_blocks": 1}))
    strides: list[bool] = []
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, ResidualBlock)):
            module.register_forward_hook(
                lambda _, inputs, output: strides.extend(
                    tensor.is_contiguous(memory_format=torch.channels_last) for tensor in (*inputs, output)
                )
            )
    x = images(4, (3, 25, 18)).float()
    mean, _ = model.posterior(x)
    model.log_likelihood(x, mean)
    assert len(strides) > 20
    assert all(strides)
