"""Holes in the latent space: regions where the prior has mass and no image is encoded.

The decoder is trained on codes from the aggregate posterior, q(z) = 1/N Σ_x q(z|x), but samples are decoded from
the prior p(z). Where the two differ, samples come from codes that the decoder was never trained on.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vae.base.runtime import generator
from vae.diagnostics.verdict import Level, Verdict, grade, rounded, worst

PERMUTATIONS = 200  # the smallest p-value is then 1/201
ROWS_AT_ONCE = 1000

# Warning and failure. If the distributions agree, the measures are 1 and 0. No paper gives thresholds for how far above
# is too far; these were set by this project.
DISTANCE_RATIO = (1.35, 1.8)
SQUARED_DISCREPANCY = (0.02, 0.08)
SIGNIFICANCE = 0.01  # a discrepancy with a higher p-value is ignored


class Discrepancy(NamedTuple):
    """The discrepancy between the distributions of two samples.

    Attributes:
        squared: the unbiased MMD². If the distributions agree, it is 0 on average, and may be negative.
        p_value: the probability of a discrepancy at least as large if the distributions agree.
    """

    squared: float
    p_value: float


def maximum_mean_discrepancy(
    codes: Tensor, prior: Tensor, seed: int, *, bandwidth: float | None = None, permutations: int = PERMUTATIONS
) -> Discrepancy:
    """The squared maximum mean discrepancy between codes and the prior, and its p-value by permutation, in float64.

        MMD² = 1/(N·(N - 1)) Σ_{i≠j} k(z_i, z_j) + 1/(M·(M - 1)) Σ_{i≠j} k(p_i, p_j) - 2/(N·M) Σ_ij k(z_i, p_j)
        k(a, b) = exp(-‖a - b‖² / (2·h²))

    with h the median distance within the pooled sample. The p-value is (1 + #{permuted ≥ observed}) / (1 +
    permutations) over random splits of the pooled sample. Source: Gretton et al. 2012, equation 3 and section 8 (the
    median heuristic).

    Args:
        codes: draws from the aggregate posterior (N, D), at least two.
        prior: draws from the prior (M, D), at least two. Memory grows with (N + M)², so use a few thousand at most.
        seed: for the permutations.
        bandwidth: h; the median if None.
        permutations: the number of random splits for the p-value.
    """
    pooled = torch.cat([codes, prior]).cpu().double()
    count = len(pooled)
    distances = torch.cdist(pooled, pooled)
    itself = torch.eye(count, dtype=torch.bool)
    if bandwidth is None:
        # If all codes are equal, any bandwidth above zero works.
        bandwidth = max(float(distances[~itself].median()), torch.finfo(torch.float64).eps)
    kernel = torch.exp(-0.5 * (distances / bandwidth).square()).masked_fill_(itself, 0)

    random = generator(seed, "permutations of codes and prior")
    orders = torch.rand(permutations, count, dtype=torch.float64, generator=random).argsort(1)
    among_codes = torch.cat([torch.arange(count).unsqueeze(0), orders]) < len(codes)
    observed, *permuted = _squared_discrepancies(kernel, among_codes).tolist()
    as_far = sum(value >= observed for value in permuted)
    return Discrepancy(observed, (1 + as_far) / (1 + permutations))


def nearest_distances(points: Tensor, codes: Tensor) -> Tensor:
    """The Euclidean distance of each point to its nearest code: points (M, D) and codes (N, D) to (M,)."""
    parts = []
    for rows in points.split(ROWS_AT_ONCE):
        nearest = codes[torch.cdist(rows, codes).min(1).indices]
        # Computed again, because cdist uses matrix products, which are imprecise for small distances.
        parts.append(torch.linalg.vector_norm(rows - nearest, dim=1))
    return torch.cat(parts)


def distance_ratio(from_prior: Tensor, from_held_out: Tensor) -> float:
    """How much farther draws from the prior are from the nearest code than codes of held-out images are.

    The median distance of draws from the prior to the nearest code, divided by that of held-out codes. It is about 1 if
    prior and aggregate posterior agree, above 1 if draws from the prior land where no image is encoded, and below 1 if
    the codes spread wider than the prior.

    Args:
        from_prior: ``nearest_distances`` of draws from the prior (M,).
        from_held_out: ``nearest_distances`` of codes of held-out images, drawn from their posteriors (L,).
    """
    prior, held_out = (float(distances.cpu().double().median()) for distances in (from_prior, from_held_out))
    return prior / max(held_out, torch.finfo(torch.float32).tiny)


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


def judge_holes(discrepancy: Discrepancy, distance_ratio: float, linear_dip: float, spherical_dip: float) -> Verdict:
    """Judge how well the prior matches the aggregate posterior.

    The dips of interpolations are reported but not judged: an image halfway between a 1 and an 8 need not look real.

    Args:
        discrepancy: between draws from the aggregate posterior and from the prior.
        distance_ratio: of the same draws.
        linear_dip: ``interpolation_dip`` on straight lines between codes.
        spherical_dip: ``interpolation_dip`` on arcs between codes.
    """
    by_distance = grade(distance_ratio, *DISTANCE_RATIO)
    significant = discrepancy.p_value < SIGNIFICANCE
    by_discrepancy = grade(discrepancy.squared, *SQUARED_DISCREPANCY) if significant else Level.HEALTHY
    level = worst(by_distance, by_discrepancy)
    return Verdict(
        subject="holes in the latent space",
        level=level,
        finding=(
            f"draws from the prior are {rounded(distance_ratio, '.2f', *DISTANCE_RATIO)} times as far from the nearest "
            "code as codes of held-out images are; the MMD² between prior and aggregate posterior is "
            f"{rounded(discrepancy.squared, '.4f', *SQUARED_DISCREPANCY)} "
            f"(p = {rounded(discrepancy.p_value, '.3f', SIGNIFICANCE)}); the lowest realism between two codes is "
            f"{linear_dip:.2f} of that at the ends on straight lines and {spherical_dip:.2f} on arcs"
        ),
        criterion=(
            f"a distance ratio of at most {DISTANCE_RATIO[0]} (failure above {DISTANCE_RATIO[1]}), and an MMD² of at "
            f"most {SQUARED_DISCREPANCY[0]} (failure above {SQUARED_DISCREPANCY[1]}) or one that is not significant "
            f"(p at least {SIGNIFICANCE}); MMD as in Gretton et al. 2012, prior against aggregate posterior as in "
            "Hoffman & Johnson 2016 and Rosca, Lakshminarayanan & Mohamed 2018 (thresholds set by this project)"
        ),
        advice=""
        if level is Level.HEALTHY
        else "a higher train.beta or a smaller model.latent_dim; only after that, a longer train.kl_warmup_epochs",
    )


def _squared_discrepancies(kernel: Tensor, among_codes: Tensor) -> Tensor:
    """The unbiased MMD² of P splits of a pooled sample: kernel (S, S), diagonal 0, and splits (P, S) to (P,)."""
    first = among_codes.to(kernel.dtype)
    n = first.sum(1)
    m = len(kernel) - n
    sums = first @ kernel
    within_first = (sums * first).sum(1)
    between = sums.sum(1) - within_first
    within_second = kernel.sum() - within_first - 2 * between
    return within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * between / (n * m)
