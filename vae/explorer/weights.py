"""A decoder for the browser: a description of its layers, and their numbers as text."""

from base64 import b64encode
from collections.abc import Sequence
from copy import deepcopy
from enum import StrEnum
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae.model import inference
from vae.model.networks.network import ACTIVATIONS
from vae.model.vae import VAE

Layer = dict[str, Any]
Layers = Sequence[nn.Module]

ANY_SEED = 0  # of an expected image, for which nothing is drawn

BLOCK = 64  # numbers that share a scale
LARGEST = 32_767  # of 16 bits with a sign


class Precision(StrEnum):
    """How a page stores numbers: in float32, or in half the space as blocks of 16-bit integers, each with a scale."""

    FLOAT32 = "float32"
    BLOCKS = "16-bit blocks"


def encoded(numbers: Tensor, precision: Precision = Precision.FLOAT32) -> str:
    """Numbers in row-major order as base64, little-endian; of blocks all scales come first."""
    if precision == Precision.FLOAT32:
        return b64encode(_little_endian(numbers, "<f4")).decode()
    integers, scales = blocks(numbers)
    return b64encode(_little_endian(scales, "<f4") + _little_endian(integers, "<i2")).decode()


def blocks(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Block floating point: integers (B, BLOCK), of which the last are zeros that fill up, and scales (B, 1).

    A number is its integer times the scale, off by half a scale at most, a 65,534th of the largest of its block.
    Float16 takes as much room and is off by a 4,096th of each number itself, which adds up to some ten times as much.
    """
    flat = numbers.detach().flatten()
    rows = F.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    scales = rows.abs().amax(1, keepdim=True) / LARGEST
    return (rows / torch.where(scales > 0, scales, 1)).round(), scales


def _little_endian(numbers: Tensor, kind: str) -> bytes:
    return numbers.detach().cpu().numpy().astype(kind).tobytes()


def described(module: nn.Module) -> Layer:
    """A module as ``decoder.js`` knows it: its kind and sizes.

    Raises:
        ValueError: ``decoder.js`` knows no such layer.
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
        case nn.GELU(approximate="none") | nn.ReLU() | nn.SiLU() | nn.Tanh():
            return {"kind": next(name for name, kind in ACTIVATIONS.items() if isinstance(module, kind))}
        case _:
            raise ValueError(f"the latent explorer cannot run {module}")


def numbers(layers: Layers) -> Tensor:
    """Weights and biases of one layer after the other, as PyTorch lays them out: (P,)."""
    return torch.cat([weight.detach().flatten() for module in layers for weight in module.parameters()])


def description(layers: Layers, likelihood: str, precision: Precision) -> dict[str, Any]:
    """All that ``decoder.js`` needs to turn a code into the expected image, as JSON has it."""
    return {
        "layers": [described(module) for module in layers],
        "likelihood": likelihood,
        "precision": precision,
        "weights": encoded(numbers(layers), precision),
    }


def rounded(model: VAE) -> VAE:
    """A copy of a model whose decoder has the numbers that blocks decode to."""
    copy = deepcopy(model)
    layers = copy.decoder.layers or []
    integers, scales = blocks(numbers(layers))
    row, taken = (integers * scales).flatten(), 0
    for weight in (weight for module in layers for weight in module.parameters()):
        weight.data = row[taken : taken + weight.numel()].view_as(weight)
        taken += weight.numel()
    return copy


def rounding_error(model: VAE, codes: Tensor) -> float:
    """The largest difference in intensity that blocks make to the images of codes (N, D)."""
    exact, approximate = (inference.decode(version, codes, ANY_SEED) for version in (model, rounded(model)))
    return float((exact - approximate).abs().max())
