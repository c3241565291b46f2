"""MNIST, Fashion-MNIST and KMNIST, from their official archives through torchvision."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from vae.base.artifacts import whole_file
from vae.data.images import DatasetError, LabelledImages, Splits

if TYPE_CHECKING:
    from torchvision.datasets import MNIST

NETWORK_TIMEOUT_SECONDS = 30.0

# The name of each data set's class in torchvision, and of its download folder.
TORCHVISION_NAMES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}


def load(dataset: str) -> Splits:
    """Load a data set from its archives; missing or damaged ones are downloaded.

    torchvision works in a temporary folder, and only complete, verified archives are moved to the download folder. So
    an interrupted download leaves no partial file, parallel runs do not interfere, and a download folder that holds all
    archives may be read-only.

    Raises:
        DatasetError: an archive is neither in the download folder nor on any mirror.
    """
    import torchvision.datasets

    name = TORCHVISION_NAMES[dataset]
    source: type[MNIST] = getattr(torchvision.datasets, name)
    folder = data_home() / name / "raw"
    with tempfile.TemporaryDirectory(prefix="vae-") as root:
        staging = Path(root) / name / "raw"
        staging.mkdir(parents=True)
        for archive in _verified(source, folder):
            (staging / archive).symlink_to((folder / archive).resolve())
        problems = [
            f"{folder / archive}: damaged, its checksum is wrong"
            for archive, _ in source.resources
            if (folder / archive).exists() and not (staging / archive).exists()
        ]
        for mirror in source.mirrors:
            try:
                return _extract(source, root, mirror)
            except (OSError, RuntimeError, HTTPException) as error:
                problems.append(f"{mirror}: {' '.join(str(error).split()) or type(error).__name__}")
            finally:
                _keep(source, staging, folder)
    raise DatasetError(_way_out(dataset, source, folder, problems))


def data_home() -> Path:
    """The download folder, shared by all projects: ``$VAE_DATA_HOME``, or ``vae`` in the user's cache folder."""
    if home := os.environ.get("VAE_DATA_HOME"):
        return Path(home).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vae"


def _extract(source: "type[MNIST]", root: str, mirror: str) -> Splits:
    """Read the archives under ``root``; missing ones are downloaded from one mirror."""
    one_mirror = type(source.__name__, (source,), {"mirrors": [mirror]})
    with _network_timeout(NETWORK_TIMEOUT_SECONDS):
        parts = [one_mirror(root, train=train, download=True) for train in (True, False)]
    names = tuple(label.split(" - ")[0] for label in source.classes)  # "7 - seven" becomes "7"
    return Splits(*(LabelledImages(part.data.unsqueeze(1), part.targets, names) for part in parts))


def _keep(source: "type[MNIST]", staging: Path, folder: Path) -> None:
    """Move complete downloads to the download folder, and link to them for the attempt with the next mirror."""
    for archive in _verified(source, staging):
        if not (staging / archive).is_symlink():
            with whole_file(folder / archive) as partial:
                shutil.move(staging / archive, partial)
            (staging / archive).symlink_to(folder / archive)


def _verified(source: "type[MNIST]", folder: Path) -> list[str]:
    """The archives in a folder whose checksums match."""
    from torchvision.datasets.utils import check_integrity

    return [archive for archive, md5 in source.resources if check_integrity(str(folder / archive), md5)]


def _way_out(dataset: str, source: "type[MNIST]", folder: Path, problems: list[str]) -> str:
    lines = [f"prepare.dataset={dataset}: its archives are not available:"]
    lines += [f"    {problem}" for problem in problems]
    lines += [f"  Either put these files into {folder} (to use another folder, set VAE_DATA_HOME):"]
    lines += [f"    {archive}, MD5 {md5}" for archive, md5 in source.resources]
    lines += ["  or choose prepare.dataset=digits, which needs no download."]
    return "\n".join(lines)


@contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    """Set a timeout for sockets within the block; torchvision sets none, and would wait forever for a silent host."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
