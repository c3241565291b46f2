from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.imports import ROOT
from vae.base.params import load_params
from vae.data.decoding import Framing
from vae.data.images import LabelledImages, fingerprint, load_images, save_images
from vae.data.preparation import Preparation

PLAIN = load_params(ROOT / "params.yaml").prepare


def test_the_preparation_of_a_folder_is_that_of_the_parameters() -> None:
    changes = {"dataset": "folder", "fit": "stretch", "background": "#102030", "binarize": "threshold"}
    preparation = Preparation.of(PLAIN.model_copy(update=changes))
    assert preparation.model_dump() == changes
    assert preparation.framing(5, 7) == Framing(5, 7, "stretch", (16, 32, 48))


@pytest.mark.parametrize("dataset", ["digits", "mnist", "fashion_mnist", "kmnist"])
def test_the_preparation_of_a_data_set_of_one_size_pads_other_images_with_black_whatever_the_parameters_say(
    dataset: str,
) -> None:
    settings = PLAIN.model_copy(update={"dataset": dataset, "fit": "stretch", "background": "white"})
    assert Preparation.of(settings).framing(8, 8) == Framing(8, 8, "pad", (0, 0, 0))


def test_a_background_that_is_no_colour_is_refused() -> None:
    with pytest.raises(ValidationError, match="background"):
        Preparation(dataset="folder", fit="crop", background="no colour", binarize="none")


def test_prepared_images_are_loaded_with_the_preparation_that_they_were_saved_with(
    tmp_path: Path, images: LabelledImages
) -> None:
    assert load_saved(tmp_path, images).preparation == images.preparation is not None


def test_a_part_of_prepared_images_has_the_same_preparation(images: LabelledImages) -> None:
    assert images[1:].preparation == images.preparation


def test_the_fingerprint_of_images_tells_one_changed_pixel_and_survives_the_file(
    tmp_path: Path, images: LabelledImages
) -> None:
    before = fingerprint(images)
    assert fingerprint(load_saved(tmp_path, images)) == before
    images.images[1, 0, 2, 3] ^= 1
    assert fingerprint(images) != before


@pytest.fixture
def images() -> LabelledImages:
    import torch

    pixels = torch.arange(24, dtype=torch.uint8).view(2, 1, 3, 4)
    return LabelledImages(pixels, torch.zeros(2, dtype=torch.int64), ("one",), preparation=Preparation.of(PLAIN))


def load_saved(folder: Path, data: LabelledImages) -> LabelledImages:
    save_images(folder / "images.safetensors", data)
    return load_images(folder / "images.safetensors")
