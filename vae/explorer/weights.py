"""Describe a decoder for the browser: its layers, and their weights as text, in one of several precisions."""

from base64 import b64encode
from collections.abc import Sequence
from copy import deepcopy
from enum import StrEnum
from math import ceil
from typing import Any

import numpy as np
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

BLOCK = 256  # numbers that share a scale
MOST_COMPARED = 500  # images in which the effect of rounding is measured, since a convolutional decoder is slow


class Precision(StrEnum):
    """How a page stores numbers: as float32, or in less space as blocks of integers, each block with a scale."""

    FLOAT32 = "float32"
    BITS_16 = "16-bit blocks"
    BITS_8 = "8-bit blocks"
    BITS_6 = "6-bit blocks"

    @property
    def bits(self) -> int:
        """Of each number."""
        return {"float32": 32, "16-bit blocks": 16, "8-bit blocks": 8, "6-bit blocks": 6}[self]


def encoded(numbers: Tensor, precision: Precision = Precision.FLOAT32) -> str:
    """Encode numbers as base64, row-major.

    Float32 is little-endian. For blocks, the scales of all blocks come first, as float32. The integers follow without
    gaps, most significant bits first, with half their range added so that they have no sign.
    """
    if precision == Precision.FLOAT32:
        return b64encode(_float32(numbers)).decode()
    integers, scales = blocks(numbers, precision)
    unsigned = (integers + 2 ** (precision.bits - 1)).cpu().numpy().astype(">u2").reshape(-1, 1)
    bits = np.unpackbits(unsigned.view(np.uint8), axis=1)[:, -precision.bits :]
    return b64encode(_float32(scales) + np.packbits(bits).tobytes()).decode()


def encoded_length(count: int, precision: Precision) -> int:
    """The number of characters that ``encoded`` needs for so many numbers."""
    blocks = 0 if precision == Precision.FLOAT32 else ceil(count / BLOCK)
    size = 4 * count if precision == Precision.FLOAT32 else blocks * (4 + BLOCK * precision.bits // 8)
    return 4 * ceil(size / 3)


def blocks(numbers: Tensor, precision: Precision) -> tuple[Tensor, Tensor]:
    """Convert numbers to block floating point: integers (B, BLOCK), padded with zeros, and scales (B, 1).

    A number is its integer times the scale. Its error is at most half the scale: in 16 bits, 1/65,534 of the largest
    number in the block. Float16 takes as much space, but has errors of up to 1/4,096 of each number.
    """
    flat = numbers.detach().flatten()
    rows = F.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    scales = rows.abs().amax(1, keepdim=True) / (2 ** (precision.bits - 1) - 1)
    return (rows / torch.where(scales > 0, scales, 1)).round(), scales


def as_read(numbers: Tensor, precision: Precision) -> Tensor:
    """Numbers as the browser reads them, in the same shape."""
    if precision == Precision.FLOAT32:
        return numbers
    integers, scales = blocks(numbers, precision)
    return (integers * scales).flatten()[: numbers.numel()].view_as(numbers)


def _float32(numbers: Tensor) -> bytes:
    return numbers.detach().cpu().numpy().astype("<f4").tobytes()


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


def rounded(model: VAE, precision: Precision) -> VAE:
    """A copy of a model whose decoder's weights are those that the browser reads."""
    copy = deepcopy(model)
    layers = copy.decoder.layers or []
    row, taken = as_read(numbers(layers), precision), 0
    for weight in (weight for module in layers for weight in module.parameters()):
        weight.data = row[taken : taken + weight.numel()].view_as(weight)
        taken += weight.numel()
    return copy


def rounding_error(model: VAE, codes: Tensor, precision: Precision) -> float:
    """The largest change in intensity that rounding makes in images decoded from codes (N, D).

    Both the weights and the codes are rounded. Measured in the images of the first ``MOST_COMPARED`` codes.
    """
    if precision == Precision.FLOAT32:
        return 0.0
    read = as_read(codes, precision)[:MOST_COMPARED]
    exact = inference.decode(model, codes[:MOST_COMPARED], ANY_SEED)
    return float((exact - inference.decode(rounded(model, precision), read, ANY_SEED)).abs().max())
