"""Validate the parameters around every stage, and report errors without a traceback."""

import logging
import signal
import sys
from collections.abc import Callable
from inspect import getfile
from pathlib import Path
from types import FrameType

from stages.paths import PARAMS
from vae.base import runtime
from vae.base.errors import VAEError
from vae.base.params import Params, load_params
from vae.base.terminal import replace_unknown_characters

log = logging.getLogger(__name__)


def run(stage: Callable[[Params], None]) -> None:
    """Run a stage with validated parameters.

    Exits with status 1 and a message, but no traceback, on an error that the user can fix; with 130 when interrupted
    (Ctrl-C) and 143 when terminated, after removing partly written files.
    """
    name = Path(getfile(stage)).stem
    replace_unknown_characters()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        runtime.configure()
        params = load_params(PARAMS)
        log.info("%s: %s", name, runtime.description(runtime.device()))
        stage(params)
    except VAEError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(
            f"{name}: interrupted. Run dvc repro to continue: DVC deleted the stage's earlier outputs when it started.",
            file=sys.stderr,
        )
        sys.exit(128 + signal.SIGINT)


def _terminate(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
