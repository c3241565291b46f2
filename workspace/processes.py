"""Find the live processes that work in a folder: DVC's, and stages."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

STAGE = re.compile(r"stages\.[a-z]+")
BESIDE_THE_WORKSPACE = {"--queue", "--temp", "--run-all"}  # options of dvc exp run


class Process(NamedTuple):
    """A process.

    Attributes:
        pid: its number.
        words: what it runs, without the interpreter: ``("dvc", "repro")`` or ``("stages.train",)``.
        folder: its working folder, or None if this user may not see it.
    """

    pid: int
    words: tuple[str, ...]
    folder: Path | None

    def __str__(self) -> str:
        """The command and the number, for messages."""
        return f"{' '.join(self.words)} (process {self.pid})"

    @property
    def runs_stages_in_the_workspace(self) -> bool:
        """Whether it is a DVC command that runs stages in the folder itself, not in a copy of it."""
        return self.words[1:2] == ("repro",) or (
            self.words[1:3] == ("exp", "run") and not BESIDE_THE_WORKSPACE & set(self.words)
        )


def using_dvc(folders: Sequence[Path]) -> list[Process]:
    """The DVC processes in these folders or below. One whose folder cannot be seen counts, as it may be here."""
    return [
        process
        for process in _running(dvc_command)
        if process.folder is None or any(process.folder.is_relative_to(folder) for folder in folders)
    ]


def stages_without_dvc(folder: Path) -> list[Process]:
    """The stages that run in a folder or below it, although the DVC process that started them was killed."""
    return [
        process
        for process in _running(stage_command)
        if process.folder is not None and process.folder.is_relative_to(folder) and not _has_live_dvc(process.pid)
    ]


def dvc_command(words: Sequence[str]) -> tuple[str, ...] | None:
    """The command of a DVC process: ``("dvc", "repro")`` for ``python /some/bin/dvc repro``; None for any other."""
    program = Path(words[0]).name.lower()
    for index, word in enumerate(words):
        if Path(word).name in {"dvc", "dvc.exe"} and (index == 0 or "python" in program):
            arguments = tuple(words[index + 1 :])
            return None if arguments[:1] == ("daemon",) else ("dvc", *arguments)  # daemons only send statistics
    return None


def stage_command(words: Sequence[str]) -> tuple[str, ...] | None:
    """The stage that a process runs: ``("stages.train",)`` for ``python -m stages.train``; None for any other."""
    if "python" in Path(words[0]).name.lower() and "-m" in words[:-1]:
        module = words[words.index("-m") + 1]
        return (module,) if STAGE.fullmatch(module) else None
    return None


def _running(recognized: Callable[[Sequence[str]], tuple[str, ...] | None]) -> list[Process]:
    """The running processes that a function recognizes by their command lines."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            try:
                words = recognized(process.cmdline() or [""])
            except psutil.AccessDenied:
                continue
            if words is not None:
                found.append(Process(process.pid, words, _folder(process)))
    return found


def _folder(process: psutil.Process) -> Path | None:
    try:
        return Path(process.cwd())
    except psutil.AccessDenied:
        return None


def _has_live_dvc(pid: int) -> bool:
    """Whether a process was started by a DVC process that still runs."""
    with suppress(psutil.Error):
        return any(dvc_command(parent.cmdline() or [""]) for parent in psutil.Process(pid).parents())
    return False
