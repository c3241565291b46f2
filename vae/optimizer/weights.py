"""The parameters of a module as one vector."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# The vector entries of a parameter start at a multiple of this. Tensor cores need operands at addresses that are
# multiples of 16 bytes: 4 numbers in float32, and 8 in bfloat16, in which a copy of the vector has the same slices.
ALIGNMENT = 8


class Weights:
    """The parameters θ of a module as one vector in float32, and their gradient as another.

    The optimizer then needs one pass over memory, and the state of training is a few tensors. Zeros fill the gaps
    between parameters. Where both θ and its gradient are zero, Adam, weight decay and clipping leave zero.

    Attributes:
        vector: θ (P,); the module's parameters become views of it.
        gradient: ∂L/∂θ of the loss L (P,); the parameters' ``grad`` are views of it.
        slices: the part of both vectors that belongs to each parameter.
    """

    def __init__(self, module: nn.Module) -> None:
        self.slices: dict[Tensor, slice] = {}
        end = 0
        for parameter in module.parameters():
            start = -(-end // ALIGNMENT) * ALIGNMENT
            end = start + parameter.numel()
            self.slices[parameter] = slice(start, end)
        self.vector = next(module.parameters()).detach().new_zeros(end)
        self.gradient = torch.zeros_like(self.vector)
        for own, part in self.slices.items():
            own.data = self.vector[part].view_as(own).copy_(own.detach())
            own.grad = self.gradient[part].view_as(own)

    @contextmanager
    def replaced(self, vector: Tensor) -> Iterator[None]:
        """Within the block, the module has these weights (P,); nothing is copied if they are its own."""
        if vector is self.vector:
            yield
            return
        own = self.vector.clone()
        self.vector.copy_(vector)
        try:
            yield
        finally:
            self.vector.copy_(own)

    def filled(self, value_of: Callable[[Tensor], float]) -> Tensor:
        """A vector in the shape of θ with the same value at all entries of a parameter, and zero between parameters."""
        vector = torch.zeros_like(self.vector)
        for parameter, part in self.slices.items():
            vector[part] = value_of(parameter)
        return vector
