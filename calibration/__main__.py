"""The command line: ``python -m calibration [NAME …] [--data KIND …] [--output PATH]``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from calibration import (
    blurring,
    document,
    holes,
    inference,
    overfitting,
    posterior_collapse,
    representation,
    samples,
    training_length,
)
from calibration.ladder import Ladder, Readings
from calibration.material import DEFAULT_KINDS, KINDS
from vae.base import command, runtime
from vae.base.artifacts import write_bytes
from vae.data.images import DatasetError

PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"
LADDERS: dict[str, Ladder] = {
    "samples": samples.QUALITY,
    "classes": samples.CLASSES,
    "blur": blurring.BLUR,
    "noise": blurring.NOISE,
    "collapse": posterior_collapse.LADDER,
    "overfitting": overfitting.LADDER,
    "training-length": training_length.LADDER,
    "inference-gap": inference.LADDER,
    "holes": holes.LADDER,
    "representation": representation.LADDER,
}


def main() -> None:
    """Compute the requested ladders. All of them are written to the page; a part of them is printed."""
    command.run("calibration", _main, interrupted="interrupted; nothing is written")


def _main() -> None:
    arguments = _parser().parse_args()
    names = [name for name in LADDERS if name in (arguments.names or LADDERS)]
    kinds = [kind for kind in KINDS if kind in (arguments.data or DEFAULT_KINDS)]
    runtime.configure()
    try:
        text = document.page([LADDERS[name] for name in names], _columns(names, kinds))
    except DatasetError as error:
        raise DatasetError(f"{error}\n  For the digits alone, run python -m calibration --data digits.") from error
    output = arguments.output or (PAGE if names == list(LADDERS) and kinds == list(DEFAULT_KINDS) else None)
    if output is None:
        print(text)
    else:
        write_bytes(output, text.encode())
        print(f"written to {output}")


def _columns(names: Sequence[str], kinds: Sequence[str]) -> dict[str, dict[str, Readings]]:
    """The readings of all ladders, by data kind and title. All data are loaded first, in case some are missing."""
    columns: dict[str, dict[str, Readings]] = {}
    materials = [KINDS[kind]() for kind in kinds]
    while materials:  # each is freed when it is done
        material = materials.pop(0)
        columns[material.name] = {}
        for ladder in (LADDERS[name] for name in names):
            start = perf_counter()
            applies = ladder.needs_model or not material.of_8_bits
            columns[material.name][ladder.title] = ladder.read(material) if applies else {}
            print(
                f"{material.name}, {ladder.title.lower()}: {perf_counter() - start:.0f} s", file=sys.stderr, flush=True
            )
    return columns


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m calibration",
        description="Measure what the verdicts say about data and models that are made worse step by step. All ladders "
        f"on all data are written to {PAGE.relative_to(PAGE.parents[1])}; a part of them is printed.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        type=command.one_of(LADDERS, "ladder"),
        metavar="NAME",
        help=f"ladders: {', '.join(LADDERS)} (default: all)",
    )
    parser.add_argument("--data", nargs="+", choices=KINDS, help=f"data kinds (default: {' '.join(DEFAULT_KINDS)})")
    parser.add_argument("--output", type=Path, metavar="PATH", help="write the page to this file")
    return parser


if __name__ == "__main__":
    main()
