"""Formats, modes, orientations and broken files: an image has known pixels, all else is refused with a reason."""

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vae.data.decoding import (
    TRANSPOSITIONS,
    Framing,
    UnusableImageError,
    colour,
    decode_image,
    grey,
    is_grey,
    quiet_decoders,
)

WHITE, RED = (255, 255, 255), (255, 0, 0)
SIDE = 8


def framing(height: int = SIDE, width: int = SIDE, fit: str = "crop", background: tuple[int, ...] = WHITE) -> Framing:
    return Framing(height, width, fit, background)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def pattern(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Colours that are different at each corner, uint8 (H, W, 3)."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def decoded(content: bytes, **changes: Any) -> np.ndarray:
    """The pixels as (H, W, 3)."""
    return decode_image(content, framing(**changes)).pixels.transpose(1, 2, 0)


LOSSLESS = [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("BMP", {})]


@pytest.mark.parametrize(("kind", "options"), LOSSLESS, ids=[kind for kind, _ in LOSSLESS])
def test_an_image_of_the_right_size_keeps_its_pixels_in_every_lossless_format(
    kind: str, options: dict[str, Any]
) -> None:
    found = decode_image(encoded(Image.fromarray(pattern()), kind, **options), framing())
    assert (found.pixels == pattern().transpose(2, 0, 1)).all()
    assert (found.width, found.height, found.mode) == (SIDE, SIDE, "RGB")
    assert found.pixels.flags["C_CONTIGUOUS"]


def test_only_the_first_frame_of_an_animation_is_decoded() -> None:
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in (RED, (0, 0, 255))]
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        content = encoded(
            frames[0], kind, save_all=True, append_images=frames[1:], **{"lossless": True} if kind == "WEBP" else {}
        )
        assert (decoded(content) == RED).all(), kind


GREY_RAMP = np.arange(0, 256, 4, dtype=np.uint8).reshape(SIDE, SIDE)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(GREY_RAMP), GREY_RAMP),
        (Image.fromarray(GREY_RAMP).convert("RGB"), GREY_RAMP),
        (Image.fromarray(GREY_RAMP.astype(np.uint16) * 257), GREY_RAMP),
        (Image.fromarray((GREY_RAMP >= 128).astype(np.uint8) * 255).convert("1"), (GREY_RAMP >= 128) * 255),
        (Image.fromarray(GREY_RAMP).convert("P"), GREY_RAMP),
    ],
    ids=["8 bits", "colour", "16 bits", "1 bit", "palette"],
)
def test_grey_pixels_of_any_depth_keep_their_intensity(image: Image.Image, expected: np.ndarray) -> None:
    found = decoded(encoded(image))
    assert (found == expected[..., None]).all()
    assert is_grey(found.transpose(2, 0, 1))


def test_16_bits_are_rounded_to_8() -> None:
    values = np.array([[0, 128, 200, 32768, 65279, 65535]], np.uint16)
    found = decoded(encoded(Image.fromarray(values)), height=1, width=6)
    assert found[0, :, 0].tolist() == np.rint(values[0] / 257).astype(int).tolist() == [0, 0, 1, 128, 254, 255]


def test_a_cmyk_jpeg_is_converted_to_rgb() -> None:
    found = decode_image(encoded(Image.new("RGB", (SIDE, SIDE), RED).convert("CMYK"), "JPEG", quality=100), framing())
    assert found.mode == "CMYK"
    assert abs(found.pixels.transpose(1, 2, 0).astype(int) - RED).max() <= 2


def transparent_images() -> dict[str, Image.Image]:
    """Images of each mode with transparency; the left half is transparent and hides green, the right half is black."""
    left = np.zeros((SIDE, SIDE), bool)
    left[:, : SIDE // 2] = True
    rgba = np.zeros((SIDE, SIDE, 4), np.uint8)
    rgba[left] = (0, 255, 0, 0)
    rgba[~left] = (0, 0, 0, 255)
    luma = np.stack([np.where(left, 200, 0), np.where(left, 0, 255)], -1).astype(np.uint8)
    palette = Image.fromarray(left.astype(np.uint8))
    palette.putpalette([0, 0, 0, 0, 255, 0])
    palette.info["transparency"] = 1
    key = Image.fromarray(np.where(left[..., None], (0, 255, 0), (0, 0, 0)).astype(np.uint8))
    key.info["transparency"] = (0, 255, 0)
    return {"RGBA": Image.fromarray(rgba), "LA": Image.fromarray(luma), "P": palette, "RGB": key}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
@pytest.mark.parametrize("size", [SIDE, 4])
def test_transparent_pixels_show_the_background_and_not_their_hidden_colour(mode: str, size: int) -> None:
    image = transparent_images()[mode]
    assert image.mode == mode
    found = decoded(encoded(image), height=size, width=size, background=RED, fit="stretch")
    edge = size // 2 - 1  # resampling blurs the edge
    assert (found[:, :edge] == RED).all()
    assert (found[:, -edge:] == 0).all()
    assert found[..., 1].max() == 0, "hidden green"


def test_half_transparent_pixels_are_mixed_with_the_background() -> None:
    found = decoded(encoded(Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 128))))
    assert abs(found.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_the_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    """Pillow's inverse transposition of an upright image, marked with the orientation, is decoded upright."""
    upright = Image.fromarray(pattern(6, 10))
    inverse = {**TRANSPOSITIONS, 6: TRANSPOSITIONS[8], 8: TRANSPOSITIONS[6]}
    stored = upright.transpose(inverse[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode_image(
        encoded(stored, kind, exif=exif, **{"lossless": True} if kind == "WEBP" else {}), framing(6, 10)
    )
    assert (found.pixels.transpose(1, 2, 0) == pattern(6, 10)).all()
    assert (found.width, found.height) == (10, 6)


def test_the_orientation_of_a_16_bit_image_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    content = encoded(Image.fromarray(GREY_RAMP.astype(np.uint16) * 257), exif=exif)
    assert (decoded(content)[..., 0] == GREY_RAMP[::-1, ::-1]).all()


def test_damaged_exif_data_count_as_none() -> None:
    assert (decoded(encoded(Image.fromarray(pattern()), exif=b"Exif\0\0damaged")) == pattern()).all()


def test_crop_takes_the_largest_part_around_the_centre() -> None:
    image = np.zeros((SIDE, 3 * SIDE, 3), np.uint8)
    image[:, SIDE : 2 * SIDE] = pattern()
    assert (decoded(encoded(Image.fromarray(image))) == pattern()).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_pad_puts_the_whole_image_on_the_background(mode: str) -> None:
    content = encoded(Image.fromarray(pattern(SIDE // 2, SIDE)).convert(mode))
    found = decoded(content, fit="pad", background=RED)
    assert (found[2:6] == pattern(SIDE // 2, SIDE)).all()
    assert (found[[0, 1, 6, 7]] == RED).all()


def test_stretch_shows_the_whole_image_without_keeping_its_shape() -> None:
    image = np.repeat(pattern(SIDE, SIDE), 4, axis=1)
    found = decoded(encoded(Image.fromarray(image)), fit="stretch").astype(int)
    assert found.shape == (SIDE, SIDE, 3)
    assert np.corrcoef(found.ravel(), pattern().ravel())[0, 1] > 0.95


@pytest.mark.parametrize("size", [(4, 12), (12, 4)])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_every_fit_gives_the_height_and_width_that_are_asked_for(fit: str, size: tuple[int, int]) -> None:
    found = decode_image(encoded(Image.fromarray(pattern(30, 20))), framing(*size, fit=fit))
    assert found.pixels.shape == (3, *size)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_shrinking_averages_over_every_pixel_of_the_original(kind: str) -> None:
    """A fine chequerboard becomes grey, where picking pixels would give black, white or stripes."""
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    assert abs(decoded(encoded(Image.fromarray(board), kind)).astype(int) - 127.5).max() <= 2


def test_the_mean_of_a_shrunken_image_is_that_of_the_original() -> None:
    for kind in ("PNG", "JPEG"):
        found = decoded(encoded(Image.fromarray(pattern(16, 16)).resize((400, 400)), kind), height=16, width=16)
        assert abs(found.mean((0, 1)) - pattern(16, 16).mean((0, 1))).max() < 2


def test_grey_has_the_luma_of_pillow_and_grey_images_are_told_from_coloured_ones() -> None:
    colours = pattern().transpose(2, 0, 1)
    assert (grey(colours)[0] == np.asarray(Image.fromarray(pattern()).convert("L"))).all()
    assert not is_grey(colours)
    almost = np.repeat(colours[:1] // 2, 3, axis=0)
    almost[0] += 3
    assert is_grey(almost)


def test_colours_are_names_or_codes() -> None:
    assert colour("white") == colour("#ffffff") == WHITE
    assert colour("#ff000080") == RED
    with pytest.raises(ValueError, match="unknown color"):
        colour("blurple")


def png_of_size(width: int, height: int) -> bytes:
    """A PNG file that claims a size, and ends after that."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


WHOLE = encoded(Image.fromarray(pattern(64, 64)))
UNUSABLE = {
    "empty": (b"", "^empty$"),
    "text": (b"no image", "not an image of a known format"),
    "only a signature": (WHOLE[:8], "^broken: |not an image"),
    "truncated PNG": (WHOLE[: len(WHOLE) // 2], "^broken: "),
    "truncated JPEG": (encoded(Image.fromarray(pattern(64, 64)), "JPEG")[:900], "^broken: .*truncated"),
    "damaged PNG": (WHOLE[:200] + bytes(50) + WHOLE[250:], "^broken: "),
    "more pixels than allowed": (png_of_size(7072, 7072), "^too large: 7072×7072 pixels$"),
    "a bomb": (png_of_size(60_000, 60_000), "^too large"),
    "floating-point TIFF": (encoded(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), "unknown range: mode F"),
    "32-bit TIFF": (encoded(Image.fromarray(np.ones((8, 8), np.int32)), "TIFF"), "unknown range: mode I"),
    "another format": (encoded(Image.fromarray(pattern()), "PPM"), "not an image of a known format"),
    "PostScript": (encoded(Image.fromarray(pattern()), "EPS"), "not an image of a known format"),
}


@pytest.mark.parametrize(("content", "reason"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_file_is_refused_with_a_short_reason_in_one_line(content: bytes, reason: str) -> None:
    with quiet_decoders(), pytest.raises(UnusableImageError, match=reason) as caught:
        decode_image(content, framing())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


def test_every_truncation_and_every_damaged_byte_of_a_file_gives_an_image_or_a_reason() -> None:
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"):
        whole = encoded(Image.fromarray(pattern(16, 16)), kind)
        damaged = [whole[:length] for length in range(0, len(whole), 1 + len(whole) // 60)]
        for _ in range(60):
            changed = bytearray(whole)
            changed[random.integers(len(whole))] ^= 1 << random.integers(8)
            damaged.append(bytes(changed))
        for content in damaged:
            with quiet_decoders(), suppress(UnusableImageError):
                assert decode_image(content, framing()).pixels.shape == (3, SIDE, SIDE)


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(Image.new("RGB", (SIDE, SIDE), RED), "BMP"))
    assert (decoded(path.read_bytes()) == RED).all()
