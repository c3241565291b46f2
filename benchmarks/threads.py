"""``threads``: time of an epoch of training alone, beside a busy process, and beside another training run.

Each training run is a separate process, ``python -m benchmarks.threads EPOCHS``, which prints the time of its epochs.
Waiting threads spin before they sleep. The cases compare the spin count that ``vae.base.environment`` sets, depending
on whether other processes use the cores, with the default of GNU OpenMP and with no spinning.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import pairwise
from statistics import median
from time import perf_counter

from benchmarks import mnist
from benchmarks.measurement import Settings, ratio, spreads
from benchmarks.processes import ROOT, FailedProcessError
from benchmarks.table import Goal, Row, Section, at_most, skipped
from vae.base import runtime
from vae.training.loop import train

ROUNDS = 3
EPOCHS, QUICK_EPOCHS = 3, 1
VARIABLES = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"}

ALONE, BESIDE_BUSY, TWO = "alone", "beside a busy process", "two at once"
OURS, BY_DEFAULT, ASLEEP, ONE_THREAD = "as set here", "as OpenMP would", "asleep", "one thread each"
WAITING: dict[str, dict[str, str]] = {
    OURS: {},
    BY_DEFAULT: {"GOMP_SPINCOUNT": "300000"},
    ASLEEP: {"OMP_WAIT_POLICY": "passive"},
    ONE_THREAD: {"OMP_NUM_THREADS": "1"},
}
# The cases, and the case that each is divided by.
CASES: dict[tuple[str, str], tuple[str, str] | None] = {
    (ALONE, OURS): (ALONE, BY_DEFAULT),
    (ALONE, BY_DEFAULT): None,
    (ALONE, ASLEEP): (ALONE, BY_DEFAULT),
    (BESIDE_BUSY, OURS): (ALONE, OURS),
    (BESIDE_BUSY, BY_DEFAULT): (ALONE, BY_DEFAULT),
    (TWO, OURS): (TWO, ASLEEP),
    (TWO, ASLEEP): None,
    (TWO, ONE_THREAD): (TWO, ASLEEP),
}
GOALS = {(ALONE, OURS): 1.1, (BESIDE_BUSY, OURS): 5.0, (TWO, OURS): 1.1}


def run(settings: Settings) -> Section:
    """Time an epoch in each case."""
    epochs = QUICK_EPOCHS if settings.quick else EPOCHS
    about = f"an epoch of 60,000 MNIST images, {mnist.ABOUT_THE_MODEL}, by how threads wait"
    if settings.device.type != "cpu":
        return Section("threads", about, [skipped("training on the CPU", "the device is an accelerator")])
    mnist.splits()  # downloads the archives if necessary
    works = {_name(*case): partial(seconds_an_epoch, *case, epochs) for case in CASES}
    measured = spreads(works, settings.rounds(ROUNDS), "threads")
    rows = []
    for case, reference in CASES.items():
        name = _name(*case)
        found = ratio(measured[name], measured[_name(*reference)]) if reference else None
        goal: Goal | None = at_most(found.median, GOALS[case]) if found and case in GOALS else None
        remark = f"ratio to {_name(*reference)}" if reference else ""
        rows.append(Row(name, measured[name], "s", found, goal, remark))
    return Section("threads", about, rows)


def _name(place: str, waiting: str) -> str:
    return f"{place}, threads {waiting}" if waiting != ONE_THREAD else f"{place}, {waiting}"


def seconds_an_epoch(place: str, waiting: str, epochs: int) -> float:
    """The median time of an epoch; of two runs at once, that of the slower one."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | WAITING[waiting]
    with busy_process() if place == BESIDE_BUSY else nullcontext():
        command = [sys.executable, "-m", "benchmarks.threads", str(epochs)]
        processes = [
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(2 if place == TWO else 1)
        ]
        try:
            outputs = [process.communicate()[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
    if any(process.returncode for process in processes):
        raise FailedProcessError(f"{' '.join(command)}: statuses {[process.returncode for process in processes]}")
    return max(float(median(json.loads(output.splitlines()[-1]))) for output in outputs)


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy during the block."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Train on the CPU as a stage does, and print the seconds of each epoch."""
    runtime.configure()
    images = mnist.splits().train
    ends = [perf_counter()]
    epochs = int(sys.argv[1])
    params = mnist.settings(epochs=epochs)
    train(mnist.new_model(runtime.CPU), images, images[:0], params, lambda _: ends.append(perf_counter()))
    print(json.dumps([end - start for start, end in pairwise(ends)]))


if __name__ == "__main__":
    main()
