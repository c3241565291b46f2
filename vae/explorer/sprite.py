"""Pack many small images into one picture."""

import io
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import ceil, sqrt

import numpy as np
import torch
from torch import Tensor

from vae.data.images import shrunk

SIDES = (64, 32, 16)  # pixels of an image's longer side, at most, from the best sprite to the worst
MOST_PIXELS = 16_000_000  # of a sprite, which a browser keeps in memory as 4 bytes each
FEWEST = 100  # images of a sprite, below which halving their number gains little
LOSSY_QUALITY = 80  # of WebP, from 0 to 100


class Format(StrEnum):
    """Of a picture: PNG, which is exact, or lossy WebP."""

    PNG = "png"
    WEBP = "webp"


@dataclass(frozen=True)
class Sprite:
    """A picture of the first of many images for a page.

    Attributes:
        url: the picture as a data URL.
        count: the number of images in it.
        size: height and width of an image in it.
        factor: by which the images are shrunk, 1 if they are not.
        format: of the picture.
    """

    url: str
    count: int
    size: tuple[int, int]
    factor: int
    format: Format


class Sprites:
    """Sprites of uint8 images (N, C, H, W), from the best to the smallest. Each is made when it is first needed."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self._made = cache(self._make)

    def __call__(self, most: int) -> Iterator[Sprite]:
        """Sprites of the first ``most`` images: compressed, then shrunk, then of fewer images."""
        longest = max(self.images.shape[-2:])
        factors = sorted({ceil(longest / side) for side in SIDES})
        fitting = [factor for factor in factors if most * self._pixels(factor) <= MOST_PIXELS] or factors[-1:]
        yield self._made(most, fitting[0], Format.PNG)
        for factor in fitting:
            yield self._made(most, factor, Format.WEBP)
        count = most // 2
        while count >= FEWEST:
            yield self._made(count, fitting[-1], Format.WEBP)
            count //= 2

    def _pixels(self, factor: int) -> int:
        height, width = self.images.shape[-2:]
        return ceil(height / factor) * ceil(width / factor)

    def _make(self, count: int, factor: int, kind: Format) -> Sprite:
        tiles = shrunk(self.images[:count].float(), factor).round().to(torch.uint8)
        url = f"data:image/{kind};base64,{b64encode(sprite(tiles, kind)).decode()}"
        height, width = tiles.shape[-2:]
        return Sprite(url, count, (height, width), factor, kind)


def columns(count: int) -> int:
    """The number of images side by side, so that the picture is about square."""
    return ceil(sqrt(count))


def sprite(images: Tensor, kind: Format = Format.PNG) -> bytes:
    """Images in reading order as a picture: uint8 (N, C, H, W), grey with one channel, RGB with three."""
    from PIL import Image

    count, channels, height, width = images.shape
    across = columns(count)
    down = ceil(count / across)
    tiles = np.zeros((down * across, height, width, channels), np.uint8)
    tiles[:count] = images.permute(0, 2, 3, 1).cpu().numpy()
    picture = tiles.reshape(down, across, height, width, channels).swapaxes(1, 2)
    picture = picture.reshape(down * height, across * width, channels)
    options = {"optimize": True} if kind == Format.PNG else {"quality": LOSSY_QUALITY, "method": 4}
    content = io.BytesIO()
    Image.fromarray(picture.squeeze(2) if channels == 1 else picture).save(content, kind, **options)
    return content.getvalue()
