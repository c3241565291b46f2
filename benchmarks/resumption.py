"""``resumption``: the share of training time spent on saving checkpoints."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks import mnist
from benchmarks.measurement import Settings, Spread, interleave, timed
from benchmarks.table import Row, Section, at_most
from vae.base.params import TrainParams
from vae.data.images import LabelledImages
from vae.training.checkpoint import Checkpoint
from vae.training.loop import train

ROUNDS = 3
EPOCHS, EPOCHS_ON_AN_ACCELERATOR, QUICK_EPOCHS = 10, 30, 5
PERCENT = 2.0


class TimedCheckpoint(Checkpoint):
    """A checkpoint that measures the time spent in ``save``.

    Attributes:
        seconds: time spent in ``save``, including calls that save nothing.
    """

    seconds = 0.0

    def save(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Save a state, and add up the time."""
        start = perf_counter()
        super().save(tensors, values)
        self.seconds += perf_counter() - start


def run(settings: Settings) -> Section:
    """Train in float32 and in bfloat16 on all images. In bfloat16, epochs are shorter and checkpoints as large."""
    images, device = mnist.training_images(quick=False), settings.device
    epochs = EPOCHS if device.type == "cpu" else EPOCHS_ON_AN_ACCELERATOR
    if settings.quick:
        epochs = QUICK_EPOCHS
    works = {
        precision: share_of(images, mnist.settings(precision, epochs), device) for precision in ("float32", "bfloat16")
    }
    measured = interleave(works, settings.rounds(ROUNDS), "resumption")
    rows = []
    for precision, rounds in measured.items():
        total, percent = (Spread(values) for values in zip(*rounds, strict=True))
        rows.append(Row(f"training, {precision}", total, "s"))
        rows.append(Row("of which saving checkpoints", percent, "%", goal=at_most(percent.median, PERCENT, "%")))
    return Section("resumption", f"trained on {epochs} × {len(images):,} MNIST images, {mnist.ABOUT_THE_MODEL}", rows)


def share_of(images: LabelledImages, params: TrainParams, device: torch.device) -> Callable[[], tuple[float, float]]:
    """Return a function that trains, and returns its seconds and the percentage spent on saving checkpoints."""

    def measure() -> tuple[float, float]:
        with tempfile.TemporaryDirectory(prefix="vae-bench-") as folder:
            checkpoint = TimedCheckpoint(Path(folder), "benchmark")
            model = mnist.new_model(device)
            seconds = timed(lambda: train(model, images, images[:0], params, lambda _: None, checkpoint), device)()
            return seconds, 100 * checkpoint.seconds / seconds

    return measure
