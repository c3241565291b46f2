"""Where images come from: scikit-learn's digits, or MNIST and its relatives by way of torchvision."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from vae.artifacts import whole_file
from vae.datasets import DatasetError, LabelledImages, hold_out

if TYPE_CHECKING:
    from torchvision.datasets import MNIST

DIGITS_TEST_FRACTION = 0.2
NETWORK_TIMEOUT_SECONDS = 30.0

# The folder and class of torchvision that each data set is known by there.
TORCHVISION_NAMES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}


class Splits(NamedTuple):
    """The images to learn from and those to be judged by."""

    train: LabelledImages
    test: LabelledImages


def load_source(dataset: str, seed: int) -> Splits:
    """A data set by its name, split into training and test images.

    MNIST and its relatives come with a test set of their own; of the digits a fifth is drawn by ``seed``.

    Raises:
        DatasetError: the archives are neither in the download folder nor to be had from the mirrors.
    """
    return _digits(seed) if dataset == "digits" else _torchvision(dataset)


def data_home() -> Path:
    """The folder of raw downloads, one per machine: ``$VAE_DATA_HOME``, or ``vae`` in the user's cache folder."""
    if home := os.environ.get("VAE_DATA_HOME"):
        return Path(home).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vae"


def _digits(seed: int) -> Splits:
    """The 1,797 handwritten digits of 8×8 pixels with 17 grey levels that ship with scikit-learn."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).to(torch.int64)
    data = LabelledImages(images, labels, tuple(str(name) for name in digits.target_names))
    return Splits(*hold_out(data, DIGITS_TEST_FRACTION, seed, "test split"))


def _torchvision(dataset: str) -> Splits:
    """Verified archives become tensors; archives that are missing or damaged are downloaded first.

    torchvision works in a staging folder that goes away afterwards, and only whole, verified archives move from it
    to the download folder: a killed download leaves nothing behind, runs side by side do not disturb one another,
    and a read-only folder with all archives will do.
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


def _extract(source: "type[MNIST]", root: str, mirror: str) -> Splits:
    """Let torchvision read its archives under ``root``, after downloading those that are missing from one mirror."""
    one_mirror = type(source.__name__, (source,), {"mirrors": [mirror]})
    with _network_timeout(NETWORK_TIMEOUT_SECONDS):
        parts = [one_mirror(root, train=train, download=True) for train in (True, False)]
    names = tuple(label.split(" - ")[0] for label in source.classes)  # "7 - seven" is called 7
    return Splits(*(LabelledImages(part.data.unsqueeze(1), part.targets, names) for part in parts))


def _keep(source: "type[MNIST]", staging: Path, folder: Path) -> None:
    """Move what was downloaded to the download folder, and leave links to it behind for the next mirror's try."""
    for archive in _verified(source, staging):
        if not (staging / archive).is_symlink():
            with whole_file(folder / archive) as partial:
                shutil.move(staging / archive, partial)
            (staging / archive).symlink_to(folder / archive)


def _verified(source: "type[MNIST]", folder: Path) -> list[str]:
    """The archives in a folder that are whole, by their checksums."""
    from torchvision.datasets.utils import check_integrity

    return [archive for archive, md5 in source.resources if check_integrity(str(folder / archive), md5)]


def _way_out(dataset: str, source: "type[MNIST]", folder: Path, problems: list[str]) -> str:
    lines = [f"prepare.dataset={dataset}: its archives could not be had:"]
    lines += [f"    {problem}" for problem in problems]
    lines += [f"  Either put these files into {folder} (the environment variable VAE_DATA_HOME moves it):"]
    lines += [f"    {archive}, MD5 {md5}" for archive, md5 in source.resources]
    lines += ["  or choose prepare.dataset=digits, which needs no download."]
    return "\n".join(lines)


@contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    """torchvision sets no time limit of its own, and a silent host would be waited for without end."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
