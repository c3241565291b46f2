from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from vae.diagnostics.collapse import Collapse, Verdict, diagnose_collapse, mean_variances


def posterior_means(variances: Sequence[float], images: int = 100) -> Tensor:
    """Means of exactly these variances over images: half of them one standard deviation up, half of them down."""
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(images // 2).unsqueeze(1)
    return 5 + signs * torch.tensor(variances, dtype=torch.float64).sqrt()


@pytest.mark.parametrize(
    ("variances", "active", "verdict"),
    [
        ((0.0101, 0.5, 2.0), 3, Verdict.NONE),
        ((0.0101, 0.0099, 0.0), 1, Verdict.PARTIAL),
        ((1.0, 1.0, 0.0099), 2, Verdict.PARTIAL),
        ((0.0099, 0.0, 1e-9), 0, Verdict.COMPLETE),
    ],
)
def test_dimensions_whose_mean_varies_by_more_than_a_hundredth_are_active(
    variances: tuple[float, ...], active: int, verdict: Verdict
) -> None:
    collapse = diagnose_collapse(mean_variances(posterior_means(variances)))
    assert collapse == Collapse(active=active, collapsed=3 - active)
    assert collapse.verdict is verdict


def test_variance_at_the_threshold_is_not_active() -> None:
    assert diagnose_collapse(torch.tensor([0.01], dtype=torch.float64)).active == 0


def test_large_means_that_do_not_vary_carry_nothing() -> None:
    assert diagnose_collapse(mean_variances(torch.full((50, 2), 7.0))).verdict is Verdict.COMPLETE


@pytest.mark.parametrize(
    ("collapse", "words"),
    [
        (Collapse(20, 0), ["none", "20 of 20"]),
        (Collapse(17, 3), ["partial", "17 of 20", "3 carry nothing", "model.latent_dim"]),
        (Collapse(0, 20), ["complete", "none of 20", "train.epochs", "train.learning_rate"]),
    ],
)
def test_words_name_verdict_counts_threshold_and_what_to_try(collapse: Collapse, words: list[str]) -> None:
    sentence = collapse.in_words()
    assert sentence.startswith(f"posterior collapse: {collapse.verdict.value}; ")
    assert "\n" not in sentence
    for word in [*words, "0.01"]:
        assert word in sentence


def test_nothing_is_to_be_tried_where_nothing_has_collapsed() -> None:
    assert "try" not in Collapse(20, 0).in_words().lower()


def test_mean_variances_are_population_variances_in_float64() -> None:
    mean = 3 * torch.randn(7, 4, generator=torch.Generator().manual_seed(0)) + 100
    variances = mean_variances(mean)
    assert variances.dtype == torch.float64
    np.testing.assert_allclose(variances.numpy(), mean.double().numpy().var(axis=0, ddof=0), rtol=1e-12)


def test_means_of_a_single_image_do_not_vary() -> None:
    assert mean_variances(torch.tensor([[1.0, -2.0]])).tolist() == [0, 0]
