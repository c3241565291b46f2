"""How ``dvc exp run -S`` changes params.yaml."""

from difflib import unified_diff
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides  # called by -S

from faults.project import Project
from vae.base.params import load_params
from vae.base.yaml12 import parse_yaml

COMMITTED = Path(__file__).parents[2] / "params.yaml"
TEXT = COMMITTED.read_text(encoding="utf-8")
KEYS = [f"{section}.{key}" for section, values in parse_yaml(TEXT).items() for key in values]


def changed_lines(path: Path) -> tuple[list[str], list[str]]:
    """The committed lines that are missing from a parameter file, and the lines that replace them."""
    lines = list(unified_diff(TEXT.splitlines(), path.read_text(encoding="utf-8").splitlines(), n=0, lineterm=""))[2:]
    old, new = ([line[1:] for line in lines if line.startswith(sign)] for sign in "-+")
    return old, new


@pytest.mark.parametrize("key", [key for key in KEYS if key != "model.hidden_dims"])
def test_setting_a_parameter_through_dvc_changes_only_its_line(key: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    apply_overrides(path, [f"{key}=4711"])
    old, new = changed_lines(path)
    assert [line.split(":")[0].strip() for line in (*old, *new)] == [key.split(".")[1]] * 2
    assert new[0].split("#")[0].rstrip().endswith(": 4711")
    assert [line.partition("#")[2] for line in new] == [line.partition("#")[2] for line in old], "the comment"


@pytest.mark.parametrize(
    ("value", "old", "new"),
    [
        ("[512,256]", ["  - 400"], ["  - 512", "  - 256"]),
        ("[300]", ["  - 400"], ["  - 300"]),
        ("[]", ["  hidden_dims:", "  - 400"], ["  hidden_dims: []"]),
    ],
)
def test_setting_a_list_through_dvc_changes_only_its_lines(
    value: str, old: list[str], new: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    apply_overrides(path, [f"model.hidden_dims={value}"])
    assert changed_lines(path) == (old, new)
    assert list(load_params(path).model.hidden_dims) == parse_yaml(value)


@pytest.mark.parametrize("value", ["[512, 256]", "[]", "[300]"])
def test_the_helper_of_tests_replaces_a_list_in_params_yaml(value: str, project: Project) -> None:
    project.set({"model.hidden_dims": value})
    project.set({"train.epochs": "2"})
    params = load_params(project.folder / "params.yaml")
    assert list(params.model.hidden_dims) == parse_yaml(value)
    assert params.train.epochs == 2
