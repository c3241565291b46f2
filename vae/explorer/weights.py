"""Describe a decoder for the browser: its layers, and their weights as text."""

from base64 import b64encode
from collections.abc import Sequence
from copy import deepcopy
from enum import StrEnum
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.base.params import LIKELIHOODS_OF_8_BITS
from vae.model import discretized_logistic, inference
from vae.model.networks.conv import ResidualBlock
from vae.model.networks.network import ACTIVATIONS
from vae.model.vae import VAE

Layer = dict[str, Any]
Layers = Sequence[nn.Module]

ANY_SEED = 0  # has no effect: nothing is drawn for an expected image

BLOCK = 64  # numbers that share a scale
LARGEST = 32_767  # the largest signed 16-bit integer


class Precision(StrEnum):
    """How a page stores numbers: as float32, or in half the space as blocks of 16-bit integers, each with a scale."""

    FLOAT32 = "float32"
    BLOCKS = "16-bit blocks"


def encoded(numbers: Tensor, precision: Precision = Precision.FLOAT32) -> str:
    """Encode numbers as base64: row-major, little-endian; for blocks, the scales of all blocks come first."""
    if precision == Precision.FLOAT32:
        return b64encode(_little_endian(numbers, "<f4")).decode()
    integers, scales = blocks(numbers)
    return b64encode(_little_endian(scales, "<f4") + _little_endian(integers, "<i2")).decode()


def blocks(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Convert numbers to block floating point: integers (B, BLOCK), padded with zeros, and scales (B, 1).

    A number is its integer times the scale. Its error is at most half the scale, 1/65,534 of the largest number in the
    block. Float16 takes as much space, but has errors of up to 1/4,096 of each number, about ten times as much in all.
    """
    flat = numbers.detach().flatten()
    rows = F.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    scales = rows.abs().amax(1, keepdim=True) / LARGEST
    return (rows / torch.where(scales > 0, scales, 1)).round(), scales


def _little_endian(numbers: Tensor, kind: str) -> bytes:
    return numbers.detach().cpu().numpy().astype(kind).tobytes()


def described(module: nn.Module) -> Layer:
    """Describe a module for ``decoder.js``: its kind and sizes.

    Raises:
        ValueError: ``decoder.js`` does not support the module.
    """
    match module:
        case nn.Linear(bias=Tensor()):
            return {"kind": "linear", "inputs": module.in_features, "outputs": module.out_features}
        case nn.Unflatten():
            return {"kind": "reshape", "shape": list(module.unflattened_size)}
        case nn.ConvTranspose2d(bias=Tensor(), groups=1, dilation=(1, 1)):
            return {
                "kind": "transposed_convolution",
                "inputs": module.in_channels,
                "outputs": module.out_channels,
                "kernel": list(module.kernel_size),
                "stride": list(module.stride),
                "padding": list(module.padding),
                "output_padding": list(module.output_padding),
            }
        case nn.Conv2d(bias=Tensor(), groups=1, dilation=(1, 1), stride=(1, 1), kernel_size=(3, 3), padding=(1, 1)):
            return {"kind": "convolution_3x3", "inputs": module.in_channels, "outputs": module.out_channels}
        case ResidualBlock():
            return {"kind": "residual_block", "layers": [described(layer) for layer in module.layers]}
        case nn.GELU(approximate="none") | nn.ReLU() | nn.SiLU() | nn.Tanh():
            return {"kind": next(name for name, kind in ACTIVATIONS.items() if isinstance(module, kind))}
        case _:
            raise ValueError(f"the latent explorer cannot run {module}")


def numbers(layers: Layers) -> Tensor:
    """The weights and biases of all layers in order, in PyTorch's memory layout: (P,)."""
    return torch.cat([weight.detach().flatten() for module in layers for weight in module.parameters()])


def description(layers: Layers, likelihood: str, precision: Precision) -> dict[str, Any]:
    """All that ``decoder.js`` needs to turn a code into the expected image, in a form for JSON."""
    return {
        "layers": [described(module) for module in layers],
        "likelihood": likelihood,
        "logistic": discretized_logistic.CONSTANTS if likelihood in LIKELIHOODS_OF_8_BITS else None,
        "precision": precision,
        "weights": encoded(numbers(layers), precision),
    }


def rounded(model: VAE) -> VAE:
    """A copy of a model whose decoder's weights are rounded to blocks."""
    copy = deepcopy(model)
    layers = copy.decoder.layers or []
    integers, scales = blocks(numbers(layers))
    row, taken = (integers * scales).flatten(), 0
    for weight in (weight for module in layers for weight in module.parameters()):
        weight.data = row[taken : taken + weight.numel()].view_as(weight)
        taken += weight.numel()
    return copy


def rounding_error(model: VAE, codes: Tensor) -> float:
    """The largest change in intensity that rounding to blocks makes in the images decoded from codes (N, D)."""
    exact, approximate = (inference.decode(version, codes, ANY_SEED) for version in (model, rounded(model)))
    return float((exact - approximate).abs().max())
