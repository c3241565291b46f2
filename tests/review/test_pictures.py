import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from review.pictures import ROUNDING, Picture, difference, have_same_inputs
from review.revisions import Revision, Value
from tests.review.revisions import revision

RECONSTRUCTIONS, SAMPLES = "plots/evaluate/reconstructions.png", "plots/generate/samples.png"


def png(pixels: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def grey(value: int, size: int = 4) -> NDArray[np.uint8]:
    return np.full((size, size, 3), value, np.uint8)


def picture(*contents: bytes | None, same_inputs: bool = True) -> Picture:
    return Picture(RECONSTRUCTIONS, "evaluate", "title", contents, (same_inputs,) * (len(contents) - 1))


def test_the_change_of_a_picture_is_the_root_mean_square_of_its_pixels_and_the_largest_of_all_heads() -> None:
    half = grey(0)
    half[:2] = 255
    assert picture(png(grey(0)), png(half)).change == pytest.approx(0.5**0.5)
    assert picture(png(grey(0)), png(grey(51)), png(grey(102))).change == pytest.approx(0.4)


def test_a_picture_that_differs_by_rounding_or_in_its_compression_is_the_same() -> None:
    assert picture(png(grey(100)), png(grey(100 + ROUNDING))).same
    assert not picture(png(grey(100)), png(grey(101 + ROUNDING))).same
    content = io.BytesIO()
    Image.fromarray(grey(100)).save(content, "png", compress_level=0)
    assert picture(png(grey(100)), content.getvalue()).same


@pytest.mark.parametrize("other", [None, png(grey(0, size=5)), b"damaged"])
def test_a_picture_that_is_missing_damaged_or_of_another_size_changed_entirely_and_has_no_difference(
    other: bytes | None,
) -> None:
    found = picture(png(grey(0)), other)
    assert found.change == 1.0
    assert found.differences == [None]


def test_the_difference_is_white_where_equal_orange_where_brighter_and_blue_where_darker() -> None:
    before, after = grey(128), grey(128)
    after[0, 0], after[0, 1] = 255, 0
    found = difference(png(before), png(after))
    assert found is not None
    shown = np.asarray(Image.open(io.BytesIO(found)).convert("RGB")).astype(int)
    (red, green, blue), (dark_red, dark_green, dark_blue) = shown[0, 0], shown[0, 1]
    assert red > green > blue
    assert dark_red < dark_green < dark_blue
    assert (shown[1:] == 255).all()


def at(test_images: str = "1a2b", **parameters: Value) -> Revision:
    output = f"{{path: data/prepared/test.safetensors, md5: {test_images}}}"
    lock = f"stages: {{prepare: {{cmd: python, outs: [{output}]}}}}"
    values: dict[str, Value] = {"evaluate.seed": 0, "generate.seed": 0, "generate.samples": 100, "model.latent_dim": 6}
    given = {key.replace("__", "."): value for key, value in parameters.items()}
    return revision(parameters=values | given, files={"dvc.lock": lock})


@pytest.mark.parametrize(
    ("path", "head", "same"),
    [
        (RECONSTRUCTIONS, at(model__latent_dim=2), True),
        (RECONSTRUCTIONS, at(evaluate__seed=1), False),
        (RECONSTRUCTIONS, at("others"), False),
        (SAMPLES, at(train__beta=4.0), True),
        (SAMPLES, at(model__latent_dim=2), False),
        ("plots/generate/traversals.png", at(), False),
    ],
)
def test_pictures_have_a_difference_only_if_they_decode_the_same_images_or_codes(
    path: str, head: Revision, same: bool
) -> None:
    assert have_same_inputs(path, at(), head) is same
