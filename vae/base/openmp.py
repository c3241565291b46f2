"""Environment variables to set before torch is imported: how OpenMP threads wait, and reproducible sums in MKL.

A GNU OpenMP thread that waits for work spins, by default 300,000 times, before it sleeps. On idle cores that is
fastest. On busy cores it slows everything down: a spinning thread takes time from other processes and from the threads
that it waits for. `python -m benchmarks threads` measures both.
"""

import os
from pathlib import Path
from statistics import median
from time import perf_counter

SPIN_COUNT = 5000  # as fast as 300,000 on idle cores, and much less harmful on busy ones
LOOKS, SECONDS_BETWEEN = 3, 0.01
LOAD = Path("/proc/loadavg")  # on Linux; the fourth field is RUNNING/TOTAL, in threads


def configure() -> None:
    """Set the variables, except those that the user has set. Call it before torch is imported."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(spin_count())
    os.environ.setdefault("MKL_CBWR", "AUTO")  # conditional numerical reproducibility


def spin_count() -> int:
    """How often a waiting thread spins before it sleeps: 0 if other processes need the same cores.

    Results do not depend on it.
    """
    cores = os.cpu_count() or 1
    wanted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return SPIN_COUNT if others_running() + wanted <= cores else 0


def others_running() -> int:
    """How many threads of other processes run or are ready to run: the median of a few readings, or 0 if unknown."""
    looks = []
    for _ in range(LOOKS):
        try:
            running = int(LOAD.read_text(encoding="ascii").split()[3].split("/")[0])
        except (OSError, ValueError, IndexError):
            return 0
        looks.append(max(0, running - 1))  # not counting this thread
        _keep_running(SECONDS_BETWEEN)
    return int(median(looks))


def _keep_running(seconds: float) -> None:
    """Wait without sleeping, so that two processes that look at the same time see each other."""
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass
