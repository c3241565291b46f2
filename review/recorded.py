"""What ``dvc.lock`` records of a revision: the inputs and the outputs of the last run of each stage."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

from vae.base.errors import VAEError, shortened
from vae.base.yaml12 import YAMLError, parse_yaml


class RevisionError(VAEError):
    """There is no revision of that name, or one of its files cannot be read."""


@dataclass(frozen=True)
class RecordedFiles:
    """The files of a revision, of which outputs are read only as ``dvc.lock`` records them.

    A damaged or edited metric would otherwise be compared like any other. Git notices it, and so does ``dvc status``.

    Attributes:
        name: the name of the revision.
        system: DVC's file system at the revision.
    """

    name: str
    system: Any

    @cached_property
    def recorded(self) -> Mapping[str, str]:
        """The hash of each output in ``dvc.lock``, none if there is no such file."""
        try:
            return recorded_outputs(self.system.read_bytes("dvc.lock"))
        except FileNotFoundError:
            return {}
        except YAMLError as error:
            raise RevisionError(f"dvc.lock at {self.name}: {error}; run dvc repro there") from error

    def read_bytes(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is no such file.
            RevisionError: the file is an output, and not what ``dvc.lock`` records.
        """
        content: bytes = self.system.read_bytes(path)
        if self.recorded.get(path) not in {None, hashlib.md5(content, usedforsecurity=False).hexdigest()}:
            raise RevisionError(
                f"{path} at {self.name}: not what dvc.lock records, so it is damaged, or changed since dvc repro; "
                "run dvc repro there"
            )
        return content

    def find(self, path: str) -> list[str]:
        """The paths of a file, or of all files in a folder, in alphabetical order."""
        return sorted(found.removeprefix("/") for found in self.system.find(path))


class RecordedRun(NamedTuple):
    """The inputs and the outputs of the last run of a stage.

    Attributes:
        inputs: the hash of each file and folder that it read, by path.
        parameters: the values of its parameters, as in ``params.yaml``.
        outputs: the hash of each output, by path.
    """

    inputs: Mapping[str, str]
    parameters: Mapping[str, Any]
    outputs: Mapping[str, str]


@cache
def recorded_runs(lock: bytes) -> dict[str, RecordedRun]:
    """The last run of each stage in a ``dvc.lock``.

    Raises:
        YAMLError: it is damaged.
    """
    try:
        stages = (parse_yaml(lock) or {}).get("stages") or {}
        return {
            name: RecordedRun(
                {each["path"]: each["md5"] for each in stage.get("deps", [])},
                {key: value for values in stage.get("params", {}).values() for key, value in values.items()},
                {each["path"]: each["md5"] for each in stage.get("outs", [])},
            )
            for name, stage in stages.items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise YAMLError(f"not a dvc.lock: {shortened(error)}") from error


@cache
def recorded_outputs(lock: bytes) -> Mapping[str, str]:
    """The hash of each output in a ``dvc.lock``, by path.

    Raises:
        YAMLError: it is damaged.
    """
    return {path: hash_ for run in recorded_runs(lock).values() for path, hash_ in run.outputs.items()}


@cache
def recorded_hash(lock: bytes, path: str) -> str | None:
    """The hash of a file in a ``dvc.lock``, where a stage writes it and where others read it; None if there is none.

    Raises:
        YAMLError: the lock is damaged, or has several hashes of the file.
    """
    hashes = [each for run in recorded_runs(lock).values() for each in (run.inputs, run.outputs)]
    found = {each[path] for each in hashes if path in each}
    if len(found) > 1:
        raise YAMLError(f"it has two hashes of {path}, so it is damaged, or a stage has not run since")
    return next(iter(found), None)
