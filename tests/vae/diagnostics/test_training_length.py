from collections.abc import Sequence
from math import log

import numpy as np
import pytest

from vae.diagnostics.training_length import Forecast, forecast, judge_training_length
from vae.diagnostics.verdict import Level, Verdict


def falling(epochs: int, gain: float, exponent: float = 0.5, limit: float = 100.0) -> list[float]:
    """A loss that falls to a limit by a power law, and by this many nats between one and ten times the epochs."""
    scale = gain / (1 - 10**-exponent)
    return [limit + scale * (epoch / epochs) ** -exponent for epoch in range(1, epochs + 1)]


def judged(
    train: Sequence[float],
    validation: Sequence[float] | None = None,
    *,
    best: int | None = None,
    schedule: str = "constant",
    warmup: int = 0,
    overfitting: Level = Level.HEALTHY,
) -> Verdict:
    verdict, _ = judge_training_length(
        train,
        validation if validation is not None else [None] * len(train),
        len(train) if best is None else best,
        schedule=schedule,
        kl_warmup_epochs=warmup,
        overfitting=overfitting,
    )
    return verdict


def predicted(losses: Sequence[float], times: float = 10, after: int = 0) -> Forecast:
    result = forecast(losses, times, after=after)
    assert result is not None
    return result


@pytest.mark.parametrize("epochs", [5, 10, 30, 100, 1000])
@pytest.mark.parametrize("times", [2, 10])
def test_forecast_continues_a_curve_of_its_own_family_exactly(epochs: int, times: float) -> None:
    longer = falling(epochs * 10, 1.0)
    expected = predicted(longer[:epochs], times)
    # Means over groups of epochs bend the curve a little: by less than 2% of the gain.
    tolerance = 0.02 * (longer[epochs - 1] - longer[epochs * int(times) - 1])
    assert expected.now == pytest.approx(longer[epochs - 1], abs=tolerance)
    assert expected.loss == pytest.approx(longer[epochs * int(times) - 1], abs=tolerance)


@pytest.mark.parametrize("exponent", [0.35, 0.5, 0.75])
@pytest.mark.parametrize("epochs", [10, 100, 1000])
def test_interval_contains_the_loss_of_slower_and_of_faster_curves(epochs: int, exponent: float) -> None:
    longer = falling(epochs * 10, 1.0, exponent)
    expected = predicted(longer[:epochs])
    assert expected.low <= longer[-1] <= expected.high
    assert expected.low < expected.loss < expected.high


def test_gains_are_the_falls_from_the_end_of_the_fitted_curve() -> None:
    expected = Forecast(loss=98.0, low=95.0, high=99.5, now=100.0)
    assert (expected.gain, expected.least_gain, expected.greatest_gain) == (2.0, 0.5, 5.0)


def test_noise_widens_the_interval_and_moves_the_forecast_little() -> None:
    clean = falling(300, 1.0)
    noisy = (np.array(clean) + np.random.default_rng(0).normal(0, 0.3, 300)).tolist()
    expected, disturbed = predicted(clean), predicted(noisy)
    assert disturbed.loss == pytest.approx(expected.loss, abs=0.3)
    assert disturbed.high - disturbed.low > expected.high - expected.low


def test_interval_of_a_level_curve_with_noise_contains_a_gain_of_zero_in_about_nine_of_ten_cases() -> None:
    cases = [predicted((100 + np.random.default_rng(seed).normal(0, 0.3, 300)).tolist()) for seed in range(100)]
    assert sum(case.least_gain <= 0 <= case.greatest_gain for case in cases) >= 85
    assert np.mean([case.gain for case in cases]) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("shift", [-1000.0, 0.0, 1000.0])
@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_forecast_follows_a_shift_and_a_change_of_scale_of_the_losses(shift: float, scale: float) -> None:
    losses = falling(50, 1.0, exponent=0.7)
    expected = predicted(losses)
    moved = predicted([shift + scale * loss for loss in losses])
    assert moved == pytest.approx([shift + scale * value for value in expected], rel=1e-9)


def test_forecast_depends_on_the_last_half_of_the_epochs_alone() -> None:
    losses = falling(100, 1.0)
    assert predicted([1e6] * 49 + losses[49:]) == predicted(losses)
    assert predicted([1e6] * 50 + losses[50:]) != predicted(losses)


def test_forecast_takes_four_epochs_at_least_but_never_the_first_one() -> None:
    losses = falling(5, 1.0)
    assert predicted([1e6, *losses[1:]]) == predicted(losses)
    assert predicted([losses[0], 1e6, *losses[2:]]) != predicted(losses)


def test_forecast_ignores_the_epochs_that_it_is_told_to_ignore() -> None:
    losses = falling(100, 1.0)
    assert predicted([1e6] * 40 + losses[40:], after=40) == predicted(losses, after=40)


@pytest.mark.parametrize(
    ("epochs", "after", "possible"),
    [
        (0, 0, False),
        (1, 0, False),
        (4, 0, False),
        (5, 0, True),
        (7, 3, True),
        (6, 3, False),
        (100, 50, True),
        (100, 51, False),
    ],
)
def test_there_is_a_forecast_from_five_epochs_on_of_which_at_most_half_are_ignored(
    epochs: int, after: int, possible: bool
) -> None:
    assert (forecast(falling(epochs, 1.0), after=after) is not None) is possible


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize(
    ("gain", "level"),
    [(0.0, Level.HEALTHY), (0.7, Level.HEALTHY), (0.9, Level.WARNING), (3.0, Level.WARNING), (5.0, Level.FAILURE)],
)
def test_training_length_is_graded_by_the_gain_of_ten_times_as_many_epochs(
    gain: float, level: Level, validated: bool
) -> None:
    """The least gain is the one that a curve with b = 1 promises: about half of the expected one."""
    losses = falling(100, gain)
    verdict = judged([1000.0] * 100, losses) if validated else judged(losses)
    assert verdict.subject == "training length"
    assert verdict.level is level
    assert f"the {'validation' if validated else 'training'} loss" in verdict.finding
    assert ("train.epochs" in verdict.advice) is (level is not Level.HEALTHY)
    assert ("prepare.validation_fraction" in verdict.advice) is (level is not Level.HEALTHY and not validated)
    assert "0.8 nats" in verdict.criterion


def test_finding_names_the_epochs_the_loss_and_the_gain_with_its_interval() -> None:
    losses = falling(100, 1.5)
    expected = predicted(losses)
    finding = judged(losses).finding
    for words in (
        "1,000 epochs",
        f"the training loss of {expected.now:.2f} nats",
        f"about {expected.gain:.2f} nats ({expected.least_gain:.2f} to {expected.greatest_gain:.2f})",
    ):
        assert words in finding


def test_a_loss_that_rises_again_after_a_steep_fall_is_no_reason_to_train_longer() -> None:
    """As the validation loss of a model that starts to overfit, whose epoch of lowest loss is in the second half."""
    curve = [100 + 30 * (60 / epoch) + 0.3 * epoch for epoch in range(1, 121)]
    best = curve.index(min(curve)) + 1
    assert best > 60
    assert judged(curve, curve, best=best).level is Level.HEALTHY


def test_a_rising_validation_loss_is_no_reason_to_train_longer() -> None:
    rising = [100 + 5 * log(epoch) for epoch in range(1, 101)]
    verdict = judged(falling(100, 10.0), rising, best=90)
    assert verdict.level is Level.HEALTHY
    assert "no longer falling" in verdict.finding


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_more_epochs_do_not_help_if_the_kept_epoch_is_in_the_first_half(schedule: str) -> None:
    losses = falling(100, 10.0)
    verdict = judged(losses, losses, best=50, schedule=schedule)
    assert verdict.level is Level.HEALTHY
    assert "lowest after 50 of 100 epochs" in verdict.finding
    assert judged(losses, losses, best=51).level is Level.FAILURE


def test_without_validation_images_the_kept_epoch_says_nothing_about_the_training_length() -> None:
    assert judged(falling(100, 10.0), best=10).level is Level.FAILURE


@pytest.mark.parametrize("level", [Level.WARNING, Level.FAILURE])
def test_a_model_that_overfits_is_judged_by_its_validation_loss_or_not_at_all(level: Level) -> None:
    losses = falling(100, 10.0)
    verdict = judged(losses, overfitting=level)
    assert verdict.level is Level.NOT_JUDGED
    assert "overfits" in verdict.finding
    assert not verdict.advice
    assert judged(losses, losses, overfitting=level) == judged(losses, losses)


@pytest.mark.parametrize("level", [Level.HEALTHY, Level.NOT_JUDGED])
def test_the_training_loss_is_judged_unless_the_model_is_known_to_overfit(level: Level) -> None:
    assert judged(falling(100, 10.0), overfitting=level).level is Level.FAILURE


@pytest.mark.parametrize("schedule", ["cosine", "eight_stages"])
def test_a_run_with_a_falling_learning_rate_is_not_judged(schedule: str) -> None:
    verdict = judged(falling(100, 10.0), schedule=schedule)
    assert verdict.level is Level.NOT_JUDGED
    assert f"train.schedule={schedule}" in verdict.finding
    assert not verdict.advice


def test_epochs_of_the_kl_warm_up_are_not_judged() -> None:
    rising = [epoch / 2 for epoch in range(40)]
    assert judged(rising + falling(100, 10.0)[40:], warmup=40).level is Level.FAILURE
    verdict = judged(falling(100, 10.0), warmup=80)
    assert verdict.level is Level.NOT_JUDGED
    assert "100, of which 80 are the KL warm-up" in verdict.finding


def test_training_length_is_not_judged_with_four_epochs() -> None:
    verdict = judged(falling(4, 10.0))
    assert verdict.level is Level.NOT_JUDGED
    assert verdict.finding == "too few epochs to judge: 4"


# Losses of the first thirty epochs: of digits (validation, the committed parameters) and of MNIST (training,
# recipes/mnist).
DIGITS = (
    "33.44 29.77 28.65 28.09 27.73 27.42 27.17 26.88 26.59 26.39 26.23 26.00 25.86 25.73 25.66 25.58 25.51 25.46 25.45 "
    "25.36 25.29 25.22 25.19 25.15 25.12 25.07 25.04 24.98 24.98 24.91"
)
MNIST = (
    "165.43 122.03 114.81 111.79 110.10 108.86 108.09 107.36 106.81 106.38 106.02 105.69 105.39 105.20 104.89 104.75 "
    "104.50 104.40 104.24 104.08 103.93 103.83 103.69 103.65 103.47 103.38 103.25 103.20 103.11 103.04"
)


@pytest.mark.parametrize(
    ("text", "epochs", "came"),
    [(DIGITS, 10, 24.47), (DIGITS, 30, 24.12), (MNIST, 5, 101.95), (MNIST, 10, 100.65), (MNIST, 20, 99.59)],
)
def test_interval_contains_what_came_after_ten_times_as_many_epochs_of_digits_and_mnist(
    text: str, epochs: int, came: float
) -> None:
    expected = predicted([float(loss) for loss in text.split()][:epochs])
    assert expected.low <= came <= expected.high


@pytest.mark.parametrize(
    ("text", "epochs", "level"),
    [
        (DIGITS, 10, Level.WARNING),
        (DIGITS, 30, Level.WARNING),
        (MNIST, 5, Level.FAILURE),
        (MNIST, 10, Level.FAILURE),
        (MNIST, 30, Level.WARNING),
    ],
)
def test_short_runs_on_digits_and_mnist_are_told_to_train_longer(text: str, epochs: int, level: Level) -> None:
    assert judged([float(loss) for loss in text.split()][:epochs]).level is level
