"""An experiment on a worker: what is run, what is watched, and what is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from faults.project import ROOT
from search import trial
from search.trial import LOSSES, Job, Losses
from stages import paths, train
from vae.base.artifacts import write_csv
from vae.model.objective import Losses as TrainingLosses
from vae.training.loop import Epoch

SECONDS = 30  # enough for a busy machine


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + SECONDS
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "still running"
        time.sleep(0.05)


def written(path: Path) -> int:
    """The number in a file, as soon as it is there."""
    deadline = time.monotonic() + SECONDS
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, "not written"
        time.sleep(0.05)
    return int(path.read_text())


SLEEP = "import os, sys, time, pathlib; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"


def test_a_killed_worker_leaves_nothing_running(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = [sys.executable, "-c", SLEEP, str(pid)]
    script = (
        "import os\nfrom pathlib import Path\nfrom search.trial import _ran\n"
        f"_ran({command!r}, Path({str(tmp_path)!r}), dict(os.environ), 1, lambda: True)"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    running = written(pid)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_until_gone(running)


def test_a_command_that_nobody_wants_any_more_is_killed(tmp_path: Path) -> None:
    pid, log = tmp_path / "pid", tmp_path / "log"
    command = [sys.executable, "-c", SLEEP, str(pid)]
    with log.open("wb") as output:
        environment = dict(os.environ)
        assert not trial._ran(command, tmp_path, environment, output.fileno(), lambda: not pid.exists())
    wait_until_gone(written(pid))


@pytest.mark.parametrize(("status", "succeeded"), [(0, True), (3, False)])
def test_a_command_succeeds_with_status_0_and_its_output_is_in_the_log(
    status: int, succeeded: bool, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-c", f"print('hello'); raise SystemExit({status})"]
        assert trial._ran(command, tmp_path, dict(os.environ), output.fileno(), lambda: True) == succeeded
    assert log.read_text() == "hello\n"


def table(path: Path, rows: Sequence[tuple[int, float, float]]) -> None:
    lines = ["epoch,validation_loss,validation_reconstruction,validation_kl"]
    lines += [f"{epoch},0.0,{reconstruction},{kl}" for epoch, reconstruction, kl in rows]
    partial = path.with_name("partial")
    partial.write_text("\n".join([*lines, ""]))
    partial.replace(path)


def test_new_losses_are_reconstruction_and_kl_of_rows_that_were_not_there_and_never_those_of_the_commit(
    tmp_path: Path,
) -> None:
    path = tmp_path / "losses.csv"
    table(path, [(1, 99.0, 1.0), (2, 98.0, 1.0)])
    losses = Losses(path)
    assert losses.new() == []
    path.unlink()  # DVC removes the committed table when training starts
    assert losses.new() == []
    table(path, [(1, 30.0, 1.0)])
    assert losses.new() == [(1, 31.0)]
    assert losses.new() == []
    table(path, [(1, 30.0, 1.0), (2, 25.0, 1.5), (3, 24.0, 2.0)])
    assert losses.new() == [(2, 26.5), (3, 26.0)]


def test_only_the_losses_of_this_training_are_reported_also_in_a_clone_that_has_those_of_an_earlier_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clone/plots/train/losses.csv"
    names: list[str] = []

    def ran(command: Sequence[str], _folder: Path, _environment: object, _log: int, look: Callable[[], bool]) -> bool:
        if "checkout" in command:
            path.parent.mkdir(parents=True, exist_ok=True)
            table(path, [(epoch, 20.0, 3.0) for epoch in range(1, 1001)])
        if "run" in command:
            look()
            path.unlink()
            look()
            table(path, [(1, 30.0 + len(names), 1.0)])
            names.append(command[command.index("--name") + 1])
        return look()

    monkeypatch.setattr(trial, "_ran", ran)
    reports: list[Sequence[tuple[int, float]]] = []
    for name in ("a-00-seed-0", "a-01-seed-0"):
        job = Job(name, [], "repository", "abc", watched=True)
        assert trial.run(job, tmp_path, lambda: True, reports.append).succeeded
    assert names == ["a-00-seed-0", "a-01-seed-0"]
    assert reports == [[(1, 31.0)], [(1, 32.0)]]


def test_the_losses_are_the_negative_elbo_in_the_table_that_the_train_stage_writes(tmp_path: Path) -> None:
    assert Path(LOSSES) == paths.LOSSES
    path = tmp_path / "losses.csv"
    losses = Losses(path)
    history = [Epoch(1, TrainingLosses(9.0, 8.0, 0.5), 1.0, TrainingLosses(7.0, 4.0, 1.5))]  # β = 2
    columns = train.table(history)
    write_csv(path, list(columns), zip(*columns.values(), strict=True))
    assert losses.new() == [(1, 5.5)]


def test_a_table_without_validation_losses_has_no_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    losses = Losses(path)
    path.write_text("epoch,validation_reconstruction,validation_kl\n1,,\n")
    assert losses.new() == []


def test_commands_get_the_variables_of_the_job_and_lose_those_that_it_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask sets OMP_NUM_THREADS=1 for its workers; the stages must compute as in the workspace."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    monkeypatch.setenv("VAE_DATA_HOME", "/downloads")
    job = Job("a", [], "repository", "commit", environment={"OMP_NUM_THREADS": None, "GIT_AUTHOR_NAME": "Somebody"})
    environment = trial._environment(job, tmp_path)
    assert "OMP_NUM_THREADS" not in environment
    assert "DVC_ROOT" not in environment
    assert (environment["GIT_AUTHOR_NAME"], environment["VAE_DATA_HOME"]) == ("Somebody", "/downloads")
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_a_worker_and_a_scheduler_need_none_of_the_project() -> None:
    """The task that Dask sends contains the module, so that they may run in any folder."""
    pytest.importorskip("distributed", reason="needs make search")
    script = (
        "import sys; from distributed.protocol.pickle import dumps; from search import trial, workers;"
        "sys.stdout.buffer.write(dumps({'task': workers.as_task(trial.Job('a', [], 'r', 'c'), 'topic')}))"
    )
    pickled = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True).stdout
    script = """
import pickle, sys
task = pickle.loads(sys.stdin.buffer.read())["task"]
try:
    task()
except ValueError as error:
    print(error, {"search", "vae", "review"} & set(sys.modules))
"""
    printed = subprocess.run([sys.executable, "-c", script], cwd="/", input=pickled, capture_output=True, check=True)
    assert printed.stdout == b"No worker found set()\n"


def test_a_failed_clone_is_reported_with_its_log_and_leaves_no_folder(tmp_path: Path) -> None:
    outcome = trial.run(Job("a", [], str(tmp_path / "gone"), "abc"), tmp_path, lambda: True, lambda _: None)
    assert not outcome.succeeded
    assert "does not exist" in outcome.log
    assert not (tmp_path / "clone").exists()
