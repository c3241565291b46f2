"""What dvc.yaml declares, against what the stages do."""

import ast
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.imports import ROOT, imported_files
from tests.projects import Project
from vae.params import Params

DVC_YAML: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")
STAGES: dict[str, Any] = DVC_YAML["stages"]

# Writes a line for each file that a stage opens through Python, then runs the stage.
RECORD_OPENED_FILES = """
import runpy, sys
log = open(sys.argv[2], "w", buffering=1)
def record(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        written = isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        print("write" if written else "read", arguments[0], sep="\\t", file=log)
sys.addaudithook(record)
runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
"""


def named(stage: dict[str, Any], *kinds: str) -> dict[str, dict[str, Any]]:
    """The entries of a stage by their paths, with what each sets."""
    entries = [entry for kind in kinds for entry in stage.get(kind, [])]
    return {
        path: settings
        for entry in entries
        for path, settings in ([(entry, {})] if isinstance(entry, str) else entry.items())
    }


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_exactly_the_code_that_it_imports(name: str) -> None:
    declared = {path for path in STAGES[name]["deps"] if path.startswith(("stages/", "vae/"))}
    assert declared == imported_files(f"stages.{name}")


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_as_a_module_so_that_experiments_import_their_own_code(name: str) -> None:
    assert STAGES[name]["cmd"] == f"python -m stages.{name}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_exactly_the_parameters_that_it_reads(name: str) -> None:
    tree = ast.parse((ROOT / "stages" / f"{name}.py").read_text())
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    assert read <= set(Params.model_fields)
    assert set(STAGES[name]["params"]) == read


@pytest.mark.parametrize("name", STAGES)
def test_metrics_and_plots_lie_in_git_and_plots_say_what_they_show(name: str) -> None:
    for path, settings in named(STAGES[name], "metrics", "plots").items():
        assert settings["cache"] is False, path
    for path, settings in named(STAGES[name], "plots").items():
        assert settings["title"], path
        if path.endswith(".csv"):
            assert {"template", "x", "y", "x_label", "y_label"} <= set(settings), path


def test_code_files_that_no_stage_imports_are_none() -> None:
    every_file = {
        path.relative_to(ROOT).as_posix() for folder in ("stages", "vae") for path in (ROOT / folder).rglob("*.py")
    }
    declared = {path for stage in STAGES.values() for path in stage["deps"]}
    assert every_file <= declared


def test_the_registered_model_is_an_output() -> None:
    outputs = {path for stage in STAGES.values() for path in named(stage, "outs")}
    assert DVC_YAML["artifacts"]["vae"]["path"] in outputs


def test_each_stage_opens_and_writes_only_what_it_declares(project: Project) -> None:
    """Each stage runs where nothing but its declared inputs exists, and every file that it opens is written down."""
    project.set({"train.epochs": "1"})
    given = project.files("stages", "vae")
    kept: dict[str, bytes] = {"params.yaml": project.read("params.yaml")}
    for name, stage in STAGES.items():
        folder = project.folder.parent / name
        inputs = {path: {**given, **kept}[path] for path in [*stage["deps"], "params.yaml"]}
        for path, content in inputs.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

        alone, log = Project(folder), folder.parent / f"{name}.log"
        alone.run("python", "-c", RECORD_OPENED_FILES, f"stages.{name}", str(log), env={"PYTHONDONTWRITEBYTECODE": "1"})

        outputs = set(named(stage, "outs", "metrics", "plots"))
        present = alone.files(".")
        assert set(present) == set(inputs) | outputs
        assert {path: present[path] for path in inputs} == inputs, "a stage changed its inputs"
        opened = {(mode, path) for mode, path in (line.split("\t") for line in log.read_text().splitlines())}
        here = {(mode, path.removeprefix(f"{folder}/")) for mode, path in opened if is_within(path, str(folder))}
        # The state of an interrupted training, which holds nothing that the declared inputs do not lead to.
        beside = ("__pycache__", ".dvc/tmp/train/")
        read = {path for mode, path in here if mode == "read" and not any(part in path for part in beside)}
        assert read <= set(inputs), "a stage read what it does not declare"
        kept |= {path: present[path] for path in outputs}


def is_within(path: str, folder: str) -> bool:
    return path.startswith(folder) or not path.startswith("/")
