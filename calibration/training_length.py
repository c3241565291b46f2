"""Training length: the first epochs of one training run, fewer and fewer of them."""

from calibration.ladder import Ladder, Reading, Readings
from calibration.material import MNIST_EPOCHS, Material
from vae.diagnostics.training_length import TIMES, Forecast, judge_training_length
from vae.diagnostics.verdict import Difference, rounded

EPOCHS = (1000, 300, 100, 50, 30, 10, 5)


def read(material: Material) -> Readings:
    """Judge the run after some of its epochs, and compare the forecast with what came."""
    history = material.run.training.history
    train = [epoch.train.loss for epoch in history]
    validation = [epoch.validation.loss if epoch.validation else None for epoch in history]
    readings = {}
    for epochs in (each for each in EPOCHS if each <= len(history)):
        held_out = [loss for loss in validation[:epochs] if loss is not None]
        best = held_out.index(min(held_out)) + 1 if held_out else epochs
        verdict, expected = judge_training_length(
            train[:epochs],
            validation[:epochs],
            best,
            schedule="constant",
            kl_warmup_epochs=0,
            between=material.between_models,
        )
        losses = [loss for loss in validation if loss is not None] or train
        readings[_name(epochs)] = Reading(in_words(expected, losses, epochs, material.between_models), verdict)
    return readings


def in_words(expected: Forecast | None, losses: list[float], epochs: int, between: Difference) -> str:
    """The fall of the loss that is forecast after some of the epochs and, where the curve is long enough, that came."""
    if expected is None:
        return "no forecast"
    gain = rounded(expected.gain, ".2f", between.warning, between.failure)
    text = f"{gain} ({expected.least_gain:.2f} to {expected.greatest_gain:.2f})"
    if TIMES * epochs <= len(losses):
        text += f", came {expected.now - losses[TIMES * epochs - 1]:.2f}"
    return text


def _name(epochs: int) -> str:
    return f"{epochs:,} epochs"


LADDER = Ladder(
    title="Training length",
    degraded="The first epochs of one training run, as if it had ended there. On MNIST, the run has "
    f"{MNIST_EPOCHS} epochs, too few for a loss that no longer falls.",
    measured=f"By how many nats {TIMES} times as many epochs are expected to lower the loss, the interval of the "
    "forecast and, where the run is long enough, what came. The loss is that of validation images for the digits, and "
    "of training images for MNIST, which has no validation set here.",
    rungs=tuple(map(_name, EPOCHS)),
    read=read,
)
