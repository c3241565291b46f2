"""A model that prepare and train made prepares other images as its training images were prepared."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

import vae
from stages import paths, prepare, train
from tests.vae.data.picture_files import numbered, write_pictures
from vae.base.params import Params, load_params
from vae.classifier import training
from vae.data.images import fingerprint, load_images

PLAIN = load_params(Path(__file__).parents[2] / "params.yaml")


def params(**changes: Any) -> Params:
    folder = {"dataset": "folder", "folder": "pictures", "image_size": (10, 12), **changes}
    own = {
        "prepare": PLAIN.prepare.model_copy(update=folder),
        "train": PLAIN.train.model_copy(update={"epochs": 1}),
    }
    return PLAIN.model_copy(update=own)


@pytest.mark.parametrize(
    "changes",
    [
        {"fit": "crop"},
        {"fit": "pad", "background": "#204060"},
        {"fit": "stretch", "channels": 1},
        {"fit": "pad", "channels": 1, "binarize": "threshold"},
    ],
    ids=["crop", "pad in colour", "stretch in grey", "pad and binarize"],
)
def test_a_loaded_model_prepares_the_files_of_training_images_to_the_pixels_that_it_was_trained_on(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "MOST_EPOCHS", 1)
    write_pictures(tmp_path / "pictures", *numbered("#.png", 30), size=23)
    prepare.main(params(**changes))
    train.main(params(**changes))
    model, data = vae.load(paths.MODEL, "cpu"), load_images(paths.TRAIN_IMAGES)
    assert model.origin.training_images == fingerprint(data)
    with paths.MANIFEST.open(encoding="utf-8", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["split"] == "train"]
    prepared = model.prepare([tmp_path / "pictures" / name for name in names])
    assert sorted(map(bytes, prepared.numpy())) == sorted(map(bytes, data.images.numpy()))
    assert torch.as_tensor(model.negative_elbo(prepared)).isfinite().all()
