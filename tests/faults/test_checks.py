"""What the suite looks for is found if it is there."""

import subprocess
from pathlib import Path

import pytest

from faults.interruptions import point
from faults.material import LOSSES, Material, copy_of, difference, half_written
from faults.processes import run_again
from faults.project import Project
from faults.storage import judged


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Two projects with three files of results each, before and after a run."""
    for name, content in {"clone": "old\n", "undisturbed": "epoch\n1\n2\n"}.items():
        for path in ("dvc.lock", "metrics/train.json", "models/vae.safetensors", LOSSES):
            file = tmp_path / name / "project" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
    return Material(tmp_path, Project(tmp_path / "clone/project"), Project(tmp_path / "undisturbed/project"))


@pytest.fixture
def disturbed(material: Material, tmp_path: Path) -> Project:
    """A project with the results of an undisturbed run."""
    return copy_of(material.undisturbed, tmp_path / "disturbed")


def test_a_difference_names_missing_unexpected_and_changed_files_and_checkpoints(
    material: Material, disturbed: Project
) -> None:
    assert difference(disturbed, material.undisturbed) == ""
    (disturbed.folder / "metrics/train.json").unlink()
    (disturbed.folder / "models/.vae.safetensors.7.partial").write_text("half")
    (disturbed.folder / ".dvc/tmp/train").mkdir(parents=True)
    (disturbed.folder / ".dvc/tmp/train/a.state").write_text("state")
    (disturbed.folder / "dvc.lock").write_text("other")
    assert difference(disturbed, material.undisturbed) == (
        "missing: metrics/train.json; "
        "unexpected: .dvc/tmp/train/a.state, models/.vae.safetensors.7.partial; other bytes: dvc.lock"
    )


def test_results_of_before_and_after_a_run_and_losses_of_the_first_epochs_are_whole(
    material: Material, disturbed: Project
) -> None:
    (disturbed.folder / "metrics/train.json").write_bytes(material.clone.read("metrics/train.json"))
    (disturbed.folder / "models/vae.safetensors").unlink()
    (disturbed.folder / LOSSES).write_text("epoch\n1\n")
    assert half_written(disturbed, material) == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [("models/vae.safetensors", "epoch\n1\n"), (LOSSES, "epoch\n1"), ("metrics/.train.json.7.partial", "epoch")],
    ids=["cut off", "half a line", "partial file"],
)
def test_a_file_that_is_cut_off_is_half_written(
    name: str, content: str, material: Material, disturbed: Project
) -> None:
    (disturbed.folder / name).write_text(content)
    assert half_written(disturbed, material) == name


def test_a_partial_file_is_no_fault_of_a_process_that_was_killed(material: Material, disturbed: Project) -> None:
    (disturbed.folder / "metrics/.train.json.7.partial").write_text("half")
    assert half_written(disturbed, material, abandoned=True) == ""


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.5, ("", 0.5)), (1.5, ("prepare", 0.5)), (3.5, ("train", 0.5)), (9.0, ("train", 4.0))]
)
def test_a_moment_of_a_run_is_a_time_after_the_start_of_a_stage(seconds: float, expected: tuple[str, float]) -> None:
    assert point({"": 1.0, "prepare": 2.0, "train": 4.0}, seconds) == expected


ERROR = "train: models/vae.safetensors: cannot be written: File too large\n"
DVC_ERROR = "ERROR: failed to reproduce 'train'\n"


@pytest.mark.parametrize(
    ("status", "output", "result", "wrong"),
    [
        (0, "", "no error", []),
        (1, ERROR, "one error of the stage", []),
        (1, ERROR + DVC_ERROR, "one error of the stage", []),
        (255, DVC_ERROR, "an error of DVC", []),
        (1, "", "no error", ["0 errors"]),
        (1, ERROR + ERROR, "no error", ["2 errors"]),
        (1, f"Traceback (most recent call last):\n{ERROR}", "one error of the stage", ["a traceback"]),
        (-25, ERROR, "one error of the stage", ["exit status -25"]),
    ],
)
def test_a_run_has_to_fail_with_one_error_and_no_traceback(
    status: int, output: str, result: str, wrong: list[str]
) -> None:
    assert judged(subprocess.CompletedProcess((), status, output), "train") == (result, wrong)


@pytest.mark.parametrize(
    ("name", "content"), [(".dvc/tmp/rwlock", b""), (".dvc/tmp/rwlock", b'{"read": {"/a'), ("dvc.lock", b"")]
)
def test_a_file_that_dvc_left_cut_off_is_recovered_and_named(name: str, content: bytes, workspace: Project) -> None:
    expected = workspace.read("dvc.lock")
    (workspace.folder / name).write_bytes(content)
    repaired, run = run_again(workspace)
    assert run.returncode == 0
    assert f"{name} is cut off" in repaired
    assert workspace.read("dvc.lock") == expected
