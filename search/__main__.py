"""Run a study: ``make study STUDY=studies/digits.yaml``."""

import argparse
import importlib.util
from pathlib import Path

from search.study import StudyError, load_study
from vae.base import command
from vae.base.errors import VAEError

EXTRA = ("optuna", "distributed")


class MissingExtraError(VAEError):
    """The optional dependencies are not installed."""


def main() -> int:
    """Run the trials that are left, and show what they say."""
    parser = argparse.ArgumentParser(prog="python -m search", description=__doc__)
    parser.add_argument("study", type=Path, help="a file of studies/")
    parser.add_argument("--scheduler", help="address of a Dask scheduler (default: workers on this machine)")
    parser.add_argument(
        "--workers", type=command.count, help="number of workers (default: as many as this machine can run)"
    )
    parser.add_argument("--out", type=Path, default=Path("study"), help="folder of the page (default: %(default)s)")
    arguments = parser.parse_args()

    study = load_study(arguments.study)
    if missing := [name for name in EXTRA if importlib.util.find_spec(name) is None]:
        raise MissingExtraError(
            f"{' and '.join(missing)}: not installed; run make search, which installs what a study needs"
        )
    if arguments.scheduler and arguments.workers:
        raise StudyError("WORKERS: those of a scheduler are started with dask worker; leave WORKERS or SCHEDULER out")

    from search.conduct import conduct  # imports the optional dependencies

    return conduct(study, arguments.scheduler, arguments.workers, arguments.out)


if __name__ == "__main__":
    command.run("", main, failure=2, interrupted="interrupted; the same command goes on with the trials that are left")
