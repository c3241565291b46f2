"""Which of several processes that compute together this is; ``vae.base.collective`` has what they do.

All processes run the same program on the same data with the same seeds, so they take the same decisions. Only the first
one writes files, logs and shows progress.
"""

import os

# What torchrun tells each process.
NUMBER, COUNT, LOCAL_NUMBER, LOCAL_COUNT = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"
ADDRESS, PORT = "MASTER_ADDR", "MASTER_PORT"


def count() -> int:
    """The number of processes that compute together, on all machines."""
    return _told(COUNT, 1)


def number() -> int:
    """The number of this process, from 0."""
    return _told(NUMBER, 0)


def local_count() -> int:
    """The number of processes on this machine."""
    return _told(LOCAL_COUNT, 1)


def local_number() -> int:
    """The number of this process among those on this machine, from 0: that of its device."""
    return _told(LOCAL_NUMBER, 0)


def is_first() -> bool:
    """Whether this process writes files, logs and shows progress."""
    return number() == 0


def hides_progress(*, wanted: bool = True) -> bool | None:
    """The argument ``disable`` of a progress bar: only the first process shows it, and only on a terminal."""
    return None if wanted and is_first() else True


def _told(name: str, alone: int) -> int:
    """What torchrun says of this process, or the value for a process that was started alone."""
    return int(os.environ.get(name, alone)) if {NUMBER, COUNT, ADDRESS, PORT} <= os.environ.keys() else alone
