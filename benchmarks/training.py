"""``training``: seconds per epoch on MNIST.

Compares the tutorial's loop, this project's ``TrainingEngine.epoch`` in each precision, and the bare matrix products of
an epoch. The engine is measured after a few epochs, when pixels that are never white have driven numbers close to zero.
"""

from collections.abc import Callable
from itertools import product

import torch

from benchmarks import mnist, products
from benchmarks.measurement import Settings, Spread, interleave, ratio, spreads, timed
from benchmarks.mnist import Precision
from benchmarks.table import Row, Section, at_least, at_most, compared
from benchmarks.tutorial import Tutorial
from vae.training.engine import TrainingEngine

ROUNDS = 5
EPOCHS_BEFORE = 5
EPOCHS_A_TURN_ON_AN_ACCELERATOR = 10  # one epoch takes only hundredths of a second

TUTORIAL = "the tutorial's loop"
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CPU_GOALS_OVER_PRODUCTS = {"float32": 1.35, "bfloat16": 2.4}
CPU_GOALS_UNDER_TUTORIAL = {"float32": 2.6, "bfloat16": 4.0}
CUDA_SECONDS = 0.03
CUDA_GOAL_UNDER_TUTORIAL = 100.0


def run(settings: Settings) -> Section:
    """Time an epoch of each."""
    images = mnist.training_images(quick=settings.quick)
    device = settings.device
    times = 1 if device.type == "cpu" else EPOCHS_A_TURN_ON_AN_ACCELERATOR
    tutorial = Tutorial(mnist.as_the_tutorial_reads_it(len(images)), mnist.BATCH_SIZE, mnist.LEARNING_RATE, device)
    projects = {
        ours(precision): our_epoch(TrainingEngine(mnist.new_model(device), images.images, mnist.settings(precision)))
        for precision in mnist.precisions(device)
    }
    bounds = {
        bare(precision): products.training_epoch(mnist.new_model(device), len(images), mnist.BATCH_SIZE, dtype)
        for precision, dtype in DTYPES.items()
    }
    works: dict[str, Callable[[], object]] = {TUTORIAL: tutorial.epoch, **projects, **bounds}

    interleave(works, 1, "warm-up")
    interleave(projects, 1 if settings.quick else EPOCHS_BEFORE - 1, "first epochs")
    clocks = {name: timed(work, device, 1 if name == TUTORIAL else times) for name, work in works.items()}
    measured = spreads(clocks, settings.rounds(ROUNDS), "training")
    return Section(
        "training", f"an epoch of {len(images):,} MNIST images, {mnist.ABOUT_THE_MODEL}", rows(measured, device)
    )


def rows(measured: dict[str, Spread], device: torch.device) -> list[Row]:
    """Rows with seconds, then with ratios, and the goals for the device."""
    on_cuda = device.type == "cuda"
    lines = []
    for name, seconds in measured.items():
        goal = at_most(seconds.median, CUDA_SECONDS, "s") if on_cuda and name.startswith("ours") else None
        lines.append(Row(name, seconds, "s", goal=goal))
    for precision, reference in product(mnist.precisions(device), ("products", "tutorial")):
        if reference == "tutorial":
            found = ratio(measured[TUTORIAL], measured[ours(precision)])
            limit = CUDA_GOAL_UNDER_TUTORIAL if on_cuda else CPU_GOALS_UNDER_TUTORIAL[precision]
            lines.append(compared(f"{TUTORIAL} / {ours(precision)}", found, at_least(found.median, limit)))
        elif precision in DTYPES:
            found = ratio(measured[ours(precision)], measured[bare(precision)])
            goal = None if on_cuda else at_most(found.median, CPU_GOALS_OVER_PRODUCTS[precision])
            lines.append(compared(f"{ours(precision)} / {bare(precision)}", found, goal))
    return lines


def ours(precision: Precision) -> str:
    """The name of the project's epoch."""
    return f"ours, {precision}"


def bare(precision: Precision) -> str:
    """The name of the bare products of an epoch."""
    return f"bare products, {precision}"


def our_epoch(engine: TrainingEngine) -> Callable[[], object]:
    """Return a function that trains for an epoch, always the first, since all epochs are alike."""
    return lambda: engine.epoch(1, lambda _: None)
