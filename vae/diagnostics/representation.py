"""How much latent codes tell about the class of an image."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from vae.base.errors import VAEError
from vae.base.runtime import derive, one_thread
from vae.diagnostics.verdict import Level, Verdict, grade, rounded

Codes = NDArray[np.float32]
Labels = NDArray[np.int64]
Right = NDArray[np.bool_]

# Warning and failure, as shares of the way from chance to 100%, set by this project.
ACCURACY_ABOVE_CHANCE = (0.5, 0.2)


class TooFewPointsError(VAEError):
    """There are too few images, or images of too few classes, for a measure."""


@contextmanager
def many_classes() -> Iterator[None]:
    """Silence scikit-learn's warning that there are more than half as many classes as images."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        yield


def require_neighbours(points: int, neighbours: int) -> None:
    """Check that the number of neighbours is below half the points, as trustworthiness requires.

    Raises:
        TooFewPointsError: ``neighbours`` is too large.
    """
    if 2 * neighbours >= points:
        raise TooFewPointsError(
            f"params.yaml: embed.neighbours: {neighbours} must be below half the points compared, {points}; lower it "
            "or raise embed.points"
        )


def neighbour_accuracy(
    train_codes: Codes, train_labels: Labels, test_codes: Codes, test_labels: Labels, neighbours: int
) -> float:
    """Share of test codes whose class ``right_by_neighbours`` finds; it has the same arguments and errors.

    High accuracy does not rule out collapse: a few active dimensions are enough for it.
    """
    return float(right_by_neighbours(train_codes, train_labels, test_codes, test_labels, neighbours).mean())


@many_classes()
@one_thread()
def right_by_neighbours(
    train_codes: Codes, train_labels: Labels, test_codes: Codes, test_labels: Labels, neighbours: int
) -> Right:
    """Whether the class of each test code (M, D) is the most frequent among its k nearest training codes (N, D).

    Returns:
        for each test code (M,).

    Raises:
        TooFewPointsError: there are fewer than k training codes.
    """
    from sklearn.neighbors import KNeighborsClassifier

    if len(train_codes) < neighbours:
        raise TooFewPointsError(
            f"params.yaml: embed.neighbours: {neighbours} nearest neighbours need as many training images, but there "
            f"are {len(train_codes)}; lower it, or prepare.validation_fraction"
        )
    classifier = KNeighborsClassifier(neighbours).fit(train_codes, train_labels)
    return np.asarray(classifier.predict(test_codes) == test_labels, np.bool_)


def linear_probe_accuracy(train_codes: Codes, train_labels: Labels, test_codes: Codes, test_labels: Labels) -> float:
    """Share of test codes whose class ``right_by_linear_probe`` finds; it has the same arguments and errors.

    It measures how far classes are linearly separable in the latent space (Alain & Bengio 2016).
    """
    return float(right_by_linear_probe(train_codes, train_labels, test_codes, test_labels).mean())


@many_classes()
@one_thread()
def right_by_linear_probe(train_codes: Codes, train_labels: Labels, test_codes: Codes, test_labels: Labels) -> Right:
    """Whether a logistic regression, fitted on standardised training codes (N, D), finds the class of each test code.

    Returns:
        for each test code (M,).

    Raises:
        TooFewPointsError: the training codes are all of one class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(train_labels)) < 2:
        raise TooFewPointsError(
            "params.yaml: prepare.validation_fraction leaves training images of a single class, but a linear probe "
            "needs at least two; lower it"
        )
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_codes, train_labels)
    return np.asarray(probe.predict(test_codes) == test_labels, np.bool_)


@many_classes()
@one_thread()
def class_silhouette(codes: Codes, labels: Labels) -> float:
    """How well classes are separated, in [-1, 1]: the mean over codes (N, D) of (b - a) / max(a, b) (Rousseeuw 1987).

    a is a code's mean distance to its own class, b its mean distance to the nearest other class.

    Raises:
        TooFewPointsError: there is a single class, or no two codes are of the same class.
    """
    from sklearn.metrics import silhouette_score

    if not has_classes(labels):
        raise TooFewPointsError(
            f"params.yaml: embed.points: the silhouette needs two classes, and two images of one class, which "
            f"{len(labels)} images do not have; raise it"
        )
    return float(silhouette_score(codes, labels))


@many_classes()
@one_thread()
def label_information(codes: Codes, labels: Labels, seed: int) -> NDArray[np.float64]:
    """The mutual information I(z_d; class) of each latent dimension with the class: codes (N, D) to nats (D,).

    Estimated from k = 3 nearest neighbours, with negative estimates set to 0 (Ross 2014). It is at most the entropy of
    the classes, log K for K equally frequent ones. Information that only several dimensions carry together is not
    counted.

    Args:
        codes: latent codes (N, D).
        labels: their classes (N,), at least two codes of the same class.
        seed: for the tiny noise that separates equal codes.
    """
    from sklearn.feature_selection import mutual_info_classif

    random_state = derive(seed, "label information") % 2**32
    information = mutual_info_classif(codes.astype(np.float64), labels, random_state=random_state)
    return np.asarray(information, np.float64)


def has_classes(labels: Labels) -> bool:
    """Whether measures of classes exist: there are two classes or more, and two images of one class."""
    return 2 <= len(np.unique(labels)) < len(labels)


def judge_representation(
    neighbour_accuracy: float | None,
    linear_probe_accuracy: float | None,
    silhouette: float | None,
    largest_class_share: float,
) -> Verdict:
    """Judge how well classes can be predicted from codes, by (accuracy - chance) / (1 - chance).

    The better of the two accuracies counts. A healthy representation does not rule out collapse: a few active
    dimensions are enough for it.

    Args:
        neighbour_accuracy: from ``neighbour_accuracy``; None if there are no classes to predict, like the next.
        linear_probe_accuracy: from ``linear_probe_accuracy``.
        silhouette: of the classes, or None; reported but not judged, because classes can be separable without being
            far apart.
        largest_class_share: the accuracy of always guessing the largest class, below 1 if there are classes.
    """
    subject = "representation"
    criterion = (
        f"the better accuracy at least {ACCURACY_ABOVE_CHANCE[0]:.0%} of the way from chance to 100%; failure "
        f"below {ACCURACY_ABOVE_CHANCE[1]:.0%} (probes as in Alain & Bengio 2016; thresholds set by this project)"
    )
    if neighbour_accuracy is None or linear_probe_accuracy is None:
        finding = "not judged, because the training images or the test images are of a single class"
        return Verdict(subject, Level.NOT_JUDGED, finding, criterion)
    accuracy = max(neighbour_accuracy, linear_probe_accuracy)
    above_chance = (accuracy - largest_class_share) / (1 - largest_class_share)
    level = grade(above_chance, *ACCURACY_ABOVE_CHANCE)
    return Verdict(
        subject=subject,
        level=level,
        finding=(
            f"nearest neighbours predict the class of {neighbour_accuracy:.1%} of test images, a linear probe that of "
            f"{linear_probe_accuracy:.1%}; the better is {rounded(above_chance, '.0%', *ACCURACY_ABOVE_CHANCE)} of the "
            f"way from chance ({largest_class_share:.1%}) to 100%"
            + ("" if silhouette is None else f"; silhouette {silhouette:.2f}")
        ),
        criterion=criterion,
        advice="" if level is Level.HEALTHY else "a larger model.latent_dim, a lower train.beta or more train.epochs",
    )
