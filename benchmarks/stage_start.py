"""Run a stage up to where its work begins, and end there: ``python -m benchmarks.stage_start STAGE``.

Nothing is imported here that the stage does not import, and nothing is written: each stage writes after its work.
"""

import os
import sys
from importlib import import_module
from typing import NoReturn

# Module and name of what each stage calls first when parameters, inputs and model are there.
FIRST_WORK = {
    "prepare": ("stages.prepare", "load_source"),
    "train": ("stages.train", "train"),
    "evaluate": ("vae.model.inference", "negative_elbo"),
    "generate": ("vae.base.runtime", "generator"),
    "embed": ("vae.model.inference", "encode"),
}


def main(name: str) -> NoReturn:
    """Let the stage run, its first work replaced by the end of the process."""
    stage = import_module(f"stages.{name}")
    module, function = FIRST_WORK[name]
    if not hasattr(import_module(module), function):
        sys.exit(f"there is no {module}.{function}: FIRST_WORK is out of date")
    setattr(import_module(module), function, _end)
    import_module("stages.entry").run(stage.main)
    sys.exit(f"{name} ended without a call of {module}.{function}: FIRST_WORK is out of date")


def _end(*_arguments: object, **_settings: object) -> NoReturn:
    os._exit(0)  # at once, without taking the interpreter down


if __name__ == "__main__":
    main(sys.argv[1])
