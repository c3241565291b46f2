"""``scaling``: an epoch of the network of ``convolutions`` by one process with two threads, and by two with one each.

Each training run is ``python -m benchmarks.scaling EPOCHS SHARDS IMAGES``. It prints the seconds of its median epoch,
and those in which processes exchanged gradients, with the wait for the slower one.
"""

import json
import sys
from collections.abc import Mapping
from functools import partial
from statistics import median
from time import perf_counter
from typing import NamedTuple
from unittest.mock import patch

from torch import Tensor

from benchmarks import mnist
from benchmarks.convolutions import ARCHITECTURE, BATCH_SIZE, IMAGES, QUICK_IMAGES, colour_images, new_model
from benchmarks.measurement import Settings, Spread, interleave, ratio
from benchmarks.processes import reported_by
from benchmarks.table import Row, Section, skipped
from vae.base import collective, processes, runtime
from vae.training import shards
from vae.training.engine import TrainingEngine
from vae.training.shards import sum_in_order

ROUNDS = 5
EPOCHS, QUICK_EPOCHS = 3, 1
ONE, ONE_IN_SHARDS, TWO = "one process, two threads", "one process, two shards", "two processes, a thread each"


class Case(NamedTuple):
    """How many processes train, each with how many threads, and the shards of a batch."""

    processes: int
    threads: int
    shards: int


CASES = {ONE: Case(1, 2, 1), ONE_IN_SHARDS: Case(1, 2, 2), TWO: Case(2, 1, 2)}


def run(settings: Settings) -> Section:
    """Time an epoch in each case."""
    images = QUICK_IMAGES if settings.quick else IMAGES
    channels, height, width = ARCHITECTURE.image_shape
    about = f"an epoch of {images} images of {height}×{width}×{channels}, conv, batches of {BATCH_SIZE}, on two cores"
    if settings.device.type != "cpu":
        return Section("scaling", about, [skipped("training on the CPU", "the device is an accelerator")])
    epochs = QUICK_EPOCHS if settings.quick else EPOCHS
    works = {name: partial(measured, case, epochs, images) for name, case in CASES.items()}
    found = interleave(works, settings.rounds(ROUNDS), "scaling")
    seconds = {name: Spread([each["epoch"] for each in values]) for name, values in found.items()}
    exchanged = Spread([100 * each["exchange"] / each["epoch"] for each in found[TWO]])
    rows = [
        Row(name, spread, "s", None if name == ONE else ratio(spread, seconds[ONE])) for name, spread in seconds.items()
    ]
    rows.append(Row("of which exchanging gradients", exchanged, "%"))
    return Section("scaling", about, rows)


def measured(case: Case, epochs: int, images: int) -> Mapping[str, float]:
    """The median seconds of an epoch, and of the exchange in it."""
    environment = {"OMP_NUM_THREADS": str(case.threads), collective.REQUESTED: str(case.processes)}
    return reported_by("benchmarks.scaling", epochs, case.shards, images, environment=environment)


def timed_epoch(engine: TrainingEngine) -> dict[str, float]:
    """Train for an epoch; its seconds, and those in which gradients were exchanged and added."""
    exchanges: list[float] = []

    def timed(rows: Tensor) -> Tensor:
        begin = perf_counter()
        total = sum_in_order(rows)
        exchanges.append(perf_counter() - begin)
        return total

    begin = perf_counter()
    with patch.object(shards, "sum_in_order", timed):
        engine.epoch(1, lambda _: None)
    return {"epoch": perf_counter() - begin, "exchange": sum(exchanges)}


def main() -> None:
    """Train as a stage does, and print the seconds of the median epoch and of its exchange."""
    epochs, parts, images = map(int, sys.argv[1:])
    with collective.together("benchmarks.scaling", parts):
        runtime.configure()
        with collective.connected(runtime.CPU):
            params = mnist.settings().model_copy(update={"batch_size": BATCH_SIZE, "shards": parts})
            engine = TrainingEngine(new_model(runtime.CPU), colour_images(images), params)
            times = [timed_epoch(engine) for _ in range(1 + epochs)]
    if processes.is_first():
        print(json.dumps({name: median(each[name] for each in times[1:]) for name in times[0]}))


if __name__ == "__main__":
    main()
