"""The class, split and group of images as a file of metadata gives them."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vae.base.errors import shortened
from vae.base.terminal import printable
from vae.data.images import DatasetError
from vae.data.listing import METADATA, SPLIT_NAMES, ImageFile, Listing, by_folders, image_names, split_folders


def list_images(folder: Path, setting: str = "prepare.folder") -> Listing:
    """Find the images in a folder, with what ``metadata.csv`` or ``metadata.jsonl`` says, or else the folders' names.

    Args:
        folder: with images.
        setting: what names the folder, for messages.

    Raises:
        DatasetError: the folder is missing, cannot be read or has no images, or its metadata are invalid.
    """
    names = image_names(folder, setting)
    found = [folder / name for name in METADATA if (folder / name).is_file()]
    if len(found) > 1:
        raise DatasetError(f"{found[1]}: there is a {found[0].name} as well; delete one of them")
    return by_metadata(found[0], names) if found else by_folders(names)


def by_metadata(path: Path, names: Sequence[str]) -> Listing:
    """Images with the label, split and group that a file of metadata gives them.

    Where it gives no split, folders named train, test and validation do.

    Raises:
        DatasetError: the file cannot be read, or has an unknown split, or labels for some images only.
    """
    present, splits = set(names), split_folders(names)
    found: dict[str, ImageFile] = {}
    for place, row in _rows(path):
        file = _entry(place, row, present, splits)
        before = found.setdefault(file.name, file)
        if file != before and not before.skipped:
            found[file.name] = ImageFile(file.name, skipped=f"given twice in {path.name}: with different values")
    for name in present - found.keys():
        found[name] = ImageFile(name, skipped=f"not in {path.name}")
    used = [file for file in found.values() if not file.skipped]
    unlabelled = [file.name for file in used if file.label is None]
    if unlabelled and len(unlabelled) < len(used):
        raise DatasetError(
            f"{path}: {printable(unlabelled[0])} has no label, but others have; label all images or none"
        )
    return Listing([found[name] for name in sorted(found)], f"as {path.name} says")


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a CSV file, or the objects of a JSON Lines file, each with its place for messages."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            rows: list[tuple[int, Any]] = [(reader.line_num, row) for row in reader]
        else:
            rows = [(number, json.loads(line)) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read: {shortened(error)}") from error
    for number, row in rows:
        place = f"{path}, line {number}"
        if not isinstance(row, dict) or "file_name" not in row:
            raise DatasetError(
                f"{place}: no file_name; each line gives file_name, and optionally label, split and group"
            )
        yield place, row


def _entry(place: str, row: Mapping[str, Any], present: set[str], splits: Mapping[str, str]) -> ImageFile:
    """The image that a row describes. Empty cells count as missing."""
    values = {}
    for key in ("file_name", "label", "split", "group"):
        value = row.get(key)
        if value is not None and not isinstance(value, str | int | float):
            raise DatasetError(f"{place}: {key}: expected a text, got {shortened(repr(value))}")
        values[key] = None if value is None else str(value).strip() or None
    given, split = values["file_name"], values["split"]
    if given is None:
        raise DatasetError(f"{place}: file_name is empty")
    if split is not None and split.lower() not in SPLIT_NAMES:
        raise DatasetError(f"{place}: unknown split {shortened(ascii(split))}; use train, validation or test")
    name = os.path.normpath(given if given in present else given.replace("\\", "/"))
    if name not in present:
        return ImageFile(name, skipped="no such image: see file_name in the metadata")
    split = SPLIT_NAMES[split.lower()] if split is not None else splits.get(name.split("/")[0])
    return ImageFile(name, values["label"], split, values["group"])
