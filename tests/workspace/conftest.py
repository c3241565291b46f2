import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from faults.project import Project

PIPELINE = """\
stages:
  train:
    cmd: python train.py
    params: [scale, seconds]
    deps: [train.py]
    outs: [models/model.bin]
    metrics: [metrics/train.json: {cache: false}]
"""
STAGE = """\
import pathlib, re, time
text = pathlib.Path("params.yaml").read_text()
scale, seconds = re.findall(r": (.*)", text)
pathlib.Path("started").touch()
time.sleep(float(seconds))
for name, content in (("models/model.bin", f"weights {scale}"), ("metrics/train.json", f'{{"loss": {scale}}}')):
    pathlib.Path(name).parent.mkdir(exist_ok=True)
    pathlib.Path(name).write_text(content)
"""


class Start(Protocol):
    def __call__(self, *arguments: str, seconds: int = 60) -> AbstractContextManager["subprocess.Popen[bytes]"]: ...


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small DVC project with one stage and committed results. Tests must not change it."""
    project = Project(tmp_path_factory.mktemp("committed") / "ü é 中")
    project.folder.mkdir()
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.dvc("init", "--quiet")
    files = {
        "dvc.yaml": PIPELINE,
        "train.py": STAGE,
        "params.yaml": "scale: 1\nseconds: 0\n",
        ".gitignore": "/started\n/models/\n",
    }
    for name, content in files.items():
        (project.folder / name).write_text(content)
    project.commit("The project")
    project.dvc("repro")
    project.commit("Its results")
    return project


@pytest.fixture
def small(committed: Project, tmp_path: Path) -> Project:
    """A copy of the small project and its cache."""
    return Project(shutil.copytree(committed.folder, tmp_path / "ü é 中", symlinks=True))


@pytest.fixture
def start(small: Project) -> Start:
    """Starts a DVC command in the small project, whose stage then takes some time; it is killed at the end."""

    @contextmanager
    def started(*arguments: str, seconds: int = 60) -> Iterator["subprocess.Popen[bytes]"]:
        mark = small.folder / "started"
        mark.unlink(missing_ok=True)
        process = subprocess.Popen(
            ["dvc", *arguments, *(["-S", f"seconds={seconds}"] if arguments[0] == "exp" else [])],
            cwd=small.folder,
            env=small.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 60
            while not (mark.exists() or any(small.folder.glob(".dvc/tmp/exps/standalone/tmp*/started"))):
                assert process.poll() is None, "DVC ended by itself"
                assert time.monotonic() < deadline, "the stage did not start"
                time.sleep(0.05)
            yield process
        finally:
            kill(process)

    return started


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and those that it started, without letting it clean up."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
