"""What image codecs need for the images of a data set: bits per dimension to compare a model's likelihood with."""

import io
from math import log, prod
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

# Encoded at most, which takes up to ten seconds: images, and dimensions (pixels × channels).
IMAGES, DIMENSIONS = 1000, 1000 * 3 * 64 * 64
SMALLEST_IMAGE = 256  # dimensions; most of the file of a smaller image is its header
CHANNELS = (1, 3)  # grey and RGB
PNG: dict[str, Any] = {"format": "PNG", "optimize": True}
WEBP: dict[str, Any] = {
    "format": "WebP",
    "lossless": True,
    "quality": 100,
    "method": 4,
}  # method 6: 2% smaller, 20 times as slow


class CodecBits(NamedTuple):
    """Bits per dimension of 8-bit images, stored in three ways.

    Attributes:
        png: PNG, a file for each image.
        webp: lossless WebP, a file for each image.
        pixels: the entropy of pixels: a code that knows how often each value occurs in a channel, but nothing of a
            pixel's surroundings.
    """

    png: float
    webp: float
    pixels: float


def codec_bits(images: Tensor) -> CodecBits | None:
    """Measure on all images, or on some of them, spread evenly, if they are too many.

    Args:
        images: uint8 (N, C, H, W).

    Returns:
        None if there are no images, if they have fewer than ``SMALLEST_IMAGE`` dimensions, or if they are neither grey
        nor RGB.
    """
    channels, dimensions = images.shape[1], prod(images.shape[1:])
    if not len(images) or dimensions < SMALLEST_IMAGE or channels not in CHANNELS:
        return None
    chosen = images[:: max(-(-len(images) // IMAGES), -(-images.numel() // DIMENSIONS))]
    pictures = [_picture(image) for image in chosen]
    png, webp = (sum(_size(picture, codec) for picture in pictures) for codec in (PNG, WEBP))
    return CodecBits(8 * png / chosen.numel(), 8 * webp / chosen.numel(), pixel_entropy(images))


def least_bits(images: Tensor) -> Tensor | None:
    """The bits of each image in a file of its own, in PNG or in lossless WebP, whichever is smaller: float64 (N,).

    Args:
        images: uint8 (N, C, H, W).

    Returns:
        None where ``codec_bits`` measures nothing.
    """
    if images.shape[1] not in CHANNELS or prod(images.shape[1:]) < SMALLEST_IMAGE:
        return None
    sizes = [min(_size(_picture(image), codec) for codec in (PNG, WEBP)) for image in images]
    return 8 * torch.tensor(sizes, dtype=torch.float64)


def pixel_entropy(images: Tensor) -> float:
    """The entropy of a pixel's value in bits, -Σ p·log₂ p over the 256 values, averaged over channels.

    Args:
        images: uint8 (N, C, H, W).
    """
    entropies = []
    for channel in images.unbind(1):
        p = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        entropies.append(-float(torch.xlogy(p, p).sum()) / log(2))
    return sum(entropies) / len(entropies)


def _picture(image: Tensor) -> Image.Image:
    """An image (C, H, W) for Pillow."""
    return Image.fromarray((image[0] if len(image) == 1 else image.permute(1, 2, 0)).contiguous().numpy())


def _size(picture: Image.Image, codec: dict[str, Any]) -> int:
    """The size of a file with an image, in bytes."""
    file = io.BytesIO()
    picture.save(file, **codec)
    return file.tell()
