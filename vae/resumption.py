"""The state that an interrupted training goes on from.

A state is kept under a digest of all that the outcome depends on, so that no run can take up what belongs to other
parameters, data or code. Whatever is wrong with one costs time at most: it is passed over with a word, never trusted.
"""

import hashlib
import json
import logging
import sys
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vae.artifacts import ArtifactError, whole_file

log = logging.getLogger(__name__)

SHARE_OF_TIME = 0.015  # that keeping states may take; short epochs are kept now and then
VALUES = "values"  # the name of the tensor that holds them, as JSON
CHECKSUM_BYTES = 4


class State(NamedTuple):
    """Tensors by name, and values that JSON can hold."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


class Resumption:
    """The place where one run keeps its state."""

    def __init__(self, folder: Path, identity: str) -> None:
        """Name the place.

        Args:
            folder: where states lie, of this run and of others.
            identity: of the run, from ``identity``.
        """
        self.path = folder / f"{identity}.state"
        self._started = perf_counter()
        self._spent = 0.0
        self._given_up = False

    def load(self) -> State | None:
        """What the last run of this identity kept, or None, with a line in the log where it cannot be used."""
        try:
            return _read(self.path.read_bytes(), self.path.stem)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            log.warning("%s: no state to go on from (%s); starting anew", self.path, reason)
            return None

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Keep a state in place of the one before, unless that has taken too much of the time so far.

        A state that cannot be written costs a line in the log, once, and not the run.
        """
        start = perf_counter()
        if self._given_up or self._spent > SHARE_OF_TIME * (start - self._started):
            return
        try:
            content = _written(State(tensors, values), self.path.stem)
            # Not through to the disk, which takes as long as many an epoch: what a power cut takes, the checksum tells.
            with whole_file(self.path) as partial:
                partial.write_bytes(content)
        except ArtifactError as error:
            self._given_up = True
            log.warning("training goes on, but if interrupted it will start from the beginning: %s", error)
        self._spent += perf_counter() - start

    def discard(self) -> None:
        """Remove the state, and its folder where that leaves it empty."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
            self.path.parent.rmdir()


def identity(settings: Mapping[str, Any], files: Iterable[Path]) -> str:
    """A digest of what a run depends on: its settings, and the content of files."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in sorted(files):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def loaded_code(*packages: str) -> list[Path]:
    """The source files of every module that has been imported from some packages."""
    names = [name for name in sys.modules if name.split(".")[0] in packages]
    return [Path(file) for name in sorted(names) if (file := getattr(sys.modules[name], "__file__", None))]


def _written(state: State, run: str) -> bytes:
    """A checksum, which another run's identity would not fit, and the state as safetensors."""
    values = torch.frombuffer(bytearray(json.dumps(state.values).encode()), dtype=torch.uint8)
    content = save({VALUES: values, **{name: tensor.cpu() for name, tensor in state.tensors.items()}})
    return _checksum(content, run) + content


def _read(written: bytes, run: str) -> State:
    checksum, content = written[:CHECKSUM_BYTES], written[CHECKSUM_BYTES:]
    if checksum != _checksum(content, run):
        raise ValueError("damaged, or another run's")
    tensors = load(content)
    return State(tensors, json.loads(tensors.pop(VALUES).numpy().tobytes()))


def _checksum(content: bytes, run: str) -> bytes:
    """CRC-32: against accidents, at half the time of a cryptographic digest."""
    return zlib.crc32(content, zlib.crc32(run.encode())).to_bytes(CHECKSUM_BYTES, "little")
