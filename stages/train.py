"""Stage 2: training images to a model."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from stages import entry, paths
from vae import runtime
from vae.artifacts import write_csv, write_json
from vae.checkpoints import save_model
from vae.datasets import load_images
from vae.model import VAE, Architecture
from vae.params import Params
from vae.resumption import Resumption, identity, loaded_code
from vae.training import Epoch, Terms, train

log = logging.getLogger(__name__)


def main(params: Params) -> None:
    """Train the model; write the best epoch's weights, its losses, and the history of all epochs."""
    data, validation = load_images(paths.TRAIN_IMAGES), load_images(paths.VALIDATION_IMAGES)
    device = runtime.device()
    with runtime.seeded(params.train.seed, "initial weights"):
        model = VAE(Architecture(image_shape=data.shape, **params.model.model_dump()))
    log.info("training on %s: %d images, %d for validation", device, len(data), len(validation))

    resumption = Resumption(paths.RESUMPTION, run_identity(params, device))
    training = train(model.to(device), data, validation, params.train, report, resumption)

    save_model(paths.MODEL, model)
    best = training.best
    losses = {"train_loss": best.train.loss, "validation_loss": best.validation.loss if best.validation else None}
    write_json(paths.TRAINING, {"best_epoch": best.number, **losses})
    resumption.discard()
    log.info("kept the weights of epoch %d: %s", best.number, in_words(best))


def run_identity(params: Params, device: torch.device) -> str:
    """A digest of all that the outcome depends on: parameters, data, this project's code, and the machine."""
    settings = {"model": params.model.model_dump(), "train": params.train.model_dump(), **runtime.machine(device)}
    return identity(
        settings, [paths.TRAIN_IMAGES, paths.VALIDATION_IMAGES, Path(__file__), *loaded_code("vae", "stages")]
    )


def report(history: Sequence[Epoch]) -> None:
    """Rewrite the losses of all epochs so far, so that a run can be watched."""
    columns = ["epoch", *(f"{split}_{term}" for split in ("train", "validation") for term in Terms._fields)]
    missing = (None,) * len(Terms._fields)
    write_csv(
        paths.LOSSES,
        columns,
        [(epoch.number, *epoch.train, *(epoch.validation or missing)) for epoch in history],
    )
    if not sys.stderr.isatty():  # where the progress bar is not shown
        log.info("epoch %d: %s", history[-1].number, in_words(history[-1]))


def in_words(epoch: Epoch) -> str:
    """The losses of an epoch in one line."""
    parts = [("training", epoch.train), ("validation", epoch.validation)]
    return "; ".join(
        f"{name} loss {terms.loss:.2f}, reconstruction {terms.reconstruction:.2f}, KL {terms.kl:.2f} nats per image"
        for name, terms in parts
        if terms is not None
    )


if __name__ == "__main__":
    entry.run(main)
