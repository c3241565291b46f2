"""Map a file into memory, so that it may be larger than the memory."""

import mmap
import sys
from typing import IO

import torch
from torch import Tensor

# Linux refuses to map more than all memory, since a program might change every page. This flag says that none will do
# so (mmap.MAP_NORESERVE is new in Python 3.13).
NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


def map_file(file: IO[bytes]) -> Tensor:
    """The bytes of an open file, uint8 (N,). Pages are read when they are used; changes do not reach the file.

    Raises:
        OSError: the file cannot be mapped.
        ValueError: it is empty.
    """
    access = {"flags": mmap.MAP_PRIVATE | NO_RESERVE, "prot": mmap.PROT_READ | mmap.PROT_WRITE}
    return torch.frombuffer(mmap.mmap(file.fileno(), 0, **access), dtype=torch.uint8)
