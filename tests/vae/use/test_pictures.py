import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.vae.data.test_decoding import encoded
from vae.data.decoding import ORIENTATION, Framing, Pixels
from vae.use.pictures import Pictures, PicturesError, as_batch

FRAMING = Framing(5, 6, "pad", (0, 0, 0))


def pattern(*shape: int) -> Pixels:
    """Pixels that are all different, so that no axis can be mistaken for another."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def one(given: Pictures, channels: int = 1, framing: Framing = FRAMING) -> Pixels:
    """The pixels of a single image."""
    batch = as_batch(given, framing, channels)
    assert batch.single
    assert len(batch.images) == 1
    return batch.images[0].numpy()


GREY = pattern(5, 6)
RGB = pattern(5, 6, 3)


@pytest.mark.parametrize(
    "given",
    [GREY, GREY[None], GREY[..., None], Image.fromarray(GREY), torch.from_numpy(GREY), np.stack([GREY] * 3, -1)],
    ids=["H×W", "1×H×W", "H×W×1", "Pillow", "tensor", "colour with equal channels"],
)
def test_a_grey_image_of_the_right_size_keeps_its_pixels_in_every_form(given: Pictures) -> None:
    assert np.array_equal(one(given), GREY[None])


@pytest.mark.parametrize(
    "given",
    [RGB, RGB.transpose(2, 0, 1), Image.fromarray(RGB), np.dstack([RGB, np.full((5, 6), 255, np.uint8)])],
    ids=["H×W×3", "3×H×W", "Pillow", "opaque H×W×4"],
)
def test_a_colour_image_of_the_right_size_keeps_its_pixels_in_every_form(given: Pictures) -> None:
    assert np.array_equal(one(given, 3), RGB.transpose(2, 0, 1))


def test_a_grey_image_for_a_model_of_colours_has_three_equal_channels() -> None:
    assert np.array_equal(one(GREY, 3), np.stack([GREY] * 3))


def test_a_colour_image_for_a_model_of_grey_images_becomes_its_luma() -> None:
    expected = np.asarray(Image.fromarray(RGB).convert("L"))
    assert np.array_equal(one(RGB), expected[None])


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif"])
def test_a_file_gives_the_pixels_of_the_image_in_it_by_its_path_or_its_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(RGB).save(path, lossless=True)
    assert np.array_equal(one(path, 3), RGB.transpose(2, 0, 1))
    assert np.array_equal(one(str(path), 3), RGB.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 1.0, 0.5]]), [0, 255, 128]),
        (np.array([[0.0, 1.0, 0.5]], np.float32), [0, 255, 128]),
        (np.array([[-1e-7, 1 + 1e-7, 0.2]]), [0, 255, 51]),
        (np.array([[False, True, True]]), [0, 255, 255]),
        (np.array([[0, 255, 7]], np.int64), [0, 255, 7]),
        (np.array([[0, 255, 7]], np.uint16), [0, 255, 7]),
    ],
    ids=["float64", "float32", "rounding errors", "bool", "int64", "uint16"],
)
def test_numbers_of_other_types_become_pixels_from_0_to_255(values: NDArray[Any], expected: list[int]) -> None:
    assert one(values, framing=Framing(1, 3, "pad", (0, 0, 0))).ravel().tolist() == expected


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_an_image_of_another_size_is_brought_to_the_size_as_a_file_of_it_is(tmp_path: Path, fit: str) -> None:
    framing = Framing(5, 6, fit, (200, 0, 0))
    picture = Image.fromarray(pattern(9, 7, 3))
    path = tmp_path / "image.png"
    picture.save(path)
    expected = one(path, 3, framing)
    assert expected.shape == (3, 5, 6)
    assert np.array_equal(one(picture, 3, framing), expected)
    assert np.array_equal(one(np.asarray(picture), 3, framing), expected)


def test_transparent_pixels_of_an_array_show_the_background() -> None:
    transparent = np.zeros((5, 6, 4), np.uint8)
    framing = Framing(5, 6, "crop", (10, 20, 30))
    assert one(transparent, 3, framing).reshape(3, -1).T.tolist() == [[10, 20, 30]] * 30


def test_a_pillow_image_is_turned_as_its_exif_orientation_says_like_the_file_of_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = tmp_path / "turned.png"
    path.write_bytes(encoded(Image.fromarray(pattern(60, 50, 3)), "PNG", exif=exif))
    with Image.open(path) as picture:
        assert np.array_equal(one(picture, 3), one(path, 3))
        assert not np.array_equal(one(picture, 3), one(np.asarray(picture), 3))


def test_a_tensor_in_half_precision_has_the_pixels_of_its_intensities() -> None:
    values = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.bfloat16)
    assert one(values, framing=Framing(1, 3, "pad", (0, 0, 0))).ravel().tolist() == [0, 128, 255]


def test_a_given_pillow_image_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(encoded(Image.fromarray(pattern(80, 120, 3)), "JPEG"))
    with Image.open(tmp_path / "image.jpg") as picture:
        one(picture, 3)
        assert picture.size == (120, 80)


@pytest.mark.parametrize(
    "given",
    [
        pattern(7, 1, 5, 6),
        pattern(7, 5, 6, 1),
        pattern(7, 3, 8, 9),
        torch.from_numpy(pattern(7, 1, 5, 6)),
        list(pattern(7, 5, 6)),
        tuple(pattern(7, 9, 9, 3)),
    ],
    ids=["N×1×H×W", "N×H×W×1", "another size in colour", "tensor", "list", "tuple"],
)
def test_each_of_several_images_has_the_pixels_that_it_has_alone(given: Any) -> None:
    batch = as_batch(given, FRAMING, 1)
    assert not batch.single
    expected = [one(image if isinstance(image, torch.Tensor) else np.asarray(image)) for image in given]
    assert np.array_equal(batch.images.numpy(), np.stack(expected))


def test_a_list_may_mix_files_arrays_tensors_and_pillow_images(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(GREY).save(path)
    batch = as_batch([path, str(path), GREY, torch.from_numpy(GREY), Image.fromarray(GREY)], FRAMING, 1)
    assert np.array_equal(batch.images.numpy(), np.stack([GREY[None]] * 5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no images; give at least one"),
        (np.zeros((0, 1, 4, 6)), "no images; give at least one"),
        (np.zeros((5, 28, 28), np.uint8), "image: an array of shape 5×28×28; expected H×W, C×H×W"),
        (np.zeros(5, np.uint8), "image: an array of shape 5; expected H×W"),
        (np.full((4, 6), 255.0), "image: floats from 255 to 255; expected intensities from 0 to 1, or uint8"),
        (np.full((4, 6), np.nan), "image: floats from nan to nan"),
        (np.full((4, 6), -1), "image: whole numbers from -1 to -1; expected 0 to 255"),
        (np.full((2, 1, 5, 6), 2.0), "images: floats from 2 to 2"),
        (np.full((4, 6), 1j), "image: an array of complex128"),
        (np.zeros((0, 6), np.uint8), "image: cannot be used: empty"),
        ([GREY, None], "image 1: NoneType is not an image"),
        (7, "int: not an image"),
    ],
)
def test_what_is_no_image_is_refused_with_what_it_is_and_what_was_expected(given: Any, message: str) -> None:
    with pytest.raises(PicturesError, match=re.escape(message)):
        as_batch(given, FRAMING, 1)


def test_a_file_that_cannot_be_used_is_refused_with_its_path_and_the_reason(tmp_path: Path) -> None:
    broken, missing = tmp_path / "broken.png", tmp_path / "missing.png"
    broken.write_bytes(encoded(Image.fromarray(RGB), "PNG")[:50])
    for path, reason in ((broken, "cannot be used: broken"), (missing, "cannot be read: No such file"), (tmp_path, "")):
        with pytest.raises(PicturesError, match=re.escape(f"{path}: {reason}")):
            as_batch([RGB, path], FRAMING, 1)
