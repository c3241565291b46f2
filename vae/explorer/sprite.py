"""Pack many small images into one picture."""

import io
from math import ceil, sqrt

import numpy as np
from torch import Tensor


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
