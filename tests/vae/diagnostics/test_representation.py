from math import log, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from vae.diagnostics.representation import (
    TooFewPointsError,
    class_silhouette,
    has_classes,
    judge_representation,
    label_information,
    linear_probe_accuracy,
    neighbour_accuracy,
    require_neighbours,
    right_by_linear_probe,
    right_by_neighbours,
)
from vae.diagnostics.verdict import Level

Codes = NDArray[np.float32]
Labels = NDArray[np.int64]

CLASSES = 4
DIMENSIONS = 3


def blobs(count: int, spread: float, seed: int) -> tuple[Codes, Labels]:
    """Codes around four centres, and the index of each code's centre as its class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    centres = np.concatenate([np.eye(DIMENSIONS), np.zeros((1, DIMENSIONS))])
    codes = centres[labels] + spread * random.standard_normal((count, DIMENSIONS))
    return codes.astype(np.float32), labels.astype(np.int64)


def exclusive_or(count: int, seed: int) -> tuple[Codes, Labels]:
    """Four blobs at the corners of a square, opposite corners of one class: no straight line separates the classes."""
    random = np.random.default_rng(seed)
    corners = random.integers(0, 2, (count, 2))
    codes = corners + 0.05 * random.standard_normal((count, 2))
    return codes.astype(np.float32), (corners[:, 0] ^ corners[:, 1]).astype(np.int64)


def majority_vote(
    train_codes: Codes, train_labels: Labels, test_codes: Codes, test_labels: Labels, neighbours: int
) -> float:
    right = 0
    for code, label in zip(test_codes, test_labels, strict=True):
        distances = [float(np.sum((code.astype(float) - other.astype(float)) ** 2)) for other in train_codes]
        votes = train_labels[np.argsort(distances)[:neighbours]]
        right += int(np.bincount(votes).argmax() == label)  # the lower class where votes are equal
    return right / len(test_labels)


def test_accuracies_and_silhouette_of_well_separated_classes_are_near_one() -> None:
    train, test = blobs(100, 0.02, seed=1), blobs(60, 0.02, seed=2)
    assert neighbour_accuracy(*train, *test, neighbours=5) == 1
    assert linear_probe_accuracy(*train, *test) == 1
    assert class_silhouette(*test) > 0.9


def test_accuracies_are_measured_on_the_test_codes() -> None:
    train, (test_codes, test_labels) = blobs(100, 0.02, seed=1), blobs(60, 0.02, seed=2)
    all_wrong = (test_labels + 1) % CLASSES
    half_wrong = np.where(np.arange(60) < 30, all_wrong, test_labels)
    for labels, expected in ((all_wrong, 0), (half_wrong, 0.5)):
        assert neighbour_accuracy(*train, test_codes, labels, neighbours=5) == expected
        assert linear_probe_accuracy(*train, test_codes, labels) == expected


def test_each_test_code_is_reported_as_right_or_wrong_and_accuracies_are_the_shares_of_right_ones() -> None:
    train, (test_codes, test_labels) = blobs(100, 0.02, seed=1), blobs(60, 0.02, seed=2)
    wrong = np.random.default_rng(0).random(60) < 0.3
    labels = np.where(wrong, (test_labels + 1) % CLASSES, test_labels)
    for right in (
        right_by_neighbours(*train, test_codes, labels, 5),
        right_by_linear_probe(*train, test_codes, labels),
    ):
        assert right.dtype == np.bool_
        np.testing.assert_array_equal(right, ~wrong)
    for accuracy in (
        neighbour_accuracy(*train, test_codes, labels, 5),
        linear_probe_accuracy(*train, test_codes, labels),
    ):
        assert accuracy == pytest.approx(1 - wrong.mean(), rel=1e-12)


def test_accuracies_of_codes_unrelated_to_the_class_are_at_chance() -> None:
    count = 2000
    random = np.random.default_rng(0)
    (train_codes, train_labels), (test_codes, test_labels) = blobs(count, 1.0, seed=1), blobs(count, 1.0, seed=2)
    random.shuffle(train_labels)
    random.shuffle(test_labels)
    tolerance = 4 * sqrt(0.25 * 0.75 / count)
    accuracy = neighbour_accuracy(train_codes, train_labels, test_codes, test_labels, neighbours=5)
    assert accuracy == pytest.approx(1 / CLASSES, abs=tolerance)
    accuracy = linear_probe_accuracy(train_codes, train_labels, test_codes, test_labels)
    assert accuracy == pytest.approx(1 / CLASSES, abs=tolerance)
    # Distances to one's own class and to another are the same on average; the nearest other is a little nearer.
    assert -0.1 < class_silhouette(test_codes, test_labels) < 0


@pytest.mark.parametrize("neighbours", [1, 2, 5, 20])
def test_neighbour_accuracy_agrees_with_a_majority_vote(neighbours: int) -> None:
    train, test = blobs(80, 0.8, seed=1), blobs(60, 0.8, seed=2)
    expected = majority_vote(*train, *test, neighbours)
    assert 0.3 < expected < 0.9  # no case that anything would get right
    assert neighbour_accuracy(*train, *test, neighbours) == pytest.approx(expected, rel=1e-12)


def test_linear_probe_fails_on_exclusive_or_where_nearest_neighbours_succeed() -> None:
    train, test = exclusive_or(400, seed=1), exclusive_or(400, seed=2)
    assert neighbour_accuracy(*train, *test, neighbours=5) == 1
    assert linear_probe_accuracy(*train, *test) < 0.8  # three of four corners are the best a straight cut can do


def test_linear_probe_accuracy_does_not_depend_on_the_scale_of_a_dimension() -> None:
    (train_codes, train_labels), (test_codes, test_labels) = blobs(200, 0.5, seed=1), blobs(200, 0.5, seed=2)
    scale = np.array([1e-4, 1, 1e4], dtype=np.float32)
    plain = linear_probe_accuracy(train_codes, train_labels, test_codes, test_labels)
    scaled = linear_probe_accuracy(train_codes * scale, train_labels, test_codes * scale, test_labels)
    assert scaled == plain
    assert 0.5 < plain < 1


def test_silhouette_of_four_codes_is_the_value_worked_out_by_hand() -> None:
    """Codes 0 and 1 of one class, 4 and 6 of another: (b - a) / max(a, b) with a = 1, 1, 2, 2 and b = 5, 4, 3½, 5½."""
    codes = np.array([[0], [1], [4], [6]], dtype=np.float32)
    expected = (4 / 5 + 3 / 4 + 1.5 / 3.5 + 3.5 / 5.5) / 4
    assert class_silhouette(codes, np.array([0, 0, 1, 1])) == pytest.approx(expected, rel=1e-6)


def test_silhouette_of_interleaved_classes_is_negative() -> None:
    codes = np.array([[0], [10], [0.1], [10.1]], dtype=np.float32)
    assert class_silhouette(codes, np.array([0, 0, 1, 1])) < -0.4


@pytest.mark.parametrize(("points", "neighbours"), [(11, 5), (10, 4), (3, 1)])
def test_neighbours_below_half_the_points_are_accepted_and_so_they_are_by_trustworthiness(
    points: int, neighbours: int
) -> None:
    require_neighbours(points, neighbours)
    codes = np.random.default_rng(0).standard_normal((points, 2))
    assert trustworthiness(codes, codes, n_neighbors=neighbours) == 1


@pytest.mark.parametrize(("points", "neighbours"), [(10, 5), (9, 5), (2, 1)])
def test_neighbours_from_half_the_points_on_are_refused_and_so_they_are_by_trustworthiness(
    points: int, neighbours: int
) -> None:
    message = rf"embed\.neighbours: {neighbours} .*half the points compared, {points}; .*embed\.points"
    with pytest.raises(TooFewPointsError, match=message):
        require_neighbours(points, neighbours)
    codes = np.random.default_rng(0).standard_normal((points, 2))
    with pytest.raises(ValueError, match="n_neighbors"):
        trustworthiness(codes, codes, n_neighbors=neighbours)


def test_more_neighbours_than_training_codes_are_refused() -> None:
    codes, labels = blobs(4, spread=0.1, seed=0)
    with pytest.raises(TooFewPointsError, match=r"embed\.neighbours"):
        neighbour_accuracy(codes[:2], labels[:2], codes, labels, neighbours=3)


def test_linear_probe_of_a_single_class_is_refused() -> None:
    codes, labels = blobs(4, spread=0.1, seed=0)
    with pytest.raises(TooFewPointsError, match=r"prepare\.validation_fraction"):
        linear_probe_accuracy(codes, np.zeros_like(labels), codes, labels)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]], ids=["one class", "a class each"])
def test_silhouette_without_two_classes_and_two_codes_of_one_class_is_refused(labels: list[int]) -> None:
    codes = np.eye(4, dtype=np.float32)
    with pytest.raises(TooFewPointsError, match=r"embed\.points"):
        class_silhouette(codes, np.array(labels))


def test_label_information_of_codes_that_tell_all_half_or_nothing_of_the_class_is_its_entropy_half_or_zero() -> None:
    count = 2000
    random = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    told = labels + 0.01 * random.standard_normal(count)
    half_told = labels // 2 + 0.01 * random.standard_normal(count)
    nothing = random.standard_normal(count)
    constant = np.full(count, 0.7)
    codes = np.stack([told, half_told, nothing, constant], axis=1).astype(np.float32)
    information = label_information(codes, labels, seed=0)
    assert information.dtype == np.float64
    assert information == pytest.approx([log(4), log(2), 0, 0], abs=0.03)


def test_label_information_of_two_gaussians_agrees_with_numerical_integration() -> None:
    """I = log 2 - E[H(class|z)], the classes being N(-1, 1) and N(1, 1): P(class|z) is a sigmoid of 2z."""
    grid = np.linspace(-9, 9, 20_001)
    density = (np.exp(-((grid - 1) ** 2) / 2) + np.exp(-((grid + 1) ** 2) / 2)) / sqrt(8 * np.pi)
    p = 1 / (1 + np.exp(-2 * grid))
    entropy = -p * np.log(p) - (1 - p) * np.log1p(-p)
    expected = log(2) - (density * entropy).sum() * (grid[1] - grid[0])
    labels = np.arange(8000) % 2
    codes = 2 * labels - 1 + np.random.default_rng(0).standard_normal(8000)
    information = label_information(codes[:, None].astype(np.float32), labels, seed=0)
    assert expected == pytest.approx(0.337, abs=0.001)
    assert information == pytest.approx([expected], abs=0.04)


def test_label_information_repeats_bit_for_bit() -> None:
    codes, labels = blobs(300, 0.5, seed=1)
    np.testing.assert_array_equal(label_information(codes, labels, 3), label_information(codes, labels, 3))


@pytest.mark.parametrize(
    ("accuracies", "chance", "level"),
    [
        ((0.97, 0.9), 0.1, Level.HEALTHY),
        ((0.3, 0.6), 0.1, Level.HEALTHY),  # the better of the two counts
        ((0.5, 0.54), 0.1, Level.WARNING),
        ((0.27, 0.2), 0.1, Level.FAILURE),
        ((0.65, 0.54), 0.5, Level.WARNING),  # chance is high
        ((0.1, 0.05), 0.1, Level.FAILURE),
    ],
)
def test_representation_verdict_is_graded_by_the_better_accuracy_above_chance(
    accuracies: tuple[float, float], chance: float, level: Level
) -> None:
    verdict = judge_representation(*accuracies, silhouette=0.123, largest_class_share=chance)
    assert verdict.subject == "representation"
    assert verdict.level is level
    assert bool(verdict.advice) == (level is not Level.HEALTHY)
    for figure in (*accuracies, chance):
        assert f"{figure:.1%}" in verdict.finding
    assert f"{(max(accuracies) - chance) / (1 - chance):.0%} of the way" in verdict.finding
    assert "0.12" in verdict.finding


def test_representation_without_classes_to_predict_is_not_judged_with_the_reason() -> None:
    verdict = judge_representation(None, None, None, largest_class_share=1.0)
    assert verdict.level is Level.NOT_JUDGED
    assert "of a single class" in verdict.finding
    assert not verdict.advice


def test_representation_without_a_silhouette_is_judged_all_the_same() -> None:
    verdict = judge_representation(0.97, 0.9, None, largest_class_share=0.1)
    assert verdict.level is Level.HEALTHY
    assert "silhouette" not in verdict.finding


@pytest.mark.parametrize(
    ("labels", "expected"), [([0, 0, 0], False), ([0, 1, 2], False), ([0, 1, 1], True), ([5, 5, 200], True)]
)
def test_measures_of_classes_need_two_classes_and_two_images_of_one(labels: list[int], expected: bool) -> None:
    assert has_classes(np.array(labels)) is expected
