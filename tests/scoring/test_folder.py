import re
from pathlib import Path

import numpy as np
import pytest

from scoring.folder import NothingToScoreError, read_folder
from tests.scoring.material import SIDE, some_images, trained, training_images
from tests.vae.data.picture_files import numbered, write_pictures
from vae.data.images import DatasetError


def test_the_images_of_a_folder_have_the_pixels_that_the_model_prepares_from_their_files(tmp_path: Path) -> None:
    names = [*numbered("b/#.png", 3), *numbered("a/#.png", 3)]
    write_pictures(tmp_path / "pictures", *names, size=20)
    for channels in (1, 3):
        model = trained(training_images(images=some_images(channels=channels)))
        folder = read_folder(tmp_path / "pictures", model, tmp_path)
        assert [file.name for file in folder.used] == sorted(names)
        assert folder.class_names == ["a", "b"]
        expected = model.prepare([tmp_path / "pictures" / name for name in sorted(names)])
        assert folder.images.shape == (6, channels, SIDE, SIDE)
        assert np.array_equal(folder.images.numpy(), expected.numpy())


def test_broken_files_are_skipped_with_the_reason(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", "1.png", "3.png")
    (tmp_path / "pictures/2.png").write_bytes(b"no image")
    folder = read_folder(tmp_path / "pictures", trained(), tmp_path)
    assert [file.name for file in folder.used] == ["1.png", "3.png"]
    assert list(folder.skipped) == ["2.png"]
    assert "not an image" in folder.skipped["2.png"]
    assert len(folder.images) == 2


def test_an_image_beside_class_folders_or_missing_from_the_metadata_is_scored_without_a_class(tmp_path: Path) -> None:
    write_pictures(tmp_path / "folders", "a/1.png", "b/1.png", "1.png")
    write_pictures(tmp_path / "table", "1.png", "2.png")
    (tmp_path / "table/metadata.csv").write_text("file_name,label\n1.png,cat\ngone.png,cat\n")
    folders, table = (read_folder(tmp_path / name, trained(), tmp_path) for name in ("folders", "table"))
    assert {file.name: file.label for file in folders.used} == {"1.png": None, "a/1.png": "a", "b/1.png": "b"}
    assert {file.name: file.label for file in table.used} == {"1.png": "cat", "2.png": None}
    assert list(table.skipped) == ["gone.png"]


def test_a_missing_folder_and_one_without_usable_images_are_refused_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=re.escape(f"IMAGES: {tmp_path / 'gone'}: no such folder")):
        read_folder(tmp_path / "gone", trained(), tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/1.png").write_bytes(b"")
    with pytest.raises(NothingToScoreError, match=re.escape(f"IMAGES: {tmp_path / 'broken'}: none of 1 files")):
        read_folder(tmp_path / "broken", trained(), tmp_path)
