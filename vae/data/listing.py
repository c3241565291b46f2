"""The image files of a folder, with the class, split and group that its subfolders or its metadata give them."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vae.base.terminal import printable
from vae.data.decoding import SUFFIXES
from vae.data.images import DatasetError

log = logging.getLogger(__name__)

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}
METADATA = ("metadata.csv", "metadata.jsonl")
IGNORED_FOLDERS = frozenset({"__MACOSX"})


@dataclass(frozen=True)
class ImageFile:
    """A file that may be an image.

    Attributes:
        name: its path in the folder, with forward slashes.
        label: the name of its class; None if the folder has no classes.
        split: train, validation or test; None if the folder does not say.
        group: images of one group are never in different splits; None for none.
        skipped: why the image is not used; empty if it is.
    """

    name: str
    label: str | None = None
    split: str | None = None
    group: str | None = None
    skipped: str = ""


@dataclass(frozen=True)
class Listing:
    """The images of a folder, sorted by name, and in words where their classes and splits come from."""

    files: Sequence[ImageFile]
    layout: str


def image_names(folder: Path, setting: str = "prepare.folder") -> list[str]:
    """The names of the images in a folder and its subfolders, sorted. Hidden files and folders do not count.

    Links are followed, but no folder is read twice. Links to folders come last, so that an image has the name of the
    folder in which it is.

    Args:
        folder: with images.
        setting: what names the folder, for messages.

    Raises:
        DatasetError: the folder is missing or cannot be read, or has no images.
    """
    if not folder.is_dir():
        problem = "a file, not a folder" if folder.exists() else "no such folder"
        raise DatasetError(f"{setting}: {_shown(folder)}: {problem}; set it to a folder of images")
    names: list[str] = []
    other = Counter[str]()
    seen = set()
    waiting, links = [folder], list[Path]()
    refuse = partial(_refuse, setting)
    while waiting:
        found_links: list[Path] = []
        for path, folders, files in (entry for start in waiting for entry in os.walk(start, onerror=refuse)):
            status = Path(path).stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = [name for name in folders if not name.startswith(".") and name not in IGNORED_FOLDERS]
            found_links += [Path(path, name) for name in folders if Path(path, name).is_symlink()]
            for name in files:
                if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                    names.append(Path(path, name).relative_to(folder).as_posix())
                elif not name.startswith(".") and name not in METADATA:
                    other[Path(name).suffix.lower() or "no suffix"] += 1
        waiting = sorted(found_links)
        links += waiting
    if links:
        log.warning(
            "%s: DVC does not notice changes behind links to folders (%s): after one, run dvc repro --force prepare",
            _shown(folder),
            _shown(links[0].relative_to(folder)) + (f" and {len(links) - 1:,} more" if len(links) > 1 else ""),
        )
    kinds = ", ".join(f"{count:,} of {printable(suffix)}" for suffix, count in other.most_common(5))
    if not names:
        raise DatasetError(
            f"{setting}: {_shown(folder)}: no images; their names must end in {', '.join(sorted(SUFFIXES))}"
            + (f" (other files: {kinds})" if kinds else "")
        )
    if kinds:
        log.info("%s: ignored files that are no images by their names: %s", _shown(folder), kinds)
    return sorted(names)


def by_folders(names: Sequence[str]) -> Listing:
    """Images with the split and the class that the names of their folders give them.

    Folders named train, test and validation give the split. Within them, or without them, the outermost folder gives
    the class, if there are at least two with images.
    """
    splits = split_folders(names)
    inside = {name: name.partition("/")[2] if splits else name for name in names if not splits or _top(name) in splits}
    classes = {_top(rest) for rest in inside.values()} - {None}
    has_classes = len(classes) >= 2
    files = []
    for name in names:
        label = _top(inside.get(name, "")) if has_classes else None
        skipped = "in no folder of a split" if name not in inside else ""
        if has_classes and label is None and not skipped:
            skipped = "in no class folder"
        files.append(ImageFile(name, label, splits.get(_top(name) or ""), skipped=skipped))
    layout = f"{len(classes)} class folders" if has_classes else "no class folders"
    if splits:
        layout = f"folders {', '.join(map(printable, sorted(splits)))} with {layout}"
    return Listing(files, layout)


def split_folders(names: Iterable[str]) -> dict[str, str]:
    """The split of each folder that is named like one: if one is for training, with a second or nothing beside it."""
    top = {_top(name) for name in names} - {None}
    splits = {name: SPLIT_NAMES[name.lower()] for name in top if name is not None and name.lower() in SPLIT_NAMES}
    found = set(splits.values())
    return splits if "train" in found and (len(found) > 1 or len(splits) == len(top)) else {}


def _top(name: str) -> str | None:
    """The outermost folder of a name; None for a file in no folder."""
    return name.split("/")[0] if "/" in name else None


def _refuse(setting: str, error: OSError) -> None:
    raise DatasetError(f"{setting}: {_shown(error.filename)}: cannot be read: {error.strerror}") from error


def _shown(path: object) -> str:
    return printable(str(path))
