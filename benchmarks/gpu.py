"""Test, measure and train on a CUDA device, and leave a report in one folder: ``python -m benchmarks.gpu``.

Each part runs in a process of its own, with its output in a log. A part that fails, or takes longer than its limit,
does not stop the others. All together take at most ``MINUTES``.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from benchmarks.processes import ROOT
from stages.results import flattened
from vae.base import command, runtime
from vae.base.artifacts import write_bytes, write_json
from vae.base.errors import VAEError

FOLDER = ROOT / "gpu"
MINUTES = 28  # leaves two of half an hour for the environment's start and the report
SECONDS_TO_END = 15  # for a part that was interrupted because it took too long; then it is killed
LINES_OF_A_FAILURE = 40  # of its log, in the report
DEVICE_TEST_PROCESSES = 4  # each takes half a gigabyte of the device's memory
PYTHON = shlex.quote(sys.executable)
DEVICE_TESTS = (
    "tests/vae/training tests/vae/optimizer tests/vae/base/test_runtime.py tests/vae/base/test_side_stream.py "
    "tests/test_pretended_device.py tests/pipeline/test_stages_on_cuda.py"
)


class NoCudaError(VAEError):
    """PyTorch finds no CUDA device."""


@dataclass(frozen=True)
class Part:
    """A part of the report.

    Attributes:
        name: of the part and its log.
        command: a command of the shell, run in the project's folder.
        minutes: the longest that it may take.
    """

    name: str
    command: str
    minutes: float


@dataclass(frozen=True)
class Result:
    """How a part ended: its exit status, or None if it took too long, and its seconds."""

    part: Part
    status: int | None
    seconds: float

    @property
    def outcome(self) -> str:
        """In words."""
        if self.status is None:
            return "stopped: too long"
        return f"status {self.status}" if self.status else "passed"


def parts(folder: Path) -> list[Part]:
    """The parts, the most telling first. MNIST runs in a clone, so that the workspace stays as it is."""
    results, clone = shlex.quote(str(folder / "benchmarks.json")), shlex.quote(str(folder / "clone"))
    mnist = (
        f"git clone --quiet . {clone} && cd {clone} && {PYTHON} -m dvc exp run $(cat recipes/mnist) "
        "&& mkdir ../mnist && mv metrics plots pages params.yaml dvc.lock ../mnist && rm -rf ../clone"
    )
    return [
        Part("device-tests", f"{PYTHON} -m pytest -q -rs --numprocesses {DEVICE_TEST_PROCESSES} {DEVICE_TESTS}", 8),
        Part("mnist", mnist, 7),
        Part("benchmarks", f"{PYTHON} -m benchmarks --output {results}", 12),
        Part("all-tests", f"{PYTHON} -m pytest -q --numprocesses auto --dist loadfile", 12),
    ]


def main() -> None:
    """Run all parts; the exit status is 1 if one failed, or if there is no CUDA device."""
    command.run("make gpu", lambda: _main(FOLDER))


def _main(folder: Path) -> int:
    card = require_card()
    shutil.rmtree(folder, ignore_errors=True)  # an earlier report
    folder.mkdir()
    write_json(folder / "machine.json", card)
    print(", ".join(f"{name} {value}" for name, value in card.items()), flush=True)
    results = run_parts(parts(folder), folder, MINUTES * 60)
    write_bytes(folder / "report.md", report(card, results, folder).encode())
    print(f"{folder / 'report.md'}: {sum(result.status != 0 for result in results)} of {len(results)} parts failed")
    return int(any(result.status != 0 for result in results))


def require_card() -> dict[str, str | int]:
    """The CUDA device and the versions of what drives it.

    Raises:
        NoCudaError: there is none.
    """
    if not torch.cuda.is_available():
        raise NoCudaError(
            f"no CUDA device: PyTorch {torch.__version__} finds none on this machine; see docs/performance.md, On a GPU"
        )
    seen = runtime.machine(torch.device("cuda", torch.cuda.current_device()))
    return {
        "card": seen["device"],
        "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").splitlines()[0],
        "CUDA": seen["cuda"],
        "cuDNN": seen["cudnn"],
        "PyTorch": torch.__version__,
        "commit": _output("git", "describe", "--always", "--dirty"),
    }


def run_parts(parts: Sequence[Part], folder: Path, seconds: float) -> list[Result]:
    """Run each part, with its output in ``NAME.log``, for so many seconds in all at most."""
    end = monotonic() + seconds
    results = []
    for part in parts:
        result = _run(part, folder / f"{part.name}.log", min(60 * part.minutes, max(end - monotonic(), 0)))
        print(f"{part.name}: {result.outcome}, in {result.seconds:.0f} s", flush=True)
        results.append(result)
    return results


def report(card: Mapping[str, Any], results: Sequence[Result], folder: Path) -> str:
    """The report in Markdown: the card, how each part ended, tables and metrics, and the logs of failures."""
    lines = [f"# {card['card']}", "", *(f"- {name}: {value}" for name, value in card.items()), ""]
    lines += ["| part | outcome | seconds | log |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {each.part.name} | {each.outcome} | {each.seconds:.0f} | [{each.part.name}.log]({each.part.name}.log) |"
        for each in results
    ]
    lines += ["", "## Speed", "", *_tables(folder / "benchmarks.log")]
    lines += ["", "## MNIST", "", "| metric | value |", "| --- | --- |", *_metrics(folder / "mnist" / "metrics")]
    for each in results:
        if each.status != 0:
            tail = _read(folder / f"{each.part.name}.log").splitlines()[-LINES_OF_A_FAILURE:]
            lines += ["", f"## {each.part.name}: {each.outcome}", "", f"    {each.part.command}", "", "```text"]
            lines += [*tail, "```"]
    return "\n".join(lines) + "\n"


def _run(part: Part, log: Path, seconds: float) -> Result:
    start = monotonic()
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "DVC_NO_ANALYTICS": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", part.command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that everything that the part started can be stopped
        )
        status: int | None = None
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)  # pytest then lists the failures so far
            with suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_TO_END)
        finally:
            if status is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Result(part, status, monotonic() - start)


def _tables(log: Path) -> list[str]:
    """The tables that the benchmarks printed."""
    found = [line for line in _read(log).splitlines() if line.startswith("|")]
    return found or ["no tables"]


def _metrics(folder: Path) -> list[str]:
    """All metrics of a run as rows of a table."""
    return [
        f"| {path.stem}.{name} | {value} |"
        for path in sorted(folder.glob("*.json"))
        for name, value in flattened(json.loads(_read(path)))
    ]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _output(*words: str) -> str:
    """What a command prints, or ``unknown`` if it fails."""
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
