"""Time functions in rounds, summarise by medians and ratios, and describe the machine."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar

import torch
from tqdm import tqdm

from vae.base import runtime

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """The settings from the command line.

    Attributes:
        device: device on which models are trained and evaluated.
        quick: whether to use fewer images and rounds.
        repeats: number of rounds; None for the default of each benchmark.
        epochs: number of epochs in ``fidelity``; None for its default.
    """

    device: torch.device
    quick: bool = False
    repeats: int | None = None
    epochs: int | None = None

    def rounds(self, default: int) -> int:
        """The number of rounds of a benchmark with the given default."""
        return self.repeats or (min(default, 2) if self.quick else default)


@dataclass(frozen=True)
class Spread:
    """The results of the rounds, in order."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle value, or the mean of the two in the middle."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)


def ratio(numerators: Spread, denominators: Spread) -> Spread:
    """The ratio within each round, so that a temporary slowdown of the machine affects both values."""
    return Spread([above / below for above, below in zip(numerators.values, denominators.values, strict=True)])


def interleave(works: Mapping[str, Callable[[], T]], rounds: int, title: str) -> dict[str, list[T]]:
    """Call all functions in turn in each round, with a progress bar.

    Args:
        works: functions by name; each returns one measurement.
        rounds: number of rounds.
        title: title of the progress bar.
    """
    measured: dict[str, list[T]] = {name: [] for name in works}
    with tqdm(total=rounds * len(works), unit="turn", leave=False, disable=None) as bar:
        for _ in range(rounds):
            for name, work in works.items():
                bar.set_description(f"{title}: {name}")
                measured[name].append(work())
                bar.update()
    return measured


def spreads(works: Mapping[str, Callable[[], float]], rounds: int, title: str) -> dict[str, Spread]:
    """Interleave functions that return numbers."""
    return {name: Spread(values) for name, values in interleave(works, rounds, title).items()}


def timed(work: Callable[[], object], device: torch.device, times: int = 1) -> Callable[[], float]:
    """Return a function that measures the seconds per call of ``work``, over ``times`` calls."""

    def seconds() -> float:
        synchronize(device)
        start = perf_counter()
        for _ in range(times):
            work()
        synchronize(device)
        return (perf_counter() - start) / times

    return seconds


def synchronize(device: torch.device) -> None:
    """Wait for an accelerator to finish."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def machine(device: torch.device) -> dict[str, str | int | float]:
    """Describe the machine and the libraries that the figures depend on."""
    seen = runtime.machine(device)
    amx = ", AMX" if "amx_bf16" in str(seen["features"]) else ""  # makes bfloat16 fast
    return {
        "cpu": _cpu(),
        "instructions": f"{seen['instructions']}{amx}",
        "threads": seen["threads"],
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "torch": seen["torch"],
        "device": seen["device"],
    }


def _cpu() -> str:
    """The name of the processor, from /proc/cpuinfo if possible."""
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
