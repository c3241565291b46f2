"""An exponential moving average of weights."""

from math import log

import torch
from torch import Tensor


class MovingAverage:
    """The average of the weights θ after each step, with shares that decay by d from each step to the one before.

        a ← a + w·(θ - a),   w = (1 - d) / (1 - dᵗ)

    Polyak & Juditsky 1992 average all steps; the exponential shares are those of Adam's first moment, with the same
    correction: after t steps a = Σ dᵗ⁻ⁱ·θᵢ / Σ dᵗ⁻ⁱ, in which the initial weights have no share.

    Attributes:
        vector: a, in the shape of θ; the initial weights before the first step.
    """

    def __init__(self, weights: Tensor, decay: float) -> None:
        """Start to average the weights θ, with the decay d, above 0 and below 1."""
        self.vector = weights.clone()
        self.decay = decay

    def update(self, weights: Tensor, steps: Tensor) -> None:
        """Include the weights θ after t steps, a 0-dimensional tensor; this does not wait for the device."""
        # 1 / w, in which expm1 keeps the digits that 1 - dᵗ would lose; 1 as long as all steps were skipped.
        inverse = torch.expm1(steps * log(self.decay)).div_(self.decay - 1).clamp_(min=1)
        self.vector.lerp_(weights, inverse.reciprocal_())
