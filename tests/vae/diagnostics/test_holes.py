from dataclasses import replace
from math import log, nan

import pytest
import torch
from torch import Tensor

from vae.diagnostics import holes as module
from vae.diagnostics.aggregate_posterior import MarginalKL
from vae.diagnostics.holes import (
    UnclearShares,
    interpolation_dip,
    judge_holes,
    nearest_distances,
    point_to_mixture,
)
from vae.diagnostics.verdict import Level, Verdict


def normal(count: int, dimensions: int, seed: int) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


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


@pytest.mark.parametrize(
    ("realism", "dip"),
    [([1.0, 1.0, 1.0], 1.0), ([1.2, 0.9, 0.3, 1.0, 0.8], 0.3), ([0.5, 2.0, 1.0, 1.5], 1.0), ([0.5, 1.0, 0.5], 2.0)],
)
def test_interpolation_dip_is_the_lowest_inner_realism_over_the_mean_of_the_ends(
    realism: list[float], dip: float
) -> None:
    assert interpolation_dip(torch.tensor(realism)) == pytest.approx(dip)


def judged(lower: float, prior: float, mixture: float) -> Verdict:
    marginal = MarginalKL(kl=25.36, lower=lower, standard_error=0.034, upper=16.29)
    return judge_holes(marginal, UnclearShares(prior, mixture, real=0.034), linear_dip=0.61, spherical_dip=0.72)


@pytest.mark.parametrize(
    ("lower", "prior", "mixture", "level"),
    [
        (0.28, 0.225, 0.16, Level.HEALTHY),
        (0.04, 0.333, 0.316, Level.HEALTHY),  # unclear, but not by the mismatch
        (-0.02, 0.1, 0.15, Level.HEALTHY),
        (0.5, 0.27, 0.12, Level.WARNING),
        (1.0, 0.1, 0.1, Level.WARNING),
        (1.0, 0.5, 0.2, Level.FAILURE),
        (2.4, 0.133, 0.156, Level.FAILURE),
        (4.66, 0.55, 0.118, Level.FAILURE),
        (0.28, nan, nan, Level.HEALTHY),
        (1.34, nan, nan, Level.WARNING),
        (8.5, nan, nan, Level.FAILURE),
        (nan, 0.55, 0.118, Level.FAILURE),
        (nan, nan, nan, Level.NOT_JUDGED),
    ],
)
def test_holes_verdict_is_graded_by_the_worse_of_spoilt_samples_and_marginal_kl_and_by_one_if_the_other_is_unknown(
    lower: float, prior: float, mixture: float, level: Level
) -> None:
    verdict = judged(lower, prior, mixture)
    assert verdict.subject == "holes in the latent space"
    assert verdict.level is level
    assert bool(verdict.advice) == (level in {Level.WARNING, Level.FAILURE})


def test_holes_verdict_names_every_number_and_the_spoilt_share_of_the_samples() -> None:
    verdict = judged(4.66, 0.55, 0.118)
    for text in ("55% of the samples", "12% from a mixture", "3% of test images", "spoils 43% of the samples"):
        assert text in verdict.finding
    for figure in ("4.66 nats", "0.03", "25.36 nats", "0.61", "0.72"):
        assert figure in verdict.finding


def test_holes_verdict_offers_the_mixture_with_the_improvement_that_was_measured() -> None:
    advice = judged(4.66, 0.55, 0.118).advice
    assert "samples_mixture.png" in advice
    assert "12% unclear in place of 55%" in advice
    assert "train.beta" in advice
    assert "model.latent_dim" in advice
    for without in (judged(4.66, 0.1, 0.2), judged(4.66, nan, nan)):
        assert "in place of" not in without.advice
        assert "nan" not in without.finding + without.advice


@pytest.mark.parametrize(
    ("lower", "spoilt", "shown"),
    [
        (log(2) + 1e-4, 0.0, "0.6932 nats"),
        (log(10) + 1e-3, 0.0, "2.304 nats"),
        (-0.3, 0.0, "0.00 nats"),
        (0, 0.1004, "10.04%"),
    ],
)
def test_numbers_of_the_holes_verdict_keep_to_their_side_of_a_threshold_and_show_no_negative_kl(
    lower: float, spoilt: float, shown: str
) -> None:
    finding = judged(lower, spoilt, 0.0).finding
    assert shown in finding
    assert "-" not in finding


@pytest.mark.parametrize(
    ("of_prior", "of_mixture", "points"),
    [
        (Level.FAILURE, Level.HEALTHY, True),
        (Level.FAILURE, Level.WARNING, True),
        (Level.WARNING, Level.HEALTHY, True),
        (Level.WARNING, Level.WARNING, False),
        (Level.WARNING, Level.FAILURE, False),
        (Level.HEALTHY, Level.WARNING, False),
        (Level.NOT_JUDGED, Level.HEALTHY, False),
        (Level.FAILURE, Level.NOT_JUDGED, False),
    ],
)
def test_a_verdict_points_to_the_mixture_exactly_if_samples_from_the_mixture_are_judged_better(
    of_prior: Level, of_mixture: Level, points: bool
) -> None:
    before, other = (Verdict("sample quality", level, "found", "healthy", "try") for level in (of_prior, of_mixture))
    after = point_to_mixture(before, other)
    assert replace(after, advice=before.advice) == before
    assert ("samples_mixture.png" in after.advice) is points
