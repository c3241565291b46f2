from math import nan

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vae.diagnostics.classification import (
    balance,
    balance_standard_error,
    class_shares,
    is_trusted,
    judge_classes,
    least_balance,
    unclear_share,
)
from vae.diagnostics.verdict import Level

PROBABILITIES = torch.tensor(
    [[0.5, 0.25, 0.25, 0], [0.05, 0.9, 0.05, 0], [1, 0, 0, 0], [0.11, 0, 0.89, 0]], dtype=torch.float64
)
REFERENCE = np.array([0.1, 0.2, 0.3, 0.4])


def counted(draws: int, images: int, shares: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """The shares of classes among random images, one row for each draw."""
    drawn: NDArray[np.float64] = np.random.default_rng(seed).multinomial(images, shares, size=draws) / images
    return drawn


def test_class_shares_are_the_shares_of_the_most_probable_classes() -> None:
    assert class_shares(PROBABILITIES).tolist() == [0.5, 0.25, 0.25, 0]


def test_unclear_images_are_those_with_a_top_probability_below_nine_tenths() -> None:
    assert unclear_share(PROBABILITIES) == 0.5


@pytest.mark.parametrize(
    ("shares", "reference", "expected"),
    [
        ([0.1, 0.2, 0.7], [0.1, 0.2, 0.7], 1),
        ([1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], 0.25),  # a single class of four
        ([0.5, 0.5, 0], [0, 0, 1], 0),
        ([0.5, 0.3, 0.2], [0.4, 0.2, 0.4], 0.8),
    ],
)
def test_balance_is_the_overlap_of_two_distributions_over_classes(
    shares: list[float], reference: list[float], expected: float
) -> None:
    overlap = balance(np.array(shares), np.array(reference))
    assert overlap == pytest.approx(expected)
    assert overlap == pytest.approx(np.minimum(shares, reference).sum())


def test_the_standard_error_of_the_balance_agrees_with_the_spread_over_many_draws() -> None:
    shares = np.array([0.4, 0.35, 0.15, 0.1])
    pairs = zip(counted(4000, 500, shares, 1), counted(4000, 300, REFERENCE, 2), strict=True)
    spread = np.std([balance(*pair) for pair in pairs])
    assert balance_standard_error(shares, REFERENCE, 500, 300) == pytest.approx(spread, rel=0.05)


@pytest.mark.parametrize(
    ("classes", "samples", "images"), [(2, 100, 100), (10, 359, 359), (10, 10_000, 500), (100, 500, 500)]
)
def test_real_images_reach_the_least_balance_in_about_97_percent_of_draws(
    classes: int, samples: int, images: int
) -> None:
    reference = np.full(classes, 1 / classes)
    pairs = zip(counted(2000, samples, reference, 1), counted(2000, images, reference, 2), strict=True)
    reached = np.mean([balance(*pair) >= least_balance(reference, samples, images) for pair in pairs])
    assert 0.94 < reached < 0.995


def test_the_least_balance_approaches_one_with_the_number_of_images() -> None:
    shortfalls = [1 - least_balance(REFERENCE, count, count) for count in (100, 10_000)]
    assert shortfalls[0] == pytest.approx(10 * shortfalls[1])
    assert least_balance(np.array([1.0]), 5, 5) == 1


@pytest.mark.parametrize(
    ("balance", "unclear", "level", "advice"),
    [
        (0.97, 0.04, Level.HEALTHY, []),
        (0.97, 0.0, Level.HEALTHY, []),
        (0.91, 0.12, Level.HEALTHY, []),
        (0.84, 0.04, Level.WARNING, ["missing classes"]),
        (0.97, 0.15, Level.WARNING, ["samples of no clear class"]),
        (0.65, 0.15, Level.FAILURE, ["missing classes", "samples of no clear class"]),
        (0.97, 0.3, Level.FAILURE, ["samples of no clear class"]),
    ],
)
def test_classes_verdict_is_graded_by_balance_and_by_the_excess_of_unclear_samples(
    balance: float, unclear: float, level: Level, advice: list[str]
) -> None:
    verdict = judge_classes(balance, unclear, real_unclear=0.04, accuracy=0.976, least_balance=0.9)
    assert verdict.subject == "classes of samples"
    assert verdict.level is level
    assert verdict.advice.count("for ") == len(advice)
    assert all(f"for {words}" in verdict.advice for words in advice)


def test_classes_finding_states_the_unclear_shares_in_words() -> None:
    finding = judge_classes(0.9, 0.58, real_unclear=0.047, accuracy=0.986, least_balance=0.96).finding
    assert finding.startswith(
        "58% of the samples are no clear member of any class (top probability below 0.9); of test images 4.7%, an "
    )
    assert "class balance 0.90 (94% of the 0.96" in finding
    assert "accuracy of 98.6%" in finding


def test_classes_finding_does_not_round_a_measure_to_the_threshold_that_it_misses() -> None:
    verdict = judge_classes(0.947, 0.1004, real_unclear=0.0, accuracy=0.9)
    assert verdict.level is Level.WARNING
    assert "(94.7% of the 1.00" in verdict.finding
    assert "excess of 10.04%" in verdict.finding


def test_classes_are_not_judged_where_the_classifier_is_inaccurate() -> None:
    verdict = judge_classes(0.1, 0.9, real_unclear=0.5, accuracy=0.79)
    assert verdict.level is Level.NOT_JUDGED
    assert not verdict.advice
    assert "79.0%" in verdict.finding


def test_classes_are_not_judged_where_there_is_only_one() -> None:
    verdict = judge_classes(1.0, 0.0, real_unclear=0.0, accuracy=nan)
    assert verdict.level is Level.NOT_JUDGED
    assert "single class" in verdict.finding


@pytest.mark.parametrize(("real_unclear", "least"), [(1.0, 0.9), (0.1, 0.0)])
def test_classes_are_not_judged_where_test_images_are_unclear_or_too_few(real_unclear: float, least: float) -> None:
    verdict = judge_classes(0.9, 0.9, real_unclear, 0.9, least)
    assert verdict.level is Level.NOT_JUDGED
    assert "not judged" in verdict.finding


def test_unclear_images_in_a_known_share_give_that_excess() -> None:
    clear, unclear = torch.tensor([0.95, 0.05]).repeat(70, 1), torch.tensor([0.5, 0.5]).repeat(30, 1)
    share = unclear_share(torch.cat([clear, unclear]))
    assert share == pytest.approx(0.3)
    assert "excess of 30%" in judge_classes(1.0, share, 0.0, 0.9).finding


@pytest.mark.parametrize(("accuracy", "trusted"), [(0.97, True), (0.8, True), (0.79, False), (float("nan"), False)])
def test_a_classifier_that_is_often_wrong_or_knows_no_classes_is_not_trusted(accuracy: float, trusted: bool) -> None:
    assert is_trusted(accuracy) is trusted
    judged = judge_classes(0.99, 0.01, 0.01, accuracy).level is not Level.NOT_JUDGED
    assert judged is trusted
