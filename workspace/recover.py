"""Remove what killed DVC processes left behind, so that the next ``dvc repro`` runs.

Does nothing, and prints nothing, if nothing is in the way. Never touches anything that a live process may use.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from vae.base import command
from vae.base.errors import VAEError
from vae.base.yaml12 import YAMLError, parse_yaml
from workspace.git import GitError, git, worktrees
from workspace.processes import stages_without_dvc, using_dvc

RESULTS = "dvc.lock"  # which results the stages had; DVC rewrites it in place
CONFLICT = b"<<<<<<<"
LOCKS = (".dvc/tmp/rwlock", ".dvc/tmp/exps/rwlock")  # which process reads and writes which files
HARD_LINKED_LOCKS = (".dvc/tmp/lock", ".dvc/tmp/rwlock.lock", ".dvc/tmp/exps/rwlock.lock")
COPIES = (".dvc/tmp/exps", ".dvc/tmp/exps/standalone")  # where DVC keeps the copies in which experiments run
DETACHED_BY_DVC = "refs/exps/exec/EXEC_HEAD"  # the commit at which DVC detached HEAD for an experiment
LEFT_THE_BRANCH = re.compile(r"checkout: moving from (\S+) to [0-9a-f]{40}")


class RecoveryError(VAEError):
    """A process still works in this folder."""


class Leftover(NamedTuple):
    """Something that a killed process left behind.

    Attributes:
        what: what it is, for a message.
        done: what ``remove`` does to it, for a message.
        blocks: whether DVC refuses to run as long as it is there.
        remove: removes it.
    """

    what: str
    done: str
    blocks: bool
    remove: Callable[[], None]


def recover(project: Path) -> list[Leftover]:
    """Remove what killed DVC processes left behind; return it.

    Raises:
        RecoveryError: a DVC process or a stage works in this folder, and the next run would get in its way.
    """
    found = list(leftovers(project))  # before the processes: one that starts later finds its own files untouched
    folders = [project, *worktrees(project)] if (project / ".git").exists() else [project]
    live, strays = using_dvc(folders), stages_without_dvc(project)
    for process in live:
        if process.folder == project and process.runs_stages_in_the_workspace:
            raise RecoveryError(f"{process} is running the stages in this folder; wait until it ends, or stop it")
    for process in strays:
        if process.folder == project:
            raise RecoveryError(
                f"{process} still runs in this folder, outside of DVC; wait until it ends, or stop it: "
                f"kill {process.pid}"
            )
    if live or strays:
        if blocking := [each.what for each in found if each.blocks]:
            raise RecoveryError(
                f"{blocking[0]}, but cannot be removed while {[*live, *strays][0]} runs in this folder; wait until it "
                "ends, or stop it (dvc queue stop --kill stops the workers of a queue)"
            )
        return []
    for each in found:
        each.remove()
    return found


def leftovers(project: Path) -> Iterator[Leftover]:
    """Yield what looks as if a killed process had left it behind."""
    for name in LOCKS:
        if (reason := stale(project / name)) is not None:
            yield Leftover(f"{name} {reason}", "removed", True, (project / name).unlink)
    for name in HARD_LINKED_LOCKS:
        lock = project / name
        if lock.exists() and lock.stat().st_nlink > 1:  # with core.hardlink_lock, a lock is held while the file exists
            yield Leftover(f"{name} is held by a process that was killed", "removed", True, lock.unlink)
    yield from cut_off_results(project)
    yield from detached_heads(project)
    copies = [copy for folder in COPIES for copy in sorted((project / folder).glob("tmp*")) if copy.is_dir()]
    if copies:
        what = f"{', '.join(str(copy.relative_to(project)) for copy in copies)}: left by experiments that were killed"
        yield Leftover(what, "removed", False, lambda: remove_copies(project, copies))


def stale(lock: Path) -> str | None:
    """Why DVC would refuse a file of locks: it is damaged, or names processes. None if it is fine or missing."""
    try:
        values = json.loads(lock.read_bytes())
        names_processes = any(values[mode] for mode in values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return "is cut off or damaged"
    return "names a process that was killed" if names_processes else None


def cut_off_results(project: Path) -> Iterator[Leftover]:
    """Yield dvc.lock if its end is missing and a commit has it. A merge conflict in it is left to the user."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    path = project / RESULTS
    try:
        content = path.read_bytes()
        if CONFLICT in content or not git(project, "ls-tree", "--name-only", "HEAD", RESULTS):
            return
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(content))
    except (OSError, GitError):
        return
    except (YAMLError, Invalid):
        what = f"{RESULTS} is cut off or damaged"
        done = "restored from Git (DVC runs stages again whose newer results it recorded)"
        yield Leftover(what, done, True, lambda: restore_results(project))


def restore_results(project: Path) -> None:
    """Restore the committed dvc.lock."""
    git(project, "restore", "--source=HEAD", "--staged", "--worktree", RESULTS)


def detached_heads(project: Path) -> Iterator[Leftover]:
    """Yield HEAD if DVC detached it for an experiment in the workspace and was killed before it put HEAD back."""
    try:
        if (
            not git(project, "for-each-ref", DETACHED_BY_DVC)
            or git(project, "rev-parse", "--abbrev-ref", "HEAD") != "HEAD"
        ):
            return
        moves = git(project, "log", "--walk-reflogs", "--format=%gs", "HEAD").splitlines()
        last = next(move for move in moves if not move.startswith("commit: dvc: "))
        branch = f"refs/heads/{match[1]}" if (match := LEFT_THE_BRANCH.fullmatch(last)) else ""
        if not branch or git(project, "rev-parse", branch) != git(project, "rev-parse", DETACHED_BY_DVC):
            return
    except (GitError, StopIteration):
        return

    def put_back() -> None:
        git(project, "symbolic-ref", "-m", "put back after a killed experiment", "HEAD", branch)
        git(project, "reset", "--quiet")  # the index alone, as DVC does
        for reference in git(project, "for-each-ref", "--format=%(refname)", "refs/exps/exec").splitlines():
            git(project, "update-ref", "-d", reference)

    yield Leftover(
        "Git's HEAD was left detached by an experiment that was killed in this folder",
        f"put back to {branch.removeprefix('refs/heads/')} (params.yaml has the parameters of that experiment)",
        False,
        put_back,
    )


def remove_copies(project: Path, copies: list[Path]) -> None:
    """Remove the copies of killed experiments. Those from the queue are then listed as failed, no longer as running."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    if (project / ".dvc/tmp/exps/celery").exists():
        try:
            with Repo(str(project)) as repo:
                queue = repo.experiments.celery_queue
                if running := [entry.name or entry.stash_rev for entry in queue.iter_active()]:
                    queue.kill(running)
        except DvcException as error:
            raise RecoveryError(f"the queue of experiments cannot be read: {error}") from error
    for copy in copies:
        shutil.rmtree(copy, ignore_errors=True)


def main() -> int:
    """Recover, and say what was found."""
    project = Path(os.path.realpath(Path.cwd()))
    if not (project / ".dvc").is_dir():
        raise RecoveryError(f"{project} is no DVC project; run this in the project's folder")
    if removed := recover(project):
        print("No DVC process runs in this folder, but one was killed:")
        print(*(f"  {each.what}: {each.done}" for each in removed), sep="\n")
    return 0


if __name__ == "__main__":
    command.run("", main, failure=2)
