"""Holes in the latent space: regions where the prior has mass and no image is encoded.

The decoder is trained on codes from the aggregate posterior, q(z) = E_x q(z|x), but samples are decoded from the prior
p(z). Where the two differ, samples come from codes that the decoder was never trained on.
"""

from dataclasses import replace
from math import isnan, log
from typing import NamedTuple

import torch
from torch import Tensor

from vae.diagnostics.aggregate_posterior import MarginalKL
from vae.diagnostics.verdict import Level, Verdict, grade, rounded, worst

ROWS_AT_ONCE = 1000

# Warning and failure, in nats. If the aggregate posterior were the prior without a share h of its mass, the marginal KL
# would be -log(1 - h): log 2 for half of the mass, log 10 for nine tenths.
MARGINAL_KL = (log(2), log(10))
# Warning and failure, in shares of the samples. On MNIST, six in ten images decoded from holes are unclear, so
# a fifth and half of the samples come from holes. Both measures give the same level on MNIST and digits with β from
# 0.01 to 2; on MNIST with β = 4, the samples are a failure (25%) and the marginal KL is a warning (1.0 nats).
SPOILT = (0.1, 0.25)


class UnclearShares(NamedTuple):
    """The shares of images that are no clear member of any class; NaN if there is no classifier to trust.

    Attributes:
        prior: of images decoded from draws from the prior.
        mixture: of images decoded from a mixture fitted to the codes (``aggregate_posterior.fit_mixture``).
        real: of test images.
    """

    prior: float
    mixture: float
    real: float


def nearest_distances(points: Tensor, codes: Tensor) -> Tensor:
    """The Euclidean distance of each point to its nearest code: points (M, D) and codes (N, D) to (M,)."""
    parts = []
    for rows in points.split(ROWS_AT_ONCE):
        nearest = codes[torch.cdist(rows, codes).min(1).indices]
        # Computed again, because cdist uses matrix products, which are imprecise for small distances.
        parts.append(torch.linalg.vector_norm(rows - nearest, dim=1))
    return torch.cat(parts)


def interpolation_dip(realism_by_share: Tensor) -> float:
    """How far realism falls between two codes: the lowest value in between, divided by the mean of both ends.

    It is at least 1 if realism does not fall, and near 0 if there is a hole between the codes.

    Args:
        realism_by_share: the median realism of the images decoded at S positions from one code to the other, both ends
            included (S,); at least three.
    """
    realism = realism_by_share.cpu().double()
    ends = (realism[0] + realism[-1]) / 2
    return float(realism[1:-1].min() / ends)


def judge_holes(marginal: MarginalKL, unclear: UnclearShares, linear_dip: float, spherical_dip: float) -> Verdict:
    """Judge how well the prior matches the aggregate posterior, by the worse of two measures.

    The first is the share of samples that the mismatch spoils: how many more are unclear if their codes come from the
    prior and not from a mixture fitted to the codes. The decoder is the same. The second is the lower bound on the
    marginal KL. It also shows what a classifier misses: codes that the prior does not reach, and images that look
    clear and are not real. Without a classifier, it is the only measure.

    The dips of interpolations are reported but not judged: an image halfway between a 1 and an 8 need not look real.

    Args:
        marginal: bounds on the marginal KL, for held-out images.
        unclear: shares of samples and of test images.
        linear_dip: ``interpolation_dip`` on straight lines between codes.
        spherical_dip: ``interpolation_dip`` on arcs between codes.
    """
    spoilt = unclear.prior - unclear.mixture
    by_samples, by_divergence = grade(spoilt, *SPOILT), grade(marginal.lower, *MARGINAL_KL)
    judged = [each for each in (by_samples, by_divergence) if each is not Level.NOT_JUDGED]
    level = worst(*judged) if judged else Level.NOT_JUDGED
    return Verdict(
        subject="holes in the latent space",
        level=level,
        finding=(
            f"{_what_samples_show(unclear)}the marginal KL of codes and prior is at least "
            f"{rounded(max(marginal.lower, 0.0), '.2f', *MARGINAL_KL)} nats (standard error "
            f"{marginal.standard_error:.2f}), of a KL of {marginal.kl:.2f} nats in all; the lowest realism between two "
            f"codes is {linear_dip:.2f} of that at the ends on straight lines and {spherical_dip:.2f} on arcs"
        ),
        criterion=(
            f"the mismatch spoils at most {SPOILT[0]:.0%} of the samples (failure above {SPOILT[1]:.0%}), and the "
            f"marginal KL is at most {MARGINAL_KL[0]:.3f} nats (failure above {MARGINAL_KL[1]:.3f}): as much as "
            "if half, or nine tenths, of the prior were a hole; marginal KL as in Hoffman & Johnson 2016, mixture as "
            "in Ghosh et al. 2020 (thresholds set by this project)"
        ),
        advice=_advice(unclear) if level in {Level.WARNING, Level.FAILURE} else "",
    )


def point_to_mixture(of_prior: Verdict, of_mixture: Verdict) -> Verdict:
    """A verdict on samples from the prior, with other advice if samples from the mixture get a better level.

    The decoder is the same for both, so that then the mismatch of codes and prior limits the samples.

    Args:
        of_prior: the verdict on samples from the prior.
        of_mixture: the same verdict on samples from the mixture.
    """
    levels = [verdict.level for verdict in (of_prior, of_mixture)]
    if Level.NOT_JUDGED in levels or levels[0] is levels[1] or worst(*levels) is not of_prior.level:
        return of_prior
    advice = (
        "sample from the mixture fitted to the codes (samples_mixture.png): this verdict on its samples is "
        f"{'a ' * (of_mixture.level is not Level.HEALTHY)}{of_mixture.level}; see the verdict on holes"
    )
    return replace(of_prior, advice=advice)


def _what_samples_show(unclear: UnclearShares) -> str:
    spoilt = unclear.prior - unclear.mixture
    if isnan(spoilt):
        return ""
    return (
        f"{unclear.prior:.0%} of the samples from the prior are no clear member of any class, {unclear.mixture:.0%} "
        f"from a mixture fitted to the codes and {unclear.real:.0%} of test images, so the mismatch of codes and prior "
        f"spoils {rounded(max(spoilt, 0.0), '.0%', *SPOILT)} of the samples; "
    )


def _advice(unclear: UnclearShares) -> str:
    cure = "sample from the mixture fitted to the codes (samples_mixture.png)"
    if unclear.prior > unclear.mixture:
        cure += f": {unclear.mixture:.0%} unclear in place of {unclear.prior:.0%}"
    return f"{cure}; or a higher train.beta or a smaller model.latent_dim, which cost accuracy of reconstructions"
