"""Stages and training by several processes: the same bytes as by one, whatever happens to one of them."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from faults.material import OUTPUTS, declared_outputs
from faults.processes import Run
from faults.project import ROOT, Project
from tests.listening import listening_at
from tests.pipeline.sharded_training import RUNS, SHARDS

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
EPOCHS = 30
WRITTEN_BY_TRAIN = ("models/vae.safetensors", "models/history.json", "metrics/train.json", "plots/train/losses.csv")


@pytest.fixture(scope="module")
def by_number(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What ``sharded_training`` writes with one, two and four processes."""
    folder = tmp_path_factory.mktemp("sharded")
    results = {}
    for number in (1, 2, 4):
        path = folder / f"{number}.json"
        command = ("python", "-m", "tests.pipeline.sharded_training", str(path))
        Project(ROOT).run(*command, env={**ONE_THREAD, "VAE_PROCESSES": str(number)})
        results[number] = json.loads(path.read_bytes())
    return results


@pytest.mark.parametrize("name", RUNS)
def test_any_number_of_processes_takes_the_same_steps_bit_for_bit(
    by_number: dict[int, dict[str, Any]], name: str
) -> None:
    one, two, four = (by_number[number]["runs"][name] for number in (1, 2, 4))
    assert one == two == four
    assert len(set(one["weights"])) > 100


def test_processes_compute_items_in_turn_and_all_results_come_in_order(by_number: dict[int, dict[str, Any]]) -> None:
    assert by_number[1]["by"] == [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0]]
    assert by_number[2]["by"] == [[0, 0], [1, 1], [2, 0], [3, 1], [4, 0]]
    assert by_number[4]["by"] == [[0, 0], [1, 1], [2, 2], [3, 3], [4, 0]]


@pytest.fixture
def in_shards(workspace: Project) -> Project:
    """The project with sharded batches and without the outputs of training."""
    return without_training(workspace)


def without_training(project: Project) -> Project:
    project.set({"train.epochs": str(EPOCHS), "train.shards": str(SHARDS)})
    for name in WRITTEN_BY_TRAIN:
        (project.folder / name).unlink()
    return project


@pytest.fixture(scope="module")
def by_one_process(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a single process writes that trains with sharded batches."""
    folder = tmp_path_factory.mktemp("one") / "project"
    project = without_training(Project(shutil.copytree(reproduced.folder, folder, symlinks=True)))
    project.run("python", "-m", "stages.train", env={"VAE_PROCESSES": "1"})
    return {name: project.read(name) for name in WRITTEN_BY_TRAIN}


@pytest.mark.parametrize(("victim", "resuming"), [(0, 1), (1, 4)], ids=["the first", "another"])
def test_training_resumes_by_another_number_of_processes_after_one_was_killed(
    in_shards: Project, by_one_process: dict[str, bytes], victim: int, resuming: int
) -> None:
    with Run(in_shards, "python", "-m", "stages.train", env={"VAE_PROCESSES": "2"}) as run:
        run.wait_for(lambda: any((in_shards.folder / ".dvc/tmp/train").glob("*.state")))
        first = psutil.Process(run.process.pid)
        (other,) = first.children()
        os.kill((first, other)[victim].pid, signal.SIGKILL)
        run.process.wait()
        _, alive = psutil.wait_procs([other], timeout=30)
    assert not alive
    if victim:
        message = "train: one of the 2 processes has ended, so the others cannot go on: process 1 by SIGKILL\n"
        assert run.output.endswith(message)
        assert run.process.returncode == 1
    assert not (in_shards.folder / "models/vae.safetensors").exists()

    log = in_shards.run("python", "-m", "stages.train", env={"VAE_PROCESSES": str(resuming)})
    assert "resuming an interrupted run after epoch" in log
    assert {name: in_shards.read(name) for name in WRITTEN_BY_TRAIN} == by_one_process


def test_processes_of_one_machine_cannot_be_reached_from_others(in_shards: Project) -> None:
    with Run(in_shards, "python", "-m", "stages.train", env={"VAE_PROCESSES": "2"}) as run:
        run.wait_for(lambda: any((in_shards.folder / ".dvc/tmp/train").glob("*.state")))
        first = psutil.Process(run.process.pid)
        (other,) = first.children()
        assert listening_at(first) == listening_at(other) == {"127.0.0.1"}


def test_two_processes_that_torchrun_starts_write_the_bytes_of_one_in_every_stage_that_they_share(
    reproduced: Project, in_shards: Project, by_one_process: dict[str, bytes], tmp_path: Path
) -> None:
    """The training comes last, so the other stages use the model that was there before it."""
    for name in ("models/vae.safetensors", "models/history.json"):
        (in_shards.folder / name).write_bytes(reproduced.read(name))
    expected = reproduced.files(*OUTPUTS) | by_one_process
    for stage in ("evaluate", "generate", "embed"):
        for name in declared_outputs(in_shards, stage):
            (in_shards.folder / name).unlink()

    command = ("torchrun", "--standalone", "--nproc-per-node=2", f"--log-dir={tmp_path}")
    log = in_shards.run(*command, "-m", "tests.pipeline.divided_stages", env=ONE_THREAD)
    assert log.count("divided_stages: device cpu") == 1
    assert in_shards.files(*OUTPUTS) == expected


def test_processes_that_cannot_share_the_shards_are_refused_before_any_work(in_shards: Project) -> None:
    log = in_shards.run("python", "-m", "stages.train", env={"VAE_PROCESSES": "3"}, status=1)
    assert (
        log == "train: 3 processes cannot share train.shards=4 equally; set it to a multiple of 3, or start fewer "
        "processes\n"
    )
