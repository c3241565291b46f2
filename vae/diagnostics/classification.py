"""The classes of samples, as a classifier sees them that was trained on real images."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae.datasets import pixels
from vae.diagnostics.verdict import Level, Verdict, grade, worst
from vae.errors import VAEError
from vae.runtime import derive

if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier

Probabilities = NDArray[np.float32]
Shares = NDArray[np.float64]

HIDDEN_UNITS = 128
BATCH_SIZE = 128
PRESENTATIONS = 600_000  # of training images: ten epochs of MNIST, where 98 % of the test images come out right
FEWEST_EPOCHS, MOST_EPOCHS = 5, 200

# Warning and failure. No paper gives such thresholds: they are a judgement of this project.
BALANCE = (0.8, 0.6)
CONFIDENCE_SHARE = (0.75, 0.6)
LOWEST_ACCURACY = 0.8  # of a classifier whose word on samples is worth having


class TooFewClassesError(VAEError):
    """A classifier needs images of at least two classes."""


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of images.

    Attributes:
        network: scikit-learn's.
        classes: K, those without a training image included.
    """

    network: "MLPClassifier"
    classes: int

    def probabilities(self, images: Tensor) -> Probabilities:
        """The probability of each class for each image: intensities (M, C, H, W) to (M, K)."""
        from threadpoolctl import threadpool_limits

        probabilities = np.zeros((len(images), self.classes), np.float32)
        with threadpool_limits(limits=1):
            probabilities[:, self.network.classes_] = self.network.predict_proba(images.flatten(1).cpu().numpy())
        return probabilities


def train_classifier(images: Tensor, labels: Tensor, classes: int, seed: int) -> Classifier:
    """Train a network of one hidden layer to tell the classes of images.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        classes: K; some may have no image.
        seed: of initial weights and of the order of images.

    Raises:
        TooFewClassesError: all images are of one class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    if len(torch.unique(labels)) < 2:
        raise TooFewClassesError(
            "params.yaml: prepare.validation_fraction leaves training images of a single class, on which no classifier "
            "can be trained; lower it"
        )
    epochs = min(max(round(PRESENTATIONS / len(images)), FEWEST_EPOCHS), MOST_EPOCHS)
    network = MLPClassifier(
        (HIDDEN_UNITS,),
        batch_size=min(BATCH_SIZE, len(images)),
        max_iter=epochs,
        n_iter_no_change=epochs,
        random_state=derive(seed, "classifier") % 2**32,
    )
    # A single thread: matrices are so small that a second one makes it slower, and their number shows in the result.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the length is set on purpose
        network.fit(pixels(images).flatten(1).cpu().numpy(), labels.cpu().numpy())
    return Classifier(network, classes)


def accuracy(probabilities: Probabilities, labels: NDArray[np.int64]) -> float:
    """Share of images whose most probable class is their class: (M, K) and (M,)."""
    return float((probabilities.argmax(1) == labels).mean())


def class_shares(probabilities: Probabilities) -> Shares:
    """Share of images of which each class is the most probable one: (M, K) to (K,)."""
    count, classes = probabilities.shape
    shares: Shares = np.bincount(probabilities.argmax(1), minlength=classes) / count
    return shares


def balance(shares: Shares, reference: Shares) -> float:
    """How well the classes of samples are balanced: 1 - ½ Σ_k abs(p_k - q_k), in [0, 1].

    One minus the total variation distance of two distributions over classes. Compared with what the classifier says
    of real images, not with their labels, its own bias cancels.

    Args:
        shares: p, of the samples (K,).
        reference: q, of real images (K,).
    """
    return 1 - 0.5 * float(np.abs(shares - reference).sum())


def confidence(probabilities: Probabilities) -> float:
    """The mean probability of the most probable class: (M, K), to a value in [1 / K, 1]."""
    return float(probabilities.max(1).astype(np.float64).mean())


def judge_classes(balance: float, confidence: float, real_confidence: float, accuracy: float) -> Verdict:
    """Judge whether all classes appear among samples, and whether samples clearly belong to one.

    Args:
        balance: of the samples' classes against those of real images.
        confidence: the classifier's, on samples.
        real_confidence: on real test images.
        accuracy: the classifier's, on real test images.
    """
    by_balance = grade(balance, *BALANCE)
    by_confidence = grade(confidence / real_confidence, *CONFIDENCE_SHARE)
    level = worst(by_balance, by_confidence)
    advice = []
    if by_balance is not Level.HEALTHY:
        advice.append("against missing classes a higher train.beta or a larger model.latent_dim")
    if by_confidence is not Level.HEALTHY:
        advice.append(
            "against samples between classes a smaller model.latent_dim, a higher train.beta or more train.epochs"
        )
    finding = (
        f"balance {balance:.2f} of 1; confidence {confidence:.2f}, on test images {real_confidence:.2f}; by a "
        f"classifier with an accuracy of {accuracy:.1%} on test images"
    )
    if accuracy < LOWEST_ACCURACY:
        level, advice = Level.NOT_JUDGED, []
        finding += f", too low to be relied on (below {LOWEST_ACCURACY:.0%})"
    return Verdict(
        subject="classes of samples",
        level=level,
        finding=finding,
        criterion=(
            f"balance at least {BALANCE[0]} (failure below {BALANCE[1]}; 1 is that of real images), confidence at "
            f"least {CONFIDENCE_SHARE[0]:.0%} of that on test images (failure below {CONFIDENCE_SHARE[1]:.0%}); not "
            f"judged by a classifier with an accuracy below {LOWEST_ACCURACY:.0%}"
        ),
        advice="; ".join(advice),
    )
