"""Splits: stable when images are added, without images of one group or content in two of them."""

import logging
from collections import Counter

import pytest

from vae.data.listing import ImageFile
from vae.data.splitting import TEST_FRACTION, assign_splits

FRACTION = 0.25


def files(count: int, **given: str) -> list[ImageFile]:
    return [ImageFile(f"{number}.png", **given) for number in range(count)]


def split(images: list[ImageFile], digests: list[str] | None = None, seed: int = 0) -> list[str]:
    return assign_splits(images, digests or [image.name for image in images], FRACTION, seed)


def test_random_splits_have_the_expected_shares() -> None:
    count = 4000
    found = Counter(split(files(count)))
    for name, share in (("test", TEST_FRACTION), ("validation", (1 - TEST_FRACTION) * FRACTION)):
        assert abs(found[name] - count * share) < 4 * (count * share * (1 - share)) ** 0.5


def test_random_splits_depend_on_the_seed_and_on_contents_but_not_on_names() -> None:
    images, digests = files(200), [f"content of {number}" for number in range(200)]
    renamed = [ImageFile(f"another/{image.name}") for image in images]
    assert split(images, digests) == split(renamed, digests)
    assert split(images, digests) != split(images, digests, seed=1)
    assert split(images, digests) != split(images)


def test_adding_images_and_groups_moves_none_of_the_others() -> None:
    few = [ImageFile(f"{number}.png", group=f"{number // 3}" if number % 2 else None) for number in range(300)]
    more = [ImageFile(f"new{number}.png", group=f"{number}") for number in range(200)]
    both = dict(zip([image.name for image in more + few], split(more + few), strict=True))
    assert split(few) == [both[image.name] for image in few]


def test_images_of_one_group_or_of_one_content_are_in_one_split() -> None:
    images = [ImageFile(f"{number}.png", group=f"{number // 4}") for number in range(400)]
    found = split(images)
    assert all(len(set(found[start : start + 4])) == 1 for start in range(0, 400, 4))
    digests = [f"{number % 100}" for number in range(400)]
    found = split(files(400), digests)
    assert found == found[:100] * 4
    assert len(set(found)) == 3


def test_groups_that_share_a_content_are_in_one_split_as_a_chain() -> None:
    """Group n and group n + 1 have one content in common, so that all of them hang together."""
    images = [ImageFile(f"{number}.png", group=f"{(number + 1) // 2}") for number in range(200)]
    assert len(set(split(images, [f"{number // 2}" for number in range(200)]))) == 1


def test_given_splits_win() -> None:
    images = [ImageFile(f"{number}.png", split=("train", "validation", "test")[number % 3]) for number in range(90)]
    assert split(images) == [image.split for image in images]


def test_without_given_test_or_validation_images_a_share_of_the_training_images_is_drawn() -> None:
    assert set(split(files(100, split="train"))) == {"train", "validation", "test"}
    given_test = split([*files(100, split="train"), ImageFile("test.png", split="test")])
    assert Counter(given_test)["test"] == 1
    assert set(given_test) == {"train", "validation", "test"}
    given_validation = split([*files(100, split="train"), ImageFile("validation.png", split="validation")])
    assert Counter(given_validation)["validation"] == 1
    assert set(given_validation) == {"train", "validation", "test"}


def test_images_given_as_training_images_stay_so_where_others_are_to_be_split() -> None:
    free = [ImageFile(f"free{number}.png") for number in range(100)]
    found = split([*files(100, split="train"), *free])
    assert set(found[:100]) == {"train"}
    assert set(found[100:]) == {"train", "validation", "test"}


def test_a_group_or_a_content_in_training_and_test_images_is_for_testing_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = [
        ImageFile("1.png", split="train", group="a"),
        ImageFile("2.png", split="test", group="a"),
        ImageFile("3.png", split="train"),
        ImageFile("4.png", split="validation"),
        ImageFile("5.png", split="train"),
        ImageFile("6.png", group="a"),
        ImageFile("7.png", split="validation", group="a"),
    ]
    with caplog.at_level(logging.WARNING):
        found = split(images, ["1", "2", "3", "3", "5", "6", "7"])
    assert found == ["test", "test", "validation", "validation", "train", "test", "test"]
    assert [record.message[:54] for record in caplog.records] == [
        "1 images given as train are in test, because images wi",
        "1 images given as train are in validation, because ima",
        "1 images given as validation are in test, because imag",
    ]
