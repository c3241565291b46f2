"""Stages and training by several processes: the same bytes as by one, whatever happens to one of them."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from faults.processes import Run
from faults.project import ROOT, Project
from tests.pipeline.sharded_training import RUNS, SHARDS

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
EPOCHS = 60
WRITTEN_BY_TRAIN = ("models/vae.safetensors", "models/history.json", "metrics/train.json", "plots/train/losses.csv")
OUTPUTS = ("data", "metrics", "models", "pages", "plots")


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


def test_evaluate_generate_and_embed_write_the_same_bytes_by_two_processes(workspace: Project) -> None:
    expected = workspace.files(*OUTPUTS)
    for stage in ("evaluate", "generate", "embed"):
        log = workspace.run("python", "-m", f"stages.{stage}", env={"VAE_PROCESSES": "2"})
        assert log.count(f"{stage}: device cpu") == 1
    assert workspace.files(*OUTPUTS) == expected


@pytest.fixture
def in_shards(workspace: Project) -> Project:
    """The project with sharded batches and without the outputs of training."""
    workspace.set({"train.epochs": str(EPOCHS), "train.shards": str(SHARDS)})
    for name in WRITTEN_BY_TRAIN:
        (workspace.folder / name).unlink()
    return workspace


@pytest.mark.parametrize("victim", [0, 1], ids=["the first", "another"])
def test_training_resumes_by_another_number_of_processes_after_one_was_killed(in_shards: Project, victim: int) -> None:
    in_shards.run("python", "-m", "stages.train", env={"VAE_PROCESSES": "1"})
    expected = {name: in_shards.read(name) for name in WRITTEN_BY_TRAIN}
    for name in WRITTEN_BY_TRAIN:
        (in_shards.folder / name).unlink()

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

    log = in_shards.run("python", "-m", "stages.train", env={"VAE_PROCESSES": "4"})
    assert "resuming an interrupted run after epoch" in log
    assert {name: in_shards.read(name) for name in WRITTEN_BY_TRAIN} == expected


def test_torchrun_starts_the_processes_of_a_stage_too(in_shards: Project, tmp_path: Path) -> None:
    in_shards.set({"train.epochs": "2"})
    written = []
    for command in (["python"], ["torchrun", "--standalone", "--nproc-per-node=2", f"--log-dir={tmp_path}"]):
        log = in_shards.run(*command, "-m", "stages.train", env=ONE_THREAD)
        assert log.count("kept the weights of epoch 2") == 1
        written.append({name: in_shards.read(name) for name in WRITTEN_BY_TRAIN})
    assert written[0] == written[1]


def test_processes_that_cannot_share_the_shards_are_refused_before_any_work(in_shards: Project) -> None:
    log = in_shards.run("python", "-m", "stages.train", env={"VAE_PROCESSES": "3"}, status=1)
    assert (
        log == "train: 3 processes cannot share train.shards=4 equally; set it to a multiple of 3, or start fewer "
        "processes\n"
    )
