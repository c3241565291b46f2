"""Training that is killed at any moment and started again ends with the same bytes as training without interruption."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from faults.processes import DEADLINE, Run
from faults.project import Project
from vae.data.images import load_images, save_images
from vae.training.checkpoint import Checkpoint

EPOCHS = 80
PARAMETERS = {"train.epochs": str(EPOCHS), "train.batch_size": "64"}  # more steps per epoch than a chunk contains
TRAIN = (sys.executable, "-m", "stages.train")
CHECKPOINTS = ".dvc/tmp/train"
WRITTEN_BY_TRAIN = ("models/vae.safetensors", "models/history.json", "metrics/train.json", "plots/train/losses.csv")
ALONE = {"OMP_NUM_THREADS": "1"}  # on busy cores, two threads would wait for each other


# Begins to train for each line of input, and prints the name of the checkpoint in place of going on.
PRINT_NAMES = """
import sys
from stages import entry, paths, train
from vae.base import runtime
from vae.base.params import load_params

class Named(Exception):
    pass

def name(*arguments):
    raise Named(arguments[-1].path.stem)

runtime.configure(same_on_every_machine=entry.same_bytes("digits"))
train.train = name
del sys.modules["stages.train"]  # as in a process whose main module it is
for _ in sys.stdin:
    try:
        train.main(load_params(paths.PARAMS))
    except Named as named:
        print(named)
"""


def another_pixel(written: bytes) -> bytes:
    """The file of other images."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "other.safetensors"
        path.write_bytes(written)
        data = load_images(path)
        save_images(path, replace(data, images=data.images ^ 1))
        return path.read_bytes()


# What a training depends on.
CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "params.yaml": lambda text: text.replace(b"learning_rate: 0.001", b"learning_rate: 0.002"),
    "data/prepared/train.safetensors": another_pixel,
    "data/prepared/validation.safetensors": another_pixel,
    "vae/model/objective.py": lambda text: text + b"# changed\n",
    "vae/training/handwritten_gradient.py": lambda text: text + b"# changed\n",
}


@contextmanager
def edited(project: Project, name: str, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """Change a file within the block."""
    path, original = project.folder / name, project.read(name)
    path.write_bytes(change(original))
    assert path.read_bytes() != original
    try:
        yield
    finally:
        path.write_bytes(original)


class TrainingRun(Run):
    """A command that trains."""

    @property
    def epoch(self) -> int:
        """The last epoch in the output, 0 before the first."""
        return max(map(int, re.findall(r"^epoch (\d+): ", self.output, re.MULTILINE)), default=0)

    @property
    def resumed_after(self) -> int | None:
        """The epoch after which it resumed, according to its output."""
        numbers = re.findall(r"resuming an interrupted run after epoch (\d+)$", self.output, re.MULTILINE)
        return int(numbers[0]) if numbers else None

    def wait_for_epoch(self, epoch: int) -> None:
        """Wait until an epoch is in the output."""
        self.wait_for(lambda: self.epoch >= epoch)

    def wait_for_checkpoint(self, epoch: int) -> None:
        """Wait until an epoch is in the output and there is a checkpoint."""
        self.wait_for(lambda: self.epoch >= epoch and checkpoints(self.project))


def running(project: Project, *command: str) -> TrainingRun:
    """Start a command, to be used in a ``with`` block, which kills it at the end if it still runs."""
    return TrainingRun(project, *command, env=ALONE)


def finish(project: Project) -> TrainingRun:
    """Train to the end."""
    with running(project, *TRAIN) as run:
        run.finish()
    return run


def checkpoints(project: Project) -> list[Path]:
    return sorted((project.folder / CHECKPOINTS).glob("*.state"))


def saved_epochs(project: Project) -> int | None:
    """The number of epochs in the checkpoint, which must be readable, or None without a checkpoint."""
    for path in checkpoints(project):
        state = Checkpoint(path.parent, path.stem).load()
        assert state is not None
        return len(state.values["history"])
    return None


def outputs(project: Project) -> dict[str, bytes]:
    """All files in the folders of outputs, including partly written ones."""
    return project.files("models", "metrics", "plots")


def assert_whole(project: Project, expected: Project) -> None:
    """Check that each existing output is complete, except that the losses may lack later epochs."""
    for name in WRITTEN_BY_TRAIN:
        path = project.folder / name
        if path.exists() and path.suffix == ".csv":
            assert path.read_bytes().endswith(b"\n")
            assert expected.read(name).startswith(path.read_bytes())
        elif path.exists():
            assert path.read_bytes() == expected.read(name)


@pytest.fixture(scope="module")
def uninterrupted(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after training through DVC without interruption."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "project"
    project = Project(shutil.copytree(reproduced.folder, folder, symlinks=True))
    project.set(PARAMETERS)
    project.run("dvc", "repro", "train", env=ALONE)
    return project


@pytest.fixture
def untrained(workspace: Project) -> Project:
    """The project with the parameters of this module and without the outputs of training."""
    workspace.set(PARAMETERS)
    for name in WRITTEN_BY_TRAIN:
        (workspace.folder / name).unlink()
    return workspace


@pytest.fixture(scope="module")
def killed(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after training was killed and left a checkpoint. Tests must not change it."""
    folder = tmp_path_factory.mktemp("killed") / "project"
    project = Project(shutil.copytree(reproduced.folder, folder, symlinks=True))
    project.set(PARAMETERS)
    for name in WRITTEN_BY_TRAIN:
        (project.folder / name).unlink()
    with running(project, *TRAIN) as run:
        run.wait_for_checkpoint(EPOCHS // 2)
        run.kill()
    assert saved_epochs(project)
    # Simulate a kill while each of these files was being written.
    for path in (*checkpoints(project), *(project.folder / name for name in WRITTEN_BY_TRAIN)):
        path.with_name(f".{path.name}.{run.process.pid}.partial").write_bytes(b"half")
    return project


@pytest.fixture
def interrupted(killed: Project, tmp_path: Path) -> Project:
    """A copy of the killed project, to resume from."""
    return Project(shutil.copytree(killed.folder, tmp_path / "interrupted", symlinks=True))


def test_training_that_is_killed_repeatedly_ends_with_the_same_bytes(
    untrained: Project, uninterrupted: Project
) -> None:
    """Kill it some seconds after the start, which may be at any point, and after given epochs."""
    random = Random(20)
    seconds = [0.0, *(random.uniform(0, 2) for _ in range(3))]
    first, *later = (1, *sorted(random.sample(range(2, EPOCHS), 5)), EPOCHS)
    kept = None
    resumed = 0
    for moment in (*seconds[:2], first, *seconds[2:], *later):
        with running(untrained, *TRAIN) as run:
            if isinstance(moment, float):
                time.sleep(moment)
            else:
                run.wait_for_checkpoint(moment)
                time.sleep(random.uniform(0, 0.02))  # anywhere in an epoch
            run.kill()
        assert_whole(untrained, uninterrupted)
        if run.epoch:
            assert run.resumed_after == kept
            resumed += kept is not None
        before, kept = kept, saved_epochs(untrained)
        if before is not None and kept is None:
            assert outputs(untrained) == outputs(uninterrupted), "a checkpoint is deleted when all outputs are written"
        elif before is not None and kept is not None:
            assert kept >= before
    assert resumed >= 3

    assert finish(untrained).resumed_after == kept
    assert outputs(untrained) == outputs(uninterrupted)
    assert not (untrained.folder / CHECKPOINTS).exists()


def test_training_resumes_only_with_the_same_parameters_data_and_code(
    interrupted: Project, uninterrupted: Project
) -> None:
    kept, (state,) = saved_epochs(interrupted), checkpoints(interrupted)
    content = state.read_bytes()
    with edited(interrupted, "params.yaml", CHANGES["params.yaml"]), running(interrupted, *TRAIN) as run:
        run.wait_for_epoch(1)
        run.kill()
    assert "\nepoch 1: " in run.output
    assert run.resumed_after is None
    assert state.read_bytes() == content
    for path in state.parent.iterdir():
        if state.name not in path.name:  # the checkpoint of the other run
            path.unlink()

    interrupted.set({"evaluate.importance_samples": "6", "embed.points": "50"})
    assert finish(interrupted).resumed_after == kept
    assert outputs(interrupted) == outputs(uninterrupted)
    assert not state.parent.exists()


def test_a_checkpoint_is_named_by_the_parameters_data_and_code_that_the_training_depends_on(
    interrupted: Project,
) -> None:
    """One process prints the name after each change."""
    (state,) = checkpoints(interrupted)
    with subprocess.Popen(
        (sys.executable, "-u", "-c", PRINT_NAMES),
        cwd=interrupted.folder,
        env={**interrupted.environment(), **ALONE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def name() -> str:
            assert process.stdin
            assert process.stdout
            print(file=process.stdin, flush=True)
            return process.stdout.readline().strip()

        names = [name()]
        for path, change in CHANGES.items():
            with edited(interrupted, path, change):
                names.append(name())
        assert names[0] == name() == state.stem
    assert len(set(names)) == 1 + len(CHANGES)


def test_a_truncated_checkpoint_is_ignored_with_a_warning(interrupted: Project, uninterrupted: Project) -> None:
    (state,) = checkpoints(interrupted)
    os.truncate(state, state.stat().st_size * 2 // 3)
    run = finish(interrupted)
    (line,) = [line for line in run.output.splitlines() if "starting from the beginning" in line]
    assert state.name in line
    assert run.resumed_after is None
    assert outputs(interrupted) == outputs(uninterrupted)
    assert not state.parent.exists()


def test_training_succeeds_with_one_warning_if_checkpoints_cannot_be_written(
    untrained: Project, uninterrupted: Project
) -> None:
    blocked = untrained.folder / CHECKPOINTS
    blocked.write_text("a file where a folder belongs")
    run = finish(untrained)
    assert run.output.count("cannot be written") == 1
    assert outputs(untrained) == outputs(uninterrupted)
    assert blocked.read_text() == "a file where a folder belongs"


def test_two_simultaneous_training_runs_in_one_folder_end_with_the_same_bytes(
    untrained: Project, uninterrupted: Project
) -> None:
    with running(untrained, *TRAIN) as first, running(untrained, *TRAIN) as second:
        first.finish()
        second.finish()
    assert outputs(untrained) == outputs(uninterrupted)
    assert not (untrained.folder / CHECKPOINTS).exists()


def test_a_temporary_experiment_resumes_the_killed_training_of_an_earlier_one(
    workspace: Project, uninterrupted: Project
) -> None:
    """Each runs in its own folder, which DVC deletes when the experiment fails."""
    settings = [argument for key, value in PARAMETERS.items() for argument in ("-S", f"{key}={value}")]
    command = ("dvc", "exp", "run", "--temp", "--name", "killed-once", *settings, "train")
    with running(workspace, *command) as run:
        run.wait_for(lambda: checkpoints(workspace))
        run.wait_for(run.kill_stage)
        assert run.process.wait(DEADLINE) != 0
    kept = saved_epochs(workspace)
    assert kept

    with running(workspace, *command) as run:
        run.finish()
    assert run.resumed_after == kept
    assert not (workspace.folder / CHECKPOINTS).exists()
    (experiment,) = workspace.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/killed-once").split()
    for name in ("metrics/train.json", "plots/train/losses.csv", "dvc.lock"):
        assert workspace.run("git", "show", f"{experiment}:{name}").encode() == uninterrupted.read(name)
    assert len(uninterrupted.read("plots/train/losses.csv").splitlines()) == 1 + EPOCHS
