"""Work in processes of its own: for what a process costs from its start, and for its memory."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

ROOT = Path(__file__).parents[1]


class FailedProcessError(Exception):
    """A process of a benchmark ended with an error."""


def seconds_of(*command: str | Path) -> float:
    """The time from the start of a command to its end, in the project's folder."""
    start = perf_counter()
    _run(*command)
    return perf_counter() - start


def reported_by(module: str, *arguments: str | Path | int) -> dict[str, Any]:
    """What ``python -m module`` writes as its last line: JSON."""
    output = _run(sys.executable, "-m", module, *map(str, arguments))
    values: dict[str, Any] = json.loads(output.splitlines()[-1])
    return values


def peak_resident_bytes() -> int:
    """The largest memory of this process so far, file pages that are mapped into it included.

    Linux hands ``ru_maxrss`` on from the process that started this one, so it is asked for its own mark.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_bytes(device: torch.device) -> int:
    """The largest memory of this process so far, on CUDA that on the device."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes()


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        called = " ".join(map(str, command))
        raise FailedProcessError(f"{called}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
