"""Apply a function on all cores, in processes that are copies of this one."""

import os
import signal
import warnings
from collections.abc import Callable, Generator, Sequence
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from vae.base.errors import VAEError

A = TypeVar("A")
R = TypeVar("R")

SECONDS_BETWEEN_LOOKS = 1.0  # for processes that have crashed


class WorkerError(VAEError):
    """A process has crashed, or was killed because memory ran out."""


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def forked_map(function: Callable[[A], R], arguments: Sequence[A]) -> Generator[R]:
    """Apply a function to each argument on all cores; the results are in order, whatever the number of cores.

    Each process takes every n-th argument, and ends if nobody waits for its results any more. Threads would share
    Python's lock, which small images need most of the time. The function must not use PyTorch, whose threads are not in
    the copies.

    Raises:
        WorkerError: a process has crashed.
    """
    count = min(available_cores(), len(arguments))
    if count < 2 or "fork" not in get_all_start_methods():
        yield from map(function, arguments)
        return
    context = get_context("fork")
    workers: list[tuple[Any, Connection]] = []
    try:
        for first in range(count):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(function, arguments[first::count], sender), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: threads do not survive a fork
                process.start()
            sender.close()
            workers.append((process, receiver))
        for number in range(len(arguments)):
            _, receiver = workers[number % count]
            try:
                while not receiver.poll(SECONDS_BETWEEN_LOOKS):
                    if any(process.exitcode for process, _ in workers):
                        raise EOFError
                outcome = receiver.recv()
            except EOFError as error:
                message = "a process that reads images crashed, or was killed because memory ran out"
                raise WorkerError(message) from error
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
    finally:
        for process, receiver in workers:
            receiver.close()
            process.terminate()
            process.join()


def _work(function: Callable[[A], R], arguments: Sequence[A], sender: Connection) -> None:
    """Send the results of a share of the arguments. The parent process alone handles an interruption."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries in C print warnings about broken files
    for argument in arguments:
        outcome: R | Exception
        try:
            outcome = function(argument)
        except Exception as error:  # raised again in the parent process
            outcome = error
        try:
            sender.send(outcome)
        except OSError:  # the parent process has ended
            return
