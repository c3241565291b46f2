"""Adam, on one tensor of parameters."""

import torch
from torch import Tensor

from vae.base.side_stream import SideStream

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # as the paper recommends (section 2)
# CUDA's kernel gives each tensor to a single block of threads, 2,048 numbers at a time, and takes up to 36 tensors. So
# the parameters are cut into pieces, and several launches run beside each other.
CUDA_PIECES, CUDA_BLOCK, CUDA_LAUNCHES = 36, 2048, 4
MULTIPLE = 64  # the length of a piece is a multiple of this, so that every piece starts at an aligned address


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1), in place on a tensor of parameters θ.

        m ← β₁·m + (1 - β₁)·g         v ← β₂·v + (1 - β₂)·g²
        θ ← θ - α·(m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)

    Optionally, the gradient is first clipped to a norm of at most c, g ← g·min(1, c / ‖g‖) (Pascanu et al. 2013,
    section 3.2), and parameters decay, θ ← θ - α·λ·θ (Loshchilov & Hutter 2019, algorithm 2, with the decay
    proportional to the learning rate, as in PyTorch). A step whose ‖g‖ is not finite, or above a limit, can be skipped:
    it changes neither θ nor m, v and t (Child 2021, "Very Deep VAEs", section 4).

    The update is a single pass over memory, by the kernel of ``torch.optim.Adam(fused=True)``. The kernel is called
    directly, because the optimizer class takes 1.7 s to import and doubles the time of a step. A step never waits for
    the device, so it can be captured in a CUDA graph.

    Attributes:
        parameters: θ, float32 (P,), or of any shape.
        first_moment: m, in the shape of θ.
        second_moment: v, in the shape of θ.
        steps: t, the number of steps so far, on θ's device.
    """

    def __init__(
        self,
        parameters: Tensor,
        decay: Tensor | None = None,
        largest_norm: float | None = None,
        *,
        skip_above: float | None = None,
        beta_2: float = BETA_2,
    ) -> None:
        """Start with zero moments.

        Args:
            parameters: θ.
            decay: λ of each parameter, in the shape of θ, or None for no decay.
            largest_norm: c, or None for no limit.
            skip_above: the largest ‖g‖ of a step that is not skipped, or None to skip none.
            beta_2: β₂; lower for a run of few steps.
        """
        self.parameters = parameters
        self.decay = decay
        self.largest_norm = largest_norm
        self.skip_above = skip_above
        self.beta_2 = beta_2
        self.first_moment = torch.zeros_like(parameters)
        self.second_moment = torch.zeros_like(parameters)
        self.steps = torch.zeros((), device=parameters.device)
        count, on_cuda = parameters.numel(), parameters.device.type == "cuda"
        launches = min(CUDA_LAUNCHES, -(-count // (CUDA_PIECES * CUDA_BLOCK))) if on_cuda else 1
        pieces = CUDA_PIECES if on_cuda else 1  # of a launch
        self._piece = -(-count // (launches * pieces * MULTIPLE)) * MULTIPLE
        self._part = pieces * self._piece
        self._sides = [SideStream(parameters.device) for _ in range(launches)]
        self._norm_side = SideStream(parameters.device)

    def step(self, gradient: Tensor, learning_rate: Tensor) -> Tensor:
        """Update θ by a gradient in its shape, which may be clipped in place, at a learning rate α, 0-dimensional.

        Returns:
            ‖g‖ before clipping, 0-dimensional.
        """
        with self._norm_side.beside(gradient):
            norm: Tensor = torch.linalg.vector_norm(gradient)
        if self.largest_norm is not None or self.skip_above is not None:  # the update depends on it
            self._norm_side.join()
        skipped = None if self.skip_above is None else self.skips(norm).float()
        if skipped is not None:
            learning_rate = learning_rate * (1 - skipped)
        self.steps.add_(1 if skipped is None else 1 - skipped)
        if self.largest_norm is not None:
            factor = (self.largest_norm / norm).clamp_(max=1)
            # NaN would stay in the zeros between parameters, which no later gradient replaces.
            gradient.mul_(factor if skipped is None else factor.nan_to_num_(0))
        if self.decay is not None:
            self.parameters.addcmul_(self.parameters * learning_rate, self.decay, value=-1)
        tensors = (self.parameters, gradient, self.first_moment, self.second_moment)
        parts = zip(*(tensor.view(-1).split(self._part) for tensor in tensors), strict=True)
        for side, part in zip(self._sides, parts, strict=False):  # rounding can leave fewer parts
            with side.beside(gradient, learning_rate):
                self._update(part, learning_rate, skipped)
        for side in (*self._sides, self._norm_side):
            side.join()
        return norm

    def _update(self, part: tuple[Tensor, ...], learning_rate: Tensor, skipped: Tensor | None) -> None:
        """Update a part of θ, m and v in one launch, given with its gradient: θ, g, m, v."""
        parameters, gradients, first_moments, second_moments = (tensor.split(self._piece) for tensor in part)
        torch._fused_adam_(
            parameters,
            gradients,
            first_moments,
            second_moments,
            [],
            [self.steps] * len(parameters),
            lr=learning_rate,
            beta1=BETA_1,
            beta2=self.beta_2,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
            found_inf=skipped,
        )

    def skips(self, norms: Tensor) -> Tensor:
        """Whether steps with gradients of these norms are skipped, elementwise."""
        return torch.zeros_like(norms, dtype=torch.bool) if self.skip_above is None else ~(norms <= self.skip_above)
