"""Stage 2: a model, trained on the training images."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import torch

from stages import entry, paths
from vae.base import runtime
from vae.base.artifacts import write_csv, write_json
from vae.base.params import Params, TrainParams
from vae.data.images import LabelledImages, fingerprint, load_images
from vae.model.architecture import Architecture
from vae.model.model_file import Origin, save_model
from vae.model.objective import Losses
from vae.model.vae import VAE
from vae.training.checkpoint import Checkpoint, identity, loaded_code
from vae.training.loop import Epoch, Training, train

log = logging.getLogger(__name__)

SECONDS_BETWEEN_WRITES = 1.0
EPOCHS_LOGGED = 20  # approximate number of log lines, for any number of epochs
MNIST_RECIPE = 30 * 60_000  # images that recipes/mnist trains on, over all epochs
LONG_TRAINING = 10 * MNIST_RECIPE


def main(params: Params) -> None:
    """Train the model; write the weights and losses of the best epoch, and the history of all epochs."""
    data, validation = load_images(paths.TRAIN_IMAGES), load_images(paths.VALIDATION_IMAGES)
    device = runtime.device()
    with runtime.seeded(params.train.seed, "initial weights"):
        model = VAE(Architecture(image_shape=data.shape, **params.model.model_dump()))
    log.info("%d training images, %d validation images", len(data), len(validation))
    warn_of_long_training(len(data), params)
    warn_of_slow_precision(params, device)

    checkpoint = Checkpoint(paths.CHECKPOINTS, run_identity(params, device))
    training = train(model.to(device), data, validation, params.train, Report(params.train.epochs), checkpoint)

    save_model(paths.MODEL, model, origin_of(data))
    best = training.best
    write_json(paths.HISTORY, whole_history(training, params.train), checked=True)
    metrics = {
        "best_epoch": best.number,
        "train_loss": best.train.loss,
        "validation_loss": best.validation.loss if best.validation else None,
        "validation_loss_se": best.validation_loss_se,
    }
    write_json(paths.METRICS / "train.json", metrics)
    checkpoint.discard()
    log.info("kept the weights of epoch %d: %s", best.number, in_words(best))


def origin_of(data: LabelledImages) -> Origin | None:
    """What the model file says of the training images; nothing if they do not say how they were prepared."""
    if data.preparation is None:
        return None
    return Origin(preparation=data.preparation, training_images=fingerprint(data))


def warn_of_long_training(images: int, params: Params) -> None:
    """Warn if the number of epochs was probably meant for a smaller data set."""
    if images * params.train.epochs > LONG_TRAINING:
        log.warning(
            "This will take long: %s epochs of %s images. The number of epochs in params.yaml is meant for the small "
            "digits; for MNIST and its relatives use $(cat recipes/mnist), or set train.epochs.",
            f"{params.train.epochs:,}",
            f"{images:,}",
        )


def warn_of_slow_precision(params: Params, device: torch.device) -> None:
    """Warn if the processor has to imitate bfloat16."""
    if params.train.precision == "bfloat16" and not runtime.has_bfloat16(device):
        log.warning(
            "This processor has no instructions for bfloat16, so training is several times slower than in float32. "
            "Use train.precision=float32."
        )


def run_identity(params: Params, device: torch.device) -> str:
    """A digest of everything that the result depends on: parameters, data, the project's code, and the machine."""
    settings = {"model": params.model.model_dump(), "train": params.train.model_dump(), **runtime.machine(device)}
    return identity(
        settings, [paths.TRAIN_IMAGES, paths.VALIDATION_IMAGES, Path(__file__), *loaded_code("vae", "stages")]
    )


class Report:
    """Write the losses of all epochs so far, after each epoch, so that a run can be watched.

    The file is rewritten at most once a second, since epochs may be much shorter, and always after the last epoch.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.next_write = 0.0

    def __call__(self, history: Sequence[Epoch]) -> None:
        """Write the losses so far, and log those of the last epoch if it is one of the logged ones."""
        number = len(history)
        if number == self.epochs or monotonic() >= self.next_write:
            columns = table(history)
            write_csv(paths.LOSSES, list(columns), zip(*columns.values(), strict=True))
            self.next_write = monotonic() + SECONDS_BETWEEN_WRITES
        shown = number in (1, self.epochs) or number % max(1, self.epochs // EPOCHS_LOGGED) == 0
        if shown and not sys.stderr.isatty():  # no progress bar is shown
            log.info("epoch %d: %s", number, in_words(history[-1]))


def whole_history(training: Training, settings: TrainParams) -> dict[str, object]:
    """The losses of each epoch, the epoch whose weights were kept, and what is needed to judge the training length."""
    return {
        "best_epoch": training.best.number,
        "schedule": settings.schedule,
        "kl_warmup_epochs": settings.kl_warmup_epochs,
        "epochs": table(training.history),
    }


def table(history: Sequence[Epoch]) -> dict[str, list[float | None]]:
    """The losses of each epoch as columns, with None if there is no validation set."""
    columns: dict[str, list[float | None]] = {"epoch": [epoch.number for epoch in history]}
    for term in Losses._fields:
        columns[f"train_{term}"] = [getattr(epoch.train, term) for epoch in history]
    columns["gradient_norm"] = [epoch.gradient_norm for epoch in history]
    if any(epoch.skipped_steps is not None for epoch in history):
        columns["skipped_steps"] = [epoch.skipped_steps for epoch in history]
    for term in Losses._fields:
        columns[f"validation_{term}"] = [getattr(epoch.validation, term, None) for epoch in history]
    return columns


def in_words(epoch: Epoch) -> str:
    """The losses of an epoch in one line."""
    parts = [("training", epoch.train), ("validation", epoch.validation)]
    words = [
        f"{name} loss {losses.loss:.2f}, reconstruction {losses.reconstruction:.2f}, KL {losses.kl:.2f} nats per image"
        for name, losses in parts
        if losses is not None
    ]
    skipped = [f"{epoch.skipped_steps:.1%} of steps skipped"] if epoch.skipped_steps else []
    return "; ".join([*words, *skipped])


if __name__ == "__main__":
    entry.run(main, sys.argv[1:], shards=lambda params: params.train.shards)
