from base64 import b64decode
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.settings import architecture
from tests.vae.explorer.digits import codes, digits, trained
from vae.base.runtime import seeded
from vae.explorer import weights
from vae.explorer.weights import Precision
from vae.model import inference
from vae.model.networks.network import ACTIVATIONS, Decoder
from vae.model.vae import VAE

NETWORKS = pytest.mark.parametrize("network", ["mlp", "conv"])


def decoder_of(network: str, **changes: Any) -> Decoder:
    sizes = {"image_shape": (1, 8, 12), "hidden_dims": (7, 5), "latent_dim": 3}
    with seeded(0, "weights"):
        return VAE(architecture(**{**sizes, "network": network, **changes})).decoder


def layers_of(decoder: Decoder) -> Sequence[nn.Module]:
    assert decoder.layers is not None
    return decoder.layers


@NETWORKS
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden_dims", [(), (7,), (7, 5)], ids=str)
def test_the_layers_of_a_decoder_one_after_the_other_are_the_decoder(
    network: str, activation: str, hidden_dims: tuple[int, ...]
) -> None:
    decoder = decoder_of(network, activation=activation, hidden_dims=hidden_dims)
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(nn.Sequential(*layers_of(decoder))(z), decoder(z), rtol=1e-6, atol=1e-6)


def taken_by(layer: weights.Layer) -> int:
    """The number of weights and biases of a layer, from its description."""
    kernels = {"linear": 1, "transposed_convolution": prod(layer.get("kernel", [])), "convolution_3x3": 9}
    if layer["kind"] in kernels:
        return int((layer["inputs"] * kernels[layer["kind"]] + 1) * layer["outputs"])
    return sum(map(taken_by, layer.get("layers", [])))


@pytest.mark.parametrize(("network", "residual_blocks"), [("mlp", 0), ("conv", 0), ("conv", 2)])
def test_every_number_of_the_decoder_is_there_once_and_the_layers_say_how_many_each_takes(
    network: str, residual_blocks: int
) -> None:
    decoder = decoder_of(network, residual_blocks=residual_blocks)
    numbers = weights.numbers(layers_of(decoder))
    assert sorted(numbers.tolist()) == sorted(torch.cat([part.flatten() for part in decoder.parameters()]).tolist())
    assert sum(taken_by(weights.described(layer)) for layer in layers_of(decoder)) == len(numbers)


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(2, 3, bias=False),
        nn.ConvTranspose2d(2, 2, 3, groups=2),
        nn.ConvTranspose2d(2, 2, 3, dilation=2),
        nn.GELU(approximate="tanh"),
        nn.Conv2d(1, 1, 3),
        nn.Conv2d(1, 1, 3, padding=1, stride=2),
    ],
    ids=str,
)
def test_layers_that_the_browser_does_not_know_are_refused(module: nn.Module) -> None:
    with pytest.raises(ValueError, match="cannot run"):
        weights.described(module)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_have_the_names_that_they_have_in_the_parameters(name: str) -> None:
    assert weights.described(ACTIVATIONS[name]()) == {"kind": name}


def test_float32_numbers_are_encoded_as_little_endian_bytes() -> None:
    numbers = torch.tensor([[1.0, -2.5], [3e-8, 65504.0]])
    assert b64decode(weights.encoded(numbers)) == np.array([1, -2.5, 3e-8, 65504], "<f4").tobytes()


def test_blocks_are_encoded_as_all_scales_and_then_all_integers() -> None:
    numbers = torch.cat([torch.tensor([32767.0, -5.0]), torch.zeros(254), torch.tensor([0.5, -0.25])])
    content = b64decode(weights.encoded(numbers, Precision.BITS_16))
    assert np.frombuffer(content[:8], "<f4").tolist() == [1.0, np.float32(0.5 / 32767)]
    integers = np.frombuffer(content[8:], ">u2").astype(int) - 32768
    assert integers.tolist() == [32767, -5, *[0] * 254, 32767, -16384, *[0] * 254]


def test_four_integers_of_six_bits_are_three_bytes() -> None:
    numbers = torch.cat([torch.tensor([31.0, -31.0, 1.0, 0.0]), torch.zeros(252)])
    content = b64decode(weights.encoded(numbers, Precision.BITS_6))
    assert np.unpackbits(np.frombuffer(content[4:7], np.uint8)).tolist() == [
        *(1, 1, 1, 1, 1, 1),
        *(0, 0, 0, 0, 0, 1),
        *(1, 0, 0, 0, 0, 1),
        *(1, 0, 0, 0, 0, 0),
    ]


@pytest.mark.parametrize("precision", list(Precision)[1:])
def test_numbers_in_blocks_are_off_by_half_a_scale_at_most_and_zeros_stay_zeros(precision: Precision) -> None:
    torch.manual_seed(0)
    numbers = torch.randn(10, 256) * torch.logspace(-6, 6, 10).unsqueeze(1)
    numbers[3] = 0
    integers, scales = weights.blocks(numbers, precision)
    assert integers.abs().max() <= 2 ** (precision.bits - 1) - 1
    assert ((integers * scales - numbers).abs() <= 0.51 * scales).all()
    assert (integers[3] == 0).all()


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("count", [1, 255, 256, 1000])
def test_the_length_of_encoded_numbers_is_known_before_they_are_encoded(precision: Precision, count: int) -> None:
    assert len(weights.encoded(torch.ones(count), precision)) == weights.encoded_length(count, precision)


@NETWORKS
def test_the_rounded_model_has_the_numbers_that_blocks_decode_to_and_leaves_the_model_unchanged(network: str) -> None:
    model = trained(digits(), steps=3, network=network)
    before = [weight.clone() for weight in model.parameters()]
    numbers = weights.numbers(layers_of(model.decoder))
    sent = weights.as_read(numbers, Precision.BITS_16)
    assert torch.equal(weights.numbers(layers_of(weights.rounded(model, Precision.BITS_16).decoder)), sent)
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), before, strict=True)), "the model was changed"


def test_the_rounding_error_is_the_largest_difference_between_images_of_the_two_models() -> None:
    model = trained(digits())
    z = codes(model, digits())
    exact = inference.decode(model, z, 0)
    precision = Precision.BITS_16
    rounded = inference.decode(weights.rounded(model, precision), weights.as_read(z, precision), 0)
    error = weights.rounding_error(model, z, precision)
    assert error == (exact - rounded).abs().max().item()
    assert 0 < error < 1e-3
    assert (
        error < weights.rounding_error(model, z, Precision.BITS_8) < weights.rounding_error(model, z, Precision.BITS_6)
    )
