"""Small archives in the format of MNIST's, and folders that hold them."""

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Archives = dict[str, bytes]
Pixels = NDArray[np.uint8]


def idx(values: Pixels) -> bytes:
    """An array in the format of MNIST's archives: a magic number, the size of each dimension, the values."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(header + values.tobytes(), mtime=0)


def small_images(count: int) -> Pixels:
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)


def small_labels(count: int) -> Pixels:
    return (np.arange(count) * 7 % 10).astype(np.uint8)


SMALL: Archives = {
    "train-images-idx3-ubyte.gz": idx(small_images(20)),
    "train-labels-idx1-ubyte.gz": idx(small_labels(20)),
    "t10k-images-idx3-ubyte.gz": idx(small_images(10)),
    "t10k-labels-idx1-ubyte.gz": idx(small_labels(10)),
}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def fill(folder: Path, archives: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in archives.items():
        (folder / name).write_bytes(content)


def contents(folder: Path) -> Archives:
    """All files below a folder by their paths in it."""
    files = (path for path in sorted(folder.rglob("*")) if not path.is_dir())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def in_raw(archives: Mapping[str, bytes], name: str = "MNIST") -> Archives:
    """Archives by their paths in the download folder."""
    return {f"{name}/raw/{archive}": content for archive, content in archives.items()}
