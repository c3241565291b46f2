"""A folder of images as a data set: splits, classes, channels, skipped files and the manifest."""

import csv
import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vae.data.picture_files import numbered, write_pictures
from vae.base.params import PrepareParams, load_params
from vae.data import folder
from vae.data.images import DatasetError, LabelledImages

ROOT = Path(__file__).parents[3]
PLAIN = load_params(ROOT / "params.yaml").prepare.model_dump()
Parts = tuple[LabelledImages, LabelledImages, LabelledImages]


def load(path: Path, **changes: Any) -> Parts:
    """The training, validation and test images of a folder. The manifest is beside the folder."""
    values = {
        **PLAIN,
        "dataset": "folder",
        "folder": str(path),
        "image_size": 8,
        "validation_fraction": 0.25,
        **changes,
    }
    return folder.load(PrepareParams(**values), path.parent / "manifest.csv")


def manifest(path: Path) -> dict[str, dict[str, str]]:
    """The rows of the manifest by the name of the file."""
    text = (path.parent / "manifest.csv").read_text(encoding="utf-8")
    return {row["file"]: row for row in csv.DictReader(text.splitlines())}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


def test_the_manifest_says_where_the_image_of_each_file_is_in_its_split(pictures: Path) -> None:
    write_pictures(pictures, *numbered("cat/#.png", 20), *numbered("dog/#.png", 20))
    parts = dict(zip(("train", "validation", "test"), load(pictures), strict=True))
    for name, row in manifest(pictures).items():
        expected = np.asarray(Image.open(pictures / name)).transpose(2, 0, 1)
        assert np.array_equal(parts[row["split"]].images[int(row["index"])].numpy(), expected)


def test_the_splits_have_the_pixels_of_the_files_with_their_labels(pictures: Path) -> None:
    write_pictures(pictures, *numbered("cat/#.png", 20), *numbered("dog/more/#.png", 20))
    parts = load(pictures)
    found = {}
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        assert part.class_names == ("cat", "dog")
        assert len(part)
        for image, label in zip(part.images, part.labels, strict=True):
            found[image.numpy().tobytes()] = (name, part.class_names[label])
    rows = manifest(pictures)
    assert len(rows) == len(found) == 40
    for file, row in rows.items():
        pixels = np.asarray(Image.open(pictures / file)).transpose(2, 0, 1)
        assert found[pixels.tobytes()] == (row["split"], row["class"]) == (row["split"], file.split("/")[0])
        assert row["sha256"] == hashlib.sha256((pictures / file).read_bytes()).hexdigest()
        assert (row["width"], row["height"], row["mode"], row["skipped"], row["group"]) == ("8", "8", "RGB", "", "")


def test_adding_images_moves_none_of_the_others_and_images_are_in_no_order_of_their_names(pictures: Path) -> None:
    write_pictures(pictures, *numbered("cat/#.png", 40), *numbered("dog/#.png", 40))
    train, _, _ = load(pictures)
    before = {name: row["split"] for name, row in manifest(pictures).items()}
    assert train.labels.tolist() != sorted(train.labels.tolist())
    write_pictures(pictures, *numbered("ant/#.png", 40), *numbered("cat/0#.png", 20))
    load(pictures)
    after = manifest(pictures)
    assert len(after) == 140
    assert {name: after[name]["split"] for name in before} == before


def test_a_folder_without_classes_is_one_class(pictures: Path) -> None:
    write_pictures(pictures, *numbered("#.png", 20))
    train, _, _ = load(pictures)
    assert train.class_names == ("images",)
    assert train.labels.unique().tolist() == [0]


def test_given_splits_are_kept_and_a_class_may_lie_in_one_split_only(pictures: Path) -> None:
    write_pictures(pictures, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/c/4.png", "val/b/5.png")
    train, validation, test = load(pictures)
    assert train.class_names == ("a", "b", "c")
    assert (sorted(train.labels.tolist()), validation.labels.tolist(), sorted(test.labels.tolist())) == (
        [0, 1],
        [1],
        [0, 2],
    )


def test_metadata_give_labels_and_groups(pictures: Path) -> None:
    names = numbered("#.png", 40)
    write_pictures(pictures, *names)
    lines = [f"{name},{number % 3},{number // 2}" for number, name in enumerate(names)]
    (pictures / "metadata.csv").write_text("\n".join(["file_name,label,group", *lines]))
    train, _, _ = load(pictures)
    assert train.class_names == ("0", "1", "2")
    splits = [manifest(pictures)[name]["split"] for name in names]
    assert splits[::2] == splits[1::2]
    assert manifest(pictures)["007.png"]["group"] == "3"


@pytest.mark.parametrize("cores", [1, 7])
def test_the_result_does_not_depend_on_the_number_of_cores(
    cores: int, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if files that come first are read last."""
    write_pictures(pictures, *numbered("cat/#.png", 60), *numbered("dog/#.png", 60))
    (pictures / "cat/005.png").write_bytes(b"")
    expected, rows = load(pictures), manifest(pictures)
    read = folder.read_image

    def slow(*arguments: Any) -> folder.ReadImage:
        time.sleep(0.02 if arguments[-1] < 16 else 0)
        return read(*arguments)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    monkeypatch.setattr(folder, "read_image", slow)
    for before, after in zip(expected, load(pictures), strict=True):
        assert torch.equal(before.images, after.images)
        assert torch.equal(before.labels, after.labels)
    assert manifest(pictures) == rows


@pytest.mark.parametrize(
    ("modes", "wanted", "channels", "reason"),
    [
        (("L", "RGB"), "auto", 3, "3 channels, because 20 images are in colour"),
        (("L", "1"), "auto", 1, "1 channel, because all images are grey"),
        (("L", "RGB"), 1, 1, "1 channel, as prepare.channels says"),
        (("L", "L"), 3, 3, "3 channels, as prepare.channels says"),
    ],
)
def test_the_number_of_channels_is_chosen_with_a_reason(
    modes: tuple[str, str], wanted: Any, channels: int, reason: str, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(pictures, *numbered("a/#.png", 20), mode=modes[0])
    write_pictures(pictures, *numbered("b/#.png", 20), mode=modes[1])
    with caplog.at_level(logging.INFO):
        train, validation, test = load(pictures, channels=wanted)
    assert {part.shape for part in (train, validation, test)} == {(channels, 8, 8)}
    assert f"40 images, 2 class folders; {reason}" in caplog.text


def test_one_channel_is_the_luma_of_an_image(pictures: Path) -> None:
    write_pictures(pictures, "train/1.png", "test/2.png")
    _, _, test = load(pictures, channels=1)
    assert (test.images[0, 0].numpy() == np.asarray(Image.open(pictures / "test/2.png").convert("L"))).all()


def test_images_are_resized_to_height_and_width(pictures: Path) -> None:
    write_pictures(pictures, *numbered("#.png", 20), size=30)
    train, _, _ = load(pictures, image_size=[12, 9])
    assert train.shape == (3, 12, 9)
    assert manifest(pictures)["000.png"]["width"] == "30"


def test_files_that_cannot_be_used_are_skipped_with_one_warning_and_listed(
    pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(pictures, *numbered("#.png", 40))
    (pictures / "empty.png").touch()
    (pictures / "link.png").symlink_to("nothing")
    (pictures / "text.png").write_text("no image")
    (pictures / "=1+1\x1b[2J.png").write_text("no image")
    os.mkfifo(pictures / "pipe.png")
    parts = load(pictures, max_skipped=0.2)
    assert sum(map(len, parts)) == 40
    rows = manifest(pictures)
    assert {name: row["skipped"].split(" of ")[0] for name, row in rows.items() if row["skipped"]} == {
        "'=1+1\\x1b[2J.png": "not an image",
        "empty.png": "empty",
        "link.png": "link to nothing",
        "pipe.png": "not a regular file",
        "text.png": "not an image",
    }
    assert {(row["split"], row["width"], row["sha256"]) for row in rows.values() if row["skipped"]} == {("", "", "")}
    (warning,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "5 of 45 files cannot be used (=1+1\\x1b[2J.png: not an image" in warning
    assert "and 2 more); " in warning
    assert warning.endswith("manifest.csv lists them")


def test_a_file_that_cannot_be_read_is_skipped(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(pictures, *numbered("#.png", 40))
    real: Callable[..., IO[Any]] = Path.open

    def open_file(path: Path, *arguments: Any, **options: Any) -> IO[Any]:
        if path.name == "007.png":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_file)
    load(pictures)
    assert manifest(pictures)["007.png"]["skipped"] == "cannot be read: Permission denied"


def test_a_file_that_is_too_large_is_skipped_without_reading_it(pictures: Path) -> None:
    write_pictures(pictures, *numbered("#.png", 40))
    with (pictures / "large.png").open("wb") as file:
        file.truncate(folder.LARGEST_FILE + 1)
    load(pictures)
    assert manifest(pictures)["large.png"]["skipped"] == "too large: 200,000,001 bytes"


def test_too_many_skipped_files_are_an_error_that_names_the_reasons_and_the_manifest_lists_them(pictures: Path) -> None:
    write_pictures(pictures, *numbered("#.png", 20))
    for name in ("a.png", "b.png", "c.png"):
        (pictures / name).touch()
    with pytest.raises(
        DatasetError,
        match=r"^prepare\.max_skipped: 0\.1, but 3 of 23 files cannot be used: empty \(3\); .*manifest\.csv lists them",
    ):
        load(pictures)
    assert manifest(pictures)["a.png"]["skipped"] == "empty"
    assert sum(map(len, load(pictures, max_skipped=0.14))) == 20


def test_a_folder_of_nothing_but_broken_files_is_an_error(pictures: Path) -> None:
    pictures.mkdir()
    (pictures / "a.png").touch()
    with pytest.raises(DatasetError, match=r"1 of 1 files cannot be used: empty \(1\); .*manifest\.csv lists them$"):
        load(pictures, max_skipped=1)


@pytest.mark.parametrize("copies", [1, 2])
def test_a_single_image_is_too_few_and_so_are_copies_of_it(copies: int, pictures: Path) -> None:
    write_pictures(pictures, "1.png")
    for number in range(copies):
        (pictures / f"{number + 1}.png").write_bytes((pictures / "1.png").read_bytes())
    with pytest.raises(
        DatasetError,
        match=r"but each needs one at least; add images, change prepare\.seed, lower .* named train and test$",
    ):
        load(pictures)


def test_one_training_image_and_one_test_image_are_enough(pictures: Path) -> None:
    write_pictures(pictures, "train/1.png", "test/2.png")
    assert list(map(len, load(pictures, validation_fraction=0))) == [1, 0, 1]


def test_a_class_name_that_cannot_be_shown_is_refused_with_the_folder(pictures: Path) -> None:
    write_pictures(pictures, *numbered("a\x1b/#.png", 10), *numbered("b/#.png", 10))
    with pytest.raises(DatasetError, match=r"pictures: class name 'a\\x1b': it has characters that cannot be printed"):
        load(pictures)


def test_names_outside_ascii_and_outside_utf_8_are_read(pictures: Path) -> None:
    write_pictures(pictures, *numbered("猫/é #.png", 10), *numbered("Ünïcode/#.png", 10))
    (pictures / "猫/é 000.png").rename(pictures / "猫" / os.fsdecode(b"\xff.png"))
    train, _, _ = load(pictures)
    assert train.class_names == ("Ünïcode", "猫")
    assert "猫/\\udcff.png" in manifest(pictures)


def test_broken_files_say_nothing_on_the_terminal(pictures: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_pictures(pictures, *numbered("#.png", 20))
    bilevel = Image.fromarray(np.eye(8, dtype=bool))
    bilevel.save(pictures / "fax.tif", compression="group4")
    content = (pictures / "fax.tif").read_bytes()
    (pictures / "fax.tif").write_bytes(content[:8] + b"\xff" * 8 + content[16:])
    palette = Image.fromarray(np.eye(8, dtype=np.uint8)).convert("P")
    palette.save(pictures / "palette.png", transparency=b"\x00\x80")  # Pillow warns of such palettes
    load(pictures)
    assert manifest(pictures)["palette.png"]["skipped"] == ""
    assert "Warning" not in capfd.readouterr().err


def test_the_pixels_lie_in_files_and_not_in_memory(pictures: Path) -> None:
    write_pictures(pictures, *numbered("#.png", 20))
    train, _, _ = load(pictures)
    address = train.images.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(each, 16) for each in line.split()[0].split("-"))
        if start <= address < end:
            assert "(deleted)" in line
            return
    raise AssertionError("the images are nowhere")
