"""Contact sheets of models from DVC's cache."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from faults.project import Project
from review.contact_sheets import COLUMNS, SEED, contact_sheets, drawn
from review.revisions import Revision, load_revision
from stages import paths
from tests.review.changed import record
from tests.settings import architecture
from vae.base import runtime
from vae.data.images import LabelledImages, load_images, pixels, save_images
from vae.model.model_file import load_model, save_model
from vae.model.vae import VAE


@pytest.fixture
def committed(reproduced: Project) -> Revision:
    return load_revision("HEAD", reproduced.folder)


def test_all_models_reconstruct_the_same_test_images_which_are_the_first_row(
    committed: Revision, reproduced: Project
) -> None:
    sheets = contact_sheets({"a 1": committed, "a 2": committed})
    assert sheets.reconstructions.names == ["test images", "a 1", "a 2"]
    assert sheets.samples.names == ["a 1", "a 2"]
    assert sheets.problems == {}
    test = load_images(reproduced.folder / "data/prepared/test.safetensors")
    chosen = test.images[runtime.permutation(len(test), SEED, "contact sheet")[:COLUMNS]]
    model = load_model(reproduced.folder / "models/vae.safetensors", runtime.CPU, test.shape)
    expected = model.likelihood.mean(model.decoder(model.posterior(pixels(chosen))[0])).detach().numpy()
    originals, *reconstructions = sheets.reconstructions.rows
    np.testing.assert_array_equal(originals, pixels(chosen).numpy())
    for images in reconstructions:
        np.testing.assert_allclose(images, expected, atol=1e-5)


def test_a_run_with_other_test_images_has_a_row_of_them_above_its_own(committed: Revision, workspace: Project) -> None:
    path = workspace.folder / paths.TEST_IMAGES
    images = load_images(path)
    save_images(path, replace(images, images=255 - images.images))
    record(workspace)
    other = load_revision("workspace", workspace.folder)
    sheets = contact_sheets({"a 1": committed, "a 2": other})
    assert sheets.reconstructions.names == ["test images", "a 1", "test images", "a 2"]
    assert not np.array_equal(sheets.reconstructions.rows[0], sheets.reconstructions.rows[2])


def test_a_model_missing_from_the_cache_is_reported_and_the_other_models_are_shown(
    committed: Revision, clone: Project
) -> None:
    without = replace(load_revision("HEAD", clone.folder), name="elsewhere")
    sheets = contact_sheets({"a 1": without, "a 2": committed})
    assert sheets.samples.names == ["a 2"]
    assert set(sheets.problems) == {"a 1"}
    assert "dvc exp pull" in sheets.problems["a 1"]


def colour_run(folder: Path, side: int) -> Revision:
    """A run with a model of colour images without classes."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 3, side, side), dtype=torch.uint8, generator=random)
    save_images(folder / paths.TEST_IMAGES, LabelledImages(images, torch.zeros(20, dtype=torch.int64), ("images",)))
    save_model(folder / paths.MODEL, VAE(architecture(image_shape=(3, side, side), likelihood="discretized_logistic")))
    return Revision("colour", {}, {}, {}, LocalFiles(folder), {})


class LocalFiles:
    """Files in a folder, by the names that they have in a project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read_bytes(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def test_colour_images_without_classes_are_drawn_in_colour_and_runs_of_other_sizes_are_reported(
    tmp_path: Path,
) -> None:
    runs = {f"side {side}": colour_run(tmp_path / str(side), side) for side in (64, 32)}
    sheets = contact_sheets(runs)
    assert [row.shape for row in sheets.samples.rows] == [(COLUMNS, 3, 64, 64)]
    assert "(3, 32, 32) instead of (3, 64, 64)" in sheets.problems["side 32"]
    figure = drawn(sheets.reconstructions, "Reconstructions", "Healthy: alike.")
    assert figure is not None
    assert np.asarray(figure.axes[0].images[0].get_array()).shape[2] == 3
