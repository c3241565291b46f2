import numpy as np
import pytest
import torch
from torch import Tensor

from vae.data.images import pixels
from vae.data.sources import load_source
from vae.diagnostics.classification import (
    TooFewClassesError,
    accuracy,
    balance,
    class_shares,
    confidence,
    judge_classes,
    train_classifier,
)
from vae.diagnostics.verdict import Level


def stripes(count: int, classes: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """Noisy images of five rows: row k is bright in images of class k."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes)[torch.arange(count) % len(classes)]
    images = torch.randint(0, 100, (count, 1, 5, 4), dtype=torch.uint8, generator=random)
    images[torch.arange(count), 0, labels] += 150
    return images, labels


def test_classifier_of_digits_is_right_on_over_95_percent_of_test_digits() -> None:
    train, test = load_source("digits", 0)
    classifier = train_classifier(train.images, train.labels, classes=10, seed=0)
    probabilities = classifier.probabilities(pixels(test.images))
    assert probabilities.shape == (len(test), 10)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert accuracy(probabilities, test.labels.numpy()) > 0.95
    assert confidence(probabilities) > 0.95
    assert balance(class_shares(probabilities), np.bincount(test.labels.numpy()) / len(test)) > 0.95


@pytest.mark.parametrize("classes", [(0, 1), (3, 1), (0, 2, 4)], ids=str)
def test_classifier_gives_classes_without_training_images_zero_probability(classes: tuple[int, ...]) -> None:
    images, labels = stripes(300, classes, seed=1)
    probabilities = train_classifier(images, labels, classes=5, seed=0).probabilities(pixels(images))
    assert probabilities.shape == (300, 5)
    assert accuracy(probabilities, labels.numpy()) == 1
    for missing in set(range(5)) - set(classes):
        assert not probabilities[:, missing].any()


def test_classifier_repeats_bit_for_bit_with_its_seed_only() -> None:
    images, labels = stripes(100, (0, 1, 2), seed=1)
    first, again, other = (
        train_classifier(images, labels, 3, seed).probabilities(pixels(images)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_training_a_classifier_on_a_single_class_is_refused() -> None:
    images, _ = stripes(10, (1,), seed=1)
    with pytest.raises(TooFewClassesError, match=r"prepare\.validation_fraction"):
        train_classifier(images, torch.ones(10, dtype=torch.int64), classes=5, seed=0)


PROBABILITIES = np.array([[0.5, 0.25, 0.25, 0], [0, 0.75, 0.25, 0], [1, 0, 0, 0], [0.25, 0, 0.75, 0]], np.float32)


def test_class_shares_are_the_shares_of_the_most_probable_classes() -> None:
    assert class_shares(PROBABILITIES).tolist() == [0.5, 0.25, 0.25, 0]


def test_accuracy_is_the_share_of_images_whose_label_is_most_probable() -> None:
    assert accuracy(PROBABILITIES, np.array([0, 1, 2, 3])) == 0.5


def test_confidence_is_the_mean_of_the_largest_probabilities() -> None:
    assert confidence(PROBABILITIES) == 0.75


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


@pytest.mark.parametrize(
    ("balance", "confidence", "level", "advice"),
    [
        (0.95, 0.9, Level.HEALTHY, []),
        (0.75, 0.9, Level.WARNING, ["missing classes"]),
        (0.95, 0.67, Level.WARNING, ["samples between classes"]),
        (0.55, 0.67, Level.FAILURE, ["missing classes", "samples between classes"]),
        (0.95, 0.5, Level.FAILURE, ["samples between classes"]),
    ],
)
def test_classes_verdict_is_graded_by_balance_and_by_confidence_relative_to_test_images(
    balance: float, confidence: float, level: Level, advice: list[str]
) -> None:
    verdict = judge_classes(balance, confidence, real_confidence=0.91, accuracy=0.876)
    assert verdict.subject == "classes of samples"
    assert verdict.level is level
    assert verdict.advice.count("for ") == len(advice)
    assert all(f"for {words}" in verdict.advice for words in advice)
    for figure in (f"{balance:.2f}", f"{confidence:.2f}", f"{confidence / 0.91:.0%} of the 0.91", "87.6%"):
        assert figure in verdict.finding


def test_classes_finding_does_not_round_a_balance_or_a_confidence_up_to_the_threshold_that_it_misses() -> None:
    verdict = judge_classes(0.797, 0.7474, real_confidence=1.0, accuracy=0.9)
    assert verdict.level is Level.WARNING
    assert "balance 0.797;" in verdict.finding
    assert "74.7% of the 1.00" in verdict.finding


def test_classes_are_not_judged_where_the_classifier_is_inaccurate() -> None:
    verdict = judge_classes(0.1, 0.3, real_confidence=0.5, accuracy=0.79)
    assert verdict.level is Level.NOT_JUDGED
    assert not verdict.advice
    assert "79.0%" in verdict.finding
