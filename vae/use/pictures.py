"""Images in any common form, as pixels of one size and number of channels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vae.base.errors import VAEError
from vae.base.terminal import printable
from vae.data.decoding import Framing, Pixels, UnusableImageError, decode_image, frame_image, grey
from vae.data.images import ImageShape

Picture: TypeAlias = str | Path | Image.Image | NDArray[Any] | Tensor
Pictures: TypeAlias = Picture | Sequence[Picture]

CHANNELS = (1, 3, 4)  # grey, RGB, and RGB with transparency
LAYOUTS = "H×W, C×H×W, H×W×C, or for several images N×C×H×W or N×H×W×C, with 1, 3 or 4 channels C"
ROUNDING = 1e-5  # how far intensities may leave [0, 1], since float32 rounds


class PicturesError(VAEError):
    """Something given as an image cannot be used as one."""


class Batch(NamedTuple):
    """Images, and the form in which they were given, which is that of the results.

    Attributes:
        images: uint8 (N, C, H, W).
        single: whether one image was given, without an axis for several.
        device: the device of the given tensors; None if no tensors were given.
    """

    images: Tensor
    single: bool
    device: torch.device | None


def as_batch(given: Pictures, framing: Framing, channels: int) -> Batch:
    """Bring images to one size and one number of channels, as training images are.

    Args:
        given: one image or several of them. An image is the path of a file, a Pillow image, or an array or a tensor:
            whole numbers from 0 to 255, intensities from 0 to 1 as floats, or truth values. Arrays with four axes are
            several images. From the file of a JPEG that is much larger than the result, not all pixels are decoded, so
            that it may differ by a few levels from the same JPEG as a Pillow image.
        framing: how images of other sizes are brought to one size.
        channels: 1 for grey or 3 for colour.

    Raises:
        PicturesError: there is no image, or one cannot be used; the message says which.
    """
    if isinstance(given, np.ndarray | Tensor):
        return _from_array(given, framing, channels)
    if isinstance(given, str | Path | Image.Image):
        return Batch(torch.from_numpy(np.stack([_pixels(given, framing, channels, "image")])), True, None)
    if not isinstance(given, Sequence):
        raise PicturesError(
            f"{type(given).__name__}: not an image; give the path of a file, a Pillow image, an array, a tensor, or a "
            "list of these"
        )
    if not given:
        raise PicturesError("no images; give at least one")
    each = [_pixels(picture, framing, channels, f"image {place}") for place, picture in enumerate(given)]
    device = given[0].device if isinstance(given[0], Tensor) else None
    return Batch(torch.from_numpy(np.stack(each)), False, device)


def _from_array(given: NDArray[Any] | Tensor, framing: Framing, channels: int) -> Batch:
    array, device = _as_array(given), given.device if isinstance(given, Tensor) else None
    if array.ndim != 4:
        return Batch(torch.from_numpy(np.stack([_pixels(given, framing, channels, "image")])), True, device)
    if not len(array):
        raise PicturesError("no images; give at least one")
    shape: ImageShape = (channels, framing.height, framing.width)
    if array.shape[1:] == shape:  # without a loop
        return Batch(torch.from_numpy(_eight_bits(array, "images")), False, device)
    each = [_pixels(image, framing, channels, f"image {place}") for place, image in enumerate(array)]
    return Batch(torch.from_numpy(np.stack(each)), False, device)


def _pixels(picture: Picture, framing: Framing, channels: int, name: str) -> Pixels:
    """The pixels of one image, uint8 (C, H, W)."""
    try:
        match picture:
            case str() | Path():
                name = printable(str(picture))
                pixels = decode_image(Path(picture).read_bytes(), framing).pixels
            case Image.Image():
                pixels = frame_image(picture.copy(), framing).pixels
            case np.ndarray() | Tensor():
                pixels = frame_image(_as_image(_as_array(picture), name), framing).pixels
            case _:
                raise PicturesError(f"{name}: {type(picture).__name__} is not an image")
    except UnusableImageError as error:
        raise PicturesError(f"{name}: cannot be used: {error}") from error
    except OSError as error:
        raise PicturesError(f"{name}: cannot be read: {error.strerror or error}") from error
    return grey(pixels) if channels == 1 else pixels


def _as_array(picture: NDArray[Any] | Tensor) -> NDArray[Any]:
    if not isinstance(picture, Tensor):
        return picture
    tensor = picture.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()  # NumPy has no bfloat16


def _as_image(array: NDArray[Any], name: str) -> Image.Image:
    """An array as a Pillow image."""
    if array.ndim == 3 and array.shape[0] in CHANNELS:  # also if both layouts fit
        array = array.transpose(1, 2, 0)
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in CHANNELS)):
        raise PicturesError(f"{name}: an array of shape {'×'.join(map(str, array.shape))}; expected {LAYOUTS}")
    values = _eight_bits(array, name)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    return Image.fromarray(np.ascontiguousarray(values))


def _eight_bits(array: NDArray[Any], name: str) -> Pixels:
    """Truth values, intensities or whole numbers as uint8 of the same shape."""
    if array.dtype == np.uint8:
        return array.copy()
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise PicturesError(f"{name}: an array of {array.dtype}; expected uint8, or intensities from 0 to 1 as floats")
    lowest, highest = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if array.dtype.kind in "iu":
        if lowest < 0 or highest > 255:
            raise PicturesError(f"{name}: whole numbers from {lowest:g} to {highest:g}; expected 0 to 255")
        return array.astype(np.uint8)
    if not (lowest >= -ROUNDING and highest <= 1 + ROUNDING):  # also if one is NaN
        raise PicturesError(
            f"{name}: floats from {lowest:g} to {highest:g}; expected intensities from 0 to 1, or uint8 from 0 to 255"
        )
    return (array.clip(0, 1) * 255).round().astype(np.uint8)
