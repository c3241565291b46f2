"""Images in a temporary file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.imports import ROOT
from vae.base.artifacts import ArtifactError
from vae.data.temporary_images import TemporaryImages


def image(value: int) -> np.ndarray:
    return np.full((1, 2, 3), value, np.uint8)


def test_images_written_in_any_order_are_mapped_by_their_index(tmp_path: Path) -> None:
    with TemporaryImages(tmp_path / "new", (3, 1, 2, 3)) as images:
        images.write(2, image(7))
        images.write(0, image(5))
        assert images.mapped()[:, 0, 0, 0].tolist() == [5, 0, 7]
        assert images.mapped().shape == (3, 1, 2, 3)


def test_no_images_give_an_empty_tensor(tmp_path: Path) -> None:
    with TemporaryImages(tmp_path, (0, 1, 2, 3)) as images:
        assert images.mapped().shape == (0, 1, 2, 3)


def test_mapped_images_outlive_the_object_and_leave_no_file(tmp_path: Path) -> None:
    with TemporaryImages(tmp_path, (1, 1, 2, 3)) as images:
        images.write(0, image(5))
        mapped = images.mapped()
    del images
    assert torch.equal(mapped, torch.full((1, 1, 2, 3), 5, dtype=torch.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits files as Unix does")
def test_a_full_disk_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from vae.base.artifacts import ArtifactError
from vae.data.temporary_images import TemporaryImages
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with TemporaryImages(Path(sys.argv[1]), (10, 1, 100, 100)) as images:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
        for index in range(10):
            images.write(index, np.ones((1, 100, 100), np.uint8))
        images.mapped()
except ArtifactError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == f"{tmp_path}: cannot be written: File too large\n"


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=r"file: cannot be written: "):
        TemporaryImages(tmp_path / "file", (1, 1, 2, 3))
