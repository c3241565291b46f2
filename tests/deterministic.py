"""The settings of a run, for a block of a test."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vae.base.runtime import SAME_ON_EVERY_MACHINE, configure


@contextmanager
def settings_of_a_run() -> Iterator[None]:
    """Set what ``configure`` sets for the whole process, so that bits repeat; restore it at the end."""
    threads = torch.get_num_threads()
    variables = {name: os.environ.get(name) for name in (*SAME_ON_EVERY_MACHINE, "CUBLAS_WORKSPACE_CONFIG")}
    debug_mode = torch.get_deterministic_debug_mode()
    precision = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]  # not in the stubs
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        configure()
        yield
    finally:
        torch.set_num_threads(threads)
        for name, value in variables.items():  # which processes that later tests start would get
            if value is None:
                os.environ.pop(name, None)
        torch.set_deterministic_debug_mode(debug_mode)
        torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.set_flush_denormal(False)
        gc.unfreeze()
