"""Decode an image file to pixels of a given size, whatever its format, mode and orientation."""

import io
import logging
import multiprocessing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp"})
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")  # a file's content decides, not its name
LARGEST_IMAGE = 50_000_000  # pixels
RESAMPLING = Image.Resampling.LANCZOS  # Pillow widens it when it shrinks, so that every pixel of the original counts
COMPRESSION = 4  # largest difference between the channels of a grey image that was compressed in colour

# Decoding takes up to 16 bytes for each pixel. Large images are decoded one at a time.
LARGE_IMAGE = 4_000_000  # pixels
ONE_AT_A_TIME = multiprocessing.RLock()

ORIENTATION = 0x0112  # the EXIF tag, whose other values need no change
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Pixels = NDArray[np.uint8]


class UnusableImageError(Exception):
    """A file is not an image that can be used; the message says why."""


@dataclass(frozen=True)
class Framing:
    """How images of different sizes are brought to one size.

    Attributes:
        height: of the result.
        width: of the result.
        fit: ``crop`` to the largest part of the right shape around the centre, ``pad`` with the background, or
            ``stretch``.
        background: the colour (red, green, blue) behind transparent pixels and around padded images.
    """

    height: int
    width: int
    fit: str
    background: tuple[int, ...]


class DecodedImage(NamedTuple):
    """The pixels of an image, uint8 (3, H, W), and the size and mode that it had."""

    pixels: Pixels
    width: int
    height: int
    mode: str


def colour(name: str) -> tuple[int, ...]:
    """Red, green and blue of a colour by its name or its code, such as ``white`` or ``#ffffff``.

    Raises:
        ValueError: there is no such colour.
    """
    return ImageColor.getrgb(name)[:3]


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Within the block, ignore what Pillow says about damaged metadata, and load all its decoders once."""
    logger = logging.getLogger("PIL")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        Image.init()
        try:
            yield
        finally:
            logger.setLevel(level)


def decode_image(content: bytes, framing: Framing) -> DecodedImage:
    """Decode the first frame of an image, turned as its EXIF orientation says, without transparency, in one size.

    Raises:
        UnusableImageError: it is broken, empty, truncated or too large, or its pixels have an unknown meaning.
    """
    if not content:
        raise UnusableImageError("empty")
    with _broken_files_refused(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return frame_image(image, framing)


def frame_image(image: Image.Image, framing: Framing) -> DecodedImage:
    """Bring an image that Pillow has opened or made to one size, as ``decode_image`` does.

    Raises:
        UnusableImageError: as above.
    """
    width, height = image.size
    if not width or not height:
        raise UnusableImageError("empty")
    if width * height > LARGEST_IMAGE:
        raise UnusableImageError(f"too large: {width}×{height} pixels")
    with _broken_files_refused(), ONE_AT_A_TIME if width * height > LARGE_IMAGE else nullcontext():
        return _decoded(image, framing)


@contextmanager
def _broken_files_refused() -> Iterator[None]:
    """Within the block, every error of a decoder is an ``UnusableImageError``."""
    try:
        yield
    except UnusableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnusableImageError(f"not an image of a known format ({', '.join(FORMATS)})") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise UnusableImageError("too large") from error
    except Exception as error:  # on broken files, decoders raise almost every kind of error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnusableImageError(f"broken: {reason}"[:200]) from error


def is_grey(pixels: Pixels) -> bool:
    """Whether the channels of an image (3, H, W) differ by no more than compression makes them differ."""
    parts = (pixels[:, ::8, ::8], pixels)  # a few pixels are enough for most images in colour
    return all(int(np.ptp(part, axis=0).max()) <= COMPRESSION for part in parts)


def grey(pixels: Pixels) -> Pixels:
    """The luma of an image, uint8 (3, H, W) to (1, H, W), by the weights of ITU-R 601."""
    return np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).convert("L"))[None]


def _decoded(image: Image.Image, framing: Framing) -> DecodedImage:
    (width, height), mode = image.size, image.mode
    # A JPEG that is much larger than the result is decoded at a half, a quarter or an eighth of its size, which
    # averages pixels; resampling does the rest.
    image.draft(None, (2 * max(framing.height, framing.width),) * 2)
    image.load()
    orientation = _orientation(image)
    image = _eight_bits(image)
    if orientation in TRANSPOSITIONS:
        image = image.transpose(TRANSPOSITIONS[orientation])
    if orientation >= 5:
        width, height = height, width
    framed = _opaque(_framed(image, framing), framing.background)
    return DecodedImage(np.ascontiguousarray(np.asarray(framed).transpose(2, 0, 1)), width, height, mode)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none, or if it is damaged."""
    try:
        found = image.getexif().get(ORIENTATION)
    except Exception:  # as above
        return 1
    return found if found in TRANSPOSITIONS else 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert an image to RGB, or to RGBA if it has transparent pixels."""
    if image.mode in ("I", "F"):
        raise UnusableImageError(f"numbers of unknown range: mode {image.mode}")
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _framed(image: Image.Image, framing: Framing) -> Image.Image:
    """Resize an image. Pillow weights colours by alpha for this, so that those of transparent pixels do not count."""
    size = framing.width, framing.height
    if image.size == size:
        return image
    match framing.fit:
        case "crop":
            return ImageOps.fit(image, size, RESAMPLING)
        case "pad":
            transparent = (0, 0, 0, 0)
            return ImageOps.pad(image, size, RESAMPLING, transparent if image.mode == "RGBA" else framing.background)
        case _:
            return image.resize(size, RESAMPLING)


def _opaque(image: Image.Image, background: tuple[int, ...]) -> Image.Image:
    """Put an image onto a background, if it is RGBA; RGB in any case."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")
