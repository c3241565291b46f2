"""What the latent codes tell about the class of an image."""

import numpy as np
from numpy.typing import NDArray

from vae.diagnostics.verdict import Level, Verdict, grade
from vae.errors import VAEError
from vae.runtime import derive

Codes = NDArray[np.float32]
Labels = NDArray[np.int64]

# Warning and failure, as shares of what lies between chance and no error at all: a judgement of this project.
ACCURACY_ABOVE_CHANCE = (0.5, 0.2)


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


def label_information(codes: Codes, labels: Labels, seed: int) -> NDArray[np.float64]:
    """I(z_d; class), the mutual information of each latent dimension with the class: codes (N, D) to nats (D,).

    Estimated from nearest neighbours, k = 3, and 0 where the estimate is below (Ross 2014). At most the
    entropy of the classes, log K for K equally frequent ones. What only several dimensions together tell about the
    class does not count.

    Args:
        codes: latent codes (N, D).
        labels: their classes (N,), at least two codes of one class.
        seed: of the tiny noise that keeps equal codes apart.
    """
    from sklearn.feature_selection import mutual_info_classif

    random_state = derive(seed, "label information") % 2**32
    information = mutual_info_classif(codes.astype(np.float64), labels, random_state=random_state)
    return np.asarray(information, np.float64)


def judge_representation(
    neighbour_accuracy: float, linear_probe_accuracy: float, silhouette: float, largest_class_share: float
) -> Verdict:
    """Judge how well classes can be told from codes, by (accuracy - chance) / (1 - chance).

    The better of the two accuracies counts. A healthy representation does not rule out collapse: a few living
    dimensions are enough for it.

    Args:
        neighbour_accuracy: of a vote among nearest neighbours.
        linear_probe_accuracy: of straight cuts.
        silhouette: of the classes; named, not judged, since classes may be told apart that do not lie apart.
        largest_class_share: the accuracy that can be had by chance, the share of the largest class, below 1.
    """
    accuracy = max(neighbour_accuracy, linear_probe_accuracy)
    above_chance = (accuracy - largest_class_share) / (1 - largest_class_share)
    level = grade(above_chance, *ACCURACY_ABOVE_CHANCE)
    return Verdict(
        subject="representation",
        level=level,
        finding=(
            f"of test images {neighbour_accuracy:.1%} have the class of most of their nearest neighbours, and of "
            f"{linear_probe_accuracy:.1%} a linear probe reads the class (by chance {largest_class_share:.1%}); "
            f"silhouette {silhouette:.2f}"
        ),
        criterion=(
            f"the better accuracy at least {ACCURACY_ABOVE_CHANCE[0]:.0%} of the way from chance to 100% (failure "
            f"below {ACCURACY_ABOVE_CHANCE[1]:.0%}); probes as in Alain & Bengio 2016"
        ),
        advice="" if level is Level.HEALTHY else "a larger model.latent_dim, a lower train.beta or more train.epochs",
    )
