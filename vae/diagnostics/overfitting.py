"""Overfitting: how much worse the model is on test images than on the images that it was trained on."""

from math import sqrt
from typing import NamedTuple

from torch import Tensor

from vae.diagnostics.verdict import Level, Verdict, grade, rounded

# Nats per image. Models published side by side on MNIST are 0.8 to 2 nats apart (Burda, Grosse & Salakhutdinov 2015,
# table 1): a smaller gap could not change their order, and a larger one would.
WARNING_GAP = 0.8
FAILURE_GAP = 2.0
STANDARD_ERRORS = 2  # by which the gap has to exceed a threshold, about 98% of a normal distribution


class OverfittingGap(NamedTuple):
    """How much higher the negative ELBO is on test images than on training images.

    Attributes:
        nats: the mean of test images minus that of training images, nats per image.
        standard_error: of the difference, nats per image.
    """

    nats: float
    standard_error: float

    @property
    def least(self) -> float:
        """The gap minus two standard errors, nats per image: at least this much is more than noise."""
        return self.nats - STANDARD_ERRORS * self.standard_error


def overfitting_gap(train_negative_elbos: Tensor, test_negative_elbos: Tensor) -> OverfittingGap:
    """The gap between the mean negative ELBO of test and training images, with its standard error.

        gap = mean of test - mean of training
        standard error = √(s₁²/N + s₂²/M)

    s₁² and s₂² are the sample variances. The images of the two sets are different ones, so nothing is paired, and the
    variances may differ (Welch 1947).

    Args:
        train_negative_elbos: nats per image (N,).
        test_negative_elbos: nats per image (M,).

    Returns:
        The gap; its standard error is NaN if a set has fewer than two images.
    """
    train, test = train_negative_elbos.cpu().double(), test_negative_elbos.cpu().double()
    if min(len(train), len(test)) < 2:
        return OverfittingGap(float(test.mean() - train.mean()), float("nan"))
    variance = train.var() / len(train) + test.var() / len(test)
    return OverfittingGap(float(test.mean() - train.mean()), sqrt(float(variance)))


def judge_overfitting(train_negative_elbos: Tensor, test_negative_elbos: Tensor) -> Verdict:
    """Judge whether the model overfits its training images.

    The gap has to exceed a threshold by two standard errors, so that noise on few test images is no warning.

    The thresholds apply to differences of log-probabilities. Those of black and white pixels, and of grey pixels under
    the Bernoulli likelihood, are of the size that the thresholds are made for. Densities of grey pixels
    (``continuous_bernoulli``, ``gaussian``, ``laplace``) have no such bound: each of the pixels may contribute several
    nats, models differ by tens or hundreds of nats, and so do their gaps. Such a gap is just as real, but a verdict
    there says that there is one, rather than that it matters.

    Args:
        train_negative_elbos: nats per image (N,), of images that the model was trained on.
        test_negative_elbos: nats per image (M,), of images that it was not trained on.

    Returns:
        The verdict; it is ``not judged`` if a set has fewer than two images.
    """
    gap = overfitting_gap(train_negative_elbos, test_negative_elbos)
    level = grade(gap.least, WARNING_GAP, FAILURE_GAP)
    finding = (
        f"the negative ELBO of test images is {abs(gap.nats):.2f} ± {gap.standard_error:.2f} nats (standard error) "
        f"{'lower' if gap.nats < 0 else 'higher'} than that of training images"
    )
    if level is Level.NOT_JUDGED:
        finding = "too few images for a standard error: at least two training images and two test images are needed"
    elif gap.nats > 0:
        least = rounded(gap.least, ".2f", WARNING_GAP, FAILURE_GAP)
        finding += f"; less {STANDARD_ERRORS} standard errors, {least} nats"
    return Verdict(
        subject="overfitting",
        level=level,
        finding=finding,
        criterion=(
            f"a gap, less {STANDARD_ERRORS} standard errors, of at most {WARNING_GAP:g} nats; failure above "
            f"{FAILURE_GAP:g} nats (published models of MNIST are {WARNING_GAP:g} to {FAILURE_GAP:g} nats apart)"
        ),
        advice=(
            "more data (prepare.train_images), a validation set that selects the epoch (prepare.validation_fraction), "
            "train.weight_decay, fewer train.epochs, smaller model.hidden_dims or model.latent_dim"
            if level in {Level.WARNING, Level.FAILURE}
            else ""
        ),
    )
