"""Commands of the project, in the process of the tests: as ``python -m``, but without the time of a start."""

import io
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

import pytest

from faults.project import Project, UnexpectedStatusError
from review import command
from tests.deterministic import settings_of_a_run
from vae.base.command import SIGNALS


def run(project: Project, main: Callable[[], int], *arguments: str, status: int = 0) -> str:
    """Run a command of ``review`` or ``scoring`` in a folder, check its exit status, and return its output and errors.

    It is the code of these tests that runs, not that of the project.

    Raises:
        UnexpectedStatusError: the command ended with another status.
    """
    printed = io.StringIO()
    # The settings are undone last, because the patch restores the variables to their values when it set them.
    with settings_of_a_run(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        patch.setattr(sys, "argv", [main.__module__, *arguments])
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)  # which the command replaces
        for name, value in project.environment().items():
            patch.setenv(name, value)
        with redirect_stdout(printed), redirect_stderr(printed):
            ended = exit_status(main)
    if ended != status:
        command_line = " ".join([main.__module__, *arguments])
        raise UnexpectedStatusError(f"{command_line} ended with {ended}:\n{printed.getvalue()}")
    return printed.getvalue()


def exit_status(main: Callable[[], int]) -> int | str | None:
    """The status with which a command ends, which leaves the signals of the tests as they were."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        command.run(main)
    except SystemExit as end:
        return end.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0
