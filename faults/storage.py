"""Files cannot be written while a stage runs: one error, nothing half-written, and the next run ends as it should."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle, islice, product
from pathlib import Path
from random import Random
from typing import NamedTuple

from faults.material import STAGES, Material, declared_outputs, difference, half_written
from faults.outcome import Outcome
from faults.project import Project
from vae.base.yaml12 import parse_yaml

# A mount namespace of its own, which a plain user may have on most Linux systems: mounts in it end with the command.
NAMESPACE = ("unshare", "--map-root-user", "--mount", "sh", "-ec")

# Runs a command in a copy of the current folder on a disk with a number of free KiB, and copies the folder back.
ON_A_DISK = """
free="$1"; shift
disk="$(mktemp -d "$PWD.disk.XXXXXX")"
mount -t tmpfs tmpfs "$disk"
cp -a . "$disk"
used="$(df -k --output=used "$disk" | tail -n 1)"
mount -o "remount,size=$((used + free))k" "$disk"
status=0
(cd "$disk" && "$@") || status=$?
find . -mindepth 1 -delete
cp -a "$disk/." .
umount "$disk"
rmdir "$disk"
exit "$status"
"""
READ_ONLY = """
folder="$1"; shift
mount --bind "$folder" "$folder"
mount -o remount,bind,ro "$folder"
cd "$PWD"
exec "$@"
"""
FILE_SIZE = 'ulimit -f "$1"; shift; exec "$@"'  # in blocks of 512 bytes


class Obstacle(NamedTuple):
    """What keeps a stage from writing.

    Attributes:
        fault: what is done.
        command: that which runs another one under this obstacle, for a stage in a project.
        through_dvc: whether the stage is run by DVC.
        needs_namespace: whether it mounts something.
    """

    fault: str
    command: Callable[[Project, str, Random], tuple[str, ...]]
    through_dvc: bool = True
    needs_namespace: bool = False


def full_disk(project: Project, stage: str, random: Random) -> tuple[str, ...]:
    """Less space than the outputs of the stage and their copies in DVC's cache need."""
    return (*NAMESPACE, ON_A_DISK, "sh", str(int(random.random() * 2 * sum(sizes(project, stage)) / 1024)))


def limited_files(project: Project, stage: str, random: Random) -> tuple[str, ...]:
    """Files that are smaller than the largest output of the stage."""
    return ("sh", "-ec", FILE_SIZE, "sh", str(int(random.random() * max(sizes(project, stage)) / 512)))


def read_only(project: Project, stage: str, random: Random) -> tuple[str, ...]:
    """The folder of an output, DVC's own folder, or the whole project."""
    folder = random.choice(
        [*sorted({str(Path(name).parent) for name in declared_outputs(project, stage)}), ".dvc", "."]
    )
    return (*NAMESPACE, READ_ONLY, "sh", folder)


FULL_DISK = Obstacle("a full disk", full_disk, needs_namespace=True)
LIMITED_FILES = Obstacle("a limit on file size, of the stage", limited_files, through_dvc=False)
LIMITED_DVC = Obstacle("a limit on file size, of DVC", limited_files)
READ_ONLY_FOLDER = Obstacle("a read-only folder", read_only, needs_namespace=True)
OBSTACLES = (FULL_DISK, LIMITED_FILES, LIMITED_DVC, READ_ONLY_FOLDER)


def outcomes(material: Material, cases: int) -> Iterator[Outcome]:
    """Each obstacle in each stage, in turn, at another point in each case."""
    for case, (stage, obstacle) in enumerate(islice(cycle(product(STAGES, OBSTACLES)), cases)):
        if obstacle.needs_namespace and (reason := reason_against_namespaces()):
            yield Outcome(obstacle.fault, stage, f"not tried: {reason}")
        else:
            yield outcome(material, obstacle, stage, Random(case))


def outcome(material: Material, obstacle: Obstacle, stage: str, random: Random) -> Outcome:
    """Run a stage with an obstacle and again without, and compare the results with those of an undisturbed run."""
    with material.workspace(material.undisturbed) as project:
        command = obstacle.command(project, stage, random)
        forget(project, stage)
        direct = ("python", "-m", f"stages.{stage}")
        first = project.attempt(
            *command, *(("dvc", "repro", "--single-item", stage) if obstacle.through_dvc else direct)
        )
        result, wrong = judged(first, stage)
        if files := half_written(project, material):
            wrong.append(f"half-written: {files}")
        again = project.attempt("dvc", "repro")
        if again.returncode:
            wrong.append("the next dvc repro failed")
        elif differs := difference(project, material.undisturbed):
            wrong.append(f"other results: {differs}")
        if not wrong:
            return Outcome(obstacle.fault, stage, f"{result}, then the same bytes")
        kept = material.keep(project)
        (kept / "log").write_text(f"{command}\n{first.stdout}\nthe next run:\n{again.stdout}", encoding="utf-8")
        return Outcome(obstacle.fault, stage, ", ".join(wrong), f"kept in {kept}")


def forget(project: Project, stage: str) -> None:
    """Delete the outputs of a stage, in the workspace and in DVC's cache."""
    for name in declared_outputs(project, stage):
        (project.folder / name).unlink()
    for output in parse_yaml(project.read("dvc.lock"))["stages"][stage].get("outs", []):
        (project.folder / ".dvc/cache/files/md5" / output["md5"][:2] / output["md5"][2:]).unlink(missing_ok=True)
    shutil.rmtree(project.folder / ".dvc/cache/runs")


def judged(run: subprocess.CompletedProcess[str], stage: str) -> tuple[str, list[str]]:
    """How a run ended, and what is wrong with that."""
    if run.returncode == 0:
        return "no error", []
    wrong = []
    if "Traceback" in run.stdout:
        wrong.append("a traceback")
    if run.returncode != 1 and not (run.returncode == 255 and "ERROR: " in run.stdout):
        wrong.append(f"exit status {run.returncode}")
    own = [line for line in run.stdout.splitlines() if line.startswith(f"{stage}: ") and "cannot be" in line]
    if len(own) == 1:
        return "one error of the stage", wrong
    if not own and "ERROR: " in run.stdout:
        return "an error of DVC", wrong
    return "no error", [*wrong, f"{len(own)} errors"]


@cache
def reason_against_namespaces() -> str:
    """Why nothing can be mounted here; empty if it can."""
    try:
        mounted = subprocess.run([*NAMESPACE, "mount -t tmpfs tmpfs /tmp"], capture_output=True, text=True)
    except FileNotFoundError:
        return "no mount namespaces"
    return "mount namespaces are not permitted" if mounted.returncode else ""


def sizes(project: Project, stage: str) -> list[int]:
    """The sizes of a stage's outputs, in bytes."""
    return [(project.folder / name).stat().st_size for name in declared_outputs(project, stage)]
