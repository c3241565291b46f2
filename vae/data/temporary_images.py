"""Images in a temporary file instead of memory."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.base.artifacts import ArtifactError
from vae.base.mapped_file import map_file


class TemporaryImages:
    """Images of one shape, uint8 (N, C, H, W), written in any order by any process, then mapped into memory.

    The file has no name, so that it disappears when it is no longer used, even if the process is killed.
    """

    def __init__(self, folder: Path, shape: Sequence[int]) -> None:
        """Create the file in a folder, with all pixels zero.

        Raises:
            ArtifactError: the folder cannot be written to.
        """
        self.folder = folder
        self.shape = tuple(shape)
        with self._errors():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # closed by __exit__
            self._file.truncate(prod(self.shape))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file. Images that are mapped stay."""
        self._file.close()

    def write(self, index: int, image: NDArray[np.uint8]) -> None:
        """Write one image, uint8 (C, H, W).

        Raises:
            ArtifactError: the disk is full, or the like.
        """
        rest = np.ascontiguousarray(image).ravel().data
        place = index * prod(self.shape[1:])
        with self._errors():
            while rest:
                written = os.pwrite(self._file.fileno(), rest, place)
                rest, place = rest[written:], place + written

    def mapped(self) -> Tensor:
        """All images, as a view of the file."""
        with self._errors():
            if not prod(self.shape):
                return torch.empty(self.shape, dtype=torch.uint8)
            return map_file(self._file).view(self.shape)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArtifactError(f"{self.folder}: cannot be written: {error.strerror or error}") from error
