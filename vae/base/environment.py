"""Environment variables to set before torch is imported: how OpenMP threads wait, and the instructions that NumPy uses.

A GNU OpenMP thread that waits for work spins, by default 300,000 times, before it sleeps. On idle cores that is
fastest. On busy cores it slows everything down: a spinning thread takes time from other processes and from the threads
that it waits for. `python -m benchmarks threads` measures both.

NumPy, and OpenBLAS in NumPy and SciPy, choose instructions by the processor, and round differently with each set. They
are limited to AVX2, which costs little because no stage spends much time there.
"""

import os
import platform
from pathlib import Path
from statistics import median
from time import perf_counter

SPIN_COUNT = 5000  # as fast as 300,000 on idle cores, and much less harmful on busy ones
LOOKS, SECONDS_BETWEEN = 3, 0.01
LOAD = Path("/proc/loadavg")  # on Linux; the fourth field is RUNNING/TOTAL, in threads

PROCESSOR = Path("/proc/cpuinfo")  # on Linux
NUMPY_WITH_AVX2 = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # all that NumPy's functions use beyond AVX2
    "OPENBLAS_CORETYPE": "Haswell",  # Intel's first processor with AVX2; other makers' processors use the same code
    "OPENBLAS_NUM_THREADS": "1",
}


def configure() -> None:
    """Set the variables, except those that the user has set. Call it before torch is imported."""
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(spin_count())
    if has_avx2():
        for name, value in NUMPY_WITH_AVX2.items():
            os.environ.setdefault(name, value)


def has_avx2() -> bool:
    """Whether this is a Linux machine whose processor has AVX2 and FMA: Intel since 2013, AMD since 2015."""
    if platform.machine() != "x86_64":
        return False
    try:
        content = PROCESSOR.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = next((line.split() for line in content.splitlines() if line.startswith("flags")), [])
    return {"avx2", "fma"} <= set(flags)


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
