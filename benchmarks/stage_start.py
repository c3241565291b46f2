"""Run a stage until its work begins, then exit: ``python -m benchmarks.stage_start STAGE``.

This module imports nothing that the stage does not import. Stages write only after their work, so nothing is written.
"""

import os
import sys
from importlib import import_module
from typing import NoReturn

# Module and name of the first function that each stage calls after it loaded parameters, inputs and model.
FIRST_WORK = {
    "prepare": ("stages.prepare", "load_source"),
    "train": ("stages.train", "train"),
    "evaluate": ("vae.model.inference", "negative_elbo"),
    "generate": ("vae.base.runtime", "generator"),
    "embed": ("vae.model.inference", "encode"),
}


def main(name: str) -> NoReturn:
    """Run a stage whose first function ends the process."""
    sys.argv[0] = "-m"  # its value while python -m stages.NAME imports the package
    stage = import_module(f"stages.{name}")
    module, function = FIRST_WORK[name]
    if not hasattr(import_module(module), function):
        sys.exit(f"{module}.{function} does not exist: FIRST_WORK is out of date")
    setattr(import_module(module), function, _end)
    import_module("stages.entry").run(stage.main)
    sys.exit(f"{name} did not call {module}.{function}: FIRST_WORK is out of date")


def _end(*_arguments: object, **_settings: object) -> NoReturn:
    os._exit(0)  # at once, without shutting down the interpreter


if __name__ == "__main__":
    main(sys.argv[1])
