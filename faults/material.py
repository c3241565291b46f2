"""Copies of the project to provoke faults in, and the bytes with which an undisturbed run ends."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from time import perf_counter

from faults.processes import Run
from faults.project import SMALL, Project, copy_project
from vae.base.yaml12 import parse_yaml

OUTPUTS = ("data", "models", "pages", "metrics", "plots")
CHECKPOINTS = ".dvc/tmp/train"
LOSSES = "plots/train/losses.csv"
STAGES = ("prepare", "train", "evaluate", "generate", "embed")

# Values with which the five stages take seconds, most of them for their start, and still write every output.
PARAMETERS = {**SMALL, "prepare.train_images": "200", "train.epochs": "100"}


@dataclass(frozen=True)
class Material:
    """Copies of the project to provoke faults in.

    Attributes:
        folder: where all copies are.
        clone: the project with small parameters before any run: committed results of other parameters, an empty cache.
        undisturbed: the project after an undisturbed run of all stages.
        durations: the seconds that each stage took in that run; under an empty name, those before the first stage.
    """

    folder: Path
    clone: Project
    undisturbed: Project
    durations: Mapping[str, float] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def workspace(self, project: Project) -> Iterator[Project]:
        """A copy of a project to provoke a fault in, deleted at the end of the block."""
        copy = copy_of(project, self.folder / f"{next(self._numbers)}")
        try:
            yield copy
        finally:
            shutil.rmtree(copy.folder.parent)

    def keep(self, project: Project) -> Path:
        """Keep a copy of a workspace in which something went wrong, with the logs beside it."""
        return Path(
            shutil.copytree(project.folder.parent, self.folder / f"wrong-{project.folder.parent.name}", symlinks=True)
        )


def prepared(folder: Path) -> Material:
    """Copy the project into a folder, and run all stages undisturbed in a copy of that."""
    clone = copy_project(folder / "clone" / "project")
    clone.set(PARAMETERS)
    clone.commit("Small parameters")
    undisturbed = copy_of(clone, folder / "undisturbed")
    moments = []
    with Run(undisturbed, "dvc", "repro") as run:
        for stage in ("", *STAGES):
            run.wait_for(partial(run.is_in, stage))
            moments.append(perf_counter())
        run.finish()
    durations = [end - start for start, end in pairwise([*moments, perf_counter()])]
    return Material(folder, clone, undisturbed, dict(zip(("", *STAGES), durations, strict=True)))


def copy_of(project: Project, folder: Path) -> Project:
    """Copy a project with its history and its cache into a folder of its own, which its logs share."""
    return Project(shutil.copytree(project.folder, folder / "project", symlinks=True))


def results(project: Project) -> dict[str, bytes]:
    """The content of all files of results, by path: outputs, hidden and partly written ones too, and dvc.lock."""
    return {**project.files(*OUTPUTS), "dvc.lock": project.read("dvc.lock")}


def difference(project: Project, expected: Project) -> str:
    """The files of results in which two projects differ, and checkpoints that are left, as text; empty if none."""
    ours, theirs = results(project) | project.files(CHECKPOINTS), results(expected)
    missing, unexpected = sorted(theirs.keys() - ours), sorted(ours.keys() - theirs)
    other = sorted(name for name in ours.keys() & theirs if ours[name] != theirs[name])
    found = {"missing": missing, "unexpected": unexpected, "other bytes": other}
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in found.items() if names)


def declared_outputs(project: Project, stage: str) -> list[str]:
    """The files that a stage writes, according to dvc.yaml."""
    declared = parse_yaml(project.read("dvc.yaml"))["stages"][stage]
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in declared.get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def half_written(project: Project, material: Material, *, abandoned: bool = False) -> str:
    """The files of results that are neither those of the clone nor those of an undisturbed run, as text.

    The table of losses may lack later epochs, since training writes it after each.

    Args:
        project: in which a run was disturbed.
        material: of the project.
        abandoned: allow partial files, which a process leaves behind if it is killed.
    """
    allowed = [results(material.clone), results(material.undisturbed)]
    losses = allowed[1][LOSSES]
    wrong = [
        name
        for name, content in results(project).items()
        if name != "dvc.lock"  # DVC's own, rewritten after each stage
        and content not in (known.get(name) for known in allowed)
        and not (name == LOSSES and content.endswith(b"\n") and losses.startswith(content))
        and not (abandoned and name.endswith(".partial"))
    ]
    return ", ".join(sorted(wrong))
