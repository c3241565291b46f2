"""Overfitting: how much worse the model is on test images than on the images that it was trained on."""

from math import hypot
from typing import NamedTuple

from torch import Tensor

from vae.base.precision import standard_error
from vae.base.rounding import decimals_of_nats, nats_with_error
from vae.diagnostics.verdict import BETWEEN_MODELS, Difference, Level, Verdict, grade, rounded, threshold_text

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
        standard error = √(SE(training)² + SE(test)²)

    The images of the two sets are different ones, so nothing is paired (Welch 1947).

    Args:
        train_negative_elbos: nats per image (N,).
        test_negative_elbos: nats per image (M,).

    Returns:
        The gap; its standard error is NaN if a set has fewer than two images.
    """
    train, test = train_negative_elbos.cpu().double(), test_negative_elbos.cpu().double()
    return OverfittingGap(float(test.mean() - train.mean()), hypot(standard_error(train), standard_error(test)))


def judge_overfitting(gap: OverfittingGap, between: Difference = BETWEEN_MODELS) -> Verdict:
    """Judge whether the model overfits its training images.

    The gap has to exceed a threshold by two standard errors, so that noise on few test images is no warning.

    The thresholds apply to differences of log-probabilities. Those of black and white pixels, and of grey pixels under
    the Bernoulli likelihood, are of the size that the thresholds are made for. Densities of grey pixels
    (``continuous_bernoulli``, ``gaussian``, ``laplace``) have no such bound: each of the pixels may contribute several
    nats, models differ by tens or hundreds of nats, and so do their gaps. Such a gap is just as real, but a verdict
    there says that there is one, rather than that it matters.

    Args:
        gap: between the images that the model was trained on and others; not judged if its standard error is NaN.
        between: the differences that matter, ``verdict.between_models``.
    """
    warning, failure, source = between
    level = grade(gap.least, warning, failure)
    finding = (
        f"the negative ELBO of test images is {nats_with_error(abs(gap.nats), gap.standard_error)} nats (standard "
        f"error) {'lower' if gap.nats < 0 else 'higher'} than that of training images"
    )
    if level is Level.NOT_JUDGED:
        finding = "too few images for a standard error: at least two training images and two test images are needed"
    elif gap.nats > 0:
        least = rounded(gap.least, f".{decimals_of_nats(gap.standard_error)}f", warning, failure)
        finding += f"; {least} nats after subtracting {STANDARD_ERRORS} standard errors"
    return Verdict(
        subject="overfitting",
        level=level,
        finding=finding,
        criterion=(
            f"a gap of at most {threshold_text(warning)} nats after subtracting {STANDARD_ERRORS} standard errors; "
            f"failure above {threshold_text(failure)} nats; {source}"
        ),
        advice=(
            "more data (prepare.train_images), a validation set that selects the epoch (prepare.validation_fraction), "
            "train.weight_decay, fewer train.epochs, smaller model.hidden_dims or model.latent_dim"
            if level in {Level.WARNING, Level.FAILURE}
            else ""
        ),
    )
