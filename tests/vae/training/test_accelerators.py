"""Accelerators are used only if they agree with the objective."""

import logging
from collections.abc import Callable
from itertools import chain, repeat
from typing import Any

import pytest
import torch
from torch import Tensor

import vae.model.likelihoods
import vae.model.objective
import vae.model.vae
from tests.settings import architecture, train_params
from vae.base.runtime import seeded
from vae.model.likelihoods import Bernoulli
from vae.model.objective import Losses
from vae.model.vae import VAE
from vae.training import accelerators
from vae.training.accelerators import TOLERANCE, accelerate, largest_difference
from vae.training.handwritten_gradient import NegativeElboGradient, backward
from vae.training.step import AutomaticDifferentiation, Step

SHAPE = (1, 8, 8)
BATCH = 32

Formula = Callable[..., Any]
kl_divergence: Formula = vae.model.objective.kl_divergence
reparameterize: Formula = vae.model.vae.reparameterize
log_density: Formula = Bernoulli.log_density

# What a person may make of the formulas. Some concern only what an untrained network does not put out.
EDITS: dict[str, tuple[Any, str, Formula]] = {
    "KL times 4": (vae.model.objective, "kl_divergence", lambda m, v: 4 * kl_divergence(m, v)),
    "KL times 1.01": (vae.model.objective, "kl_divergence", lambda m, v: 1.01 * kl_divergence(m, v)),
    "KL at most 50": (vae.model.objective, "kl_divergence", lambda m, v: kl_divergence(m, v).clamp(max=50)),
    "KL at least 0.001": (vae.model.objective, "kl_divergence", lambda m, v: kl_divergence(m, v).clamp(min=0.001)),
    "noise times 0.99": (vae.model.objective, "reparameterize", lambda m, v, e: reparameterize(m, v, 0.99 * e)),
    "no noise": (vae.model.objective, "reparameterize", lambda m, v, e: m + 0 * (v + e)),
    "log-variance from -20 to 20": (
        vae.model.objective,
        "reparameterize",
        lambda m, v, e: reparameterize(m, v.clamp(-20, 20), e),
    ),
    "density times 1.01": (Bernoulli, "log_density", lambda s, x, y: 1.01 * log_density(s, x, y)),
    "logits from -30 to 30": (Bernoulli, "log_density", lambda s, x, y: log_density(s, x, y.clamp(-30, 30))),
    "smoothed pixels": (Bernoulli, "log_density", lambda s, x, y: log_density(s, 0.998 * x + 0.001, y)),
}
EVERY_EDIT = pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)


def build(seed: int = 0, **changes: Any) -> VAE:
    """A model with PyTorch's own initial weights."""
    with seeded(seed, "initial weights"):
        return VAE(architecture(**{"image_shape": SHAPE, "hidden_dims": (64,), "latent_dim": 8, **changes}))


def batch(latent_dim: int = 8, seed: int = 0, size: int = BATCH) -> tuple[Tensor, Tensor]:
    """Images with black areas, as in handwriting, uint8 (B, pixels), and noise (B, D)."""
    random = torch.Generator().manual_seed(seed)
    images = (255 * torch.rand(size, 64, generator=random).pow(4)).to(torch.uint8)
    return images, torch.randn(size, latent_dim, generator=random)


def difference(model: VAE, beta: float = 1.0, seed: int = 0, size: int = BATCH) -> float:
    """The largest difference between automatic differentiation and the handwritten gradient."""
    params = train_params(beta=beta)
    weights = Step(model, params).weights
    candidate = backward(model, weights, params, torch.float32)
    assert candidate is not None
    reference = AutomaticDifferentiation(model, weights, 0.0, torch.float32)
    return largest_difference(reference, candidate, weights, beta, *batch(model.latent_dim, seed, size))


def started(precision: str = "float32", **changes: Any) -> Step:
    """A step after the comparison on a first batch."""
    model, params = build(**changes), train_params(precision=precision)
    step = Step(model, params)
    accelerate(step, model, params, *batch(model.latent_dim))
    return step


class TestTolerance:
    """The threshold is above rounding and below the smallest change that matters, with a margin on both sides."""

    @pytest.mark.parametrize("beta", [0.0, 0.01, 1.0, 100.0])
    @pytest.mark.parametrize("size", [1, BATCH])
    @pytest.mark.parametrize(
        "network",
        [{}, {"hidden_dims": ()}, {"hidden_dims": (400,), "latent_dim": 20}, {"hidden_dims": (96, 64, 32, 16)}],
        ids=str,
    )
    def test_rounding_alone_stays_below_a_third_of_the_tolerance(
        self, network: dict[str, Any], size: int, beta: float
    ) -> None:
        assert max(difference(build(seed, **network), beta, seed, size) for seed in range(3)) < TOLERANCE / 3

    @EVERY_EDIT
    def test_every_edit_of_a_formula_exceeds_three_times_the_tolerance(
        self, edit: tuple[Any, str, Formula], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(*edit)
        assert min(difference(build(seed), seed=seed) for seed in range(3)) > 3 * TOLERANCE


@pytest.mark.parametrize(("largest", "agrees"), [(1e36, True), (1e34, False)])
def test_an_overflow_counts_as_a_difference_unless_the_reference_is_close_to_one_too(
    largest: float, agrees: bool
) -> None:
    """A sum over 128 images overflows at 3e38, and an average of 1e36 is close to that."""
    weights = Step(build(), train_params()).weights

    def returns(second: float) -> Callable[..., Losses[Tensor]]:
        """A KL of 1 in the first call, and another value in all later calls."""
        values = chain([1.0], repeat(second))
        return lambda *_: Losses(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(next(values)))

    difference = largest_difference(returns(largest), returns(torch.inf), weights, 1.0, *batch(size=128))
    assert (difference <= TOLERANCE) == agrees


class TestAccelerate:
    @pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
    def test_the_handwritten_gradient_is_used_where_it_agrees(
        self, precision: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        step = started(precision)
        assert isinstance(step.backward, NegativeElboGradient)
        assert step.backward.dtype == (torch.bfloat16 if precision == "bfloat16" else torch.float32)
        assert not caplog.records

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    @EVERY_EDIT
    def test_after_an_edit_training_uses_automatic_differentiation_and_one_warning_says_so(
        self,
        edit: tuple[Any, str, Formula],
        precision: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(*edit)
        step = started(precision)
        assert isinstance(step.backward, AutomaticDifferentiation)
        assert step.backward.dtype == (torch.bfloat16 if precision == "bfloat16" else torch.float32)
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        message = record.getMessage()
        assert message.startswith("vae.training.handwritten_gradient is not used: its gradient differs from")
        assert "ms per step" in message

    @pytest.mark.parametrize(
        "changes",
        [
            {"network": "conv"},
            {"activation": "tanh"},
            {"likelihood": "gaussian"},
        ],
        ids=str,
    )
    def test_networks_and_likelihoods_without_an_accelerator_use_automatic_differentiation_without_a_warning(
        self, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        assert isinstance(started(**changes).backward, AutomaticDifferentiation)
        assert not caplog.records

    def test_without_any_accelerator_training_uses_automatic_differentiation(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(accelerators, "ACCELERATORS", [])
        assert isinstance(started().backward, AutomaticDifferentiation)

    def test_a_network_that_the_accelerator_cannot_run_trains_by_automatic_differentiation(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A branch beside the dense layers, which the handwritten chain of layers does not know."""
        model, params = build(), train_params()
        model.encoder.add_module("branch", torch.nn.Linear(3, 5))
        step = Step(model, params)
        accelerate(step, model, params, *batch())
        assert isinstance(step.backward, AutomaticDifferentiation)
        assert "differs" in caplog.text
        assert "inf" in caplog.text

    @EVERY_EDIT
    def test_a_comparison_leaves_the_weights_as_they_are(
        self, edit: tuple[Any, str, Formula], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(*edit)
        step = started()
        assert torch.equal(step.weights.vector, Step(build(), train_params()).weights.vector)

    def test_a_comparison_draws_no_random_numbers(self) -> None:
        before = torch.random.get_rng_state()
        started()
        assert torch.equal(torch.random.get_rng_state(), before)
