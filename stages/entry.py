"""Validate the parameters around every stage, and report errors without a traceback."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from inspect import getfile
from pathlib import Path

from stages import INTERRUPTED
from stages.paths import PARAMS
from vae.base import collective, command, runtime
from vae.base.errors import VAEError
from vae.base.params import Params, load_params

log = logging.getLogger(__name__)

PROJECT = Path(__file__).parents[1]
NO_ARGUMENTS = (
    "A stage takes no arguments: it reads params.yaml. To run the pipeline with another value, use "
    "dvc exp run --set-param train.epochs=5."
)


class FolderError(VAEError):
    """The stage was started in another folder than the project's."""


def run(
    stage: Callable[[Params], None],
    arguments: Sequence[str] = (),
    *,
    divided: bool = True,
    shards: Callable[[Params], int] | None = None,
) -> None:
    """Run a stage with validated parameters, by several processes if they are asked for.

    Exits with status 1 and a message, but no traceback, on an error that the user can fix; with 130 when interrupted
    (Ctrl-C) and 143 when terminated, after removing partly written files; with 2 if there are arguments.

    Args:
        stage: takes the parameters.
        arguments: of the command line. There are none but ``--help``, since all settings are parameters.
        divided: whether several processes may share the work.
        shards: the number of equal parts that the processes have to share equally; any number of processes will do if
            None.
    """
    name = Path(getfile(stage)).stem
    refuse_arguments(name, stage, arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)

    def validated() -> None:
        if not PARAMS.exists() and Path.cwd() != PROJECT:
            raise FolderError(
                f"{Path.cwd()} is not the project's folder; run cd '{PROJECT}', then python -m stages.{name}"
            )
        params = load_params(PARAMS)
        parts = shards(params) if shards else None
        with collective.together(f"stages.{name}", parts) if divided else nullcontext():
            runtime.configure(same_on_every_machine=same_bytes(params.prepare.dataset))
            device = runtime.device()
            log.info("%s: %s", name, runtime.description(device))
            with collective.connected(device):
                stage(params)

    command.run(name, validated, interrupted=INTERRUPTED)


def refuse_arguments(name: str, stage: Callable[[Params], None], arguments: Sequence[str]) -> None:
    """Exit with what the stage does if help is asked for, and with an error on any other argument."""
    parser = argparse.ArgumentParser(f"python -m stages.{name}", description=stage.__doc__, epilog=NO_ARGUMENTS)
    if parser.parse_known_args(arguments)[1]:
        parser.error(NO_ARGUMENTS)


def same_bytes(dataset: str) -> bool:
    """Whether to give the same bytes on every machine: as ``VAE_SAME_BYTES`` says (1 or 0), by default for the digits.

    This costs little time on the digits, and 1.6 times the time of training or more on images of the size of MNIST.
    """
    requested = os.environ.get("VAE_SAME_BYTES", "").strip()
    return requested == "1" if requested else dataset == "digits"
