"""A folder is scored from the command line."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vae
from faults.project import Project
from scoring import scorer
from scoring.__main__ import main
from scoring.run import Result, score
from scoring.scorer import OtherImagesError
from scoring.training_files import ManifestError
from tests import in_process
from tests.imports import ROOT
from tests.scoring.material import Files, some_images, training_images, write_files
from tests.vae.data.picture_files import numbered, write_pictures
from vae.base.artifacts import ArtifactError
from vae.data.images import DatasetError, load_images, save_images

OUTPUTS = {"scores.csv", "embeddings.csv", "index.html"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return write_files(tmp_path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten images of two classes, of which the last one is a training image, and a broken file."""
    folder = tmp_path / "pictures"
    write_pictures(folder, *numbered("a/#.png", 5), *numbered("b/#.png", 4), size=20)
    Image.fromarray(training_images().images[7, 0].numpy()).save(folder / "b/same.png")
    (folder / "a/broken.png").write_bytes(b"no image")
    return folder


def run(files: Files, pictures: Path, out: Path) -> Result:
    return score(pictures, files.model, files.train, out, seed=0)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def visible(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_every_file_has_a_row_with_finite_scores_or_the_reason_why_it_has_none(
    files: Files, pictures: Path, tmp_path: Path
) -> None:
    result = run(files, pictures, tmp_path / "scores")
    assert (result.scored, result.duplicates, list(result.skipped)) == (10, 1, ["a/broken.png"])
    table = rows(tmp_path / "scores/scores.csv")
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    assert [row["file"] for row in table] == names
    for row in table:
        assert row["class"] == row["file"][0]
        numbers = [value for key, value in row.items() if key not in {"file", "class", "skipped", "duplicate"}]
        if row["file"] == "a/broken.png":
            assert row["skipped"].startswith("not an image")
            assert set(numbers) == {""}
        else:
            assert row["skipped"] == ""
            assert np.isfinite([float(value) for value in numbers]).all()
    (same,) = (row for row in table if row["duplicate"] == "yes")
    assert (same["file"], same["nearest_training_image"], same["pixel_difference"]) == ("b/same.png", "7", "0.0")


def test_the_nearest_training_image_has_the_name_that_the_manifest_beside_the_training_images_gives_it(
    files: Files, pictures: Path, tmp_path: Path
) -> None:
    lines = ["file,split,index", "first.png,train,3", "second.png,train,7", "third.png,test,7"]
    (files.train.parent / "manifest.csv").write_text("\n".join(lines))
    run(files, pictures, tmp_path / "scores")
    found = {row["file"]: row["nearest_training_image"] for row in rows(tmp_path / "scores/scores.csv")}
    assert found["b/same.png"] == "second.png"
    assert "Training image: second.png" in (tmp_path / "scores/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"file,split\na,train\n", b"file,split,index\na,train,x\n", b"\xff"])
def test_a_damaged_manifest_is_refused_with_its_path(
    files: Files, pictures: Path, tmp_path: Path, content: bytes
) -> None:
    manifest = files.train.parent / "manifest.csv"
    manifest.write_bytes(content)
    with pytest.raises(ManifestError, match=re.escape(f"{manifest}: damaged, or not of this version")):
        run(files, pictures, tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


def test_codes_and_scores_are_those_of_the_loaded_model(files: Files, pictures: Path, tmp_path: Path) -> None:
    run(files, pictures, tmp_path / "scores")
    model = vae.load(files.model)
    table = rows(tmp_path / "scores/embeddings.csv")
    assert list(table[0]) == ["filenames", "embedding_0", "embedding_1", "embedding_2", "labels"]
    names = [row["filenames"] for row in table]
    assert [row["labels"] for row in table] == ["0" if name.startswith("a/") else "1" for name in names]
    codes = np.array([[float(row[f"embedding_{index}"]) for index in range(3)] for row in table])
    assert codes == pytest.approx(np.asarray(model.encode([pictures / name for name in names])), rel=1e-4, abs=1e-5)
    scored = [row for row in rows(tmp_path / "scores/scores.csv") if not row["skipped"]]
    expected = model.negative_elbo([pictures / name for name in names], samples=1000)
    for row, nats in zip(scored, expected, strict=True):
        assert abs(float(row["negative_elbo"]) - nats) < 6 * float(row["negative_elbo_se"]) + 0.01


def test_the_labels_of_images_without_classes_are_zero(files: Files, tmp_path: Path) -> None:
    write_pictures(tmp_path / "flat", *numbered("#.png", 3))
    run(files, tmp_path / "flat", tmp_path / "scores")
    assert [row["labels"] for row in rows(tmp_path / "scores/embeddings.csv")] == ["0"] * 3
    assert [row["class"] for row in rows(tmp_path / "scores/scores.csv")] == [""] * 3


def test_the_same_call_writes_the_same_bytes_and_replaces_the_earlier_results(
    files: Files, pictures: Path, tmp_path: Path
) -> None:
    run(files, pictures, tmp_path / "scores")
    first = visible(tmp_path / "scores")
    run(files, pictures, tmp_path / "scores")
    assert visible(tmp_path / "scores") == first
    assert set(first) == OUTPUTS
    assert str(tmp_path).encode() not in b"".join(first.values())


def test_images_are_scored_in_pieces_and_none_is_left_out(
    files: Files, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(files, pictures, tmp_path / "whole")
    monkeypatch.setattr(scorer, "PIECE", 3)
    run(files, pictures, tmp_path / "pieces")
    assert rows(tmp_path / "pieces/embeddings.csv") == rows(tmp_path / "whole/embeddings.csv")
    both = zip(rows(tmp_path / "pieces/scores.csv"), rows(tmp_path / "whole/scores.csv"), strict=True)
    for piece, whole in both:
        for key in ("file", "likelihood_path", "code_distance", "pixel_difference", "skipped"):
            assert piece[key] == whole[key]


def test_a_run_that_fails_leaves_the_earlier_results_and_nothing_else(
    files: Files, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(files, pictures, tmp_path / "scores")
    before, beside = visible(tmp_path / "scores"), sorted(tmp_path.iterdir())
    with pytest.raises(DatasetError, match=r"IMAGES: .*: no such folder"):
        run(files, tmp_path / "gone", tmp_path / "scores")
    monkeypatch.setattr("scoring.gallery.html", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(files, pictures, tmp_path / "scores")
    assert visible(tmp_path / "scores") == before
    assert sorted(tmp_path.iterdir()) == beside


def test_a_folder_that_the_command_did_not_write_is_never_replaced(files: Files, pictures: Path) -> None:
    with pytest.raises(ArtifactError, match="was not written by this command"):
        run(files, pictures, pictures)
    assert (pictures / "b/same.png").exists()


def test_other_training_images_than_those_of_the_model_are_refused_with_what_to_do(
    files: Files, pictures: Path, tmp_path: Path
) -> None:
    save_images(files.train, load_images(files.train)[1:])
    message = re.escape(f"{files.train}: not the images that {files.model} was trained on; set TRAIN=…")
    with pytest.raises(OtherImagesError, match=message):
        run(files, pictures, tmp_path / "scores")
    save_images(files.train, training_images(images=some_images(channels=3)))
    with pytest.raises(OtherImagesError, match=message):
        run(files, pictures, tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


def command(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """The exit status of the command, what it prints, and its errors."""
    done = subprocess.run(
        [sys.executable, "-m", "scoring", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "VAE_DEVICE": "cpu"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("files")
def test_the_exit_status_of_the_command_says_whether_files_were_skipped_or_nothing_was_written(
    pictures: Path, tmp_path: Path
) -> None:
    status, output, errors = command(tmp_path, "pictures")
    assert status == 1
    assert output == "scored 10 images, 1 of them like a training image: scores/index.html\n"
    assert "skipped a/broken.png: not an image of a known format" in errors
    (pictures / "a/broken.png").unlink()
    in_process.run(Project(tmp_path), main, "pictures", "--out", "elsewhere", status=0)
    shutil.rmtree(pictures)
    printed = in_process.run(Project(tmp_path), main, "pictures", "--out", "nowhere", status=2)
    assert printed.startswith("IMAGES: pictures: no such folder")
    assert {path.name for path in tmp_path.iterdir()} == {"models", "data", "scores", "elsewhere"}
