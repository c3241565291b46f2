"""Pack many small images into one picture."""

import io
from base64 import b64encode
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import torch
from torch import Tensor

from vae.data.images import shrunk

LARGEST_TILE, SMALLEST_TILE = 64, 32  # pixels of an image's longer side, which is shrunk in between to fit a page


@dataclass(frozen=True)
class Sprite:
    """A picture of many images for a page.

    Attributes:
        url: the picture as a data URL.
        size: height and width of an image in it.
        factor: by which the images are shrunk, 1 if they are not.
        fits: whether the URL is as short as it was to be.
    """

    url: str
    size: tuple[int, int]
    factor: int
    fits: bool


def fitting_sprite(images: Tensor, budget: int) -> Sprite:
    """A sprite of uint8 images (N, C, H, W) that are shrunk until its URL has at most ``budget`` bytes.

    They are not shrunk below ``SMALLEST_TILE``, so the sprite may not fit.
    """
    longest = max(images.shape[-2:])
    for factor in range(ceil(longest / LARGEST_TILE), max(1, longest // SMALLEST_TILE) + 1):
        tiles = shrunk(images.float(), factor).round().to(torch.uint8)
        url = f"data:image/png;base64,{b64encode(sprite(tiles)).decode()}"
        if len(url) <= budget:
            break
    height, width = tiles.shape[-2:]
    return Sprite(url, (height, width), factor, len(url) <= budget)


def columns(count: int) -> int:
    """The number of images side by side, so that the picture is about square."""
    return ceil(sqrt(count))


def sprite(images: Tensor) -> bytes:
    """Images in reading order as a PNG: uint8 (N, C, H, W), grey with one channel, RGB with three."""
    from PIL import Image

    count, channels, height, width = images.shape
    across = columns(count)
    down = ceil(count / across)
    tiles = np.zeros((down * across, height, width, channels), np.uint8)
    tiles[:count] = images.permute(0, 2, 3, 1).cpu().numpy()
    picture = tiles.reshape(down, across, height, width, channels).swapaxes(1, 2)
    picture = picture.reshape(down * height, across * width, channels)
    content = io.BytesIO()
    Image.fromarray(picture.squeeze(2) if channels == 1 else picture).save(content, "PNG", optimize=True)
    return content.getvalue()
