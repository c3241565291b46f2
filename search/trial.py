"""Run one experiment on a worker: in a clone of its own, by ``dvc exp run``, and push it home.

Workers get this module with the task, so it imports nothing of the project: they may be started in any folder.
"""

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LOSSES = "plots/train/losses.csv"
SECONDS_BETWEEN_LOOKS = 0.5
# Git collects garbage in the background, and removes files that DVC has found but not read yet.
WITHOUT_COLLECTION = ("--config", "gc.auto=0", "--config", "maintenance.auto=false")
LOG_LINES = 200  # of the end of a log, that come home

# Runs a command, and kills it and all that it started as soon as the process that holds the other end of its input has
# ended, for whatever reason: a killed worker leaves nothing behind that would go on computing.
GUARD = """
import os, signal, subprocess, sys, threading
def end_with_worker():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=end_with_worker, daemon=True).start()
sys.exit(subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode)
"""


@dataclass(frozen=True)
class Job:
    """An experiment to run.

    Attributes:
        name: of the experiment.
        options: of ``dvc exp run``, which set parameters.
        repository: the Git repository to clone, and to push the experiment to.
        commit: the commit to run at.
        cache: the folder of the DVC cache to share, on the same machine; None for one of the clone's own.
        environment: variables of the stages, and None for those to remove.
        push: options of ``dvc exp push``.
        watched: whether to send home the validation losses during training.
    """

    name: str
    options: Sequence[str]
    repository: str
    commit: str
    cache: str | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    push: Sequence[str] = ()
    watched: bool = False


@dataclass(frozen=True)
class Outcome:
    """How an experiment ended, the end of its log, and the seconds that it took."""

    succeeded: bool
    log: str
    seconds: float


def on_worker(job: Job, topic: str) -> tuple[bool, str, float]:
    """Run an experiment as a task of Dask, until it has ended or nobody wants it any more; the parts of its outcome."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.get_current_task()

    def wanted() -> bool:
        state = worker.state.tasks.get(task)
        return state is not None and state.state == "executing"

    def report(losses: Sequence[tuple[int, float]]) -> None:
        worker.log_event(topic, {"name": job.name, "losses": losses})

    outcome = run(job, Path(worker.local_directory), wanted, report)
    return outcome.succeeded, outcome.log, outcome.seconds


def run(
    job: Job, folder: Path, wanted: Callable[[], bool], report: Callable[[Sequence[tuple[int, float]]], None]
) -> Outcome:
    """Run an experiment in a clone within a folder, and push it to the repository that it was cloned from.

    The next experiment uses the clone again, unless this one fails.

    Args:
        job: the experiment.
        folder: of the worker.
        wanted: asked during the run; if it says no, the run is killed.
        report: called during training with epochs and their validation losses, if the job is watched.
    """
    started = time.monotonic()
    clone, log = folder / "clone", folder / "log"
    dvc = (sys.executable, "-m", "dvc")
    environment = _environment(job, folder)
    steps: list[Sequence[str]] = [("git", "checkout", "--quiet", "--force", "--detach", job.commit)]
    if not clone.exists():
        clone.mkdir(parents=True)
        steps.insert(0, ("git", "clone", "--quiet", "--no-checkout", *WITHOUT_COLLECTION, job.repository, "."))
        steps += [(*dvc, "cache", "dir", "--local", job.cache)] if job.cache else []
    experiment = (*dvc, "exp", "run", "--name", job.name, *job.options)
    push = (*dvc, "exp", "push", "--force", *job.push, "origin", job.name)

    with log.open("wb") as output:

        def ran(step: Sequence[str], look: Callable[[], bool] = wanted) -> bool:
            return _ran(step, clone, environment, output.fileno(), look)

        def watch() -> bool:
            if job.watched and (new := losses.new()):
                report(new)
            return wanted()

        succeeded = all(map(ran, steps))
        losses = Losses(clone / LOSSES)  # after the checkout, which writes those of the commit
        succeeded = succeeded and ran(experiment, watch) and ran(push)
    if not succeeded:
        shutil.rmtree(clone, ignore_errors=True)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return Outcome(succeeded, "\n".join(lines[-LOG_LINES:]), time.monotonic() - started)


class Losses:
    """The rows that training adds to its table of losses.

    The loss is the negative ELBO on the validation images, whatever weights its parts have in training. So trials of
    another β or with a KL that warms up can be compared.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = self._content()  # the committed table, until training begins
        self.last = 0

    def new(self) -> list[tuple[int, float]]:
        """Epochs and losses that were not there at the last call."""
        content, found = self._content(), []
        if content != self.before:
            with suppress(KeyError, ValueError):
                for row in csv.DictReader(content.splitlines()):
                    loss = float(row["validation_reconstruction"]) + float(row["validation_kl"])
                    found.append((int(row["epoch"]), loss))
        new = [(epoch, loss) for epoch, loss in found if epoch > self.last]
        self.last = max([self.last, *(epoch for epoch, _ in new)])
        return new

    def _content(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except OSError:
            return ""


def _ran(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: int, look: Callable[[], bool]
) -> bool:
    """Run a command until it ends or ``look`` says no; whether it succeeded."""
    with subprocess.Popen(
        [sys.executable, "-c", GUARD, *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
    ) as process:
        while process.poll() is None and look():
            time.sleep(SECONDS_BETWEEN_LOOKS)
    return process.returncode == 0  # leaving the block closed the input, on which the guard kills what still runs


def _environment(job: Job, folder: Path) -> dict[str, str]:
    """The environment of the commands: that of the worker, but the threads of the workspace."""
    environment = {**os.environ, "DVC_SITE_CACHE_DIR": str(folder / "site")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    for name, value in {**job.environment, "DVC_ROOT": None}.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    return environment
