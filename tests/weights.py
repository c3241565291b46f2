"""The entries of vectors that hold a module's parameters, without the gaps between parameters."""

import torch
from torch import Tensor

from vae.optimizer.weights import Weights


def entries(weights: Weights, vector: Tensor) -> Tensor:
    """The entries of a vector in the shape of ``weights.vector`` that belong to a parameter, in the model's order."""
    return torch.cat([vector[part] for part in weights.slices.values()])


def gaps(weights: Weights, vector: Tensor) -> Tensor:
    """The entries that belong to no parameter."""
    free = torch.ones(len(vector), dtype=torch.bool)
    for part in weights.slices.values():
        free[part] = False
    return vector[free]
