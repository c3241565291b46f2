from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from vae.diagnostics.overfitting import judge_overfitting, overfitting_gap
from vae.diagnostics.verdict import Level, Verdict, between_models


def losses(mean: float, spread: float, count: int = 20) -> Tensor:
    """Losses of exactly this mean and sample standard deviation."""
    values = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(count // 2)
    return mean + spread * values / values.std()


def judged(train: Tensor, test: Tensor) -> Verdict:
    return judge_overfitting(overfitting_gap(train, test))


def test_overfitting_gap_has_the_standard_error_of_a_difference_of_two_unpaired_means() -> None:
    gap = overfitting_gap(losses(100, 6, 40), losses(103, 8, 20))
    assert gap.nats == pytest.approx(3, rel=1e-12)
    assert gap.standard_error == pytest.approx(sqrt(6**2 / 40 + 8**2 / 20), rel=1e-12)


def test_overfitting_gap_and_its_standard_error_give_the_statistic_of_welch() -> None:
    from scipy.stats import ttest_ind

    random = np.random.default_rng(0)
    train, test = random.normal(100, 5, 300), random.normal(101, 9, 70)
    gap = overfitting_gap(torch.tensor(train), torch.tensor(test))
    expected = ttest_ind(test, train, equal_var=False).statistic
    assert gap.nats / gap.standard_error == pytest.approx(expected, rel=1e-12)


def test_standard_error_is_the_spread_of_the_gap_over_repeated_draws_of_the_images() -> None:
    random = torch.Generator().manual_seed(0)
    gaps = [
        overfitting_gap(
            torch.randn(40, generator=random, dtype=torch.float64) * 5,
            torch.randn(25, generator=random, dtype=torch.float64) * 9,
        )
        for _ in range(2000)
    ]
    spread = np.std([gap.nats for gap in gaps])
    assert np.mean([gap.standard_error for gap in gaps]) == pytest.approx(spread, rel=0.05)


def test_losses_in_single_precision_give_the_same_gap_as_in_double_precision() -> None:
    random = torch.Generator().manual_seed(0)
    train, test = (100 + 20 * torch.randn(10_000, generator=random) for _ in range(2))
    assert overfitting_gap(train, test) == overfitting_gap(train.double(), test.double())


@pytest.mark.parametrize(
    ("least", "level"),
    [
        (-1.0, Level.HEALTHY),
        (0.0, Level.HEALTHY),
        (0.799, Level.HEALTHY),
        (0.801, Level.WARNING),
        (1.999, Level.WARNING),
        (2.001, Level.FAILURE),
    ],
)
@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_overfitting_verdict_is_graded_by_the_gap_less_two_standard_errors(
    least: float, spread: float, level: Level
) -> None:
    error = spread * sqrt(2 / 20)
    verdict = judged(losses(100, spread), losses(100 + least + 2 * error, spread))
    assert verdict.subject == "overfitting"
    assert verdict.level is level
    assert ("train.weight_decay" in verdict.advice) is (level is not Level.HEALTHY)
    assert "0.8 nats" in verdict.criterion


def test_the_same_gap_is_a_failure_on_many_images_and_healthy_on_few() -> None:
    assert judged(losses(100, 27, 10_000), losses(103, 27, 10_000)).level is Level.FAILURE
    assert judged(losses(100, 27, 100), losses(103, 27, 100)).level is Level.HEALTHY


def test_overfitting_verdict_does_not_depend_on_what_all_losses_have_in_common() -> None:
    """As a change of the unit of the pixels, which shifts every log-density by the same number."""
    assert judged(losses(-900, 5), losses(-890, 5)) == judge_overfitting(
        overfitting_gap(losses(100, 5), losses(110, 5))
    )


def test_overfitting_finding_names_the_gap_with_its_standard_error() -> None:
    finding = judged(losses(100, 3), losses(103, 3)).finding
    assert "3.00 ± 0.95 nats (standard error) higher than that of training images" in finding
    assert "; 1.10 nats after subtracting 2 standard errors" in finding
    assert "3.00 ± 0.95 nats (standard error) lower" in judged(losses(103, 3), losses(100, 3)).finding


def test_overfitting_finding_does_not_round_the_gap_to_its_threshold() -> None:
    verdict = judged(losses(100, 1e-9), losses(100.8004, 1e-9))
    assert verdict.level is Level.WARNING
    assert "0.8004 nats" in verdict.finding


@pytest.mark.parametrize(("train", "test"), [(1, 20), (20, 1), (1, 1)])
def test_overfitting_is_not_judged_with_a_single_image(train: int, test: int) -> None:
    verdict = judged(torch.full((train,), 100.0), torch.full((test,), 200.0))
    assert verdict.level is Level.NOT_JUDGED
    assert "too few images" in verdict.finding
    assert not verdict.advice


def test_overfitting_is_judged_by_the_differences_that_matter_for_the_images() -> None:
    gap = overfitting_gap(losses(9000, 1), losses(9100, 1))
    between = between_models(3 * 32 * 32, of_8_bits=True)
    assert judge_overfitting(gap).level is Level.FAILURE
    verdict = judge_overfitting(gap, between)
    assert verdict.level is Level.HEALTHY
    assert "a gap of at most 170 nats" in verdict.criterion
    assert judge_overfitting(overfitting_gap(losses(9000, 1), losses(9400, 1)), between).level is Level.FAILURE
