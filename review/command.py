"""Run a command of this package, and report errors without a traceback."""

import sys
from collections.abc import Callable

from vae.base.errors import VAEError
from vae.base.terminal import replace_unknown_characters


def run(command: Callable[[], int]) -> None:
    """Run a command and exit with its status. On an error that the user can fix, print it and exit with status 2."""
    replace_unknown_characters()
    try:
        status = command()
    except VAEError as error:
        print(error, file=sys.stderr)
        status = 2
    sys.exit(status)
