"""Holes in the latent space: regions where the prior has mass and no image is encoded.

The decoder is trained on codes from the aggregate posterior, q(z) = 1/N Σ_x q(z given x), but samples are decoded from
the prior p(z). Where the two differ, samples come from codes that the decoder was never trained on.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vae.base.runtime import generator
from vae.diagnostics.verdict import Level, Verdict, grade, worst

PERMUTATIONS = 200  # the smallest p-value is then 1/201
ROWS_AT_ONCE = 1000

# Warning and failure. Where the distributions agree the measures are 1 and 0. How far above is too far is a judgement
# of this project: no paper gives such thresholds.
DISTANCE_RATIO = (1.35, 1.8)
SQUARED_DISCREPANCY = (0.02, 0.08)
SIGNIFICANCE = 0.01  # a discrepancy with a higher p-value is ignored


class Discrepancy(NamedTuple):
    """The discrepancy between the distributions of two samples.

    Attributes:
        squared: the unbiased MMD². Where the distributions agree it is 0 on average, and may be negative.
        p_value: the probability of a discrepancy at least as large where the distributions agree.
    """

    squared: float
    p_value: float


def maximum_mean_discrepancy(
    codes: Tensor, prior: Tensor, seed: int, *, bandwidth: float | None = None, permutations: int = PERMUTATIONS
) -> Discrepancy:
    """The squared maximum mean discrepancy of two samples, and its p-value by permutation, in float64.

        MMD² = 1/(N·(N - 1)) Σ_{i≠j} k(z_i, z_j) + 1/(M·(M - 1)) Σ_{i≠j} k(p_i, p_j) - 2/(N·M) Σ_ij k(z_i, p_j)
        k(a, b) = exp(-‖a - b‖² / (2·h²))

    with h the median distance within the pooled sample. The p-value is (1 + #{permuted ≥ observed}) / (1 +
    permutations) over random ways to split the pooled sample in two. Source: Gretton et al. 2012, equation 3 and
    section 8 (the median heuristic).

    Args:
        codes: draws of the aggregate posterior (N, D), at least two.
        prior: draws of the prior (M, D), at least two. Memory grows with (N + M)²: a few thousand at most.
        seed: of the permutations.
        bandwidth: h; the median if None.
        permutations: how many random splits the p-value is computed from.
    """
    pooled = torch.cat([codes, prior]).cpu().double()
    count = len(pooled)
    distances = torch.cdist(pooled, pooled)
    itself = torch.eye(count, dtype=torch.bool)
    if bandwidth is None:
        # Where all codes are equal any bandwidth above zero will do.
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
        # Computed again, since cdist uses matrix products, which lose digits of small distances.
        parts.append(torch.linalg.vector_norm(rows - nearest, dim=1))
    return torch.cat(parts)


def distance_ratio(from_prior: Tensor, from_held_out: Tensor) -> float:
    """How much farther draws of the prior are from the nearest code than codes of held-out images are.

    The median distance of draws of the prior to the nearest code, divided by that of held-out codes. About 1 where
    prior and aggregate posterior agree, above 1 where draws of the prior fall where no image is encoded, and below 1
    where the codes are spread wider than the prior.

    Args:
        from_prior: ``nearest_distances`` of draws of the prior (M,).
        from_held_out: ``nearest_distances`` of codes of held-out images, drawn from their posteriors (L,).
    """
    prior, held_out = (float(distances.cpu().double().median()) for distances in (from_prior, from_held_out))
    return prior / max(held_out, torch.finfo(torch.float32).tiny)


def interpolation_dip(realism_by_share: Tensor) -> float:
    """How much realism images lose on the way between two codes: the lowest inner value over the mean of the ends.

    1 where they lose none; near 0 where there is a hole between the codes.

    Args:
        realism_by_share: the median realism of decoded images at each share of the way, both ends included (S,);
            at least three.
    """
    realism = realism_by_share.cpu().double()
    ends = (realism[0] + realism[-1]) / 2
    return float(realism[1:-1].min() / ends)


def judge_holes(discrepancy: Discrepancy, distance_ratio: float, linear_dip: float, spherical_dip: float) -> Verdict:
    """Judge how well the prior matches the aggregate posterior.

    The dips of interpolations are reported, not judged: an image halfway between a 1 and an 8 need not look real.

    Args:
        discrepancy: of draws of the aggregate posterior and of the prior.
        distance_ratio: of the same draws.
        linear_dip: the dip of realism on straight lines between codes.
        spherical_dip: the dip of realism on arcs between codes.
    """
    by_distance = grade(distance_ratio, *DISTANCE_RATIO)
    significant = discrepancy.p_value < SIGNIFICANCE
    by_discrepancy = grade(discrepancy.squared, *SQUARED_DISCREPANCY) if significant else Level.HEALTHY
    level = worst(by_distance, by_discrepancy)
    return Verdict(
        subject="holes in the latent space",
        level=level,
        finding=(
            f"draws of the prior lie {distance_ratio:.2f} times as far from the nearest code as codes of other images "
            f"do; the MMD² of prior and aggregate posterior is {discrepancy.squared:.4f} "
            f"(p = {discrepancy.p_value:.3f}); between two codes realism falls to {linear_dip:.2f} of that at the ends "
            f"on straight lines, {spherical_dip:.2f} on arcs"
        ),
        criterion=(
            f"a ratio of distances up to {DISTANCE_RATIO[0]} (failure above {DISTANCE_RATIO[1]}), and an MMD² up to "
            f"{SQUARED_DISCREPANCY[0]} (failure above {SQUARED_DISCREPANCY[1]}) or one that chance may have made (p of "
            f"{SIGNIFICANCE} or more); MMD of Gretton et al. 2012, prior against aggregate posterior as in Hoffman & "
            "Johnson 2016 and Rosca, Lakshminarayanan & Mohamed 2018"
        ),
        advice=""
        if level is Level.HEALTHY
        else "a higher train.beta or a smaller model.latent_dim; only after that a longer train.kl_warmup_epochs",
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
