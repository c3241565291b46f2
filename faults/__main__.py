"""The command line: ``python -m faults [PART …] [--cases N] [--write]``."""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from faults import damage, document, interruptions, machines, repetition, storage
from faults.material import Material, prepared
from faults.outcome import Outcome, Part
from vae.base import command
from vae.base.artifacts import write_bytes

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
PARTS: dict[str, Part] = {
    "interruptions": interruptions.outcomes,
    "storage": storage.outcomes,
    "damage": damage.outcomes,
    "repetition": repetition.outcomes,
    "machines": machines.outcomes,
}
CASES = 20


def main() -> None:
    """Provoke faults, and print a table for each part. The exit status is 1 if one broke a promise."""
    command.run("faults", _main, interrupted="interrupted; docs/reliability.md is unchanged")


def _main() -> int:
    arguments = _parser().parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    wrong = 0
    try:
        print("an undisturbed run of all stages, to compare with", flush=True)
        material = prepared(folder)
        tables = {}
        for name in arguments.names or PARTS:
            start = perf_counter()
            outcomes = _provoked(name, material, arguments.cases)
            wrong += sum(bool(outcome.wrong) for outcome in outcomes)
            tables[name] = _section(name, outcomes, perf_counter() - start)
            print(f"\n{tables[name]}\n", flush=True)
    finally:
        if not wrong:
            signal.alarm(0)  # command.run would repeat the signal, and end the deletion
            shutil.rmtree(folder)
    if arguments.write:
        _write(tables)
    if wrong:
        print(f"{wrong} broke a promise; the copies of the project are kept in {folder}", file=sys.stderr)
    return int(bool(wrong))


def _provoked(name: str, material: Material, cases: int) -> Sequence[Outcome]:
    """All outcomes of a part, each printed when it is known."""
    outcomes = []
    for number, outcome in enumerate(PARTS[name](material, cases), start=1):
        words = ", ".join(filter(None, (outcome.fault, outcome.place)))
        print(f"{name} {number}/{cases}: {words}: {outcome.result}", flush=True)
        if outcome.wrong:
            print(f"WRONG: {outcome.wrong}", flush=True)
        outcomes.append(outcome)
    return outcomes


def _section(name: str, outcomes: Sequence[Outcome], seconds: float) -> str:
    """The command and the table of a part."""
    wrong = sum(bool(outcome.wrong) for outcome in outcomes)
    count = f"{len(outcomes)} cases in {max(1, round(seconds / 60))} min, {wrong or 'none'} of them wrong"
    return f"`python -m faults {name} --cases {len(outcomes)}`: {count}.\n\n{document.table(outcomes)}"


def _write(tables: dict[str, str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, section in tables.items():
        text = document.replaced(text, name, section)
    write_bytes(PAGE, text.encode())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description="Provoke faults in copies of the project, and check that nothing is lost or wrong.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        type=command.one_of(PARTS, "part"),
        metavar="PART",
        help=f"{', '.join(PARTS)} (default: all)",
    )
    parser.add_argument(
        "--cases", type=command.count, default=CASES, metavar="N", help=f"faults of each part (default: {CASES})"
    )
    parser.add_argument("--write", action="store_true", help="write the tables to docs/reliability.md")
    return parser


if __name__ == "__main__":
    main()
