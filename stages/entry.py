"""Validate the parameters around every stage, and report errors without a traceback."""

import logging
import sys
from collections.abc import Callable
from inspect import getfile
from pathlib import Path

from stages import INTERRUPTED
from stages.paths import PARAMS
from vae.base import command, runtime
from vae.base.params import Params, load_params

log = logging.getLogger(__name__)


def run(stage: Callable[[Params], None]) -> None:
    """Run a stage with validated parameters.

    Exits with status 1 and a message, but no traceback, on an error that the user can fix; with 130 when interrupted
    (Ctrl-C) and 143 when terminated, after removing partly written files.
    """
    name = Path(getfile(stage)).stem
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)

    def validated() -> None:
        runtime.configure()
        params = load_params(PARAMS)
        log.info("%s: %s", name, runtime.description(runtime.device()))
        stage(params)

    command.run(name, validated, interrupted=INTERRUPTED)
