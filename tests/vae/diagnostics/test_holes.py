from collections.abc import Callable
from math import exp, sqrt

import pytest
import torch
from torch import Tensor

from vae.diagnostics import holes as module
from vae.diagnostics.holes import (
    Discrepancy,
    distance_ratio,
    interpolation_dip,
    judge_holes,
    maximum_mean_discrepancy,
    nearest_distances,
)
from vae.diagnostics.verdict import Level


def normal(count: int, dimensions: int, seed: int) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def by_definition(codes: Tensor, prior: Tensor, bandwidth: float | None) -> float:
    """The unbiased MMD² by loops over pairs, with the median of a sorted list as the bandwidth."""
    z, p = codes.double().tolist(), prior.double().tolist()

    def squared(a: list[float], b: list[float]) -> float:
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    if bandwidth is None:
        pooled = z + p
        distances = sorted(sqrt(squared(a, b)) for i, a in enumerate(pooled) for b in pooled[:i])
        bandwidth = distances[(len(distances) - 1) // 2]

    def kernel(a: list[float], b: list[float]) -> float:
        return exp(-squared(a, b) / (2 * bandwidth**2))

    n, m = len(z), len(p)
    within_z = sum(kernel(z[i], z[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_p = sum(kernel(p[i], p[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_z + within_p - 2 * sum(kernel(a, b) for a in z for b in p) / (n * m)


@pytest.mark.parametrize("bandwidth", [None, 0.7, 3.0])
@pytest.mark.parametrize(("codes", "prior"), [(20, 20), (30, 11), (2, 2)])
def test_discrepancy_agrees_with_loops_over_its_definition(codes: int, prior: int, bandwidth: float | None) -> None:
    z, p = 0.5 + 0.5 * normal(codes, 3, seed=1), normal(prior, 3, seed=2)
    squared = maximum_mean_discrepancy(z, p, 0, bandwidth=bandwidth, permutations=1).squared
    assert squared == pytest.approx(by_definition(z, p, bandwidth), rel=1e-9)


def test_discrepancy_of_two_gaussians_averages_to_its_closed_form() -> None:
    """E k(a, b) of N(0, s²) and N(m, t²) is (h² / (h² + s² + t²))^{D/2} exp(-m² / (2·(h² + s² + t²))), D dimensions."""
    dimensions, bandwidth, deviation, shift = 3, 1.5, 0.6, 0.8

    def expected_kernel(variances: float, squared_distance: float) -> float:
        total = bandwidth**2 + variances
        return float((bandwidth**2 / total) ** (dimensions / 2) * exp(-squared_distance / (2 * total)))

    expected = (
        expected_kernel(2 * deviation**2, 0)
        + expected_kernel(2, 0)
        - 2 * expected_kernel(1 + deviation**2, dimensions * shift**2)
    )
    draws = torch.tensor(
        [
            maximum_mean_discrepancy(
                shift + deviation * normal(150, dimensions, seed=2 * draw),
                normal(100, dimensions, seed=2 * draw + 1),
                0,
                bandwidth=bandwidth,
                permutations=1,
            ).squared
            for draw in range(40)
        ]
    )
    standard_error = float(draws.std()) / sqrt(len(draws))
    assert float(draws.mean()) == pytest.approx(expected, abs=4 * standard_error)
    assert standard_error < 0.03 * expected


def test_discrepancy_of_samples_of_one_distribution_averages_to_zero_with_a_uniform_p_value() -> None:
    results = [
        maximum_mean_discrepancy(normal(40, 2, seed=2 * draw), normal(30, 2, seed=2 * draw + 1), draw)
        for draw in range(100)
    ]
    squared = torch.tensor([result.squared for result in results])
    assert abs(float(squared.mean())) < 4 * float(squared.std()) / sqrt(len(results))
    assert float(squared.std()) < 0.03
    p_values = torch.tensor([result.p_value for result in results]).sort().values
    uniform = torch.arange(1, len(results) + 1) / len(results)
    assert (p_values - uniform).abs().max() < 1.63 / sqrt(len(results))  # Kolmogorov & Smirnov, at 1 %


def test_discrepancy_of_samples_of_different_distributions_has_the_smallest_p_value() -> None:
    discrepancy = maximum_mean_discrepancy(normal(100, 4, seed=1) + 1, normal(100, 4, seed=2), 0)
    assert discrepancy.squared > 0.1
    assert discrepancy.p_value == pytest.approx(1 / 201)
    assert maximum_mean_discrepancy(normal(100, 4, seed=1) + 1, normal(100, 4, seed=2), 0, permutations=9)[1] == 0.1


def test_discrepancy_repeats_and_only_its_p_value_depends_on_the_seed() -> None:
    samples = normal(50, 2, seed=1), normal(50, 2, seed=2)
    results = [maximum_mean_discrepancy(*samples, seed) for seed in (0, 0, 1)]
    assert results[0] == results[1]
    assert results[0].squared == pytest.approx(results[2].squared, rel=1e-12)
    assert results[0].p_value != results[2].p_value


def test_discrepancy_of_identical_codes_is_significant_against_the_prior_and_zero_against_themselves() -> None:
    constant = torch.full((20, 3), 0.7)
    assert maximum_mean_discrepancy(constant, normal(20, 3, seed=1), 0).p_value == pytest.approx(1 / 201)
    squared, p_value = maximum_mean_discrepancy(constant, constant, 0)
    assert squared == pytest.approx(0, abs=1e-12)
    assert 0 < p_value <= 1


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_nearest_distances_are_the_smallest_of_every_pair(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", rows)
    points, codes = normal(20, 3, seed=1), normal(50, 3, seed=2)
    expected = (points.unsqueeze(1) - codes.unsqueeze(0)).norm(dim=2).min(1).values
    torch.testing.assert_close(nearest_distances(points, codes), expected, rtol=1e-6, atol=0)


def test_nearest_distances_keep_their_digits_where_they_are_small_and_far_from_the_origin() -> None:
    codes = 10 * normal(100, 4, seed=1)
    points = codes.clone()
    points[:, 0] += 2**-10
    torch.testing.assert_close(nearest_distances(points, codes), points[:, 0] - codes[:, 0], rtol=1e-6, atol=0)


def ratio_of(prior: Tensor, codes: Tensor, held_out: Tensor) -> float:
    return distance_ratio(nearest_distances(prior, codes), nearest_distances(held_out, codes))


def test_distance_ratio_is_about_one_where_the_distributions_agree() -> None:
    ratio = ratio_of(normal(2000, 5, seed=1), normal(2000, 5, seed=2), normal(2000, 5, seed=3))
    assert ratio == pytest.approx(1, abs=0.06)


def ring(seed: int) -> Tensor:
    directions = torch.nn.functional.normalize(normal(1000, 2, seed), dim=1)
    return 2 * directions + 0.1 * normal(1000, 2, seed + 100)


def clusters(seed: int) -> Tensor:
    return 0.5 * normal(1000, 2, seed) + torch.where(torch.arange(1000) % 2 == 0, 3.0, -3.0).unsqueeze(1)


@pytest.mark.parametrize("codes", [ring, clusters])
def test_distance_ratio_grows_where_the_prior_lies_in_a_gap_between_codes(codes: Callable[[int], Tensor]) -> None:
    assert ratio_of(normal(1000, 2, seed=5), codes(1), codes(2)) > 3


def test_distance_ratio_is_the_ratio_of_medians_worked_out_by_hand() -> None:
    codes = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    prior = torch.tensor([[3.0, 4.0], [0.0, 6.0], [10.0, 1.0]])
    held_out = torch.tensor([[0.0, 2.0], [12.5, 0.0], [0.0, 0.5]])
    assert ratio_of(prior, codes, held_out) == pytest.approx(5 / 2)


def test_distance_ratio_of_identical_codes_is_large_and_finite() -> None:
    constant = torch.full((20, 3), 0.7)
    assert 1e6 < ratio_of(normal(20, 3, seed=1), constant, constant) < float("inf")


@pytest.mark.parametrize(
    ("realism", "dip"),
    [([1.0, 1.0, 1.0], 1.0), ([1.2, 0.9, 0.3, 1.0, 0.8], 0.3), ([0.5, 2.0, 1.0, 1.5], 1.0), ([0.5, 1.0, 0.5], 2.0)],
)
def test_interpolation_dip_is_the_lowest_inner_realism_over_the_mean_of_the_ends(
    realism: list[float], dip: float
) -> None:
    assert interpolation_dip(torch.tensor(realism)) == pytest.approx(dip)


@pytest.mark.parametrize(
    ("squared", "p_value", "ratio", "level"),
    [
        (0.001, 0.5, 1.0, Level.HEALTHY),
        (0.05, 0.005, 1.0, Level.WARNING),
        (0.1, 0.005, 1.3, Level.FAILURE),
        (0.1, 0.02, 1.0, Level.HEALTHY),  # not significant
        (0.1, 0.02, 1.4, Level.WARNING),
        (0.01, 0.005, 1.0, Level.HEALTHY),  # significant, but small
        (0.03, 0.005, 1.9, Level.FAILURE),
        (-0.001, 0.9, 0.8, Level.HEALTHY),
    ],
)
def test_holes_verdict_is_graded_by_the_worse_of_distance_ratio_and_significant_discrepancy(
    squared: float, p_value: float, ratio: float, level: Level
) -> None:
    verdict = judge_holes(Discrepancy(squared, p_value), ratio, linear_dip=0.61, spherical_dip=0.72)
    assert verdict.subject == "holes in the latent space"
    assert verdict.level is level
    assert bool(verdict.advice) == (level is not Level.HEALTHY)
    for figure in (f"{squared:.4f}", f"{p_value:.3f}", f"{ratio:.2f}", "0.61", "0.72"):
        assert figure in verdict.finding
