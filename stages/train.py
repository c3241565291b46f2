"""Stage 2: training images to a model."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from stages import entry, paths
from vae.base import runtime
from vae.base.artifacts import write_csv, write_json
from vae.base.params import Params
from vae.data.images import load_images
from vae.model.architecture import Architecture
from vae.model.model_file import save_model
from vae.model.objective import Losses
from vae.model.vae import VAE
from vae.training.checkpoint import Checkpoint, identity, loaded_code
from vae.training.loop import Epoch, train

log = logging.getLogger(__name__)


def main(params: Params) -> None:
    """Train the model; write the best epoch's weights, its losses, and the history of all epochs."""
    data, validation = load_images(paths.TRAIN_IMAGES), load_images(paths.VALIDATION_IMAGES)
    device = runtime.device()
    with runtime.seeded(params.train.seed, "initial weights"):
        model = VAE(Architecture(image_shape=data.shape, **params.model.model_dump()))
    log.info("%d training images, %d validation images", len(data), len(validation))

    checkpoint = Checkpoint(paths.CHECKPOINTS, run_identity(params, device))
    training = train(model.to(device), data, validation, params.train, report, checkpoint)

    save_model(paths.MODEL, model)
    best = training.best
    write_json(paths.HISTORY, {"best_epoch": best.number, "epochs": table(training.history)})
    losses = {"train_loss": best.train.loss, "validation_loss": best.validation.loss if best.validation else None}
    write_json(paths.METRICS / "train.json", {"best_epoch": best.number, **losses})
    checkpoint.discard()
    log.info("kept the weights of epoch %d: %s", best.number, in_words(best))


def run_identity(params: Params, device: torch.device) -> str:
    """A digest of all that the outcome depends on: parameters, data, this project's code, and the machine."""
    settings = {"model": params.model.model_dump(), "train": params.train.model_dump(), **runtime.machine(device)}
    return identity(
        settings, [paths.TRAIN_IMAGES, paths.VALIDATION_IMAGES, Path(__file__), *loaded_code("vae", "stages")]
    )


def report(history: Sequence[Epoch]) -> None:
    """Rewrite the losses of all epochs so far, so that a run can be watched."""
    columns = table(history)
    write_csv(paths.LOSSES, list(columns), zip(*columns.values(), strict=True))
    if not sys.stderr.isatty():  # where the progress bar is not shown
        log.info("epoch %d: %s", history[-1].number, in_words(history[-1]))


def table(history: Sequence[Epoch]) -> dict[str, list[float | None]]:
    """What was reported of each epoch, by columns; None where there is no validation set."""
    columns: dict[str, list[float | None]] = {"epoch": [epoch.number for epoch in history]}
    for term in Losses._fields:
        columns[f"train_{term}"] = [getattr(epoch.train, term) for epoch in history]
    columns["gradient_norm"] = [epoch.gradient_norm for epoch in history]
    for term in Losses._fields:
        columns[f"validation_{term}"] = [getattr(epoch.validation, term, None) for epoch in history]
    return columns


def in_words(epoch: Epoch) -> str:
    """The losses of an epoch in one line."""
    parts = [("training", epoch.train), ("validation", epoch.validation)]
    return "; ".join(
        f"{name} loss {losses.loss:.2f}, reconstruction {losses.reconstruction:.2f}, KL {losses.kl:.2f} nats per image"
        for name, losses in parts
        if losses is not None
    )


if __name__ == "__main__":
    entry.run(main)
