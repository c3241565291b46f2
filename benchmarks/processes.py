"""Run commands in separate processes, to measure start-up time and memory."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from vae.base.errors import VAEError

ROOT = Path(__file__).parents[1]


class FailedProcessError(VAEError):
    """A process of a benchmark failed."""


def seconds_of(*command: str | Path) -> float:
    """Run a command in the project's folder, and return its duration."""
    start = perf_counter()
    _run(*command)
    return perf_counter() - start


def reported_by(
    module: str, *arguments: str | Path | int, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run ``python -m module``, and return the JSON object in its last line of output.

    Args:
        module: the module.
        arguments: of the command line.
        environment: variables to set, besides those of this process.
    """
    output = _run(sys.executable, "-m", module, *map(str, arguments), environment=environment)
    values: dict[str, Any] = json.loads(output.splitlines()[-1])
    return values


def peak_resident_bytes() -> int:
    """The peak memory of this process so far, including mapped file pages.

    On Linux, ``ru_maxrss`` is inherited from the parent process, so read ``VmHWM`` instead.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_bytes(device: torch.device) -> int:
    """The peak memory of this process so far; on CUDA, the peak memory on the device."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes()


def _run(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        called = " ".join(map(str, command))
        raise FailedProcessError(f"{called}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
