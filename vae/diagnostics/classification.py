"""The classes of samples, as predicted by a classifier trained on real images."""

from math import isnan, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vae.diagnostics.verdict import Level, Verdict, grade, rounded, worst

Shares = NDArray[np.float64]

CLEAR = 0.9  # an image whose top probability is below this is no clear member of any class

# Warning and failure. No paper gives such thresholds; they were set by this project, on digits and MNIST: a known share
# of training images was replaced by averages of two, or classes were left out. The excess passes the first threshold
# where 40% to 60% are averages, and the second where 60% to 100% are. The balance falls below the first threshold where
# one class of ten is missing (two, if images are few), and below the second where three to five are.
BALANCE = (0.95, 0.75)
EXCESS = (0.1, 0.25)
LOWEST_ACCURACY = 0.8  # the minimum accuracy to trust the classifier


def class_shares(probabilities: Tensor) -> Shares:
    """The share of images for which each class is the most probable one: (M, K) to (K,)."""
    count, classes = probabilities.shape
    shares: Shares = np.bincount(probabilities.argmax(1).cpu().numpy(), minlength=classes) / count
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


def least_balance(reference: Shares, samples: int, images: int) -> float:
    """The balance that samples with the classes of real images almost always reach; below 1, as both are finite.

    It is two standard deviations below the mean. The differences d_k = p_k - q_k are about normal, with the variances
    s_k² = q_k (1 - q_k) (1 / M + 1 / N) and the correlations r_jk of a multinomial distribution, so

        E[abs(d_k)] = √(2 / π) s_k,    cov(abs(d_j), abs(d_k)) = 2 / π · s_j s_k (r asin r + √(1 - r²) - 1)

    Source: Nabeya 1951, Absolute moments in 2-dimensional normal distribution.

    Args:
        reference: q, of real images (K,).
        samples: M.
        images: N, the number of real images behind the reference.
    """
    varying = reference[(reference > 0) & (reference < 1)]
    deviations = np.sqrt(varying * (1 - varying) * (1 / samples + 1 / images))
    odds = np.sqrt(varying / (1 - varying))
    r = np.maximum(-np.outer(odds, odds), -1)
    np.fill_diagonal(r, 1)
    covariances = np.outer(deviations, deviations) * (r * np.arcsin(r) + np.sqrt(1 - r**2) - 1)
    mean, variance = sqrt(2 / pi) * float(deviations.sum()), 2 / pi * float(covariances.sum())
    return max(0.0, 1 - 0.5 * (mean + 2 * sqrt(max(variance, 0.0))))


def balance_standard_error(shares: Shares, reference: Shares, samples: int, images: int) -> float:
    """The standard error of the balance, by the delta method on two multinomial counts.

    With s_k = sign(p_k - q_k) the balance is 1 - ½ Σ_k s_k (p_k - q_k), and Σ_k s_k p_k has the variance
    (Σ_k p_k - (Σ_k s_k p_k)²) / M, as the mean of the signs of M classes.

    Args:
        shares: p, of the samples (K,).
        reference: q, of real images (K,).
        samples: M.
        images: N, the number of real images behind the reference.
    """
    signs = np.sign(shares - reference)
    variance = sum(
        float((signs**2 * each).sum() - (signs * each).sum() ** 2) / count
        for each, count in ((shares, samples), (reference, images))
    )
    return 0.5 * sqrt(max(variance, 0.0))


def is_unclear(probabilities: Tensor) -> Tensor:
    """Whether each image is no clear member of any class, with a top probability below 0.9: (M, K) to bool (M,)."""
    return probabilities.amax(1) < CLEAR


def unclear_share(probabilities: Tensor) -> float:
    """The share of images that are no clear member of any class: probabilities (M, K) to a number in [0, 1]."""
    return float(is_unclear(probabilities).double().mean())


def is_trusted(accuracy: float) -> bool:
    """Whether a classifier with this accuracy on test images, NaN if it knows no classes, can judge other images."""
    return accuracy >= LOWEST_ACCURACY


def judge_classes(
    balance: float, unclear: float, real_unclear: float, accuracy: float, least_balance: float = 1.0
) -> Verdict:
    """Judge whether all classes occur among samples, and whether each sample clearly belongs to one class.

    The balance is graded as a share of the least balance of real images. The unclear share u is graded by its excess
    over the share r of test images, (u - r) / (1 - r): if so large a share of test images turns unclear, r becomes u.

    Args:
        balance: of the classes of samples and of real images.
        unclear: the unclear share of samples.
        real_unclear: the same of test images.
        accuracy: the classifier's accuracy on test images; NaN if it knows no classes.
        least_balance: the balance that samples with the classes of real images almost always reach.
    """
    balance_share = balance / least_balance if least_balance else float("nan")
    excess = max(unclear - real_unclear, 0.0) / (1 - real_unclear) if real_unclear < 1 else float("nan")
    by_balance, by_excess = grade(balance_share, *BALANCE), grade(excess, *EXCESS)
    finding = (
        f"{_percent(unclear)} of the samples are no clear member of any class (top probability below {CLEAR}); of test "
        f"images {_percent(real_unclear)}, an excess of {rounded(excess, '.0%', *EXCESS)}; class balance {balance:.2f} "
        f"({rounded(balance_share, '.0%', *BALANCE)} of the {least_balance:.2f} that real images almost always reach); "
        f"by a classifier with an accuracy of {rounded(accuracy, '.1%', LOWEST_ACCURACY)} on test images"
    )
    criterion = (
        f"an excess of at most {EXCESS[0]:.0%} over test images (failure above {EXCESS[1]:.0%}), a balance of at least "
        f"{BALANCE[0]:.0%} "
        f"of that of real images (failure below {BALANCE[1]:.0%}); not judged if the classifier's accuracy is below "
        f"{LOWEST_ACCURACY:.0%} (thresholds set by this project)"
    )
    subject = "classes of samples"
    if isnan(accuracy):
        finding = "not judged, because the training images are of a single class"
        return Verdict(subject, Level.NOT_JUDGED, finding, criterion)
    if not is_trusted(accuracy):
        finding += f", which is too low to trust (below {LOWEST_ACCURACY:.0%})"
        return Verdict(subject, Level.NOT_JUDGED, finding, criterion)
    if Level.NOT_JUDGED in {by_balance, by_excess}:
        finding += "; not judged, because test images themselves are unclear or too few"
        return Verdict(subject, Level.NOT_JUDGED, finding, criterion)
    advice = []
    if by_balance is not Level.HEALTHY:
        advice.append("for missing classes, a higher train.beta or a larger model.latent_dim")
    if by_excess is not Level.HEALTHY:
        advice.append(
            "for samples of no clear class, a smaller model.latent_dim, a higher train.beta or more train.epochs"
        )
    return Verdict(subject, worst(by_balance, by_excess), finding, criterion, "; ".join(advice))


def _percent(share: float) -> str:
    """A share in percent, with a decimal below 10%."""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"
