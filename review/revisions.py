"""Load a revision of the project: its parameters, metrics, verdicts and files."""

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from review.recorded import RecordedFiles, RevisionError
from vae.base.errors import shortened
from vae.base.terminal import printable
from vae.base.yaml12 import YAMLError, parse_yaml

WORKSPACE = "workspace"
BASELINE = "HEAD"  # the commit that experiments start from
ERROR = "_se"  # suffix of standard errors: recall_se is that of recall

Value = bool | int | float | str | tuple[Any, ...] | None
Values = Mapping[str, Value]


class Judgement(NamedTuple):
    """What a stage wrote about one failure mode in ``plots/STAGE/verdicts.csv``.

    Attributes:
        level: ``healthy``, ``warning``, ``failure`` or ``not judged``.
        finding: what was measured.
        criterion: what is healthy.
        advice: what to try; empty where there is nothing to do.
    """

    level: str
    finding: str = ""
    criterion: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Revision:
    """A commit, branch, tag or experiment, or the workspace.

    Attributes:
        name: the name as given by the user.
        parameters: the values of ``params.yaml`` by dotted key, e.g. ``train.beta``.
        metrics: the values of ``metrics/STAGE.json`` and ``plots/STAGE/measures.csv`` by dotted key, e.g.
            ``evaluate.test.negative_elbo``, without their standard errors.
        verdicts: the verdicts by dotted key, e.g. ``evaluate.posterior_collapse``.
        files: a file system to read files at this revision, including those in DVC's cache.
        errors: the standard errors by metric. The files have that of ``recall`` as ``recall_se``.
    """

    name: str
    parameters: Values
    metrics: Values
    verdicts: Mapping[str, Judgement]
    files: Any = field(repr=False, compare=False)
    errors: Mapping[str, float] = field(default_factory=dict)

    def read(self, path: str) -> bytes | None:
        """The content of a file, or None if the revision or DVC's cache has no such file."""
        try:
            content: bytes = self.files.read_bytes(path)
        except (FileNotFoundError, IsADirectoryError):
            return None
        return content

    def read_all(self, path: str) -> dict[str, bytes]:
        """The contents of a file, or of all files in a folder, by path; empty if the revision has neither."""
        return {name: content for name in self.files.find(path) if (content := self.read(name)) is not None}


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
    verdicts: dict[str, Judgement] = {}
    for stage in _parse(name, files, "dvc.yaml", _stages):
        metrics = _parse(name, files, f"metrics/{stage}.json", _metrics, missing={})
        measured |= {f"{stage}.{key}": value for key, value in flattened(metrics)}
        measures = _parse(name, files, f"plots/{stage}/measures.csv", _measures, missing={})
        measured |= {f"{stage}.{key}": value for key, value in measures.items()}
        judged = _parse(name, files, f"plots/{stage}/verdicts.csv", _judgements, missing={})
        verdicts |= {f"{stage}.{key}": judgement for key, judgement in judged.items()}
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


def _metrics(text: str) -> Any:
    """The values of a metrics file."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _measures(text: str) -> dict[str, Value]:
    """The rows of a ``measures.csv``: numbers as numbers, an empty cell as None."""
    return {printable(row["measure"]): _number(row["value"]) for row in csv.DictReader(io.StringIO(text))}


def _judgements(text: str) -> dict[str, Judgement]:
    """The rows of a ``verdicts.csv``."""
    return {
        printable(row["verdict"]): Judgement(*(printable(row[name] or "") for name in Judgement._fields))
        for row in csv.DictReader(io.StringIO(text))
    }


def _number(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return printable(text) or None
