"""The gradient of every objective by automatic differentiation, where ``backpropagation`` does not know it by hand."""

import torch
from torch import Tensor

from vae.backpropagation import Weights
from vae.datasets import pixels
from vae.model import VAE
from vae.objective import training_loss


class ObjectiveGradient:
    """The loss of a batch and its gradient by all weights, of any network, likelihood and objective.

    In bfloat16, or another precision below float32, PyTorch's autocast computes what bears it (matrix products and
    convolutions) and leaves the rest in float32; weights and gradients stay in float32.
    """

    def __init__(self, model: VAE, weights: Weights, dtype: torch.dtype, free_bits: float) -> None:
        """Make the parameters' gradients views of ``weights.gradient``; ``weights`` has to be in float32."""
        self.model = model
        self.weights = weights
        self.dtype = dtype
        self.free_bits = free_bits
        for parameter in model.parameters():
            _, parameter.grad = weights.of(parameter)

    def __call__(self, images: Tensor, noise: Tensor, kl_weight: Tensor, losses: Tensor) -> None:
        """Compute the gradient of a batch, into ``weights``.

        Args:
            images: uint8 (B, pixels).
            noise: ε, standard normal (B, D), or (B, k, D) for the importance-weighted bound.
            kl_weight: β, 0-dimensional.
            losses: where loss, reconstruction and KL go, summed over the batch (3,).
        """
        x = pixels(images).view(len(images), *self.model.architecture.image_shape)
        self.weights.gradient.zero_()
        with torch.enable_grad():
            with torch.autocast(x.device.type, self.dtype, enabled=self.dtype != torch.float32):
                terms = training_loss(self.model, x, noise, kl_weight, self.free_bits)
            terms.loss.backward()
        torch.stack([term.detach() for term in terms], out=losses).mul_(len(x))
