"""``growth``: time per image and memory for data sets of growing size.

The data sets repeat MNIST in files that are mapped into memory, as in a stage. Each size is trained in a separate
process, ``python -m benchmarks.growth IMAGES EPOCHS``. Small sizes get more epochs, so that each size trains on about
as many images. The files are in a temporary folder that is always deleted.
"""

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import mnist
from benchmarks.measurement import Settings, Spread, interleave, ratio, synchronize
from benchmarks.processes import peak_resident_bytes, reported_by
from benchmarks.table import Goal, Row, Section, at_most, compared
from vae.base import runtime
from vae.data.images import LabelledImages, load_images, save_images
from vae.training.engine import CHUNK, TrainingEngine

ROUNDS = 3
SIZES, QUICK_SIZES = (60_000, 300_000, 1_200_000), (60_000, 120_000)
SHARE = 0.15  # largest relative difference of the time per image
BYTES_PER_BYTE = 1.1
GIB = 2**30


def run(settings: Settings) -> Section:
    """Measure every size in every round."""
    sizes = QUICK_SIZES if settings.quick else SIZES
    with tempfile.TemporaryDirectory(prefix="vae-bench-") as folder:
        files = {f"{size:,} images": Path(folder, f"{size}.safetensors") for size in sizes}
        for size, path in zip(sizes, files.values(), strict=True):
            write(path, size)
        works = {
            name: partial(reported_by, "benchmarks.growth", path, max(1, sizes[1] // size))
            for size, (name, path) in zip(sizes, files.items(), strict=True)
        }
        measured = interleave(works, settings.rounds(ROUNDS), "growth")
        bytes_on_disk = [path.stat().st_size for path in files.values()]
    return Section("growth", f"epochs of MNIST repeated, {mnist.ABOUT_THE_MODEL}", rows(measured, bytes_on_disk))


def rows(measured: dict[str, list[dict[str, Any]]], bytes_on_disk: list[int]) -> list[Row]:
    """Rows with time and memory of each size, and the growth of both."""
    seconds, memory = (
        {name: Spread([reported[key] for reported in reports]) for name, reports in measured.items()}
        for key in ("seconds_per_image", "peak_bytes")
    )
    smallest, *others = measured
    microseconds = {name: Spread([1e6 * value for value in found.values]) for name, found in seconds.items()}
    lines = [Row(f"an image, of {name}", found, "µs") for name, found in microseconds.items()]
    for name in others:
        found = ratio(seconds[name], seconds[smallest])
        goal = Goal(f"within {SHARE:.0%} of 1", abs(found.median - 1) <= SHARE)
        lines.append(compared(f"an image, of {name} / {smallest}", found, goal))
    for name, found in memory.items():
        lines.append(Row(f"peak memory, {name}", Spread([value / GIB for value in found.values]), "GiB"))
    for name, size in zip(others, bytes_on_disk[1:], strict=True):
        more = size - bytes_on_disk[0]
        pairs = zip(memory[name].values, memory[smallest].values, strict=True)
        growth = Spread([(large - small) / more for large, small in pairs])
        lines.append(
            compared(f"more memory per byte of more images, {name}", growth, at_most(growth.median, BYTES_PER_BYTE))
        )
    return lines


def write(path: Path, size: int) -> None:
    """Write a data set of a given size that repeats MNIST's training images."""
    train = mnist.splits().train
    times = -(-size // len(train))
    images, labels = train.images.repeat(times, 1, 1, 1)[:size], train.labels.repeat(times)[:size]
    save_images(path, LabelledImages(images, labels, train.class_names))


def main(path: Path, epochs: int) -> None:
    """Print the seconds per image over some epochs, and the peak memory of this process."""
    runtime.configure()
    device = runtime.device()
    images = load_images(path).images
    warm_up = TrainingEngine(mnist.new_model(device), images[: 2 * CHUNK * mnist.BATCH_SIZE], mnist.settings())
    warm_up.epoch(1, lambda _: None)

    engine = TrainingEngine(mnist.new_model(device), images, mnist.settings())
    synchronize(device)
    start = perf_counter()
    for number in range(1, epochs + 1):
        engine.epoch(number, lambda _: None)
    synchronize(device)
    seconds = (perf_counter() - start) / (epochs * len(images))
    print(json.dumps({"seconds_per_image": seconds, "peak_bytes": peak_resident_bytes()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
