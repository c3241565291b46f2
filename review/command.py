"""What happens around every command of this package: what the user can mend ends it with a word, not a traceback."""

import sys
from collections.abc import Callable

from vae.errors import VAEError


def run(command: Callable[[], int]) -> None:
    """Run a command and exit with its status; a mistake of the user's is told and ends in status 2."""
    try:
        status = command()
    except VAEError as error:
        print(error, file=sys.stderr)
        status = 2
    sys.exit(status)
