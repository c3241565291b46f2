"""Save the state of a training run, and resume from it after an interruption.

A state is saved under a digest of everything that the result depends on, so no run resumes from the state of other
parameters, data or code. A state that is damaged or cannot be read is ignored with a warning, and training starts from
the beginning.
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

from vae.base import collective, processes
from vae.base.artifacts import ArtifactError, whole_file

log = logging.getLogger(__name__)

SHARE_OF_TIME = 0.015  # of a run, that saving may take; if epochs are short, some are not saved
VALUES = "values"  # the name of the tensor that holds the values, as JSON
CHECKSUM_BYTES = 4


class State(NamedTuple):
    """Tensors by name, and values that JSON can represent."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


class Checkpoint:
    """The file in which a run saves its state."""

    def __init__(self, folder: Path, identity: str) -> None:
        """Choose the file; nothing is read or written yet.

        Args:
            folder: where this run and others save their states.
            identity: of the run, from ``identity``.
        """
        self.path = folder / f"{identity}.state"
        self._started = perf_counter()
        self._spent = 0.0
        self._given_up = False

    def load(self) -> State | None:
        """Load the last saved state of this run, or None. A state that cannot be used is ignored with a warning.

        Of several processes, the first one reads the file.
        """
        return collective.from_first(self._load)

    def _load(self) -> State | None:
        try:
            return _read(self.path.read_bytes(), self.path.stem)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or error
            log.warning("%s: cannot resume from this state (%s); starting from the beginning", self.path, reason)
            return None

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Replace the saved state, unless saving has taken more than its share of the time so far.

        If a state cannot be written, one warning says so, training continues, and no more states are saved. Of several
        processes, the first one writes it.
        """
        start = perf_counter()
        if not processes.is_first() or self._given_up or self._spent > SHARE_OF_TIME * (start - self._started):
            return
        try:
            content = _written(State(tensors, values), self.path.stem)
            # Not flushed to disk, which can take longer than an epoch. The checksum detects damage by a power cut.
            with whole_file(self.path) as partial:
                partial.write_bytes(content)
        except ArtifactError as error:
            self._given_up = True
            log.warning("training continues, but if it is interrupted it will start from the beginning: %s", error)
        self._spent += perf_counter() - start

    def discard(self) -> None:
        """Delete the state, and its folder if that leaves it empty; of several processes, the first one does."""
        if not processes.is_first():
            return
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
            self.path.parent.rmdir()


def identity(settings: Mapping[str, Any], files: Iterable[Path]) -> str:
    """A digest of what a run depends on: its settings and the content of files."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in sorted(files):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def loaded_code(*packages: str) -> list[Path]:
    """The source files of all modules imported so far from some packages."""
    names = [name for name in sys.modules if name.split(".")[0] in packages]
    return [Path(file) for name in sorted(names) if (file := getattr(sys.modules[name], "__file__", None))]


def _written(state: State, run: str) -> bytes:
    """A checksum, which also covers the run's identity, followed by the state as safetensors."""
    values = torch.frombuffer(bytearray(json.dumps(state.values).encode()), dtype=torch.uint8)
    content = save({VALUES: values, **{name: tensor.cpu() for name, tensor in state.tensors.items()}})
    return _checksum(content, run) + content


def _read(written: bytes, run: str) -> State:
    checksum, content = written[:CHECKSUM_BYTES], written[CHECKSUM_BYTES:]
    if checksum != _checksum(content, run):
        raise ValueError("damaged, or from another run")
    tensors = load(content)
    return State(tensors, json.loads(tensors.pop(VALUES).numpy().tobytes()))


def _checksum(content: bytes, run: str) -> bytes:
    """CRC-32, which detects accidental damage in half the time of a cryptographic digest."""
    return zlib.crc32(content, zlib.crc32(run.encode())).to_bytes(CHECKSUM_BYTES, "little")
