from typing import get_args

import pytest
import torch

from vae.base.params import PrepareParams
from vae.data import digits, mnist
from vae.data.images import LabelledImages, Splits
from vae.data.sources import load_source

NAMES = get_args(PrepareParams.model_fields["dataset"].annotation)


def test_load_source_splits_the_digits_by_its_seed() -> None:
    for loaded, expected in zip(load_source("digits", 3), digits.load(3), strict=True):
        assert torch.equal(loaded.images, expected.images)
        assert torch.equal(loaded.labels, expected.labels)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"digits", "folder"}])
def test_load_source_takes_every_other_data_set_that_a_parameter_can_name_from_torchvision(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = LabelledImages(torch.empty(0, 1, 1, 1), torch.empty(0), (name,))
    monkeypatch.setattr(mnist, "load", lambda dataset: {name: Splits(empty, empty)}[dataset])
    assert load_source(name, 0).train is empty
    assert name in mnist.TORCHVISION_NAMES
