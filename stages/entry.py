"""What happens around every stage: parameters are validated, and mishaps end it with a clear word."""

import logging
import signal
import sys
from collections.abc import Callable
from inspect import getfile
from pathlib import Path
from types import FrameType

from stages.paths import PARAMS
from vae.errors import VAEError
from vae.params import Params, load_params
from vae.runtime import configure


def run(stage: Callable[[Params], None]) -> None:
    """Run a stage on the validated parameters.

    Exits with status 1 and a message, but no traceback, for a mistake or mishap that the user can mend; with 130
    when interrupted (Ctrl-C) and 143 when terminated, after removing what was half written.
    """
    name = Path(getfile(stage)).stem
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        configure()
        stage(load_params(PARAMS))
    except VAEError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"{name}: interrupted; nothing half-written is left behind", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _terminate(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
