"""Clocks, rounds, medians and ratios, and the machine that they belong to."""

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
    """What the command line asks for.

    Attributes:
        device: where models are trained and evaluated.
        quick: fewer images and rounds, to try the suite.
        repeats: rounds of each benchmark; None for its own default.
        epochs: of the trainings that ``fidelity`` compares; None for its own default.
    """

    device: torch.device
    quick: bool = False
    repeats: int | None = None
    epochs: int | None = None

    def rounds(self, default: int) -> int:
        """The rounds of a benchmark that makes so many by default."""
        return self.repeats or (min(default, 2) if self.quick else default)


@dataclass(frozen=True)
class Spread:
    """What the rounds gave, in their order."""

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
    """The ratio within each round: what slows the machine down for a while slows both."""
    return Spread([above / below for above, below in zip(numerators.values, denominators.values, strict=True)])


def interleave(works: Mapping[str, Callable[[], T]], rounds: int, title: str) -> dict[str, list[T]]:
    """Let all take their turns in each round, and show how far it is.

    Args:
        works: what is measured, by name; each returns what one turn measured.
        rounds: how often.
        title: what the progress bar says.
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
    """The same of works that return a number each."""
    return {name: Spread(values) for name, values in interleave(works, rounds, title).items()}


def timed(work: Callable[[], object], device: torch.device, times: int = 1) -> Callable[[], float]:
    """Make of a work one that returns the seconds it took; ``times`` over, for what is too short to time by itself."""

    def seconds() -> float:
        synchronize(device)
        start = perf_counter()
        for _ in range(times):
            work()
        synchronize(device)
        return (perf_counter() - start) / times

    return seconds


def synchronize(device: torch.device) -> None:
    """Wait for a device that works by itself."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def machine(device: torch.device) -> dict[str, str | int | float]:
    """What the figures depend on, besides the code."""
    seen = runtime.machine(device)
    amx = ", AMX" if "amx_bf16" in str(seen["features"]) else ""  # which bfloat16 depends on
    return {
        "cpu": _cpu(),
        "instructions": f"{seen['instructions']}{amx}",
        "threads": seen["threads"],
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "torch": seen["torch"],
        "device": seen["device"],
    }


def _cpu() -> str:
    """The processor's name, from Linux where it says so."""
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
