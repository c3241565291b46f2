"""One optimization step: the loss of a batch, its gradient, and the update of the weights."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from vae.base.params import TrainParams
from vae.data.images import pixels
from vae.model.objective import Losses, training_loss
from vae.model.vae import VAE
from vae.optimizer.adam import Adam
from vae.optimizer.average import MovingAverage
from vae.optimizer.weights import Weights


class StepResult(NamedTuple):
    """The losses and the gradient norm of a step, at the weights before it.

    Attributes:
        losses: averages over the batch, each 0-dimensional.
        gradient_norm: ‖∂L/∂θ‖ over all weights, before clipping, 0-dimensional.
    """

    losses: Losses[Tensor]
    gradient_norm: Tensor


class Backward(Protocol):
    """Computes the training loss of a batch, and writes its gradient to ``Weights.gradient``."""

    def __call__(self, images: Tensor, noise: Tensor, kl_weight: Tensor) -> Losses[Tensor]:
        """Take uint8 images (B, pixels), noise ε (B, D) or (B, k, D), and β, 0-dimensional."""


class Step:
    """A step of gradient descent on ``training_loss``, by Adam.

    Attributes:
        weights: the model's parameters and their gradient.
        optimizer: Adam, on those weights.
        average: their moving average, or None.
        backward: computes the loss and its gradient: automatic differentiation, or an accelerator that agrees with it
            (``vae.training.accelerators``).
    """

    def __init__(self, model: VAE, params: TrainParams) -> None:
        self.weights = Weights(model)
        decay = decay_of_each(self.weights, params.weight_decay) if params.weight_decay else None
        self.optimizer = Adam(
            self.weights.vector, decay, params.gradient_clip or None, skip_above=params.skip_above or None
        )
        self.average = MovingAverage(self.weights.vector, params.ema_decay) if params.ema_decay else None
        dtype = torch.bfloat16 if params.precision == "bfloat16" else torch.float32
        self.backward: Backward = AutomaticDifferentiation(model, self.weights, params.free_bits, dtype)

    def __call__(self, images: Tensor, noise: Tensor, kl_weight: Tensor, learning_rate: Tensor) -> StepResult:
        """Take a step on a batch: uint8 images (B, pixels), noise ε (B, D) or (B, k, D); β and α, 0-dimensional."""
        losses = self.backward(images, noise, kl_weight)
        gradient_norm = self.optimizer.step(self.weights.gradient, learning_rate)
        if self.average is not None:
            self.average.update(self.weights.vector, self.optimizer.steps)
        return StepResult(losses, gradient_norm)

    @property
    def result(self) -> Tensor:
        """The weights that training has come to (P,): their average if there is one."""
        return self.weights.vector if self.average is None else self.average.vector


class AutomaticDifferentiation:
    """The loss of a batch and its gradient, by automatic differentiation of ``training_loss``.

    In bfloat16, PyTorch's autocast computes matrix products and convolutions in that precision and everything else in
    float32; weights and gradients stay in float32.
    """

    def __init__(self, model: VAE, weights: Weights, free_bits: float, dtype: torch.dtype) -> None:
        self.model = model
        self.weights = weights
        self.free_bits = free_bits
        self.dtype = dtype
        self._parameters = list(weights.slices)
        self._gradients = [weights.gradient[part].view_as(own) for own, part in weights.slices.items()]

    def __call__(self, images: Tensor, noise: Tensor, kl_weight: Tensor) -> Losses[Tensor]:
        """Run the forward and backward pass."""
        x = pixels(images).view(len(images), *self.model.architecture.image_shape)
        with torch.enable_grad():
            with torch.autocast(x.device.type, self.dtype, enabled=self.dtype != torch.float32):
                losses = training_loss(self.model, x, noise, kl_weight, self.free_bits)
            # Copied at once, which takes half the time of adding each to a gradient of zeros.
            gradients = torch.autograd.grad(losses.loss, self._parameters, materialize_grads=True)
        torch._foreach_copy_(self._gradients, gradients)
        return Losses(*(term.detach() for term in losses))


def decay_of_each(weights: Weights, weight_decay: float) -> Tensor:
    """The weight decay of each entry of ``Weights.vector`` (P,); zero for biases and scales."""
    return weights.filled(lambda parameter: weight_decay if parameter.ndim > 1 else 0.0)
