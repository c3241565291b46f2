"""Run a command: errors without a traceback, exit statuses that tell what ended it, and types of arguments."""

import argparse
import atexit
import os
import signal
import sys
from collections.abc import Callable, Collection
from types import FrameType

from vae.base.errors import VAEError
from vae.base.terminal import printable, replace_unknown_characters

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SECONDS_UNTIL_REPEATED = 5
_received: list[int] = []  # signals since the command began


def run(name: str, command: Callable[[], int | None], *, failure: int = 1, interrupted: str = "interrupted") -> None:
    """Run a command, and exit with the status that it returns, unless that is 0 or None.

    On an error that the user can fix, a message is printed and the status is ``failure``. After Ctrl-C it is 130, and
    after SIGTERM 143. Both raise an exception, so that partly written files are removed. Python drops an exception that
    is raised in a destructor or a callback; so it is raised again every few seconds, and when the command has ended.

    Args:
        name: printed before each message; none if empty.
        command: the command.
        failure: the status after an error.
        interrupted: printed after Ctrl-C.
    """
    replace_unknown_characters()
    sys.unraisablehook = _report_dropped
    _received.clear()
    for number in SIGNALS:
        signal.signal(number, _stop)
    atexit.register(_end_at_once)
    prefix = f"{name}: " if name else ""
    try:
        status = command() or 0
        if _received:  # dropped; else DVC would go on with the next stage
            _stop(_received[0], None)
    except VAEError as error:
        message = printable(str(error), keep="\n")
        print(f"{prefix}{message}", file=sys.stderr)
        status = failure
    except KeyboardInterrupt:
        print(f"{prefix}{interrupted}", file=sys.stderr)
        status = 128 + signal.SIGINT
    finally:
        signal.alarm(0)
    if status:
        sys.exit(status)


def before_imports(interrupted: str) -> None:
    """Until ``run`` is called, print a message and exit with status 130 on Ctrl-C, without cleaning up.

    Call it before imports that take seconds, during which nothing is written.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        os.write(sys.stderr.fileno(), f"{interrupted}\n".encode())
        os._exit(128 + number)

    signal.signal(signal.SIGINT, stop)


def _end_at_once() -> None:
    """Let signals end the process while Python shuts down, where an exception would only print a traceback."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _report_dropped(dropped: "sys.UnraisableHookArgs") -> None:
    """Print an exception that Python drops, unless it is one of ``_stop``."""
    if not (_received and issubclass(dropped.exc_type, KeyboardInterrupt | SystemExit)):
        sys.__unraisablehook__(dropped)


def _stop(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    signal.signal(signal.SIGALRM, lambda _number, frame: _stop(number, frame))
    signal.alarm(SECONDS_UNTIL_REPEATED)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def count(text: str) -> int:
    """A whole number of at least 1, as the type of an argument for ``argparse``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def one_of(names: Collection[str], what: str) -> Callable[[str], str]:
    """One of some names, as a type for ``argparse``. Unlike ``choices``, it also works where no argument is needed."""

    def chosen(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"no {what} {text!r}; choose from {', '.join(names)}")
        return text

    return chosen
