"""metadata.csv and metadata.jsonl: labels, splits and groups, and what is wrong with them."""

import json
from pathlib import Path

import pytest

from tests.vae.data.picture_files import write_pictures
from vae.data.images import DatasetError
from vae.data.listing import ImageFile
from vae.data.metadata import list_images


def listed(folder: Path, text: str | bytes, name: str = "metadata.csv") -> dict[str, ImageFile]:
    folder.joinpath(name).write_bytes(text.encode() if isinstance(text, str) else text)
    return {file.name: file for file in list_images(folder).files}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path, "1.png", "sub/2.png", "3.png")
    return tmp_path


def test_a_csv_file_gives_label_split_and_group(folder: Path) -> None:
    text = '\ufefffile_name,label,more,split,group\n1.png,"cat, big",x,Train,g\nsub/2.png,dog,,val,\n3.png,dog,,,g\n'
    assert listed(folder, text) == {
        "1.png": ImageFile("1.png", "cat, big", "train", "g"),
        "sub/2.png": ImageFile("sub/2.png", "dog", "validation", None),
        "3.png": ImageFile("3.png", "dog", None, "g"),
    }


def test_a_json_lines_file_gives_the_same_and_numbers_count_as_texts(folder: Path) -> None:
    rows = [
        {"file_name": "1.png", "label": 7, "group": None, "more": [1]},
        {"file_name": "sub\\2.png", "label": "seven \u2028"},
        {"file_name": "./3.png", "label": 7.5},
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n"
    labels = {name: file.label for name, file in listed(folder, text, "metadata.jsonl").items()}
    assert labels == {"1.png": "7", "sub/2.png": "seven", "3.png": "7.5"}


def test_metadata_without_a_label_give_no_classes_even_above_class_folders(tmp_path: Path) -> None:
    write_pictures(tmp_path, "cat/1.png", "dog/2.png")
    files = listed(tmp_path, "file_name,group\ncat/1.png,a\ndog/2.png,b\n")
    assert [(file.label, file.group) for file in files.values()] == [(None, "a"), (None, "b")]


def test_folders_of_splits_give_the_split_where_the_metadata_do_not(tmp_path: Path) -> None:
    write_pictures(tmp_path, "train/1.png", "test/2.png", "test/3.png")
    files = listed(tmp_path, "file_name,split\ntrain/1.png,\ntest/2.png,\ntest/3.png,train\n")
    assert [files[name].split for name in ("train/1.png", "test/2.png", "test/3.png")] == ["train", "test", "train"]


def test_missing_files_duplicate_rows_and_images_without_a_row_are_skipped_with_the_reason(folder: Path) -> None:
    text = "file_name,label\n1.png,a\n1.png,b\nsub/2.png,a\nsub/2.png,a\nnone.png,a\n../out.png,a\n/etc/passwd,a\n"
    skipped = {name: file.skipped.split(":")[0] for name, file in listed(folder, text).items()}
    assert skipped == {
        "1.png": "given twice in metadata.csv",
        "sub/2.png": "",
        "none.png": "no such image",
        "../out.png": "no such image",
        "/etc/passwd": "no such image",
        "3.png": "not in metadata.csv",
    }


ROWS = "file_name,label\n1.png,a\nsub/2.png,a\n3.png,"
MISTAKES = {
    "labels for some images only": (ROWS, r"metadata\.csv: 3\.png has no label, but others have"),
    "an unknown split": (
        "file_name,split\n1.png,dev\n",
        r"line 2: unknown split 'dev'; use train, validation or test$",
    ),
    "another column": ("name,label\n1.png,a\n", r"line 2: no file_name; each line gives file_name"),
    "an empty name": ("file_name,label\n,a\n", "line 2: file_name is empty"),
    "other bytes than UTF-8": (b"file_name,label\n1.png,\xff\n", "cannot be read: 'utf-8' codec"),
    "an open quotation mark": ('file_name,label\n1.png,"a\n', "cannot be read: unexpected end of data"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_a_csv_file_is_refused_with_its_place(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        listed(folder, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read: Expecting"),
        ("[1]", "line 1: no file_name"),
        ('{"file_name": "1.png"}\n{"label": 1}', "line 2: no file_name"),
        ('{"file_name": "1.png", "label": ["a"]}', r"line 1: label: expected a text, got \['a'\]"),
        ("[" * 100_000, "cannot be read: maximum recursion"),
    ],
)
def test_a_mistake_in_a_json_lines_file_is_refused_with_its_place(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        listed(folder, text, "metadata.jsonl")


def test_two_files_of_metadata_are_refused(folder: Path) -> None:
    folder.joinpath("metadata.csv").write_text("file_name\n1.png\n")
    with pytest.raises(DatasetError, match=r"metadata\.jsonl: there is a metadata\.csv as well; delete one of them"):
        listed(folder, "", "metadata.jsonl")
