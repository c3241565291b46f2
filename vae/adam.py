"""Adam, on one vector of parameters."""

import torch
from torch import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # as the paper recommends (section 2)


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1), in place on a vector of parameters θ.

        m ← β₁·m + (1 - β₁)·g         v ← β₂·v + (1 - β₂)·g²
        θ ← θ - α·(m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)

    One pass over memory: the kernel is that of ``torch.optim.Adam(fused=True)``, called without the optimiser around
    it, which takes 1.7 s to import and as long a step as the kernel itself. Nothing in a step waits for the device,
    so it can be captured in a CUDA graph.

    Attributes:
        parameters: θ, float32 (P,).
        first_moment: m (P,).
        second_moment: v (P,).
        steps: t, the steps made so far, on θ's device.
    """

    def __init__(self, parameters: Tensor, learning_rate: float) -> None:
        self.parameters = parameters
        self.learning_rate = learning_rate
        self.first_moment = torch.zeros_like(parameters)
        self.second_moment = torch.zeros_like(parameters)
        self.steps = torch.zeros((), device=parameters.device)

    def step(self, gradient: Tensor) -> None:
        """Move θ by one step, against the gradient (P,)."""
        self.steps.add_(1)
        torch._fused_adam_(
            [self.parameters],
            [gradient],
            [self.first_moment],
            [self.second_moment],
            [],
            [self.steps],
            lr=self.learning_rate,
            beta1=BETA_1,
            beta2=BETA_2,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
