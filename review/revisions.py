"""Load a revision of the project: its parameters, metrics, verdicts and files."""

import csv
import hashlib
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from vae.base.errors import VAEError, shortened
from vae.base.terminal import printable
from vae.base.yaml12 import YAMLError, parse_yaml

WORKSPACE = "workspace"
BASELINE = "HEAD"  # the commit that experiments start from
VERDICT = "verdict"  # prefix of verdicts in measures.csv: verdict.SUBJECT
ERROR = "_se"  # suffix of standard errors: recall_se is that of recall

Value = bool | int | float | str | tuple[Any, ...] | None
Values = Mapping[str, Value]


class RevisionError(VAEError):
    """There is no revision of that name, or one of its files cannot be read."""


@dataclass(frozen=True)
class Revision:
    """A commit, branch, tag or experiment, or the workspace.

    Attributes:
        name: the name as given by the user.
        parameters: the values of ``params.yaml`` by dotted key, e.g. ``train.beta``.
        metrics: the values of ``metrics/STAGE.json`` and ``plots/STAGE/measures.csv`` by dotted key, e.g.
            ``evaluate.test.negative_elbo``, without their standard errors.
        verdicts: the levels of verdicts by dotted key, e.g. ``evaluate.posterior_collapse``.
        files: a file system to read files at this revision, including those in DVC's cache.
        errors: the standard errors by metric. The files have that of ``recall`` as ``recall_se``.
    """

    name: str
    parameters: Values
    metrics: Values
    verdicts: Mapping[str, str]
    files: Any = field(repr=False, compare=False)
    errors: Mapping[str, float] = field(default_factory=dict)

    def read(self, path: str) -> bytes | None:
        """The content of a file, or None if the revision or DVC's cache has no such file."""
        try:
            content: bytes = self.files.read_bytes(path)
        except (FileNotFoundError, IsADirectoryError):
            return None
        return content


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


def load_revision(name: str, project: Path = Path()) -> Revision:
    """Load a revision by name. The name of the uncommitted files is ``workspace``.

    Raises:
        RevisionError: there is no such revision, it has no ``params.yaml``, or one of its files is damaged or not what
            its ``dvc.lock`` records.
    """
    if printable(name) != name:
        raise RevisionError(
            f"{printable(name)}: the name has characters that cannot be printed; rename the branch or tag"
        )
    files = RecordedFiles(name, _files(name, project))
    measured: dict[str, Value] = {}
    verdicts: dict[str, str] = {}
    for stage in _parse(name, files, "dvc.yaml", _stages):
        metrics = _parse(name, files, f"metrics/{stage}.json", _metrics, missing={})
        measured |= {f"{stage}.{key}": value for key, value in flattened(metrics)}
        for key, value in _parse(name, files, f"plots/{stage}/measures.csv", _measures, missing={}).items():
            head, _, subject = key.partition(".")
            if head == VERDICT:
                verdicts[f"{stage}.{subject}"] = str(value)
            else:
                measured[f"{stage}.{key}"] = value
    parameters = dict(flattened(_parse(name, files, "params.yaml", parse_yaml)))
    metrics = {key: value for key, value in measured.items() if not key.endswith(ERROR)}
    return Revision(name, parameters, metrics, verdicts, files, _errors(measured))


def _errors(measured: Values) -> dict[str, float]:
    """The standard errors among the values of a revision's files, by metric."""
    found = {key.removesuffix(ERROR): value for key, value in measured.items() if key.endswith(ERROR)}
    return {key: float(value) for key, value in found.items() if is_number(value)}  # type: ignore[arg-type]  # they are


def is_number(value: object) -> bool:
    """Whether a value is a finite number that a float can represent, and not a boolean."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -sys.float_info.max <= value <= sys.float_info.max
    )


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Value]]:
    """Yield the values of nested mappings with dotted keys, lists as tuples; in texts, characters that print."""
    for key, value in values.items():
        name = f"{prefix}{printable(str(key))}"
        if isinstance(value, Mapping):
            yield from flattened(value, f"{name}.")
        else:
            yield name, _plain(value)


def _plain(value: Any) -> Value:
    """A value of a parameter or a metric: text, number, boolean, None or a tuple of these."""
    match value:
        case list():
            return tuple(map(_plain, value))
        case None | bool() | int() | float():
            return value
        case _:
            return printable(str(value))


def experiments(project: Path = Path()) -> list[str]:
    """The names of the experiments that start from the current commit, in alphabetical order."""
    with _repository(project) as repo:
        found = repo.experiments.ls(rev=BASELINE)
    return sorted(name for names in found.values() for name, _ in names)


def unfinished(project: Path = Path()) -> Counter[str]:
    """How many experiments of the current commit are queued, running or failed."""
    with _repository(project) as repo:
        if not Path(repo.tmp_dir, "exps", "celery").exists():  # nothing was ever queued
            return Counter()
        baseline = repo.scm.get_rev()
        queue = repo.experiments.celery_queue
        tasks = {
            "queued": queue.iter_queued(),
            "running": queue.iter_active(),
            "failed": (done.entry for done in queue.iter_failed()),
        }
        return Counter(state for state, entries in tasks.items() for entry in entries if entry.baseline_rev == baseline)


@contextmanager
def _repository(project: Path) -> Iterator[Any]:
    """Open the DVC repository of a project.

    Raises:
        RevisionError: DVC cannot read the project.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(project)) as repo:
            yield repo
    except DvcException as error:
        raise RevisionError(f"{project.resolve()}: DVC cannot list its experiments: {error}") from error


def _files(name: str, project: Path) -> Any:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import RevError, SCMError

    try:
        files = DVCFileSystem(str(project), rev=None if name == WORKSPACE else name)
        files.info("")  # opens the revision
    except (RevError, SCMError) as error:
        advice = "see git branch --all, git tag and dvc exp list"
        if (project / ".git/shallow").exists():
            advice = (
                "this clone is shallow: git fetch --unshallow gets its history, git fetch origin NAME:NAME a branch"
            )
        raise RevisionError(f"{name}: no such revision or experiment; {advice}") from error
    except DvcException as error:
        raise RevisionError(f"{project.resolve()}: not a DVC project, or a damaged one: {error}") from error
    return files


def _parse(
    name: str, files: RecordedFiles, path: str, parser: Callable[[str], Any], missing: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    try:
        values = parser(files.read_bytes(path).decode())
    except FileNotFoundError as error:
        if missing is not None:
            return missing
        raise RevisionError(f"{path} at {name}: no such file; is this a revision of this project?") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, YAMLError, csv.Error) as error:
        raise RevisionError(f"{path} at {name}: cannot be read ({shortened(error)}); run dvc repro there") from error
    if not isinstance(values, Mapping):
        raise RevisionError(f"{path} at {name}: expected a mapping of keys to values; run dvc repro there")
    return values


@cache  # most revisions have the same dvc.yaml, and it is long
def _stages(text: str) -> Mapping[str, Any]:
    """The stages of a ``dvc.yaml`` by name."""
    stages: Mapping[str, Any] = parse_yaml(text)["stages"]
    for stage in stages:
        if not re.fullmatch(r"[\w-]+", stage):  # it becomes part of a path
            raise ValueError(f"{stage!r} is no name of a stage")
    return stages


@cache
def recorded_outputs(lock: bytes) -> Mapping[str, str]:
    """The hash of each output in a ``dvc.lock``, by path.

    Raises:
        YAMLError: it is damaged.
    """
    return dict(_recorded(lock, "outs"))


@cache
def recorded_hash(lock: bytes, path: str) -> str | None:
    """The hash of a file in a ``dvc.lock``, where a stage writes it and where others read it; None if there is none.

    Raises:
        YAMLError: the lock is damaged, or has several hashes of the file.
    """
    found = {hash_ for kind in ("outs", "deps") for name, hash_ in _recorded(lock, kind) if name == path}
    if len(found) > 1:
        raise YAMLError(f"it has two hashes of {path}, so it is damaged, or a stage has not run since")
    return next(iter(found), None)


def _recorded(lock: bytes, kind: str) -> list[tuple[str, str]]:
    """Path and hash of all ``outs`` or ``deps`` of a ``dvc.lock``."""
    try:
        stages = ((parse_yaml(lock) or {}).get("stages") or {}).values()
        return [(each["path"], each["md5"]) for stage in stages for each in stage.get(kind, [])]
    except (AttributeError, KeyError, TypeError) as error:
        raise YAMLError(f"not a dvc.lock: {shortened(error)}") from error


def _metrics(text: str) -> Any:
    """The values of a metrics file."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _measures(text: str) -> dict[str, Value]:
    """The rows of a ``measures.csv``: numbers as numbers, an empty cell as None."""
    return {printable(row["measure"]): _number(row["value"]) for row in csv.DictReader(io.StringIO(text))}


def _number(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return printable(text) or None
