"""Which files of a folder are images, and the classes and splits that folders give them."""

import logging
import os
from pathlib import Path

import pytest

from tests.vae.data.picture_files import write_pictures
from vae.data.images import DatasetError
from vae.data.listing import ImageFile, by_folders, image_names


def found(*names: str) -> dict[str, tuple[str | None, str | None, str]]:
    """The label, split and reason to skip of each file."""
    return {file.name: (file.label, file.split, file.skipped) for file in by_folders(sorted(names)).files}


def test_class_folders_give_the_class() -> None:
    assert found("cat/1.png", "dog/1.png", "dog/2.png") == {
        "cat/1.png": ("cat", None, ""),
        "dog/1.png": ("dog", None, ""),
        "dog/2.png": ("dog", None, ""),
    }


def test_nested_folders_belong_to_the_outermost_class() -> None:
    assert found("cat/black/small/1.png", "dog/1.png")["cat/black/small/1.png"] == ("cat", None, "")


def test_a_file_beside_class_folders_is_skipped() -> None:
    assert found("cat/1.png", "dog/1.png", "cover.png")["cover.png"] == (None, None, "in no class folder")


@pytest.mark.parametrize("names", [("1.png", "2.png"), ("all/1.png", "all/2.png"), ("1.png", "more/2.png")])
def test_a_folder_with_fewer_than_two_class_folders_has_no_classes(names: tuple[str, ...]) -> None:
    assert set(found(*names).values()) == {(None, None, "")}


def test_folders_of_splits_lie_above_class_folders() -> None:
    assert found("train/cat/1.png", "train/dog/a/2.png", "test/cat/3.png", "Validation/dog/4.png") == {
        "train/cat/1.png": ("cat", "train", ""),
        "train/dog/a/2.png": ("dog", "train", ""),
        "test/cat/3.png": ("cat", "test", ""),
        "Validation/dog/4.png": ("dog", "validation", ""),
    }


def test_folders_of_splits_without_classes_give_the_split_alone() -> None:
    assert found("training/1.png", "val/2.png") == {
        "training/1.png": (None, "train", ""),
        "val/2.png": (None, "validation", ""),
    }


def test_a_file_beside_folders_of_splits_is_skipped_and_so_is_one_beside_their_class_folders() -> None:
    files = found("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "4.png", "more/5.png", "test/6.png")
    assert files["4.png"] == files["more/5.png"] == (None, None, "in no folder of a split")
    assert files["test/6.png"] == (None, "test", "in no class folder")


def test_classes_that_are_named_like_a_split_stay_classes() -> None:
    assert found("train/1.png", "car/2.png", "plane/3.png")["train/1.png"] == ("train", None, "")
    assert found("test/1.png", "exam/2.png")["test/1.png"] == ("test", None, "")


def test_the_layout_is_said_in_words() -> None:
    assert by_folders(["train/cat/1.png", "test/dog/2.png"]).layout == "folders test, train with 2 class folders"
    assert by_folders(["1.png"]).layout == "no class folders"
    assert by_folders(["cat/1.png", "dog/1.png"]).layout == "2 class folders"


def test_images_are_found_by_their_suffixes_in_any_case_and_sorted_by_name(tmp_path: Path) -> None:
    names = ["B.PNG", "a/x.jpeg", "a/é.tif", "b.png", "日本/猫.WebP"]
    write_pictures(tmp_path, *names)
    write_pictures(tmp_path, ".hidden.png", ".hidden/1.png", "__MACOSX/1.png", "notes.txt", "metadata.csv", "none")
    assert image_names(tmp_path) == sorted(names)


def test_two_files_that_differ_in_case_only_are_two_images(tmp_path: Path) -> None:
    write_pictures(tmp_path, "a.png", "A.png")
    if len(list(tmp_path.iterdir())) == 2:  # on a file system that tells them apart
        assert image_names(tmp_path) == ["A.png", "a.png"]


def test_files_that_are_no_images_by_their_names_are_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path, "1.png", "2.heic", "3.HEIC", "notes")
    with caplog.at_level(logging.INFO):
        image_names(tmp_path)
    assert "2 of .heic, 1 of no suffix" in caplog.text


def test_links_are_followed_once_and_never_in_a_circle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, outside = tmp_path / "images", tmp_path / "outside"
    write_pictures(folder, "real/1.png", "zoo/2.png")
    write_pictures(outside, "3.png")
    for link, target in {
        "real/circle": "..",
        "a_link": "real",
        "far": "../outside",
        "again": "../outside",
        "zoo/file.png": "2.png",
        "zoo/nothing.png": "nothing",
        "zoo/self": "self",
    }.items():
        (folder / link).symlink_to(target)
    assert image_names(folder) == ["again/3.png", "real/1.png", "zoo/2.png", "zoo/file.png", "zoo/nothing.png"]
    assert "DVC does not notice changes behind links to folders" in caplog.text


def test_a_folder_that_is_a_link_is_read(tmp_path: Path) -> None:
    write_pictures(tmp_path / "real", "1.png")
    (tmp_path / "link").symlink_to("real")
    assert image_names(tmp_path / "link") == ["1.png"]


def test_a_name_that_is_not_utf_8_is_found(tmp_path: Path) -> None:
    write_pictures(tmp_path, "1.png")
    (tmp_path / "1.png").rename(tmp_path / os.fsdecode(b"\xff.png"))
    assert image_names(tmp_path) == ["\udcff.png"]


def test_a_missing_folder_and_a_file_in_its_place_and_a_folder_without_images_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, "file.png", "empty/notes.txt")
    for name, message in {
        "missing": r"^prepare\.folder: .*missing: no such folder; set it to a folder of images$",
        "file.png": r"^prepare\.folder: .*file\.png: a file, not a folder; set it to a folder of images$",
        "empty": r"^prepare\.folder: .*empty: no images; their names must end in .* \(other files: 1 of \.txt\)$",
    }.items():
        with pytest.raises(DatasetError, match=message):
            image_names(tmp_path / name)


def test_a_subfolder_that_cannot_be_read_is_an_error_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path, "1.png", "closed/2.png")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DatasetError, match=r"closed: cannot be read: Permission denied$"):
        image_names(tmp_path)


def test_a_listing_of_many_files_takes_time_in_proportion_to_their_number() -> None:
    files = by_folders([f"train/{number % 10}/{number}.png" for number in range(20_000)]).files
    assert files[-1] == ImageFile("train/9/19999.png", "9", "train")
