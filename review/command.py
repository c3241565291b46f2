"""What happens around every command of this package: errors that a user can fix have no traceback."""

import io
import sys
from collections.abc import Callable

from vae.base.errors import VAEError


def run(command: Callable[[], int]) -> None:
    """Run a command and exit with its status, or print an error that the user can fix and exit with status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that does not know ± or β shows a question mark
    try:
        status = command()
    except VAEError as error:
        print(error, file=sys.stderr)
        status = 2
    sys.exit(status)
