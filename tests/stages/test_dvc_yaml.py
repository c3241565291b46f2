"""Compare the declarations in dvc.yaml with what the stages do."""

import ast
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faults.project import SMALL, Project, copy_project
from tests.imports import ROOT, code_dependencies, imported_files
from vae.base.params import Params, load_params
from vae.base.yaml12 import parse_yaml

DVC_YAML: dict[str, Any] = parse_yaml((ROOT / "dvc.yaml").read_bytes())
FOLDER = load_params(ROOT / "params.yaml").prepare.folder
STAGES: dict[str, Any] = {
    name: {**stage, "deps": [path.replace("${prepare.folder}", FOLDER) for path in stage["deps"]]}
    for name, stage in DVC_YAML["stages"].items()
}

# Runs a stage and logs each file that it opens through Python.
RECORD_OPENED_FILES = """
import runpy, sys
stage, path = sys.argv[1:]
del sys.argv[1:]
log = open(path, "w", buffering=1)
def record(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        written = isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        print("write" if written else "read", arguments[0], sep="\\t", file=log)
sys.addaudithook(record)
runpy.run_module(stage, run_name="__main__", alter_sys=True)
"""


def named(stage: dict[str, Any], *kinds: str) -> dict[str, dict[str, Any]]:
    """The entries of a stage by path, with their settings."""
    entries = [entry for kind in kinds for entry in stage.get(kind, [])]
    return {
        path: settings
        for entry in entries
        for path, settings in ([(entry, {})] if isinstance(entry, str) else entry.items())
    }


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_exactly_the_files_and_folders_of_code_that_it_imports(name: str) -> None:
    declared = [path for path in STAGES[name]["deps"] if path.startswith(("stages/", "vae/"))]
    assert sorted(declared) == sorted(code_dependencies(f"stages.{name}"))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_as_a_module_so_that_experiments_import_their_own_code(name: str) -> None:
    assert STAGES[name]["cmd"] == f"python -m stages.{name}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_exactly_the_parameters_that_it_reads(name: str) -> None:
    tree = ast.parse((ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8"))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    assert read <= set(Params.model_fields)
    assert set(STAGES[name]["params"]) == read


@pytest.mark.parametrize("name", STAGES)
def test_metrics_and_plots_are_kept_in_git_and_plots_have_titles_and_axes(name: str) -> None:
    for path, settings in named(STAGES[name], "metrics", "plots").items():
        assert settings["cache"] is False, path
    for path, settings in named(STAGES[name], "plots").items():
        assert settings["title"], path
        if path.endswith(".csv"):
            assert {"template", "x", "y", "x_label", "y_label"} <= set(settings), path


@pytest.mark.parametrize("name", STAGES)
def test_only_metrics_and_plots_are_kept_out_of_the_cache_so_that_dvc_reuses_earlier_runs(name: str) -> None:
    assert all(settings.get("cache", True) for settings in named(STAGES[name], "outs").values())


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_only_on_code_and_on_data_and_models_of_prepare_and_train(name: str) -> None:
    written = {path for stage in ("prepare", "train") for path in named(STAGES[stage], "outs")}
    read = {path for path in STAGES[name]["deps"] if not path.startswith(("stages/", "vae/"))}
    assert read <= ({FOLDER} if name == "prepare" else written)


def test_the_folder_of_images_that_prepare_depends_on_is_that_of_the_parameters_and_in_git_with_a_text_only() -> None:
    assert "${prepare.folder}" in DVC_YAML["stages"]["prepare"]["deps"]
    tracked = subprocess.run(["git", "ls-files", FOLDER], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert tracked.split() == [f"{FOLDER}/README.md"]


def test_every_module_of_the_library_and_the_stages_is_imported_by_a_stage_except_those_for_users() -> None:
    every_file = {
        path.relative_to(ROOT).as_posix() for folder in ("stages", "vae") for path in (ROOT / folder).rglob("*.py")
    }
    every_file = {path for path in every_file if not path.startswith("vae/use/")}
    every_file.remove("stages/stages.py")  # imported only by a stage that is started as a file, which it refuses
    assert every_file == set().union(*(imported_files(f"stages.{name}") for name in STAGES))


def test_dvc_yaml_has_at_most_330_lines() -> None:
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 330


def test_the_registered_model_is_an_output_of_a_stage() -> None:
    outputs = {path for stage in STAGES.values() for path in named(stage, "outs")}
    assert DVC_YAML["artifacts"]["vae"]["path"] in outputs


# Files that Python, editors, merges and operating systems leave behind.
STRAY_FILES = (
    "__pycache__/inference.cpython-313.pyc",
    "inference.pyc",
    ".inference.py.4711.partial",
    ".ipynb_checkpoints/inference-checkpoint.py",
    ".idea/workspace.xml",
    ".vscode/settings.json",
    "inference.py~",
    "#inference.py#",
    ".#inference.py",
    ".inference.py.swp",
    "inference.py.swo",
    "inference.py.tmp",
    "inference.py.bak",
    "inference.py.orig",
    "inference.py.rej",
    ".DS_Store",
    "networks/.DS_Store",
    "Thumbs.db",
)


def test_dvc_ignores_stray_files_in_a_folder_of_code_but_not_a_new_module(workspace: Project) -> None:
    for name in STRAY_FILES:
        path = workspace.folder / "vae/model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left behind", encoding="utf-8")
    assert json.loads(workspace.dvc("status", "--json")) == {}
    (workspace.folder / "vae/model/new.py").touch()
    assert set(json.loads(workspace.dvc("status", "--json"))) == {"train", "evaluate", "generate", "embed"}


@dataclass(frozen=True)
class Alone:
    """A stage that ran in a folder with nothing but its declared inputs."""

    inputs: Mapping[str, bytes]
    present: Mapping[str, bytes]  # all files afterwards
    opened: frozenset[tuple[str, str]]  # "read" or "write", and a path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Alone]:
    """Each stage alone in its folder, with a log of every file that it opens."""
    project = copy_project(tmp_path_factory.mktemp("alone") / "project")
    project.set(SMALL)
    code = project.files("stages", "vae")
    kept: dict[str, bytes] = {"params.yaml": project.read("params.yaml"), **project.files(FOLDER)}
    # Sets and dictionaries have another order than in the project that is reproduced by DVC.
    env = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "7"}
    runs = {}
    for name, stage in STAGES.items():
        folder = project.folder.parent / name
        declared = (*stage["deps"], "params.yaml")
        inputs = {path: content for path, content in {**code, **kept}.items() if is_among(path, declared)}
        assert all(any(is_among(path, [each]) for path in inputs) for each in declared), "a declared input is missing"
        for path, content in inputs.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        log = folder.parent / f"{name}.log"
        Project(folder).run("python", "-c", RECORD_OPENED_FILES, f"stages.{name}", str(log), env=env)
        lines = log.read_text(encoding="utf-8").splitlines()
        opened = {(mode, path) for mode, path in (line.split("\t") for line in lines)}
        here = {(mode, path.removeprefix(f"{folder}/")) for mode, path in opened if is_within(path, str(folder))}
        runs[name] = Alone(inputs, Project(folder).files("."), frozenset(here))
        kept |= {path: content for path, content in runs[name].present.items() if path not in inputs}
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_each_stage_opens_and_writes_only_what_it_declares(name: str, alone: dict[str, Alone]) -> None:
    run, outputs = alone[name], set(named(STAGES[name], "outs", "metrics", "plots"))
    assert set(run.present) == set(run.inputs) | outputs
    assert {path: run.present[path] for path in run.inputs} == run.inputs, "a stage changed its inputs"
    # A checkpoint depends on nothing but the declared inputs.
    beside = ("__pycache__", ".dvc/tmp/train/")
    read = {path for mode, path in run.opened if mode == "read" and not any(part in path for part in beside)}
    assert read & set(run.inputs), "the log has no file of the stage"
    assert read <= set(run.inputs), "a stage read what it does not declare"


def test_two_copies_of_the_project_end_with_the_same_bytes_and_the_same_dvc_lock(
    alone: dict[str, Alone], reproduced: Project, tmp_path: Path
) -> None:
    """One is reproduced by DVC; in the other, each stage runs alone, and DVC records what the stages wrote."""
    written = {
        path: content for run in alone.values() for path, content in run.present.items() if path not in run.inputs
    }
    assert written == reproduced.files("data", "models", "pages", "metrics", "plots")
    other = copy_project(tmp_path / "other")
    other.set(SMALL)
    (other.folder / "dvc.lock").unlink()
    for path, content in written.items():
        (other.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (other.folder / path).write_bytes(content)
    other.dvc("commit", "--force")
    assert other.read("dvc.lock") == reproduced.read("dvc.lock")


def is_among(path: str, declared: Sequence[str]) -> bool:
    """Whether a file or one of its folders is declared."""
    return any(Path(path).is_relative_to(each) for each in declared)


def is_within(path: str, folder: str) -> bool:
    return path.startswith(folder) or not path.startswith("/")
