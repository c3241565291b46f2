import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from vae.data import digits
from vae.data.images import LabelledImages


def rows(data: LabelledImages) -> list[tuple[int, ...]]:
    """Every image with its label, in a form that can be sorted and compared."""
    flat = torch.cat([data.images.flatten(1).long(), data.labels.unsqueeze(1)], dim=1)
    return [tuple(row) for row in flat.tolist()]


def test_training_and_test_images_together_are_every_digit_of_scikit_learn_once() -> None:
    original = load_digits()
    brightness = np.round(original.data * 255 / 16)
    expected = [tuple(map(int, row)) for row in np.column_stack([brightness, original.target])]
    splits = digits.load(0)
    assert len(expected) == 1797
    assert sorted(rows(splits.train) + rows(splits.test)) == sorted(expected)


def test_a_fifth_of_the_digits_are_test_images_and_none_of_them_is_a_training_image() -> None:
    splits = digits.load(0)
    assert (len(splits.train), len(splits.test)) == (1438, 359)
    assert not set(rows(splits.train)) & set(rows(splits.test))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_and_test_digits_are_uint8_images_of_all_ten_classes(seed: int) -> None:
    for data in digits.load(seed):
        assert data.shape == (1, 8, 8)
        assert data.images.dtype == torch.uint8
        assert data.labels.dtype == torch.int64
        assert data.labels.unique().tolist() == list(range(10))
        assert data.class_names == tuple("0123456789")


def test_the_17_grey_levels_of_the_digits_are_spread_evenly_from_0_to_255() -> None:
    levels = digits.load(0).train.images.unique().tolist()
    assert (len(levels), levels[0], levels[-1]) == (17, 0, 255)
    assert {above - below for below, above in pairwise(levels)} <= {15, 16}


def test_the_test_split_of_the_digits_repeats_with_its_seed_only() -> None:
    first, again, other = (digits.load(seed).test for seed in (3, 3, 4))
    assert rows(first) == rows(again)
    assert set(rows(first)) != set(rows(other))


def test_the_test_split_of_the_digits_is_drawn_from_the_whole_data_set_in_random_order() -> None:
    original = [tuple(row) for row in np.round(load_digits().data * 255 / 16).astype(int).tolist()]
    places = [original.index(row[:-1]) for row in rows(digits.load(0).test)]
    assert max(places) - min(places) > 1500
    assert places != sorted(places)


def test_loading_the_digits_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE_DATA_HOME", str(tmp_path / "downloads"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    digits.load(0)
    assert list(tmp_path.iterdir()) == []
