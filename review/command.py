"""Run a command of this package, and report errors without a traceback."""

from collections.abc import Callable

from vae.base import command


def run(main: Callable[[], int]) -> None:
    """Run a command and exit with its status. On an error that the user can fix, print it and exit with status 2."""
    command.run("", main, failure=2)
