"""Studies from the command line, with real workers and real experiments."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="needs make search")
pytest.importorskip("distributed", reason="needs make search")

from faults.project import ROOT, Project
from search import settings
from search.attempt import name_of
from search.home import open_home
from search.runner import Runner
from search.sampling import Sampling, Trial
from search.workers import local_scheduler
from tests.search.test_study import lines, study
from vae.base.yaml12 import parse_yaml

TWO_RATES: dict[str, Any] = {
    "name": "rates",
    "parameters": {"train.learning_rate": [0.01, 1e30]},
    "seeds": [3],
    "search": "grid",
    "trials": None,
}
OUTPUTS = ("data", "models", "pages", "metrics", "plots")


def test_a_trial_ends_with_the_bytes_of_the_same_experiment_in_a_workspace_and_a_failed_one_with_its_reason(
    workspace: Project, tmp_path: Path
) -> None:
    other = Project(shutil.copytree(workspace.folder, tmp_path / "other", symlinks=True))  # with a cache of its own
    (workspace.folder / "study.yaml").write_text(lines(**TWO_RATES))
    printed = workspace.run(sys.executable, "-m", "search", "study.yaml", "--workers", "2", status=1)
    names = workspace.dvc("exp", "list", "--name-only").split()
    assert len(names) == 1
    assert "training diverged in epoch 1" in printed
    assert "The same command tries them again" in printed
    assert "-S train.learning_rate=0.01 -S train.seed=3" in printed
    assert workspace.read("study/index.html").count(b'<img src="data:image/png;base64,') == 2
    assert workspace.run("git", "status", "--porcelain") == "?? study.yaml\n"
    assert list((workspace.folder / ".dvc/tmp/studies/workers").rglob("clone")) == []

    other.dvc("exp", "run", "--name", "same", "-S", "train.learning_rate=0.01", "-S", "train.seed=3")
    workspace.dvc("exp", "apply", names[0])
    expected = {"dvc.lock": other.read("dvc.lock"), "params.yaml": other.read("params.yaml"), **other.files(*OUTPUTS)}
    found = {name: workspace.read(name) for name in expected}
    assert found == expected


KILLER = """
import json, os, pathlib, signal
import psutil
from vae.base.yaml12 import parse_yaml

dimensions = parse_yaml(pathlib.Path("params.yaml").read_bytes())["model"]["latent_dim"]
marker = pathlib.Path(os.environ["MARKER"])
if dimensions == 10 or not marker.exists():
    if dimensions == 2:
        marker.touch()
    worker = next(each for each in psutil.Process().parents() if "spawn_main" in " ".join(each.cmdline()))
    worker.kill()
    signal.pause()
pathlib.Path("found.json").write_text(json.dumps({"dimensions": dimensions}))
"""


@pytest.fixture
def killer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose only stage kills its worker: once with 2 latent dimensions, always with 10."""
    project = Project(tmp_path / "project")
    (project.folder / ".dvc").mkdir(parents=True)
    (project.folder / ".dvc/config").touch()
    (project.folder / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    shutil.copy(ROOT / "params.yaml", project.folder)
    (project.folder / "work.py").write_text(KILLER)
    stage = {
        "cmd": "python work.py",
        "params": ["model.latent_dim", "train.seed"],
        "metrics": [{"found.json": {"cache": False}}],
    }
    (project.folder / "dvc.yaml").write_text(json.dumps({"stages": {"work": stage}}))
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.commit("A project")
    monkeypatch.setenv("MARKER", str(tmp_path / "marker"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return project


@pytest.mark.slow
def test_a_killed_worker_costs_its_trial_a_new_start_and_a_trial_that_kills_three_has_failed(killer: Project) -> None:
    found = study(search="grid", trials=None, parameters={"model.latent_dim": [2, 10]}, seeds=[0])
    home = open_home(killer.folder, other_machines=False)

    def value(trial: Trial, seed: int) -> float | None:
        name = name_of(found, trial, seed)
        if name not in killer.dvc("exp", "list", "--name-only"):
            return None
        revision = killer.run("git", "for-each-ref", "--format=%(objectname)", f"refs/exps/**/{name}").strip()
        return float(json.loads(killer.run("git", "show", f"{revision}:found.json"))["dimensions"])

    sampling = Sampling(found, killer.folder / ".dvc/tmp/study.db")
    base = parse_yaml((killer.folder / "params.yaml").read_bytes())
    runner = Runner(found, base, home, sampling, value, lambda _runner, _trial: None)
    with local_scheduler([{}, {}], killer.folder / ".dvc/tmp/workers") as address:
        runner.run(address)
    assert [each.value for each in sampling.finished] == [2.0]
    assert list(runner.failures.values()) == ["its worker died 3 times while it ran"]
    assert settings.number_of_trials(found) == 2


WITHOUT = """
import importlib.util, runpy, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("optuna", "distributed") else find(name, *rest)
sys.argv = ["search", "study.yaml"]
runpy.run_module("search", run_name="__main__")
"""


def test_without_the_optional_dependencies_the_command_says_how_to_install_them(clone: Project) -> None:
    (clone.folder / "study.yaml").write_text(lines(**TWO_RATES))
    printed = clone.run(sys.executable, "-c", WITHOUT, status=2)
    assert printed == "optuna and distributed: not installed; run make search, which installs what a study needs\n"


def test_an_unknown_metric_is_refused_without_a_traceback(clone: Project) -> None:
    (clone.folder / "study.yaml").write_text(lines(**{**TWO_RATES, "metric": "negative_elbow"}))
    printed = clone.run(sys.executable, "-m", "search", "study.yaml", status=2)
    assert printed.startswith("negative_elbow: no such metric; did you mean evaluate.test.negative_elbo")
    assert "Traceback" not in printed


def test_workers_are_not_started_for_a_scheduler_that_runs_already(clone: Project) -> None:
    (clone.folder / "study.yaml").write_text(lines(**TWO_RATES))
    options = ("--scheduler", "tcp://127.0.0.1:1", "--workers", "2")
    printed = clone.run(sys.executable, "-m", "search", "study.yaml", *options, status=2)
    assert printed.startswith("WORKERS: those of a scheduler are started with dask worker")
