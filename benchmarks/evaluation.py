"""``evaluation``: time of the importance-weighted bound over the time of its decoder's matrix products, and its memory.

The ELBO comes from the same samples. Each sample of each image is decoded: 20 → 400 → 784. The memory of the bound must
not grow with the number of samples.
It is measured in a separate process, ``python -m benchmarks.evaluation MODEL IMAGES SAMPLES``.
"""

import json
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import mnist, products
from benchmarks.measurement import Settings, ratio, spreads, timed
from benchmarks.processes import peak_bytes, reported_by
from benchmarks.table import Row, Section, at_most, compared
from vae.base import runtime
from vae.data.images import load_images, save_images
from vae.model import inference
from vae.model.model_file import load_model, save_model

ROUNDS = 3
SAMPLES, QUICK_SAMPLES = 100, 10
MEMORY_SAMPLES = (10, 100)
OVER_PRODUCTS = 2.0
MEMORY_GROWTH = 1.5  # limit for ten times as many samples; allocators vary
MIB = 2**20


def run(settings: Settings) -> Section:
    """Measure time, then memory."""
    samples = QUICK_SAMPLES if settings.quick else SAMPLES
    device = settings.device
    model, images = mnist.trained_model(device), mnist.test_images().images
    decode = products.decoding(model, len(images), model.decoder.batch_size)

    def bound() -> None:
        inference.bounds(model, images, samples, 0)

    def bare() -> None:
        for _ in range(samples):
            decode()

    works = {f"the bound, k = {samples}": timed(bound, device), "its decoder's products": timed(bare, device)}
    if device.type != "cpu":
        spreads(works, 1, "warm-up")
    measured = spreads(works, settings.rounds(ROUNDS), "evaluation")
    over_products = ratio(*measured.values())
    rows = [Row(name, seconds, "s") for name, seconds in measured.items()]
    rows.append(compared("the bound / products", over_products, at_most(over_products.median, OVER_PRODUCTS)))
    return Section("evaluation", f"importance-weighted bound of {len(images):,} MNIST images", rows + memory(settings))


def memory(settings: Settings) -> list[Row]:
    """Measure how much the bound adds to the peak memory of a process."""
    with tempfile.TemporaryDirectory(prefix="vae-bench-") as folder:
        model, images = Path(folder, "model.safetensors"), Path(folder, "test.safetensors")
        save_model(model, mnist.trained_model(runtime.device()))
        save_images(images, mnist.test_images())

        def extra(count: int) -> float:
            values = reported_by("benchmarks.evaluation", model, images, count)
            return float(values["after"] - values["before"]) / MIB

        works = {f"k = {count}": partial(extra, count) for count in MEMORY_SAMPLES}
        measured = spreads(works, settings.rounds(ROUNDS), "memory")
    few, many = measured.values()
    growth = ratio(many, few)
    return [
        *(Row(f"extra memory, {name}", found, "MiB") for name, found in measured.items()),
        compared("memory, k = {1} / k = {0}".format(*MEMORY_SAMPLES), growth, at_most(growth.median, MEMORY_GROWTH)),
    ]


def main(model_path: Path, images_path: Path, samples: int) -> None:
    """Print the peak memory of this process before and after the bound, in bytes."""
    runtime.configure()
    device = runtime.device()
    images = load_images(images_path)
    model = load_model(model_path, device, images.shape)
    before = peak_bytes(device)
    inference.bounds(model, images.images, samples, 0)
    print(json.dumps({"before": before, "after": peak_bytes(device)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
