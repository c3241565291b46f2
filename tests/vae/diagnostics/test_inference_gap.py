import pytest

from vae.diagnostics.inference_gap import judge_inference_gap
from vae.diagnostics.verdict import Level, Verdict
from vae.model.local_inference import InferenceGap


def judged(amortization: float, approximation: float, kl: float) -> Verdict:
    gap = InferenceGap(
        amortization=amortization,
        approximation=approximation,
        total=amortization + approximation,
        amortization_se=0.31,
        approximation_se=0.12,
        total_se=0.33,
        best_kl=kl,
        images=500,
    )
    return judge_inference_gap(gap, elbo_gap=4.05, elbo_gap_se=0.04, test_images=10000)


@pytest.mark.parametrize(
    ("gap", "kl", "level"),
    [
        (0.0, 20.0, Level.HEALTHY),
        (6.99, 20.0, Level.HEALTHY),
        (7.01, 20.0, Level.WARNING),
        (13.99, 20.0, Level.WARNING),
        (14.01, 20.0, Level.FAILURE),
        (0.349, 0.01, Level.HEALTHY),  # a KL below one nat counts as one nat
        (0.351, 0.01, Level.WARNING),
        (0.701, 0.01, Level.FAILURE),
        (float("nan"), 20.0, Level.NOT_JUDGED),
    ],
)
@pytest.mark.parametrize("amortized", [0.0, 0.3, 1.0])
def test_verdict_is_graded_by_the_sum_of_both_parts_as_a_share_of_the_kl(
    gap: float, kl: float, level: Level, amortized: float
) -> None:
    verdict = judged(amortized * gap, (1 - amortized) * gap, kl)
    assert verdict.subject == "inference gap"
    assert verdict.level is level
    assert bool(verdict.advice) is (level in {Level.WARNING, Level.FAILURE})
    assert "Cremer" in verdict.criterion


def test_advice_follows_from_the_larger_part() -> None:
    amortization, approximation = judged(12, 3, 20).advice, judged(3, 12, 20).advice
    assert "stronger encoder" in amortization
    assert "train.importance_samples" not in amortization
    assert "train.importance_samples" in approximation
    assert "stronger encoder" not in approximation


def test_finding_states_each_gap_in_nats_with_its_standard_error_and_number_of_images() -> None:
    finding = judged(3.5, 1.75, 25).finding
    for words in (
        "on 500 test images",
        "5.25 ± 0.33 nats below log p(x)",
        "21% of the KL of 25.00 nats",
        "3.50 ± 0.31 because the encoder",
        "1.75 ± 0.12 because the true posterior",
        "on all 10,000",
        "4.05 ± 0.04 nats above the ELBO",
    ):
        assert words in finding


def test_share_in_the_finding_does_not_contradict_the_level() -> None:
    assert "35.04%" in judged(7.008, 0, 20).finding
