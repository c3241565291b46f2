"""What processes that compute together do: each does a share of the work, and all have the same results.

What takes time is divided among the processes, and the results are exchanged. A single process does everything by
itself. Processes are started by ``torchrun``, on one machine or several, or by the first of them if ``VAE_PROCESSES``
is set. They exchange results by NCCL between CUDA devices, and by gloo between CPUs.
"""

import io
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from time import sleep
from typing import Any, TypeVar

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # not in the stubs

from vae.base.errors import VAEError
from vae.base.processes import (
    ADDRESS,
    COUNT,
    LOCAL_COUNT,
    LOCAL_NUMBER,
    NUMBER,
    PORT,
    count,
    is_first,
    number,
)

T = TypeVar("T")
R = TypeVar("R")

REQUESTED = "VAE_PROCESSES"
SERVED = "TORCHELASTIC_USE_AGENT_STORE"  # tells that somebody else serves the store at the address
INTERFACE = "GLOO_SOCKET_IFNAME"
LOOPBACK = "127.0.0.1"
SECONDS_TO_END = 10
SECONDS_BETWEEN_LOOKS = 0.02


class ProcessError(VAEError):
    """Work cannot be divided among so many processes, or one of them has ended too early."""


def shared(items: Sequence[T], compute: Callable[[T], R]) -> list[R]:
    """The result of each item, in order. The processes compute them in turn, and each gets all results.

    Raises:
        ProcessError: another process has ended.
    """
    if count() == 1:
        return [compute(item) for item in items]
    own = _packed([compute(item) for item in items[number() :: count()]])
    packed = [b""] * count()
    with exchanging():
        torch.distributed.all_gather_object(packed, own)
    results = [_unpacked(each) for each in packed]
    return [results[index % count()][index // count()] for index in range(len(items))]


def _packed(results: object) -> bytes:
    content = io.BytesIO()
    torch.save(results, content)
    return content.getvalue()


def _unpacked(content: bytes) -> Any:
    """What another process has packed, with its tensors on the device of this one."""

    def move(storage: Any, location: str) -> Any:
        return storage if location == "cpu" else storage.cuda()

    return torch.load(io.BytesIO(content), map_location=move, weights_only=False)


def from_first(compute: Callable[[], R]) -> R:
    """The result of a function that only the first process calls, such as one that reads a file of its machine.

    Raises:
        ProcessError: another process has ended.
    """
    if count() == 1:
        return compute()
    result = [compute() if is_first() else None]
    with exchanging():
        torch.distributed.broadcast_object_list(result)
    return result[0]  # type: ignore[return-value]  # what the first process computed


@contextmanager
def exchanging() -> Iterator[None]:
    """Within the block, report a failed exchange of results.

    Raises:
        ProcessError: another process has ended, or the processes cannot reach each other.
    """
    try:
        yield
    except RuntimeError as error:
        if "Connection" in str(error):  # closed or reset
            raise ProcessError(f"one of the {count()} processes has ended, so the others cannot go on") from error
        raise ProcessError(f"the {count()} processes cannot exchange results: {error}") from error


@contextmanager
def together(module: str, shards: int | None = None) -> Iterator[None]:
    """Within the block, this is one of the processes that torchrun or ``VAE_PROCESSES`` asks for.

    Args:
        module: of this program; further processes are started by ``python -m module`` with the same arguments.
        shards: the number of equal parts that the processes have to share equally; None if any number will do.

    Raises:
        ProcessError: the processes cannot share the shards equally, or one of them ended too early.
    """
    if count() > 1:
        _require_equal_shares(count(), shards)
        with _silent_unless_first():
            yield
        return
    processes = requested(shards)
    with _started(module, processes) if processes > 1 else nullcontext():
        yield


def requested(shards: int | None) -> int:
    """How many processes ``VAE_PROCESSES`` asks for: a number, ``auto`` for one on each accelerator, or 1 if not set.

    Raises:
        ProcessError: it is neither, or the processes cannot share the shards equally.
    """
    text = os.environ.get(REQUESTED, "").strip() or "1"
    if text == "auto":
        possible = range(1, torch.accelerator.device_count() + 1)
        return max((processes for processes in possible if _share_equally(processes, shards)), default=1)
    if not text.isdecimal() or int(text) < 1:
        raise ProcessError(f"{REQUESTED}={text}: expected a whole number from 1, or auto for one on each accelerator")
    _require_equal_shares(int(text), shards)
    return int(text)


def _share_equally(processes: int, shards: int | None) -> bool:
    return shards is None or shards % processes == 0


def _require_equal_shares(processes: int, shards: int | None) -> None:
    if not _share_equally(processes, shards):
        raise ProcessError(
            f"{processes} processes cannot share train.shards={shards} equally; set it to a multiple of {processes}, "
            "or start fewer processes"
        )


@contextmanager
def _started(module: str, processes: int) -> Iterator[None]:
    """Start the other processes of this machine; at the end of the block, wait until they have ended."""
    with socket.create_server((LOOPBACK, 0)) as listener:  # a free port; TCPStore would open it to all networks
        server = TCPStore(LOOPBACK, 0, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    told = {ADDRESS: LOOPBACK, PORT: str(server.port), SERVED: str(True), **_loopback_interface()}
    told |= {COUNT: str(processes), LOCAL_COUNT: str(processes)}
    own = {**told, NUMBER: "0", LOCAL_NUMBER: "0"}
    others = [{**told, NUMBER: str(index), LOCAL_NUMBER: str(index)} for index in range(1, processes)]
    children = [
        subprocess.Popen([sys.executable, "-m", module, *sys.argv[1:]], env={**os.environ, **other}) for other in others
    ]
    os.environ |= own
    try:
        while not server.check([_arrival(index) for index in range(1, processes)]):
            if any(child.poll() is not None for child in children):
                raise ProcessError(f"one of the {processes} processes did not start")
            sleep(SECONDS_BETWEEN_LOOKS)
        yield
    except BaseException as error:
        for child in children:
            child.terminate()
        if isinstance(error, ProcessError):
            ended = [(index, child.wait()) for index, child in enumerate(children, 1)]
            raise ProcessError(f"{error}{_in_words(ended)}") from error
        raise
    finally:
        for name in own:
            del os.environ[name]
        for child in children:
            _end(child)


def _loopback_interface() -> dict[str, str]:
    """The variable that limits gloo to connections within this machine, unless the user has set it."""
    names = {name for _, name in socket.if_nameindex()} & {"lo", "lo0"}
    return {INTERFACE: names.pop()} if names and INTERFACE not in os.environ else {}


def _in_words(ended: Sequence[tuple[int, int]]) -> str:
    """How processes ended, without those that were asked to."""
    ends = [
        f"process {index} {f'by {signal.Signals(-status).name}' if status < 0 else f'with status {status}'}"
        for index, status in ended
        if status not in (-signal.SIGTERM, 128 + signal.SIGTERM)
    ]
    return f": {', '.join(ends)}" if ends else ""


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Wait until a process has ended; if it does not, kill it."""
    try:
        child.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def connected(device: torch.device) -> Iterator[None]:
    """Within the block, the processes can exchange results, from the given device of this one.

    Raises:
        ProcessError: another process has ended.
    """
    if count() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with exchanging():
        if not is_first():
            store = TCPStore(os.environ[ADDRESS], int(os.environ[PORT]), is_master=False)
            store.set(_arrival(number()), "")
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        with suppress(RuntimeError):
            torch.distributed.destroy_process_group()


def _arrival(index: int) -> str:
    """The key under which a process tells the first one that it has started."""
    return f"process {index} has started"


@contextmanager
def _silent_unless_first() -> Iterator[None]:
    """Within the block, neither log nor report errors that the first process reports too."""
    if is_first():
        yield
        return
    logging.disable()
    try:
        yield
    except VAEError:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        logging.disable(logging.NOTSET)
