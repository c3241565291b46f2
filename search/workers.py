"""Dask's workers: those of this machine, or those of a scheduler that runs already."""

import gc
import os
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from logging import CRITICAL, getLogger, root
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import psutil  # type: ignore[import-untyped]
from distributed import Client, Nanny, Scheduler, SpecCluster

from search import trial
from search.study import Range, Study
from stages.entry import same_bytes
from vae.base.errors import VAEError, shortened

LOOPBACK = "127.0.0.1"  # anyone who can reach a worker can run code on it
GIB = 2**30
MEMORY = 3 * GIB  # of a worker; the stages of MNIST take less
DEATHS = 2  # after which a trial that kills its worker once more has failed
SECONDS_TO_CONNECT = 10


class SchedulerError(VAEError):
    """The scheduler cannot be reached, or does not come back."""


@contextmanager
def local_scheduler(devices: list[dict[str, str]], folder: Path) -> Iterator[str]:
    """Run a scheduler and workers on this machine; yield the scheduler's address.

    Args:
        devices: the environment of each worker.
        folder: where workers keep their clones.
    """
    at = {"host": LOOPBACK, "dashboard_address": f"{LOOPBACK}:0"}
    options = {"nthreads": 1, "local_directory": str(folder), "memory_limit": 0, "silence_logs": CRITICAL}
    workers = {
        place: {"cls": Nanny, "options": {**options, **at, "env": environment, "name": place}}
        for place, environment in enumerate(devices)
    }
    scheduler = {"cls": Scheduler, "options": {**at, "port": 0, "dashboard": True}}
    folder.mkdir(parents=True, exist_ok=True)
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # of slow disks
        dask.config.set({"distributed.scheduler.allowed-failures": DEATHS}),
        SpecCluster(workers, scheduler, silence_logs=CRITICAL) as cluster,
    ):
        yield cluster.scheduler_address


def connect(address: str, seconds: float = SECONDS_TO_CONNECT) -> Any:
    """A client of a scheduler.

    Raises:
        SchedulerError: nothing answers there in time.
    """
    for name in filter(re.compile(r"distributed\b").match, [*root.manager.loggerDict]):
        getLogger(name).setLevel(CRITICAL + 1)  # what matters of it is said in other words
    try:
        return Client(address, timeout=seconds, set_as_default=False)
    except (OSError, ValueError, AssertionError) as error:  # the last for an address that begins with http
        reason = shortened(error)
    # A client that failed is closed when it is collected. During the start of another client, Dask would deadlock.
    gc.collect()
    raise SchedulerError(f"{address}: no Dask scheduler answers ({reason}); start one with dask scheduler")


def as_task(job: trial.Job, topic: str) -> Callable[[], tuple[bool, str, float]]:
    """What a worker runs for an experiment. It contains the module, so that workers need nothing of the project."""
    cloudpickle.register_pickle_by_value(trial)
    try:
        text = cloudpickle.dumps(partial(trial.on_worker, job, topic))
    finally:
        cloudpickle.unregister_pickle_by_value(trial)
    return lambda: pickle.loads(text)()  # Dask would send a named function by its name


def default_devices(study: Study, base: Mapping[str, Any]) -> list[dict[str, str]]:
    """The environments of as many workers as this machine can run at a time.

    One for each GPU. Without any, one for each core if the stages compute with one thread, as they do on the digits;
    else two, since parts of each stage use one core only. Each needs three GiB of memory.
    """
    devices = cuda_devices()
    if devices:
        return [{"CUDA_VISIBLE_DEVICES": device} for device in devices]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    data_sets = study.parameters.get("prepare.dataset", (base["prepare"]["dataset"],))
    one_thread = not isinstance(data_sets, Range) and all(map(same_bytes, data_sets))
    most = cores if one_thread else min(cores, 2)
    return [{}] * max(1, min(most, psutil.virtual_memory().available // MEMORY))


def cuda_devices() -> list[str]:
    """The CUDA devices that stages may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    if os.environ.get("VAE_DEVICE", "cuda") != "cuda" or not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(place) for place in range(torch.cuda.device_count())]
