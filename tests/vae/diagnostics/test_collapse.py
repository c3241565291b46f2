from collections.abc import Sequence
from math import log, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from vae.diagnostics import collapse as module
from vae.diagnostics.collapse import (
    Onset,
    active_units,
    collapse_onset,
    judge_collapse,
    mean_variances,
    mutual_information,
)
from vae.diagnostics.verdict import Level
from vae.model.objective import kl_divergence

BIT = log(2)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def posterior_means(variances: Sequence[float], images: int = 100) -> Tensor:
    """Means of exactly these variances over images: half of them one standard deviation above 5, half below."""
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(images // 2).unsqueeze(1)
    return 5 + signs * torch.tensor(variances, dtype=torch.float64).sqrt()


@pytest.mark.parametrize(
    ("variances", "active"),
    [((0.0101, 0.5, 2.0), 3), ((0.0101, 0.0099, 0.0), 1), ((1.0, 1.0, 0.0099), 2), ((0.0099, 0.0, 1e-9), 0)],
)
def test_active_units_counts_dimensions_whose_mean_has_a_variance_above_0_01(
    variances: tuple[float, ...], active: int
) -> None:
    assert active_units(mean_variances(posterior_means(variances))) == active


@pytest.mark.parametrize(("threshold", "active"), [(0.0099, 3), (0.01, 2), (0.1, 1), (0.5, 0)])
def test_active_units_does_not_count_a_variance_at_the_threshold(threshold: float, active: int) -> None:
    assert active_units(torch.tensor([0.01, 0.1, 0.5], dtype=torch.float64), threshold) == active


def test_mean_variances_are_population_variances_in_float64() -> None:
    mean = 3 * torch.randn(7, 4, generator=torch.Generator().manual_seed(0)) + 100
    variances = mean_variances(mean)
    assert variances.dtype == torch.float64
    np.testing.assert_allclose(variances.numpy(), mean.double().numpy().var(axis=0, ddof=0), rtol=1e-12)


def test_mean_variances_of_a_single_image_are_zero() -> None:
    assert mean_variances(torch.tensor([[1.0, -2.0]])).tolist() == [0, 0]


@pytest.mark.parametrize(("images", "dimensions"), [(1, 1), (2, 3), (40, 3), (30, 8)])
def test_mutual_information_agrees_with_a_loop_over_its_definition(images: int, dimensions: int) -> None:
    """The loop runs over every pair, with densities from torch.distributions."""
    mean, log_variance = 2 + normal(images, dimensions, seed=1), normal(images, dimensions, seed=2) - 1
    noise = normal(images, dimensions, seed=3)
    expected = 0.0
    for i in range(images):
        z = mean[i] + (0.5 * log_variance[i]).exp() * noise[i]
        densities = [
            float(Normal(mean[j], (0.5 * log_variance[j]).exp()).log_prob(z).sum().exp()) for j in range(images)
        ]
        expected += (log(densities[i]) - log(sum(densities) / images)) / images
    assert mutual_information(mean, log_variance, noise) == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert images == 1 or expected > 0.1


@pytest.mark.parametrize("signal", [0.3, 1.0, 3.0])
def test_mutual_information_of_a_gaussian_channel_is_shannons_formula(signal: float) -> None:
    """μ = a·s with s standard normal and σ² = ½: ½·log(1 + a²/σ²) nats per dimension, far below log N here."""
    images, dimensions = 3000, 2
    mean = signal * normal(images, dimensions, seed=1)
    information = mutual_information(mean, torch.full_like(mean, 0.5).log(), normal(images, dimensions, seed=2))
    expected = dimensions * 0.5 * log(1 + signal**2 / 0.5)
    variance = dimensions * signal**2 / (signal**2 + 0.5)  # of log q(z|x) - log q(z)
    assert information == pytest.approx(expected, abs=4 * sqrt(variance / images))
    assert expected < log(images) / 2


@pytest.mark.parametrize("dimensions", [1, 20])
def test_mutual_information_of_equal_posteriors_is_zero(dimensions: int) -> None:
    mean, log_variance = (normal(1, dimensions, seed=seed).expand(50, dimensions) for seed in (1, 2))
    assert mutual_information(mean, log_variance, normal(50, dimensions, seed=3)) == pytest.approx(0, abs=1e-13)


@pytest.mark.parametrize("images", [2, 7, 1000])
def test_mutual_information_of_disjoint_posteriors_is_the_logarithm_of_the_number_of_images(images: int) -> None:
    mean = 100 * torch.arange(images, dtype=torch.float64).unsqueeze(1)
    information = mutual_information(mean, torch.zeros_like(mean), normal(images, 1).clamp(-3, 3))
    assert information == pytest.approx(log(images), rel=1e-12)


def test_mutual_information_of_two_disjoint_groups_of_posteriors_is_one_bit() -> None:
    mean = torch.tensor([-50.0, 50.0]).repeat(30).unsqueeze(1)
    assert mutual_information(mean, torch.zeros_like(mean), normal(60, 1)) == pytest.approx(BIT, rel=1e-12)


@pytest.mark.parametrize("log_variance", [-80.0, -20.0, 0.0, 10.0])
def test_mutual_information_never_exceeds_the_logarithm_of_the_number_of_images(log_variance: float) -> None:
    mean = normal(200, 5, seed=1)
    information = mutual_information(mean, torch.full_like(mean, log_variance), normal(200, 5, seed=2))
    assert information <= log(200) * (1 + 1e-12)


def test_mutual_information_is_below_the_kl_to_the_prior_and_does_not_change_when_all_means_move() -> None:
    """The KL is the information plus KL(q(z) ‖ p(z)); means far from the prior increase only the latter."""
    mean, log_variance, noise = normal(500, 2, seed=1), torch.full((500, 2), -1.0), normal(500, 2, seed=2)
    information = mutual_information(mean, log_variance, noise)
    assert information < float(kl_divergence(mean, log_variance).sum(1).mean())
    assert mutual_information(mean + 1e6, log_variance, noise) == pytest.approx(information, rel=1e-8)


@pytest.mark.parametrize("rows", [1, 7, 49, 50, 60])
def test_mutual_information_does_not_depend_on_the_rows_at_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = normal(50, 3, seed=1), normal(50, 3, seed=2), normal(50, 3, seed=3)
    whole = mutual_information(*posterior)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", rows)
    assert mutual_information(*posterior) == pytest.approx(whole, rel=1e-12)


def test_mutual_information_does_not_change_its_inputs() -> None:
    posterior = [normal(20, 3, seed=seed) for seed in range(3)]
    before = [tensor.clone() for tensor in posterior]
    mutual_information(*posterior)
    assert all(torch.equal(*pair) for pair in zip(posterior, before, strict=True))


@pytest.mark.parametrize(
    ("kl_per_epoch", "onset"),
    [
        ([5.0, 20.0, 25.0], Onset.NEVER),
        ([0.1, 0.2, BIT], Onset.NEVER),
        ([0.5, 0.1, 0.0], Onset.AT_THE_START),
        ([2 * BIT, 0.1, 0.0], Onset.AT_THE_START),
        ([0.0], Onset.AT_THE_START),
        ([2 * BIT + 0.01, 0.1, 0.0], Onset.LATER),
        ([0.1, 30.0, 0.69], Onset.LATER),
        ([], Onset.NEVER),
    ],
)
def test_collapse_onset_is_read_from_the_kl_of_the_epochs(kl_per_epoch: list[float], onset: Onset) -> None:
    assert collapse_onset(kl_per_epoch) is onset


@pytest.mark.parametrize(
    ("variances", "information", "classes", "level"),
    [
        ((1.0, 1.0, 1.0, 1.0), 9.0, 10, Level.HEALTHY),
        ((1.0, 1.0, 0.0, 0.0), log(10), 10, Level.HEALTHY),  # half the dimensions, just enough to name the class
        ((1.0, 1.0, 0.0, 0.0), log(10) - 1e-6, 10, Level.WARNING),
        ((1.0, 0.0, 0.0, 0.0), 9.0, 10, Level.WARNING),
        ((1.0, 1.0, 1.0, 1.0), BIT, 10, Level.WARNING),
        ((1.0, 1.0, 1.0, 1.0), BIT, 2, Level.HEALTHY),
        ((1.0, 1.0, 1.0, 1.0), BIT - 1e-6, 10, Level.FAILURE),
        ((1.0, 1.0, 1.0, 1.0), BIT - 1e-6, 1, Level.FAILURE),
        ((0.01, 0.01, 0.0, 0.0), 9.0, 10, Level.FAILURE),
        ((1.0, 1.0, 1.0, 1.0), float("nan"), 10, Level.FAILURE),
    ],
)
def test_collapse_verdict_is_graded_by_mutual_information_and_active_dimensions(
    variances: tuple[float, ...], information: float, classes: int, level: Level
) -> None:
    verdict = judge_collapse(torch.tensor(variances, dtype=torch.float64), information, [20.0], 300, classes)
    assert verdict.subject == "posterior collapse"
    assert verdict.level is level
    assert bool(verdict.advice) is (level is not Level.HEALTHY)


def test_collapse_finding_names_the_active_counts_at_both_thresholds_and_the_mutual_information() -> None:
    verdict = judge_collapse(torch.tensor([1.0, 0.5, 0.05, 0.001]), 3.456, [20.0], images=300, classes=10)
    for words in (
        "3 of 4 ",
        "0.01",
        "2 of them clearly",
        "0.1)",
        "3.46 nats",
        "(5.70 are enough to tell 300 images apart)",
    ):
        assert words in verdict.finding
    assert "KL" not in verdict.finding
    assert "Burda" in verdict.criterion
    assert "2.303 nats" in verdict.criterion


@pytest.mark.parametrize(
    ("kl_per_epoch", "words"),
    [([0.1, 0.0], "from the start"), ([9.0, 0.0], "vanished during"), ([9.0, 9.0], "did not vanish")],
)
def test_collapse_finding_of_a_failure_names_its_onset(kl_per_epoch: list[float], words: str) -> None:
    verdict = judge_collapse(torch.zeros(4), 0.0, kl_per_epoch, images=300, classes=10)
    assert words in verdict.finding
    assert "0 of 4 " in verdict.finding


@pytest.mark.parametrize(
    ("variances", "information", "tried", "untried"),
    [
        ((0.0, 0.0, 0.0), 0.0, {"free_bits", "kl_warmup_epochs", "beta", "network"}, {"latent_dim"}),
        ((1.0, 0.0, 0.0), 5.0, {"latent_dim", "free_bits"}, {"beta", "epochs"}),
        ((1.0, 1.0, 0.0), 1.0, {"epochs", "beta"}, {"latent_dim", "free_bits"}),
        ((1.0, 0.0, 0.0), 1.0, {"smaller model.latent_dim", "free_bits", "epochs", "beta"}, {"network", "larger"}),
        ((1.0, 1.0), 1.0, {"larger model.latent_dim", "epochs", "beta"}, {"smaller", "free_bits"}),
    ],
)
def test_collapse_advice_names_parameters_that_act_on_the_finding(
    variances: tuple[float, ...], information: float, tried: set[str], untried: set[str]
) -> None:
    advice = judge_collapse(torch.tensor(variances), information, [20.0], images=300, classes=10).advice
    assert all(name in advice for name in tried)
    assert not any(name in advice for name in untried)


@pytest.mark.parametrize("dimensions", [1, 2, 20])
def test_collapse_advice_starts_with_a_larger_latent_space_where_all_dimensions_are_active_and_carry_too_little(
    dimensions: int,
) -> None:
    verdict = judge_collapse(torch.ones(dimensions), 2.0, [20.0], images=300, classes=10)
    assert verdict.level is Level.WARNING
    assert verdict.advice.startswith("a larger model.latent_dim")


@pytest.mark.parametrize(("information", "level"), [(2.3025, Level.WARNING), (2.3026, Level.HEALTHY)])
def test_collapse_finding_shows_on_which_side_of_the_threshold_the_information_is(
    information: float, level: Level
) -> None:
    """The threshold is log 10 = 2.302585…, 2.303 in the criterion."""
    verdict = judge_collapse(torch.ones(4), information, [20.0], images=300, classes=10)
    assert verdict.level is level
    shown = float(verdict.finding.partition(" nats about its image")[0].rpartition(" ")[2])
    assert (shown < 2.303) is (level is Level.WARNING)


def test_the_criterion_of_collapse_names_no_classes_if_there_are_none() -> None:
    verdict = judge_collapse(torch.ones(4), 3.0, [10.0], 300, 1)
    assert verdict.level is Level.HEALTHY
    assert "classes" not in verdict.criterion
