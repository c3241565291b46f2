"""Commands that run in a project while something happens to them."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

import psutil  # type: ignore[import-untyped]

from faults.project import Project, UnexpectedStatusError

DEADLINE = 300  # seconds, enough for a busy machine
# DVC rewrites .dvc/tmp/rwlock and dvc.lock in place, so SIGKILL may leave them cut off. `make repro` then recovers.
RECOVERY = ("python", "-m", "workspace.recover")


class Run:
    """A command that runs in a project's folder, in a process group of its own, as in a terminal."""

    def __init__(self, project: Project, *command: str, env: Mapping[str, str] | None = None) -> None:
        self.project = project
        self.log = project.folder.with_name(f"{time.monotonic_ns()}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=project.folder,
                env={**project.environment(), "PYTHONUNBUFFERED": "1", **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Kill what still runs at the end of a ``with`` block."""
        self.kill()

    @property
    def output(self) -> str:
        """The output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def stage(self) -> str:
        """The stage that DVC started last, according to the output; empty before the first."""
        return next(iter(re.findall(r"^Running stage '(\w+)'", self.output, re.MULTILINE)[::-1]), "")

    def is_in(self, stage: str) -> bool:
        """Whether DVC started this stage last."""
        return self.stage == stage

    @property
    def has_ended(self) -> bool:
        """Whether the command has ended."""
        return self.process.poll() is not None

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end of the command; whether it ended in time."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.has_ended

    def all_end_within(self, seconds: float) -> bool:
        """Wait for the end of the command and of all processes that it started; whether they ended in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.process.poll()
            try:
                os.killpg(self.process.pid, 0)  # signal 0 only checks that a process exists
            except ProcessLookupError:
                return True
            time.sleep(0.01)
        return False

    def kill_stage(self) -> bool:
        """Kill the process of the stage among those that the command started; whether there is one."""
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if any(word.startswith("stages.") for word in process.cmdline()[2:3]):
                        process.kill()
                        return True
        return False

    def wait_for(self, moment: Callable[[], object]) -> None:
        """Wait until a condition is true or the command has ended.

        Raises:
            TimeoutError: neither happens in time.
        """
        deadline = time.monotonic() + DEADLINE
        while not moment() and not self.has_ended:
            if time.monotonic() > deadline:
                raise TimeoutError(f"timed out:\n{self.output}")
            time.sleep(0.005)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command and all processes that it started, as a terminal does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM to the command alone, and wait for its end; processes that it started go on."""
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        """Kill the command and the processes that it started."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def finish(self, status: int = 0) -> str:
        """Wait for the end, check the exit status, and return the output.

        Raises:
            UnexpectedStatusError: the command exited with another status.
        """
        if self.process.wait(DEADLINE) != status:
            raise UnexpectedStatusError(f"exited with {self.process.returncode}:\n{self.output}")
        return self.output


def run_again(project: Project) -> tuple[str, subprocess.CompletedProcess[str]]:
    """Run DVC, and once more after the recovery of ``make repro`` if DVC refuses to run."""
    run = project.attempt("dvc", "repro")
    if run.returncode == 0:
        return "", run
    recovered = re.findall(r"^  (.+?):", project.attempt(*RECOVERY).stdout, re.MULTILINE)
    return f"{', '.join(recovered)}; recovered, then " if recovered else "", project.attempt("dvc", "repro")
