"""How many images the stage writes, and of which kind of pixels."""

import json
from math import sqrt
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stages import paths, prepare
from vae.base.params import Params, PrepareParams, load_params
from vae.data.images import DatasetError, LabelledImages, PixelKind, load_images, pixels

ROOT = Path(__file__).parents[2]
PLAIN = load_params(ROOT / "params.yaml")
BINARY = [PixelKind.BINARY] * 3


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(**changes: object) -> PrepareParams:
    return PrepareParams(**{**PLAIN.prepare.model_dump(), **changes})


def params(**changes: object) -> Params:
    return PLAIN.model_copy(update={"prepare": settings(**changes)})


def prepared() -> tuple[LabelledImages, LabelledImages, LabelledImages]:
    """The training, validation and test images that were written."""
    train, validation, test = map(load_images, (paths.TRAIN_IMAGES, paths.VALIDATION_IMAGES, paths.TEST_IMAGES))
    return train, validation, test


def metrics() -> dict[str, object]:
    values: dict[str, object] = json.loads(Path("metrics/prepare.json").read_bytes())
    return values


def some_images(count: int) -> LabelledImages:
    return LabelledImages(
        torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1), torch.arange(count) % 2, ("a", "b")
    )


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(
    ("binarize", "kinds"),
    [
        ("none", [PixelKind.GREY] * 3),
        ("threshold", BINARY),
        ("static", BINARY),
        ("dynamic", [PixelKind.PROBABILITIES, *BINARY[1:]]),
    ],
)
def test_each_way_of_binarising_writes_pixels_of_its_kind_and_names_the_kind(
    binarize: str, kinds: list[PixelKind]
) -> None:
    prepare.main(params(binarize=binarize))
    data = prepared()
    assert [part.kind for part in data] == kinds
    for part in data:
        black_and_white = bool(((part.images == 0) | (part.images == 255)).all())
        assert black_and_white == (part.kind == PixelKind.BINARY)
    assert metrics()["images"] == {"train": 1294, "validation": 144, "test": 359}
    assert (metrics()["entropy_floor"] == 0) == (binarize != "none")  # of the test images, which evaluation is on


@pytest.mark.usefixtures("inside")
def test_every_way_of_binarising_starts_from_the_same_images_and_draws_white_at_the_right_rate() -> None:
    prepare.main(params())
    grey = prepared()
    for binarize in ("threshold", "static", "dynamic"):
        prepare.main(params(binarize=binarize))
        for before, after in zip(grey, prepared(), strict=True):
            assert torch.equal(after.labels, before.labels)
            assert_drawn_from(before.images, after, binarize)


def assert_drawn_from(grey: Tensor, data: LabelledImages, binarize: str) -> None:
    if data.kind == PixelKind.PROBABILITIES:
        assert torch.equal(data.images, grey)
    elif binarize == "threshold":
        assert torch.equal(pixels(data.images), (pixels(grey) >= 0.5).float())
    else:
        p = pixels(grey).double()
        surprise = pixels(data.images).double() - p
        assert (surprise[(p == 0) | (p == 1)] == 0).all()
        # As many white pixels as expected, in all and weighted by how white they were.
        for weight in (torch.ones_like(p), p):
            error = (weight * surprise).sum() / (weight.square() * p * (1 - p)).sum().sqrt()
            assert error.abs() < 4


def test_validation_and_test_images_are_drawn_independently() -> None:
    """The same grey images get other pixels in each."""
    grey = some_images(256)
    drawn = [prepare.binarized(grey, settings(binarize="static"), purpose) for purpose in ("validation", "test")]
    assert not torch.equal(drawn[0].images, drawn[1].images)


@pytest.mark.usefixtures("inside")
def test_fewer_training_images_are_a_random_subset_and_the_other_splits_stay_the_same() -> None:
    prepare.main(params())
    train, validation, test = prepared()
    prepare.main(params(train_images=300))
    fewer, same_validation, same_test = prepared()
    assert metrics()["images"] == {"train": 300, "validation": 144, "test": 359}
    assert torch.equal(fewer.images, train.images[:300])
    assert torch.equal(same_validation.images, validation.images)
    assert torch.equal(same_test.images, test.images)
    # In random order: about as many of each class.
    counts = torch.bincount(fewer.labels, minlength=10)
    assert ((counts - 30).abs() < 4 * sqrt(30)).all()


@pytest.mark.parametrize(("asked", "expected"), [("all", 20), (1, 1), (20, 20)])
def test_as_many_training_images_are_taken_as_are_asked_for(asked: int | str, expected: int) -> None:
    assert len(prepare.chosen(some_images(20), settings(train_images=asked))) == expected


def test_more_training_images_than_there_are_are_refused_with_the_key_and_the_way_out() -> None:
    message = r"^params\.yaml: prepare\.train_images: 21 .* there are 20 .*; lower it, or set it to all$"
    with pytest.raises(DatasetError, match=message):
        prepare.chosen(some_images(20), settings(train_images=21))


def test_a_validation_set_of_everything_is_refused_with_the_key() -> None:
    with pytest.raises(DatasetError, match=r"^params\.yaml: prepare\.validation_fraction: 0\.9999 leaves no"):
        prepare.chosen(some_images(0), settings(validation_fraction=0.9999))
