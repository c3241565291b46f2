"""The command line: ``python -m benchmarks [NAME …] [--quick] [--repeats N] [--epochs N] [--output PATH]``."""

import argparse
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import (
    convolutions,
    decoding,
    embedding,
    evaluation,
    fidelity,
    growth,
    resumption,
    scaling,
    start_up,
    table,
    threads,
    training,
)
from benchmarks.measurement import Settings, machine
from benchmarks.processes import ROOT
from benchmarks.table import Section
from vae.base import command, runtime
from vae.base.artifacts import write_json

BENCHMARKS: dict[str, Callable[[Settings], Section]] = {
    "training": training.run,
    "convolutions": convolutions.run,
    "scaling": scaling.run,
    "fidelity": fidelity.run,
    "evaluation": evaluation.run,
    "start-up": start_up.run,
    "growth": growth.run,
    "resumption": resumption.run,
    "embedding": embedding.run,
    "threads": threads.run,
    "decoding": decoding.run,
}


def main() -> None:
    """Run the requested benchmarks; print a table, and write all figures as JSON."""
    command.run("benchmarks", _main, interrupted="interrupted; no temporary files are left behind")


def _main() -> None:
    arguments = _parser().parse_args()
    runtime.configure()
    settings = Settings(runtime.device(), arguments.quick, arguments.repeats, arguments.epochs)
    _run([name for name in BENCHMARKS if name in (arguments.names or BENCHMARKS)], settings, arguments.output)


def _run(names: list[str], settings: Settings, output: Path) -> None:
    here = machine(settings.device)
    sections: list[Section] = []
    for name in names:
        start = perf_counter()
        sections.append(BENCHMARKS[name](settings))
        seconds = perf_counter() - start
        print(f"{name}: {table.goals_met(sections[-1])}, in {seconds:.0f} s", flush=True)
        results: dict[str, Any] = {section.name: table.values(section) for section in sections}
        # Write after each benchmark, so that an interruption keeps the results so far.
        write_json(output, {"quick": settings.quick, "machine": here, "benchmarks": results})
    print(f"\n{table.text(here, sections, quick=settings.quick)}\n\nwritten to {output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the project, and compare it with its goals."
    )
    parser.add_argument(
        "names",
        nargs="*",
        type=command.one_of(BENCHMARKS, "benchmark"),
        metavar="NAME",
        help=f"benchmarks to run: {', '.join(BENCHMARKS)} (default: all)",
    )
    parser.add_argument("--quick", action="store_true", help="use fewer images and rounds, to try the suite")
    parser.add_argument("--repeats", type=command.count, metavar="N", help="number of rounds of each benchmark")
    parser.add_argument("--epochs", type=command.count, metavar="N", help="number of epochs in the fidelity benchmark")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results.json", metavar="PATH")
    return parser


if __name__ == "__main__":
    main()
