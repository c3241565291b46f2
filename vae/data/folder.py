"""A folder of the user's own images as a data set.

Memory does not grow with the number of images: pixels lie in temporary files, of which the system reads parts.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from stat import S_ISREG
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from vae.base.artifacts import write_csv
from vae.base.params import PrepareParams
from vae.base.terminal import printable
from vae.data.decoding import (
    ONE_AT_A_TIME,
    Framing,
    UnusableImageError,
    decode_image,
    grey,
    is_grey,
    quiet_decoders,
)
from vae.data.images import DatasetError, LabelledImages, require_names
from vae.data.listing import ImageFile
from vae.data.metadata import list_images
from vae.data.preparation import Preparation
from vae.data.splitting import assign_splits, position
from vae.data.temporary_images import TemporaryImages
from vae.data.workers import forked_map

log = logging.getLogger(__name__)

WITHOUT_CLASSES = ("images",)  # the one class of a folder without classes
LARGEST_FILE = 200_000_000  # bytes
LARGE_FILE = 20_000_000  # bytes; large files are read one at a time
CHUNK = 16  # files that a process reads in a row
NAMED = 3  # of the skipped files, and of the reasons
MANIFEST = ("file", "split", "index", "class", "group", "width", "height", "mode", "sha256", "skipped")


class ReadImage(NamedTuple):
    """What was found in a file."""

    width: int = 0
    height: int = 0
    mode: str = ""
    digest: str = ""  # the SHA-256 of its content
    is_grey: bool = True
    skipped: str = ""  # why the file is not used


def load(settings: PrepareParams, manifest: Path) -> tuple[LabelledImages, LabelledImages, LabelledImages]:
    """Decode and resize the images of a folder: training, validation and test images.

    Files that cannot be used are skipped.

    Args:
        settings: the parameters.
        manifest: path of a table to write, with a row for each file. Temporary files are in its folder.

    Raises:
        DatasetError: the folder has no images, the metadata are invalid, or too many files are skipped.
        ArtifactError: the table or a temporary file cannot be written.
    """
    folder = Path(settings.folder)
    listing = list_images(folder)
    with TemporaryImages(manifest.parent, (len(listing.files), 3, *settings.image_shape)) as temporary:
        framing = Preparation.of(settings).framing(*settings.image_shape)
        found = read_images(folder, listing.files, framing, temporary)
        decoded = temporary.mapped()
    used = [row for row, image in enumerate(found) if not image.skipped]
    files = [listing.files[row] for row in used]
    digests = [found[row].digest for row in used]
    splits = assign_splits(files, digests, settings.validation_fraction, settings.seed)
    orders = in_random_order(files, splits, settings.seed)
    places = {used[place]: (split, index) for split, order in orders.items() for index, place in enumerate(order)}
    write_manifest(manifest, listing.files, found, places)
    require_few_skipped(folder, listing.files, found, settings.max_skipped, manifest)

    names = class_names(folder, files)
    channels, reason = choose_channels(settings.channels, [found[row] for row in used])
    log.info("%s: %s images, %s; %s", printable(str(folder)), f"{len(used):,}", listing.layout, reason)
    if not {"train", "test"} <= set(splits):
        raise DatasetError(
            f"prepare.folder: {printable(str(folder))}: of {len(used):,} images {splits.count('train'):,} are for "
            f"training and {splits.count('test'):,} for testing, but each needs one at least; add images, change "
            "prepare.seed, lower prepare.validation_fraction, or put images into folders named train and test"
        )

    def part(split: str) -> LabelledImages:
        order = orders[split]
        labels = torch.tensor([names.index(files[place].label or names[0]) for place in order], dtype=torch.int64)
        return LabelledImages(
            chosen(decoded, [used[place] for place in order], channels, manifest.parent), labels, names
        )

    return part("train"), part("validation"), part("test")


def in_random_order(files: Sequence[ImageFile], splits: Sequence[str], seed: int) -> dict[str, list[int]]:
    """The files of each split, as indices, in an order in which the first ones are a random sample of the split."""
    order = sorted(range(len(files)), key=lambda place: (position(files[place].name, seed, "order"), place))
    return {name: [place for place in order if splits[place] == name] for name in ("train", "validation", "test")}


def read_images(folder: Path, files: Sequence[ImageFile], framing: Framing, pixels: TemporaryImages) -> list[ReadImage]:
    """Read all files on all cores; write the pixels of those that can be used.

    The result does not depend on the number of cores.
    """
    found: list[ReadImage] = []

    def read_chunk(start: int) -> list[ReadImage]:
        rows = range(start, min(start + CHUNK, len(files)))
        return [read_image(folder, files[row], framing, pixels, row) for row in rows]

    with (
        quiet_decoders(),
        closing(forked_map(read_chunk, range(0, len(files), CHUNK))) as chunks,
        tqdm(total=len(files), desc="images", unit="image", disable=None) as bar,
    ):
        for chunk in chunks:
            found += chunk
            bar.update(len(chunk))
    return found


def read_image(folder: Path, file: ImageFile, framing: Framing, pixels: TemporaryImages, row: int) -> ReadImage:
    """Read a file and write its pixels, if they can be used."""
    if file.skipped:
        return ReadImage(skipped=file.skipped)
    path = folder / file.name
    try:
        status = path.stat()
        size = status.st_size
        if not S_ISREG(status.st_mode):
            return ReadImage(skipped="not a regular file")
        if size > LARGEST_FILE:
            return ReadImage(skipped=f"too large: {size:,} bytes")
        with ONE_AT_A_TIME if size > LARGE_FILE else nullcontext():
            with path.open("rb", buffering=0) as opened:
                content = opened.readall()
            image = decode_image(content, framing)
    except UnusableImageError as error:
        return ReadImage(skipped=str(error))
    except FileNotFoundError:
        return ReadImage(skipped="link to nothing")
    except OSError as error:
        return ReadImage(skipped=f"cannot be read: {error.strerror or error}")
    pixels.write(row, image.pixels)
    digest = hashlib.sha256(content).hexdigest()
    return ReadImage(image.width, image.height, image.mode, digest, is_grey(image.pixels))


def require_few_skipped(
    folder: Path, files: Sequence[ImageFile], found: Sequence[ReadImage], largest_share: float, manifest: Path
) -> None:
    """Warn of skipped files, once.

    Raises:
        DatasetError: no image can be used, or more than the largest share is skipped.
    """
    skipped = [(file.name, image.skipped) for file, image in zip(files, found, strict=True) if image.skipped]
    if not skipped:
        return
    reasons = Counter(reason.split(":")[0] for _, reason in skipped).most_common(NAMED)
    counts = f"{len(skipped):,} of {len(files):,} files cannot be used"
    by_reason = ", ".join(f"{reason} ({count:,})" for reason, count in reasons)
    if len(skipped) == len(files):
        raise DatasetError(f"prepare.folder: {printable(str(folder))}: {counts}: {by_reason}; {manifest} lists them")
    if len(skipped) > largest_share * len(files):
        raise DatasetError(
            f"prepare.max_skipped: {largest_share}, but {counts}: {by_reason}; {manifest} lists them; "
            "repair or remove them, or set prepare.max_skipped higher"
        )
    examples = "; ".join(f"{printable(name)}: {printable(reason)}" for name, reason in skipped[:NAMED])
    more = f"; and {len(skipped) - NAMED:,} more" if len(skipped) > NAMED else ""
    log.warning("%s: skipped, since %s (%s%s); %s lists them", printable(str(folder)), counts, examples, more, manifest)


def choose_channels(wanted: str | int, used: Sequence[ReadImage]) -> tuple[int, str]:
    """The number of channels, and the reason in words."""
    if not isinstance(wanted, str):
        return wanted, f"{wanted} channel{'s' * (wanted != 1)}, as prepare.channels says"
    coloured = sum(not image.is_grey for image in used)
    if coloured:
        return 3, f"3 channels, because {coloured:,} images are in colour"
    return 1, "1 channel, because all images are grey"


def class_names(folder: Path, files: Sequence[ImageFile]) -> tuple[str, ...]:
    """The names of all classes, sorted.

    Raises:
        DatasetError: a name cannot be shown everywhere.
    """
    names = tuple(sorted({file.label for file in files if file.label is not None})) or WITHOUT_CLASSES
    require_names(folder, names)
    return names


def chosen(decoded: Tensor, rows: Sequence[int], channels: int, folder: Path) -> Tensor:
    """Chosen images in a given order, in grey if one channel is wanted: uint8 (N, C, H, W) in a temporary file."""
    with TemporaryImages(folder, (len(rows), channels, *decoded.shape[2:])) as images:
        for index, row in enumerate(rows):
            pixels = decoded[row].numpy()
            images.write(index, grey(pixels) if channels == 1 else pixels)
        return images.mapped()


def write_manifest(
    path: Path,
    files: Sequence[ImageFile] = (),
    found: Sequence[ReadImage] = (),
    places: Mapping[int, tuple[str, int]] = MappingProxyType({}),
) -> None:
    """Write a table with a row for each file; without files, its columns only.

    Args:
        path: of the table.
        files: all files.
        found: what was found in each of them.
        places: the split and the index in the split of each file that is used, by its row.
    """
    rows = []
    for row, (file, image) in enumerate(zip(files, found, strict=True)):
        size = (image.width, image.height) if image.width else (None, None)
        split, index = places.get(row, (None, None))
        cells = (file.name, split, index, file.label, file.group, *size, image.mode, image.digest, image.skipped)
        rows.append([printable(cell) if isinstance(cell, str) else cell for cell in cells])
    write_csv(path, MANIFEST, rows)
