from math import exp

import numpy as np
import pytest
import torch
from torch import Tensor

from vae.diagnostics.fit import (
    end_slope,
    judge_convergence,
    judge_inference_gap,
    judge_overfitting,
    overfitting_gap,
)
from vae.diagnostics.verdict import Level


def losses(mean: float, spread: float, count: int = 20) -> Tensor:
    """Losses of exactly this mean and population standard deviation."""
    return mean + spread * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(count // 2)


def test_overfitting_gap_is_in_nats_and_in_standard_deviations_of_the_test_images() -> None:
    gap = overfitting_gap(losses(100, 77), losses(103, 20))
    assert gap.nats == pytest.approx(3, rel=1e-12)
    assert gap.effect_size == pytest.approx(0.15, rel=1e-12)


@pytest.mark.parametrize(
    ("effect", "level"),
    [
        (-1.0, Level.HEALTHY),
        (0.0, Level.HEALTHY),
        (0.1999, Level.HEALTHY),
        (0.2001, Level.WARNING),
        (0.4999, Level.WARNING),
        (0.5001, Level.FAILURE),
    ],
)
def test_overfitting_verdict_is_graded_by_effect_size(effect: float, level: Level) -> None:
    verdict = judge_overfitting(losses(100, 3), losses(100 + 8 * effect, 8))
    assert verdict.subject == "overfitting"
    assert verdict.level is level
    assert ("train.weight_decay" in verdict.advice) is (level is not Level.HEALTHY)
    assert "Cohen 1988" in verdict.criterion


def test_overfitting_finding_names_the_gap_and_the_effect_size() -> None:
    assert "3.00 nats higher" in (finding := judge_overfitting(losses(100, 3), losses(103, 20)).finding)
    assert "0.15 standard deviations" in finding
    assert "3.00 nats lower" in judge_overfitting(losses(103, 3), losses(100, 20)).finding


def test_overfitting_finding_has_no_minus_before_an_effect_size_of_zero() -> None:
    assert " 0.00 standard deviations" in judge_overfitting(losses(100.01, 3), losses(100, 20)).finding


@pytest.mark.parametrize(("epochs", "last"), [(3, 3), (5, 3), (12, 3), (15, 3), (16, 4), (40, 10), (2, 2)])
def test_end_slope_is_that_of_a_least_squares_line_through_the_last_quarter(epochs: int, last: int) -> None:
    values = np.random.default_rng(0).standard_normal(epochs)
    expected = np.polyfit(np.arange(last), values[-last:], deg=1)[0]
    assert end_slope(values.tolist()) == pytest.approx(expected, rel=1e-9)


def test_end_slope_of_a_single_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="two data points"):
        end_slope([1.0])


def curve(further_fall: float) -> list[float]:
    """A loss that falls by 100 nats in 40 epochs, and by this share of them in 4 more epochs at its final slope."""
    end = [further_fall * 100 / 4 * epoch for epoch in range(9, -1, -1)]
    fall_before = 100 - end[0]
    return [100 + fall_before * (1 - epoch / 30) + end[0] for epoch in range(30)] + [100 + value for value in end]


@pytest.mark.parametrize(
    ("further_fall", "level"),
    [
        (-0.05, Level.HEALTHY),
        (0.0, Level.HEALTHY),
        (0.0099, Level.HEALTHY),
        (0.0101, Level.WARNING),
        (0.0299, Level.WARNING),
        (0.0301, Level.FAILURE),
    ],
)
def test_training_length_verdict_is_graded_by_the_expected_further_fall_of_the_loss(
    further_fall: float, level: Level
) -> None:
    values = curve(further_fall)
    assert len(values) == 40
    assert values[0] - values[-1] == pytest.approx(100)
    verdict = judge_convergence(values)
    assert verdict.subject == "training length"
    assert verdict.level is level
    assert ("train.epochs" in verdict.advice) is (level is not Level.HEALTHY)
    assert ("no longer falling" in verdict.finding) is (further_fall <= 0)


def test_training_length_finding_names_the_expected_further_fall_of_the_loss() -> None:
    finding = judge_convergence(curve(0.02)).finding
    for words in ("10% more epochs", "about 2.00 nats", "2.0%", "100.00 nats", "40 epochs"):
        assert words in finding


@pytest.mark.parametrize(("epochs", "level"), [(200, Level.HEALTHY), (10, Level.FAILURE)])
def test_training_length_is_healthy_after_ten_time_constants_of_an_exponential_fall_and_a_failure_after_half(
    epochs: int, level: Level
) -> None:
    assert judge_convergence([100 + 80 * exp(-epoch / 20) for epoch in range(epochs)]).level is level


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "too few epochs to judge: 0"),
        ([9.0, 5.0, 3.0, 1.0], "too few epochs to judge: 4"),
        ([5.0, 4.0, 3.0, 4.0, 5.0], "did not fall in 5 epochs"),
        ([5.0, 5.0, 5.0, 5.0, 6.0], "did not fall in 5 epochs"),
        ([5.0, 5.0, 5.0, 5.0, float("nan")], "did not fall in 5 epochs"),
    ],
)
def test_training_length_is_not_judged_without_five_epochs_in_which_the_loss_fell(
    values: list[float], words: str
) -> None:
    verdict = judge_convergence(values)
    assert verdict.level is Level.NOT_JUDGED
    assert words in verdict.finding
    assert not verdict.advice


def test_training_length_is_judged_from_five_epochs_on() -> None:
    assert judge_convergence([9.0, 5.0, 3.0, 3.0, 3.0]).level is Level.HEALTHY


@pytest.mark.parametrize(
    ("gap", "kl", "level"),
    [
        (0.0, 20.0, Level.HEALTHY),
        (6.99, 20.0, Level.HEALTHY),
        (7.01, 20.0, Level.WARNING),
        (13.99, 20.0, Level.WARNING),
        (14.01, 20.0, Level.FAILURE),
        (0.349, 0.01, Level.HEALTHY),  # a KL below one nat counts as one nat
        (0.351, 0.01, Level.WARNING),
        (0.701, 0.01, Level.FAILURE),
    ],
)
def test_inference_gap_verdict_is_graded_by_the_gap_as_a_share_of_the_kl(gap: float, kl: float, level: Level) -> None:
    verdict = judge_inference_gap(100 + gap, 100, kl)
    assert verdict.subject == "inference gap"
    assert verdict.level is level
    assert ("train.importance_samples" in verdict.advice) is (level is not Level.HEALTHY)
    assert "Cremer" in verdict.criterion


def test_inference_gap_finding_names_the_gap_in_nats_and_as_a_share_of_the_kl() -> None:
    finding = judge_inference_gap(104, 99, 25).finding
    for words in ("5.00 nats", "20%", "25.00 nats"):
        assert words in finding
