"""The parameters of a module as one vector."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters


class Weights:
    """The parameters θ of a module as one vector in float32, and their gradient as another.

    The optimizer then needs one pass over memory, and the state of training is a few tensors.

    Attributes:
        vector: θ (P,); the module's parameters become views of it.
        gradient: ∂L/∂θ of the loss L (P,); the parameters' ``grad`` are views of it.
        slices: the part of both vectors that belongs to each parameter.
    """

    def __init__(self, module: nn.Module) -> None:
        parameters = list(module.parameters())
        self.vector = parameters_to_vector(parameters).detach()
        self.gradient = torch.zeros_like(self.vector)
        vector_to_parameters(self.vector, parameters)
        self.slices: dict[Tensor, slice] = {}
        start = 0
        for parameter in parameters:
            self.slices[parameter] = slice(start, start + parameter.numel())
            parameter.grad = self.gradient[self.slices[parameter]].view_as(parameter)
            start += parameter.numel()
