"""Faster ways to compute the gradient, each used only if it agrees with automatic differentiation.

``vae.model.objective`` defines what is minimized. An accelerator computes the same gradient in another way, which makes
it a second copy of the formulas. When training starts, the copy is compared with the original. To remove an
accelerator, delete its module and its line in ``ACCELERATORS``: training gets slower, and nothing else changes.
"""

import logging
from collections.abc import Sequence
from importlib import import_module
from math import isfinite
from time import perf_counter
from types import ModuleType

import torch
from torch import Tensor

from vae.base.params import TrainParams
from vae.model.vae import VAE
from vae.optimizer.weights import Weights
from vae.training.step import AutomaticDifferentiation, Backward, Step

log = logging.getLogger(__name__)

# Modules with a function ``backward(model, weights, params, dtype)`` that returns None if it does not apply.
ACCELERATORS: Sequence[ModuleType] = [
    import_module("vae.training.handwritten_gradient"),
]

# Factors by which the weights are scaled for the comparison. The codes, log-variances and logits of an untrained
# network are small, so a formula that differs only for large values, such as by a clamp, would go unnoticed.
ENLARGEMENTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
# Above rounding (at most 6e-6), and below the effect of small changes (1e-2 for a factor of 1.01 in one term).
# Calibrated in tests/vae/training/test_accelerators.py.
TOLERANCE = 2e-5
TIMED_CALLS = 5


def accelerate(step: Step, model: VAE, params: TrainParams, images: Tensor, noise: Tensor) -> None:
    """Use an accelerator from now on, if one applies and agrees with automatic differentiation on a batch.

    Args:
        step: the step, whose ``backward`` may be replaced.
        model: the VAE.
        params: the objective.
        images: a batch, uint8 (B, pixels).
        noise: its ε (B, D) or (B, k, D).
    """
    for accelerator in ACCELERATORS:
        candidate: Backward | None = accelerator.backward(model, step.weights, params, torch.float32)
        if candidate is None:
            continue
        reference = AutomaticDifferentiation(model, step.weights, params.free_bits, torch.float32)
        difference = largest_difference(reference, candidate, step.weights, params.beta, images, noise)
        if difference <= TOLERANCE:
            if params.precision == "bfloat16":
                candidate = accelerator.backward(model, step.weights, params, torch.bfloat16)
            step.backward = candidate
            return
        beta = torch.full((), params.beta, device=images.device)
        log.warning(
            "%s is not used: its gradient differs from that of vae.model.objective by %.2g (relative; the tolerance is "
            "%.0g). Training falls back to automatic differentiation of the objective%s.",
            accelerator.__name__,
            difference,
            TOLERANCE,
            _cost(step.backward, candidate, images, noise, beta) if isfinite(difference) else "",
        )


@torch.no_grad()
def largest_difference(
    reference: Backward, candidate: Backward, weights: Weights, beta: float, images: Tensor, noise: Tensor
) -> float:
    """The largest relative difference between two ways to compute the losses and each parameter's gradient.

    They are compared on one batch, at β with the weights scaled by each of ``ENLARGEMENTS``, and at β/2 with unscaled
    weights. Nothing is compared where the reference overflows or is close to it, because a sum over the batch may
    overflow in one order of its terms and not in another.

    Returns:
        the largest ‖g - g′‖ / ‖g‖; infinity if the candidate fails or nothing could be compared.
    """
    original = weights.vector.clone()
    largest = torch.finfo(torch.float32).max / (8 * len(images))
    differences: list[float] = []
    try:
        for scale, kl_weight in [(1.0, beta / 2), *((scale, beta) for scale in ENLARGEMENTS)]:
            weights.vector.copy_(original * scale)
            at = torch.full((), kl_weight, device=images.device)
            expected = _outcome(reference, weights, images, noise, at)
            if torch.stack([values.abs().max() for values in expected]).max() <= largest:
                outcome = _outcome(candidate, weights, images, noise, at)
                relative = [_relative(*values) for values in zip(outcome, expected, strict=True)]
                differences.append(float(torch.stack(relative).max()))
    except RuntimeError:  # such as shapes that no longer match because the network was edited
        return torch.inf
    finally:
        weights.vector.copy_(original)
    return max(differences, default=torch.inf)


def _outcome(backward: Backward, weights: Weights, images: Tensor, noise: Tensor, kl_weight: Tensor) -> list[Tensor]:
    """The losses and the gradient of each parameter."""
    losses = backward(images, noise, kl_weight)
    gradients = [weights.gradient[part].clone() for part in weights.slices.values()]
    return [term.double() for term in (*losses, *gradients)]


def _relative(ours: Tensor, theirs: Tensor) -> Tensor:
    """‖ours - theirs‖ / ‖theirs‖, 0-dimensional; infinity if ours is not finite."""
    size = theirs.norm().clamp(min=torch.finfo(torch.float32).tiny)
    difference: Tensor = (ours - theirs).norm() / size
    return difference.nan_to_num(torch.inf)


def _cost(used: Backward, refused: Backward, images: Tensor, noise: Tensor, kl_weight: Tensor) -> str:
    """How long a step's gradient takes, and how long it would take with the accelerator, in words."""
    slow, fast = (1000 * _seconds(backward, images, noise, kl_weight) for backward in (used, refused))
    return f", which takes {slow:.2f} ms per step instead of {fast:.2f} ms"


def _seconds(backward: Backward, images: Tensor, noise: Tensor, kl_weight: Tensor) -> float:
    """The shortest time of a few calls."""
    times = []
    for _ in range(TIMED_CALLS):
        start = perf_counter()
        float(backward(images, noise, kl_weight).loss)  # waits for the device
        times.append(perf_counter() - start)
    return min(times)
