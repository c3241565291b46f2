"""How the threads of OpenMP wait for work, and that MKL's sums repeat: environment variables, read when torch starts.

A thread of GNU OpenMP that waits looks for work again and again, by itself 300,000 times, before it sleeps. That is
fast on idle cores. But where other processes need the cores, a thread that looks for work keeps them from working, and
each of its own waits takes long as well. `python -m benchmarks threads` measures both.
"""

import os
from pathlib import Path
from statistics import median
from time import perf_counter

SPIN_COUNT = 5000  # as fast on idle cores as 300,000, and by far less harmful where they are not idle
LOOKS, SECONDS_BETWEEN = 3, 0.01
LOAD = Path("/proc/loadavg")  # of Linux; its fourth field is RUNNING/ALL, of threads


def configure() -> None:
    """Set the variables, before torch is imported. What a user has set is left alone."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(spin_count())
    os.environ.setdefault("MKL_CBWR", "AUTO")  # conditional numerical reproducibility: the same bits in every run


def spin_count() -> int:
    """How often a thread looks for work: not at all where others use the cores that this process wants.

    It has no influence on results.
    """
    cores = os.cpu_count() or 1
    wanted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return SPIN_COUNT if others_running() + wanted <= cores else 0


def others_running() -> int:
    """How many threads of other processes run or wait for a core: the median of a few looks; 0 if that is unknown."""
    looks = []
    for _ in range(LOOKS):
        try:
            running = int(LOAD.read_text(encoding="ascii").split()[3].split("/")[0])
        except (OSError, ValueError, IndexError):
            return 0
        looks.append(max(0, running - 1))  # without this one
        _keep_running(SECONDS_BETWEEN)
    return int(median(looks))


def _keep_running(seconds: float) -> None:
    """Let time pass without sleeping: of two processes that look at the same time each has to see the other."""
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass
