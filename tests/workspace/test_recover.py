"""What killed DVC processes leave behind is removed, and live ones are not disturbed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.lock import HardlinkLock

from faults.project import ROOT, Project
from tests.workspace.conftest import Start, kill
from workspace.processes import dvc_command, stage_command
from workspace.recover import RecoveryError, recover, stale

RWLOCK = ".dvc/tmp/rwlock"
RESTORED = "restored from Git (DVC runs stages again whose newer results it recorded)"
CUT_OFF = '{"read": {"/some/where/params.yaml": [{"pid": 12'


def recovered(project: Project) -> list[str]:
    """What was found and done, a line each."""
    return [f"{each.what}: {each.done}" for each in recover(project.folder)]


def refusal(project: Project) -> str:
    """The message with which recovery is refused."""
    with pytest.raises(RecoveryError) as error:
        recover(project.folder)
    return str(error.value)


def branch(project: Project) -> str:
    return project.run("git", "rev-parse", "--abbrev-ref", "HEAD").strip()


def test_nothing_is_printed_or_changed_if_nothing_is_in_the_way(small: Project) -> None:
    before = small.files(".dvc/tmp")
    assert recovered(small) == []
    assert small.files(".dvc/tmp") == before


@pytest.mark.parametrize("content", ["", CUT_OFF, "[1]", "null", "\0\0\0"])
def test_a_damaged_file_of_locks_is_removed(small: Project, content: str) -> None:
    (small.folder / RWLOCK).write_text(content)
    assert recovered(small) == [f"{RWLOCK} is cut off or damaged: removed"]
    assert not (small.folder / RWLOCK).exists()


def test_dvc_refuses_a_cut_off_file_of_locks_and_runs_again_after_recovery_which_says_what_it_did(
    small: Project,
) -> None:
    (small.folder / RWLOCK).write_text(CUT_OFF)
    assert "JSON structure is corrupted" in small.dvc("repro", "--force", status=255)
    environment = {"PYTHONPATH": str(ROOT)}
    assert small.run(sys.executable, "-m", "workspace.recover", env=environment).splitlines() == [
        "No DVC process runs in this folder, but one was killed:",
        f"  {RWLOCK} is cut off or damaged: removed",
    ]
    small.dvc("repro", "--force")


def test_a_file_of_locks_with_the_number_of_another_live_process_is_removed(small: Project) -> None:
    """After a restart of the machine, another program may have the number of the killed one."""
    owner = {"pid": os.getpid(), "cmd": "dvc repro"}
    (small.folder / RWLOCK).write_text(
        json.dumps({"write": {str(small.folder / "models/model.bin"): owner}, "read": {}})
    )
    assert "is busy" in small.dvc("repro", "--force", status=255)
    assert recovered(small) == [f"{RWLOCK} names a process that was killed: removed"]


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.9])
def test_a_dvc_lock_that_was_cut_off_is_restored_from_git_if_dvc_refuses_it(small: Project, share: float) -> None:
    committed = small.read("dvc.lock")
    (small.folder / "dvc.lock").write_bytes(committed[: int(share * len(committed))])
    refused = small.attempt("dvc", "status").returncode != 0
    restored = [f"dvc.lock is cut off or damaged: {RESTORED}"]
    assert recovered(small) == (restored if refused else [])
    assert refused == (small.read("dvc.lock") == committed)
    small.dvc("repro")
    assert small.read("dvc.lock") == committed


def test_a_dvc_lock_with_a_merge_conflict_is_left_to_the_user(small: Project) -> None:
    conflict = b"<<<<<<< HEAD\n" + small.read("dvc.lock")
    (small.folder / "dvc.lock").write_bytes(conflict)
    assert recovered(small) == []
    assert small.read("dvc.lock") == conflict


def test_hard_linked_locks_of_a_killed_process_are_removed(small: Project) -> None:
    """DVC holds them as long as they exist, if core.hardlink_lock is set."""
    lock = small.folder / ".dvc/tmp/lock"
    lock.unlink()
    killed, later = (HardlinkLock(str(lock), tmp_dir=str(lock.parent)) for _ in range(2))
    killed.lock()
    assert recovered(small) == [".dvc/tmp/lock is held by a process that was killed: removed"]
    later.lock()  # raises an error if the lock is still held


def test_a_live_dvc_repro_is_not_disturbed_and_a_second_one_is_refused_in_one_line(
    small: Project, start: Start
) -> None:
    params = small.folder / "params.yaml"
    params.write_text("scale: 2\nseconds: 3\n")
    with start("repro") as process:
        locks = small.read(RWLOCK)
        assert b"params.yaml" in locks
        assert refusal(small) == (
            f"dvc repro (process {process.pid}) is running the stages in this folder; wait until it ends, or stop it"
        )
        assert small.read(RWLOCK) == locks
        assert process.wait(60) == 0
    assert small.read("models/model.bin") == b"weights 2"
    assert recovered(small) == []


def test_what_a_live_experiment_beside_the_workspace_uses_is_left_alone(small: Project, start: Start) -> None:
    small.dvc("cache", "dir", "--local", "../cache")  # DVC cannot run it in a folder with such a name otherwise
    with start("exp", "run", "--temp") as process:
        copies = sorted(small.folder.glob(".dvc/tmp/exps/standalone/tmp*"))
        assert recovered(small) == []
        (small.folder / RWLOCK).write_text(CUT_OFF)
        message = refusal(small)
        assert f"{RWLOCK} is cut off or damaged, but cannot be removed while dvc exp run --temp" in message
        assert sorted(small.folder.glob(".dvc/tmp/exps/standalone/tmp*")) == copies != []
        assert small.read(RWLOCK).decode() == CUT_OFF
        kill(process)
    _, message = recovered(small)
    assert f"{copies[0].relative_to(small.folder)}: left by experiments that were killed: removed" in message
    assert not any(copy.exists() for copy in copies)


def test_head_returns_to_its_branch_after_an_experiment_in_the_workspace_was_killed(
    small: Project, start: Start
) -> None:
    with start("exp", "run", "-S", "scale=5") as process:
        kill(process)
    assert branch(small) == "HEAD"
    *_, message = recovered(small)
    assert "HEAD was left detached" in message
    assert branch(small) == "main"
    assert small.run("git", "for-each-ref", "refs/exps/exec") == ""
    assert "scale: 5" in small.read("params.yaml").decode()
    assert recovered(small) == []


def test_a_head_that_the_user_detached_stays_detached(small: Project) -> None:
    small.run("git", "checkout", "--quiet", "--detach")
    assert recovered(small) == []
    assert branch(small) == "HEAD"


def test_a_stage_whose_dvc_process_was_killed_is_named_and_stops_the_next_run(small: Project) -> None:
    package = small.folder / "stages"
    package.mkdir()
    (package / "train.py").write_text("import time; time.sleep(60)")
    with subprocess.Popen([sys.executable, "-m", "stages.train"], cwd=small.folder) as process:
        try:
            time.sleep(0.5)
            assert f"stages.train (process {process.pid}) still runs in this folder" in refusal(small)
        finally:
            process.kill()
    assert recovered(small) == []


def test_another_folder_than_a_projects_is_refused(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT)}
    printed = Project(tmp_path).run(sys.executable, "-m", "workspace.recover", env=environment, status=2)
    assert printed == f"{tmp_path} is no DVC project; run this in the project's folder\n"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["python", "/some where/bin/dvc", "repro"], ("dvc", "repro")),
        (["/usr/bin/python3.11", "-m", "dvc", "exp", "run"], ("dvc", "exp", "run")),
        (["dvc"], ("dvc",)),
        (["python", "-m", "dvc", "daemon", "analytics", "file"], None),
        (["vim", "dvc"], None),
        (["python", "-m", "pytest"], None),
        ([""], None),
    ],
)
def test_a_dvc_process_is_recognized_by_its_command_line(words: list[str], command: tuple[str, ...] | None) -> None:
    assert dvc_command(words) == command


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["python", "-m", "stages.train"], ("stages.train",)),
        (["python3", "-X", "utf8", "-m", "stages.embed"], ("stages.embed",)),
        (["python", "-m", "stages.train.more"], None),
        (["python", "-m"], None),
        (["less", "-m", "stages.train"], None),
    ],
)
def test_a_stage_is_recognized_by_its_command_line(words: list[str], command: tuple[str, ...] | None) -> None:
    assert stage_command(words) == command


@pytest.mark.parametrize("content", ["{}", '{"read": {}}', '{"write": {}, "read": {}}'])
def test_a_file_without_locks_is_not_stale(tmp_path: Path, content: str) -> None:
    (tmp_path / "rwlock").write_text(content)
    assert stale(tmp_path / "rwlock") is None
    assert stale(tmp_path / "missing") is None
