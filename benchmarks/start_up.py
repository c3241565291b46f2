"""``start-up``: the time of a stage before its work begins, and of ``make repro`` with nothing to do.

``benchmarks.stage_start`` runs a stage and ends the process when work would begin. The time from the start of Python
includes importing the stage and the library, validating the parameters, loading images and model, and for ``train``
also the initial weights and the digest of the run. Loading the data set is the work of ``prepare`` and not included.
``import torch`` alone ends its process in the same way, since shutting down the interpreter takes another half second.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import partial

from benchmarks.measurement import Settings, Spread, ratio, spreads
from benchmarks.processes import ROOT, seconds_of
from benchmarks.stage_start import FIRST_WORK
from benchmarks.table import Row, Section, at_most, skipped
from stages import paths
from vae.base.params import load_params

ROUNDS = 5
OVER_IMPORT_TORCH = 1.5
SECONDS_OVER_DVC = 1.0
BIN = ROOT / ".venv" / "bin"
INPUTS = (paths.TRAIN_IMAGES, paths.VALIDATION_IMAGES, paths.TEST_IMAGES, paths.MODEL, paths.HISTORY)


def run(settings: Settings) -> Section:
    """Measure the stages and ``make repro``, skipping what the project's folder is not ready for."""
    dataset = load_params(ROOT / paths.PARAMS).prepare.dataset
    rows = [*stages(settings), *nothing_to_do(settings)]
    return Section("start-up", f"until the work of a stage on {dataset} begins; ratios to import torch", rows)


def stages(settings: Settings) -> list[Row]:
    """The start-up time of each stage, with the ratio to ``import torch``."""
    missing = [str(path) for path in INPUTS if not (ROOT / path).exists()]
    if missing:
        return [skipped("the stages", f"{missing[0]} is missing; run make repro first")]
    bare = "import torch"
    alone = f"{bare}, os; os._exit(0)"
    works: dict[str, Callable[[], float]] = {bare: partial(seconds_of, sys.executable, "-c", alone)}
    for stage in FIRST_WORK:
        works[stage] = partial(seconds_of, sys.executable, "-m", "benchmarks.stage_start", stage)
    spreads(works, 1, "warm-up")  # loads files into the system's cache
    measured = spreads(works, settings.rounds(ROUNDS), "start-up")
    rows = [Row(bare, measured[bare], "s")]
    for stage in FIRST_WORK:
        found = ratio(measured[stage], measured[bare])
        goal = at_most(found.median, OVER_IMPORT_TORCH)
        rows.append(Row(stage, measured[stage], "s", found, goal))
    return rows


def nothing_to_do(settings: Settings) -> list[Row]:
    """The time of ``make repro`` and of ``dvc repro`` when nothing has changed."""
    reason = why_not()
    if reason:
        return [skipped("make repro with nothing to do", reason)]
    works = {
        "dvc repro with nothing to do": partial(seconds_of, BIN / "dvc", "repro"),
        "make repro with nothing to do": partial(seconds_of, "make", "repro"),
    }
    spreads(works, 1, "warm-up")
    measured = spreads(works, settings.rounds(ROUNDS), "start-up")
    dvc, make = (seconds.values for seconds in measured.values())
    difference = Spread([with_make - without for with_make, without in zip(make, dvc, strict=True)])
    return [
        *(Row(name, seconds, "s") for name, seconds in measured.items()),
        Row("difference of make and dvc", difference, "s", goal=at_most(difference.median, SECONDS_OVER_DVC, "s")),
    ]


def why_not() -> str:
    """Why ``make repro`` would have something to do, or an empty string."""
    if not (BIN / "dvc").exists() or status_of("make", "--question", ".venv/.ready"):
        return "make would set up .venv; run make repro first"
    if status_of(str(BIN / "dvc"), "status", "--quiet"):
        return "dvc status reports changes; run make repro first"
    return ""


def status_of(*command: str) -> int:
    """Run a command in the project's folder, and return its exit status."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode
