"""What the latent codes tell about the class of an image."""

import numpy as np
from numpy.typing import NDArray

from vae.errors import VAEError

Codes = NDArray[np.float32]
Labels = NDArray[np.int64]


class TooFewPointsError(VAEError):
    """A nearest-neighbour measure needs more points than neighbours."""


def require_neighbours(points: int, neighbours: int) -> None:
    """Refuse a number of neighbours that trustworthiness is not defined for: it must lie below half the points.

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
    """Share of test codes (M, D) whose class is that of most of their k nearest training codes (N, D).

    High accuracy does not rule out collapse: a few living dimensions are enough for it.

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
    return float(classifier.score(test_codes, test_labels))


def linear_probe_accuracy(train_codes: Codes, train_labels: Labels, test_codes: Codes, test_labels: Labels) -> float:
    """Share of test codes (M, D) that a logistic regression, fitted on standardised training codes (N, D), gets right.

    What it measures is how much of the class can be read from the codes by straight cuts (Alain & Bengio 2016).

    Raises:
        TooFewPointsError: the training codes are all of one class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(train_labels)) < 2:
        raise TooFewPointsError(
            "params.yaml: prepare.validation_fraction leaves training images of a single class, which a linear probe "
            "cannot be fitted on; lower it"
        )
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_codes, train_labels)
    return float(probe.score(test_codes, test_labels))


def class_silhouette(codes: Codes, labels: Labels) -> float:
    """How far classes lie apart, in [-1, 1]: mean over codes (N, D) of (b - a) / max(a, b) (Rousseeuw 1987).

    a is a code's mean distance to its own class, b that to the nearest other class.

    Raises:
        TooFewPointsError: there is a single class, or no two codes are of one class.
    """
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(labels)) < len(labels):
        raise TooFewPointsError(
            f"params.yaml: embed.points: among {len(labels)} images there are no two classes with two images of one; "
            "raise it"
        )
    return float(silhouette_score(codes, labels))
