"""Training length: what a longer training run would gain, by a saturating curve through the loss per epoch."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae.base.rounding import nats
from vae.diagnostics.verdict import BETWEEN_MODELS, Difference, Level, Verdict, rounded, threshold_text

TIMES = 10  # as many epochs are forecast

# The exponent b of the curve. A part of a curve hardly determines it, so it is not fitted. On curves of digits and
# MNIST, the exponent that hits the loss after ten times as many epochs is 0.49 in the median, and between 0.08 and 0.87
# in eight of ten cases (59 forecasts, from 10 to 300 epochs).
EXPONENT = 0.5
SLOWEST_EXPONENT = 0.25
FASTEST_EXPONENT = 1.0

# The curve is fitted to the last half of the epochs. A longer part has less noise, but overrates what is still to come
# when the loss has just levelled off or started to rise; on the same curves, its error is no smaller.
WINDOW = 2
GROUPS = 20  # of epochs, equally wide in log t, so that late epochs do not outweigh the bend of the curve
STANDARD_ERRORS = 2  # of the fit, by which the interval is widened
FIRST_EPOCH = 2  # the loss of the first epoch is an average over the first steps of untrained weights
LEAST_EPOCHS = 4  # that a curve is fitted to; with three, the error of its fall would be a guess

# Warning and failure are those of ``verdict.between_models``.
EARLY = 0.5  # kept epoch / last epoch, up to which more epochs do not help


class Forecast(NamedTuple):
    """The loss after a longer training run, nats per image.

    Attributes:
        loss: the expected loss.
        low: the lower end of an interval around it.
        high: the upper end.
        now: the loss of the fitted curve at the last epoch.
    """

    loss: float
    low: float
    high: float
    now: float

    @property
    def gain(self) -> float:
        """By how much the loss is expected to fall; negative if it is expected to rise."""
        return self.now - self.loss

    @property
    def least_gain(self) -> float:
        """By how much the loss falls at least, according to the interval."""
        return self.now - self.high

    @property
    def greatest_gain(self) -> float:
        """By how much the loss falls at most, according to the interval."""
        return self.now - self.low


def forecast(losses: Sequence[float], times: float = TIMES, *, after: int = 0) -> Forecast | None:
    """The loss after several times as many epochs, by a power law that falls to a limit.

        L(t) = L∞ + a·t^(-b) at epoch t, with b = 1/2

    L∞ and a are the least-squares coefficients for the last half of the epochs, averaged in groups of equal width in
    log t. The ends of the interval come from b = 1/4 (slow: much is still to come) and b = 1 (fast), each widened by
    two standard errors of the fit.

    Of 79 forecasts for ten times as many epochs, 84% of the intervals contained the loss that came, and the expected
    fall was wrong by a factor of 1.4 on average (nine runs on digits and MNIST at a constant learning rate, forecast
    from 5 to 300 epochs; the factor without the sets of 100 digits and of at most 10,000 images of MNIST, on which the
    fall comes in stages). What sets in later, such as overfitting, is beyond any such forecast.

    Args:
        losses: of each epoch from the first, nats per image.
        times: how many times as many epochs to forecast, above 1.
        after: the number of epochs at the start that are ignored, e.g. those of the KL warm-up.

    Returns:
        The forecast, or None if there are fewer than five epochs, or if more than half of them are ignored. The very
        first epoch is never used.

    Source: the family ``pow3`` of Domhan, Springenberg & Hutter 2015, table 1.
    """
    last = len(losses)
    if last < FIRST_EPOCH + LEAST_EPOCHS - 1 or after > last / WINDOW:
        return None
    first = max(FIRST_EPOCH, after + 1, min(-(-last // WINDOW), last - LEAST_EPOCHS + 1))
    if last - first + 1 < LEAST_EPOCHS:
        return None
    epochs, means = _groups(np.asarray(losses[first - 1 :], np.float64), first)
    curves = [_fitted(epochs / last, means, b, times) for b in (EXPONENT, SLOWEST_EXPONENT, FASTEST_EXPONENT)]
    now, fall, _ = curves[0]
    return Forecast(
        loss=now - fall,
        low=now - max(fall + STANDARD_ERRORS * error for _, fall, error in curves),
        high=now - min(fall - STANDARD_ERRORS * error for _, fall, error in curves),
        now=now,
    )


def judge_training_length(
    train_losses: Sequence[float],
    validation_losses: Sequence[float | None],
    best_epoch: int,
    *,
    schedule: str,
    kl_warmup_epochs: int,
    overfitting: Level = Level.HEALTHY,
    between: Difference = BETWEEN_MODELS,
) -> tuple[Verdict, Forecast | None]:
    """Judge whether a training run ten times as long would lower the loss noticeably.

    The loss is that of the trained objective: of the validation images if there are any, since only their loss shows
    whether longer training helps, otherwise of the training images. A warning takes an expected gain above its
    threshold. A failure takes a gain above its threshold even at the cautious end of the interval.

    More epochs do not help if the validation loss was lowest in the first half of the run. Apart from that, two kinds
    of run are not judged. One has a learning rate that falls: a schedule is stretched to the number of epochs, so that
    a longer run has another curve, and the end of the curve is flat only because the learning rate is low there. The
    other overfits and has no validation set: the training loss would fall further, and other images would not gain.

    Args:
        train_losses: of each epoch, nats per image.
        validation_losses: of each epoch, nats per image; all None if there is no validation set.
        best_epoch: the epoch whose weights were kept.
        schedule: of the learning rate, ``train.schedule``.
        kl_warmup_epochs: at the start, in which the objective changes.
        overfitting: the level of the verdict on overfitting.
        between: the differences of losses that matter.

    Returns:
        The verdict, and the forecast that it rests on; None if it does not rest on one.
    """
    validation = [loss for loss in validation_losses if loss is not None]
    name, losses = ("validation", validation) if validation else ("training", list(train_losses))
    epochs, level, expected = len(losses), Level.NOT_JUDGED, None
    if validation and kl_warmup_epochs < best_epoch <= EARLY * epochs:
        level = Level.HEALTHY
        finding = f"the validation loss was lowest after {best_epoch:,} of {epochs:,} epochs; more do not lower it"
    elif schedule != "constant":
        finding = f"the learning rate falls over the epochs (train.schedule={schedule}), which hides what more would do"
    elif not validation and overfitting in {Level.WARNING, Level.FAILURE}:
        finding = (
            "the model overfits, so that a lower training loss is no gain; a validation set "
            "(prepare.validation_fraction) would show the best number of epochs"
        )
    elif (expected := forecast(losses, after=kl_warmup_epochs)) is None:
        warmup = f", of which {kl_warmup_epochs:,} are the KL warm-up" if kl_warmup_epochs else ""
        finding = f"too few epochs to judge: {epochs:,}{warmup}"
    else:
        level = _grade(expected, between)
        finding = _in_words(expected, name, TIMES * epochs, between)
    advice = "more train.epochs, or a higher train.learning_rate with train.schedule=cosine"
    if not validation:
        advice += "; prepare.validation_fraction shows whether images outside the training set gain as well"
    verdict = Verdict(
        subject="training length",
        level=level,
        finding=finding,
        criterion=(
            f"{TIMES} times as many epochs would lower the loss by at most {threshold_text(between.warning)} nats; "
            f"failure if even the least gain of the interval is above {threshold_text(between.failure)} nats; "
            f"{between.source}"
        ),
        advice=advice if level in {Level.WARNING, Level.FAILURE} else "",
    )
    return verdict, expected


def _grade(expected: Forecast, between: Difference) -> Level:
    if expected.gain <= between.warning:
        return Level.HEALTHY
    return Level.FAILURE if expected.least_gain > between.failure else Level.WARNING


def _in_words(expected: Forecast, name: str, epochs: int, between: Difference) -> str:
    if expected.gain <= 0:
        return f"the {name} loss of {nats(expected.now)} nats is no longer falling"
    least = rounded(expected.least_gain, ".2f", between.failure)
    return (
        f"{epochs:,} epochs would lower the {name} loss of {nats(expected.now)} nats by about "
        f"{rounded(expected.gain, '.2f', between.warning)} nats ({least} to {expected.greatest_gain:.2f})"
    )


def _groups(losses: NDArray[np.float64], first: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The geometric mean epoch and the mean loss of groups of epochs that are equally wide in log t."""
    epochs = np.arange(first, first + len(losses), dtype=np.float64)
    position = np.log(epochs / first) / np.log((epochs[-1] + 1) / first)  # from 0 to below 1
    _, groups, counts = np.unique((position * GROUPS).astype(np.int64), return_inverse=True, return_counts=True)
    means = (np.bincount(groups, values) / counts for values in (np.log(epochs), losses))
    return np.exp(next(means)), next(means)


def _fitted(
    share: NDArray[np.float64], losses: NDArray[np.float64], exponent: float, times: float
) -> tuple[float, float, float]:
    """Fit L(s) = L∞ + a·s^(-b) to losses at shares s of the epochs.

    Returns:
        L(1), the fall L(1) - L(times), and the standard error of the fall.
    """
    powers = share**-exponent
    centred = powers - powers.mean()
    spread = centred @ centred
    a = (centred @ losses) / spread
    residuals = losses - losses.mean() - a * centred
    error = np.sqrt(residuals @ residuals / (len(losses) - 2) / spread)
    now = losses.mean() + a * (1 - powers.mean())
    fall = 1 - times**-exponent
    return float(now), float(a * fall), float(error * fall)
