"""``side-by-side``: trainings alone and two at once, as a queue of experiments runs them, by what waiting threads do.

Each is a process of its own, ``python -m benchmarks.side_by_side EPOCHS``, timed from its start to its end.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from time import perf_counter

from benchmarks import mnist
from benchmarks.measurement import Settings, ratio, spreads
from benchmarks.processes import ROOT, FailedProcessError
from benchmarks.table import Row, Section, at_most, skipped
from vae import runtime
from vae.training import train

ROUNDS = 3
EPOCHS, QUICK_EPOCHS = 3, 1
OVER_ONE_THREAD_EACH = 1.3
ONE_THREAD = "two, one thread each"
WAITING: dict[str, tuple[int, dict[str, str]]] = {
    "one, threads spin": (1, {"OMP_WAIT_POLICY": "active"}),
    "one, threads sleep": (1, {"OMP_WAIT_POLICY": "passive"}),
    ONE_THREAD: (2, {"OMP_NUM_THREADS": "1"}),
    "two, threads spin": (2, {"OMP_WAIT_POLICY": "active"}),
    "two, threads sleep": (2, {"OMP_WAIT_POLICY": "passive"}),
}


def run(settings: Settings) -> Section:
    """Time one training, and two at once, for each way of waiting; the goal is what sleeping costs two at once."""
    epochs = QUICK_EPOCHS if settings.quick else EPOCHS
    about = f"processes that train on {epochs} × 60,000 MNIST images, {mnist.ABOUT_THE_MODEL}"
    if settings.device.type != "cpu":
        return Section("side-by-side", about, [skipped("trainings side by side", "they compute on an accelerator")])
    mnist.splits()  # the archives are there from now on
    works = {name: partial(seconds_of, count, epochs, variables) for name, (count, variables) in WAITING.items()}
    measured = spreads(works, settings.rounds(ROUNDS), "side by side")
    rows = []
    for name, seconds in measured.items():
        if not name.startswith("two") or name == ONE_THREAD:
            rows.append(Row(name, seconds, "s"))
            continue
        found = ratio(seconds, measured[ONE_THREAD])
        goal = at_most(found.median, OVER_ONE_THREAD_EACH) if name.endswith("sleep") else None
        rows.append(Row(name, seconds, "s", found, goal))
    return Section("side-by-side", f"{about}; ratios to {ONE_THREAD}", rows)


def seconds_of(count: int, epochs: int, variables: Mapping[str, str]) -> float:
    """The time until the last of several trainings has ended that were started together."""
    others = {name: value for name, value in os.environ.items() if name not in {"OMP_WAIT_POLICY", "OMP_NUM_THREADS"}}
    command = [sys.executable, "-m", "benchmarks.side_by_side", str(epochs)]
    start = perf_counter()
    processes = [subprocess.Popen(command, cwd=ROOT, env={**others, **variables}) for _ in range(count)]
    statuses = [process.wait() for process in processes]
    seconds = perf_counter() - start
    if any(statuses):
        raise FailedProcessError(f"{' '.join(command)}: statuses {statuses}")
    return seconds


def main() -> None:
    """Train as a stage does, on the CPU."""
    runtime.configure()
    images = mnist.splits().train
    train(mnist.new_model(runtime.CPU), images, images[:0], mnist.settings(epochs=int(sys.argv[1])), lambda _: None)


if __name__ == "__main__":
    main()
