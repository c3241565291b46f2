from collections.abc import Iterator
from functools import cache
from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.settings import architecture
from vae.base.params import LIKELIHOODS_OF_8_BITS
from vae.base.runtime import generator, seeded
from vae.data.images import ImageShape
from vae.model.likelihood import Neighbours
from vae.model.networks.autoregressive import Decoder, gate
from vae.model.vae import VAE

LATENT_DIM = 2
SHAPE = (2, 8, 8)
TINY = (1, 4, 4)  # of which there are 65,536 images in black and white

Pixel = tuple[int, int]


def model_of(shape: ImageShape, masked_layers: int = 2, spread: float = 0.5) -> VAE:
    """A model in float64 with large weights, so that every pixel and code that the masks let through has an effect."""
    model = VAE(
        architecture(
            network="autoregressive",
            image_shape=shape,
            hidden_dims=(5,),
            channels=3,
            masked_layers=masked_layers,
            activation="silu",
        )
    ).double()
    with seeded(0, "weights"), torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, spread)
    return model


def decoder_of(shape: ImageShape, masked_layers: int = 2) -> Decoder:
    decoder = model_of(shape, masked_layers).decoder
    assert isinstance(decoder, Decoder)
    return decoder


def images(count: int, shape: ImageShape) -> Tensor:
    return torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def codes(count: int) -> Tensor:
    return torch.randn(count, LATENT_DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def dependence(decoder: Decoder, shape: ImageShape) -> Tensor:
    """Which outputs depend on which pixels, in reading order, over all channels: bool (H·W, H·W)."""
    z = codes(1)
    x = images(1, shape)
    jacobian: Tensor = torch.autograd.functional.jacobian(lambda each: decoder(z, each), x)[0, :, :, :, 0]
    channels, height, width = shape
    pixels = height * width
    by_pixel = jacobian.reshape(channels, pixels, channels, pixels)
    depends: Tensor = (by_pixel != 0).any(2).any(0)
    return depends


def seen_by(rows_above: int, reach: int, *, itself: bool) -> set[Pixel]:
    """The pixels that a masked convolution sees, relative to its own."""
    above = {(-row, column) for row in range(1, rows_above + 1) for column in range(-reach, reach + 1)}
    return above | {(0, column) for column in range(-reach, int(itself))}


def neighbours(pixel: Pixel, offsets: set[Pixel], shape: ImageShape) -> Iterator[Pixel]:
    for rows, columns in offsets:
        row, column = pixel[0] + rows, pixel[1] + columns
        if 0 <= row < shape[1] and 0 <= column < shape[2]:
            yield row, column


def receptive_field(pixel: Pixel, masked_layers: int, shape: ImageShape) -> set[Pixel]:
    """The pixels that reach an output: through each gated layer, and then through the first one."""
    field = {pixel}
    for _ in range(masked_layers):
        field |= {seen for each in field for seen in neighbours(each, seen_by(2, 2, itself=True), shape)}
    return {seen for each in field for seen in neighbours(each, seen_by(2, 3, itself=False), shape)}


@cache
def every_image() -> Tensor:
    """All black and white images of the tiny size: (65,536, 1, 4, 4)."""
    bits = torch.arange(2 ** prod(TINY)).unsqueeze(1) >> torch.arange(prod(TINY))
    return (bits & 1).double().view(-1, *TINY)


def probabilities(model: VAE, z: Tensor) -> Tensor:
    """p(x|z) of every image: (65,536,), from one code (1, D)."""
    with torch.no_grad():
        parts = [model.log_likelihood(x, z.expand(len(x), -1)) for x in every_image().split(8192)]
    return torch.cat(parts).exp()


def test_an_output_does_not_depend_on_its_own_pixel_or_any_later_one() -> None:
    depends = dependence(decoder_of(SHAPE), SHAPE)
    assert not depends.triu().any()


@pytest.mark.parametrize("masked_layers", [1, 2, 4])
def test_an_output_depends_on_exactly_the_earlier_pixels_in_its_receptive_field(masked_layers: int) -> None:
    depends = dependence(decoder_of(SHAPE, masked_layers), SHAPE)
    _, height, width = SHAPE
    places = [(row, column) for row in range(height) for column in range(width)]
    for place, row in zip(places, depends, strict=True):
        assert {places[index] for index in row.nonzero().flatten()} == receptive_field(place, masked_layers, SHAPE)


def test_the_last_output_depends_on_all_earlier_pixels_with_four_masked_layers() -> None:
    assert dependence(decoder_of(SHAPE, masked_layers=4), SHAPE)[-1, :-1].all()


def test_large_changes_of_later_pixels_leave_earlier_outputs_unchanged_in_float32() -> None:
    decoder = decoder_of(SHAPE).float()
    x, z = images(4, SHAPE).float(), codes(4).float()
    with torch.no_grad():
        before = decoder(z, x).flatten(2)
        for pixel in range(prod(SHAPE[1:])):
            changed = x.clone()
            changed.flatten(2)[:, :, pixel:] += 100.0
            torch.testing.assert_close(decoder(z, changed).flatten(2)[:, :, : pixel + 1], before[:, :, : pixel + 1])


def test_the_gate_and_its_gradient_are_those_of_a_gated_linear_unit() -> None:
    x = images(3, (4, 6, 5)).sub(0.5).mul(10).contiguous(memory_format=torch.channels_last).requires_grad_()
    upstream = images(3, (2, 6, 5))
    results = [(y, *torch.autograd.grad(y, x, upstream)) for y in (gate(x), F.glu(x, 1))]
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_every_output_depends_on_every_dimension_of_the_code() -> None:
    decoder, x = decoder_of(SHAPE), images(1, SHAPE)
    jacobian = torch.autograd.functional.jacobian(lambda z: decoder(z, x), codes(1))
    assert (jacobian != 0).all()


def test_outputs_of_an_image_do_not_depend_on_the_other_images_of_its_batch() -> None:
    decoder, x, z = decoder_of(SHAPE), images(3, SHAPE), codes(3)
    alone = torch.cat([decoder(z[row : row + 1], x[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(decoder(z, x), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.slow
def test_probabilities_of_all_black_and_white_images_add_up_to_one(code: int) -> None:
    p = probabilities(model_of(TINY, spread=1.0), codes(2)[code : code + 1])
    assert p.sum().item() == pytest.approx(1, abs=1e-10)
    assert p.max() < 0.5  # or one image alone could make up the sum


@pytest.mark.slow
def test_samples_have_the_pixel_and_pair_frequencies_and_the_entropy_of_the_model() -> None:
    count = 20_000
    model, z = model_of(TINY, spread=1.0), codes(1)
    decoder, random = model.decoder, generator(0, "samples")
    assert isinstance(decoder, Decoder)
    p = probabilities(model, z)
    with torch.no_grad():
        samples = decoder.sample(z.expand(count, -1), lambda output, _: model.likelihood.sample(output, random))
        information = -model.log_likelihood(samples, z.expand(count, -1))
    assert ((samples == 0) | (samples == 1)).all()

    # The shares of white pixels, and of pairs that are both white.
    every, drawn = every_image().flatten(1), samples.flatten(1)
    expected = torch.einsum("n,ni,nj->ij", p, every, every)
    found = drawn.T @ drawn / count
    standard_error = (expected * (1 - expected) / count).sqrt()
    assert ((found - expected).abs() <= 4 * standard_error).all()
    # Neighbours that had nothing to do with each other would show.
    independent = expected.diagonal().outer(expected.diagonal())
    assert ((expected - independent).abs() > 8 * standard_error).triu(1).sum() > 5

    entropy = -(p * p.log()).sum()
    assert (information.mean() - entropy).abs() < 4 * information.std() / count**0.5


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 12), (3, 7, 9)], ids=str)
@pytest.mark.parametrize("masked_layers", [1, 3])
def test_sampling_pixel_by_pixel_gives_the_outputs_of_one_forward_pass_over_the_finished_image(
    shape: ImageShape, masked_layers: int
) -> None:
    decoder, z = decoder_of(shape, masked_layers), codes(5)
    outputs = []

    def draw(output: Tensor, _: Neighbours) -> Tensor:
        outputs.append(output)
        return torch.sin(3 * output)  # not rounded, so that the smallest difference goes on to all later pixels

    with torch.no_grad():
        image = decoder.sample(z, draw)
        expected = decoder(z, image)
    assert image.shape == (5, *shape)
    assert all(output.shape == (5, shape[0], 1, 1) for output in outputs)
    torch.testing.assert_close(torch.cat(outputs, 2).view(5, *shape), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(image, torch.sin(3 * expected), rtol=1e-9, atol=1e-9)


def test_sampling_reports_each_finished_row() -> None:
    rows = iter(range(100))
    with torch.no_grad():
        decoder_of((1, 8, 12)).sample(codes(2), lambda output, _: torch.sigmoid(output), lambda: next(rows))
    assert next(rows) == 8


@pytest.mark.parametrize("likelihood", LIKELIHOODS_OF_8_BITS)
def test_colour_images_of_odd_sizes_are_drawn_pixel_by_pixel_with_the_probabilities_of_the_forward_pass(
    likelihood: str,
) -> None:
    """The probabilities at each pixel when it was drawn add up to those of the finished images."""
    shape = (3, 5, 7)
    with seeded(0, "weights"):
        model = VAE(architecture(network="autoregressive", image_shape=shape, likelihood=likelihood)).double()
    random, total = generator(0, "samples"), torch.zeros(4, dtype=torch.float64)

    def draw(output: Tensor, near: Neighbours) -> Tensor:
        parameters = model.likelihood.relative_to(output, near)
        pixel = model.likelihood.sample(parameters, random)
        total.add_(model.likelihood.log_density(pixel, parameters))
        return pixel

    decoder, z = model.decoder, codes(4)
    assert isinstance(decoder, Decoder)
    with torch.no_grad():
        image = decoder.sample(z, draw)
        torch.testing.assert_close(model.log_likelihood(image, z), total, rtol=1e-10, atol=0)
    assert image.shape == (4, *shape)
    torch.testing.assert_close(255 * image, (255 * image).round(), rtol=0, atol=1e-9)
