"""The classes of samples, as predicted by a classifier trained on real images."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.base.errors import VAEError
from vae.base.runtime import derive, one_thread
from vae.data.images import pixels
from vae.diagnostics.verdict import Level, Verdict, grade, rounded, worst

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier

Probabilities = NDArray[np.float32]
Shares = NDArray[np.float64]

HIDDEN_UNITS = 128
BATCH_SIZE = 128
PRESENTATIONS = 600_000  # of training images, in all: ten epochs of MNIST, which give a test accuracy of 98%
FEWEST_EPOCHS, MOST_EPOCHS = 5, 200

# Warning and failure. No paper gives such thresholds; they were set by this project.
BALANCE = (0.8, 0.6)
CONFIDENCE_SHARE = (0.75, 0.6)
LOWEST_ACCURACY = 0.8  # the minimum accuracy to trust the classifier


class TooFewClassesError(VAEError):
    """A classifier needs images of at least two classes."""


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of images.

    Attributes:
        network: scikit-learn's network.
        classes: the number of classes K, including those without training images.
    """

    network: "MLPClassifier"
    classes: int

    @one_thread()
    def probabilities(self, images: Tensor) -> Probabilities:
        """The probability of each class for each image: intensities (M, C, H, W) to (M, K)."""
        probabilities = np.zeros((len(images), self.classes), np.float32)
        probabilities[:, self.network.classes_] = self.network.predict_proba(images.flatten(1).cpu().numpy())
        return probabilities


@one_thread()
def train_classifier(images: Tensor, labels: Tensor, classes: int, seed: int) -> Classifier:
    """Train a network with one hidden layer to classify images.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        classes: K; some classes may have no images.
        seed: for the initial weights and the order of images.

    Raises:
        TooFewClassesError: all images are of one class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    if len(torch.unique(labels)) < 2:
        raise TooFewClassesError(
            "params.yaml: prepare.validation_fraction leaves training images of a single class, but a classifier needs "
            "at least two; lower it"
        )
    epochs = min(max(round(PRESENTATIONS / len(images)), FEWEST_EPOCHS), MOST_EPOCHS)
    network = MLPClassifier(
        (HIDDEN_UNITS,),
        batch_size=min(BATCH_SIZE, len(images)),
        max_iter=epochs,
        n_iter_no_change=epochs,
        random_state=derive(seed, "classifier") % 2**32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed on purpose
        network.fit(pixels(images).flatten(1).cpu().numpy(), labels.cpu().numpy())
    return Classifier(network, classes)


def accuracy(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    """Share of images whose most probable class is their label: probabilities (M, K) and labels (M,)."""
    return float((probabilities.argmax(1) == labels).mean())


def class_shares(probabilities: Probabilities) -> Shares:
    """The share of images for which each class is the most probable one: (M, K) to (K,)."""
    count, classes = probabilities.shape
    shares: Shares = np.bincount(probabilities.argmax(1), minlength=classes) / count
    return shares


def balance(shares: Shares, reference: Shares) -> float:
    """How well the classes of samples match those of real images: 1 - ½ Σ_k abs(p_k - q_k), in [0, 1].

    This is one minus the total variation distance between two distributions over classes. Use the classifier's
    predictions on real images as the reference, and not their labels, so that its bias cancels.

    Args:
        shares: p, of the samples (K,).
        reference: q, of real images (K,).
    """
    return 1 - 0.5 * float(np.abs(shares - reference).sum())


def confidence(probabilities: Probabilities) -> float:
    """The mean probability of the most probable class: probabilities (M, K) to a number in [1 / K, 1]."""
    return float(probabilities.max(1).astype(np.float64).mean())


def judge_classes(balance: float, confidence: float, real_confidence: float, accuracy: float) -> Verdict:
    """Judge whether all classes occur among samples, and whether each sample clearly belongs to one class.

    Args:
        balance: of the classes of samples and of real images.
        confidence: the classifier's mean confidence on samples.
        real_confidence: the same on test images.
        accuracy: the classifier's accuracy on test images.
    """
    confidence_share = confidence / real_confidence
    by_balance = grade(balance, *BALANCE)
    by_confidence = grade(confidence_share, *CONFIDENCE_SHARE)
    level = worst(by_balance, by_confidence)
    advice = []
    if by_balance is not Level.HEALTHY:
        advice.append("for missing classes, a higher train.beta or a larger model.latent_dim")
    if by_confidence is not Level.HEALTHY:
        advice.append(
            "for samples between classes, a smaller model.latent_dim, a higher train.beta or more train.epochs"
        )
    finding = (
        f"class balance {rounded(balance, '.2f', *BALANCE)}; confidence {confidence:.2f}, which is "
        f"{rounded(confidence_share, '.0%', *CONFIDENCE_SHARE)} of the {real_confidence:.2f} on test images; by a "
        f"classifier with an accuracy of {rounded(accuracy, '.1%', LOWEST_ACCURACY)} on test images"
    )
    if accuracy < LOWEST_ACCURACY:
        level, advice = Level.NOT_JUDGED, []
        finding += f", which is too low to trust (below {LOWEST_ACCURACY:.0%})"
    return Verdict(
        subject="classes of samples",
        level=level,
        finding=finding,
        criterion=(
            f"balance at least {BALANCE[0]} (failure below {BALANCE[1]}; 1 means the classes of real images), "
            f"confidence at least {CONFIDENCE_SHARE[0]:.0%} of that on test images (failure below "
            f"{CONFIDENCE_SHARE[1]:.0%}); not judged if the classifier's accuracy is below {LOWEST_ACCURACY:.0%} "
            "(thresholds set by this project)"
        ),
        advice="; ".join(advice),
    )
