"""Which stages ran again from one revision to another, because of which code, parameters and inputs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from review.recorded import RecordedRun, RevisionError, recorded_runs
from review.revisions import Revision, flattened
from vae.base.yaml12 import YAMLError

CODE = ("stages/", "vae/")
MOST_CAUSES = 8  # of a stage, in a table


class Rerun(NamedTuple):
    """What changed in a stage.

    Attributes:
        stage: name of the stage.
        code: paths of the files of code that differ.
        parameters: the parameters of the stage that differ.
        inputs: data and models that differ.
        outputs: the number of outputs that differ, and of all outputs.
    """

    stage: str
    code: Sequence[str]
    parameters: Sequence[str]
    inputs: Sequence[str]
    outputs: tuple[int, int]

    @property
    def ran(self) -> bool:
        """Whether the stage ran again: any of its inputs differs."""
        return bool(self._all_causes)

    @property
    def causes(self) -> list[str]:
        """Parameters, code and inputs that differ, as many as a table has room for."""
        return self._all_causes[:MOST_CAUSES]

    @property
    def more_causes(self) -> int:
        """How many more there are."""
        return len(self._all_causes) - len(self.causes)

    @property
    def _all_causes(self) -> list[str]:
        return [*self.parameters, *self.code, *self.inputs]


def reruns(base: Revision, head: Revision) -> list[Rerun]:
    """Each stage of the head, in the order of ``dvc.lock``.

    Raises:
        RevisionError: a ``dvc.lock`` is damaged.
    """
    before, after = (_runs(revision) for revision in (base, head))
    nothing = RecordedRun({}, {}, {})
    return [_rerun(stage, before.get(stage, nothing), run, base, head) for stage, run in after.items()]


def _runs(revision: Revision) -> Mapping[str, RecordedRun]:
    try:
        return recorded_runs(revision.read("dvc.lock") or b"")
    except YAMLError as error:
        raise RevisionError(f"dvc.lock at {revision.name}: {error}; run dvc repro there") from error


def _rerun(stage: str, before: RecordedRun, after: RecordedRun, base: Revision, head: Revision) -> Rerun:
    inputs = _differing(before.inputs, after.inputs)
    parameters = _differing(*(dict(flattened(run.parameters)) for run in (before, after)))
    outputs = _differing(before.outputs, after.outputs)
    return Rerun(
        stage,
        [file for path in inputs if path.startswith(CODE) for file in _files_that_differ(path, base, head)],
        parameters,
        [path for path in inputs if not path.startswith(CODE)],
        (len(outputs), len(after.outputs)),
    )


def _files_that_differ(path: str, base: Revision, head: Revision) -> list[str]:
    """The files of a file or folder of code that differ; the path itself if none can be told."""
    before, after = (revision.read_all(path) for revision in (base, head))
    return _differing(before, after) or [path]


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
