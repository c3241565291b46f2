"""The gradient of the negative ELBO, derived by hand.

Automatic differentiation would give the same numbers. But on small networks the matrix products take less time than
what it does around them: recording, allocating, a kernel for each term of each formula. Here matrix products write to
memory set aside once, and the formulas are those that remain when the chain rule has been applied on paper.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from vae.likelihoods import Bernoulli
from vae.model import VAE, Architecture
from vae.networks.dense import DenseDecoder, DenseEncoder
from vae.params import TrainParams


class Weights:
    """A model's parameters θ as one vector, in float32, and their gradient.

    Matrix products may be computed in a lower precision: they then read a copy of θ and write a copy of the gradient,
    and the sums that a small step must not vanish in stay in float32 (Micikevicius et al. 2018, section 3.1).

    Attributes:
        vector: θ (P,); the model's parameters are views of it from now on.
        gradient: ∂/∂θ of the loss (P,), as of the last ``gather_gradient``.
        dtype: that matrix products are computed in.
    """

    def __init__(self, model: VAE, dtype: torch.dtype = torch.float32) -> None:
        parameters = list(model.parameters())
        self.vector = parameters_to_vector(parameters).detach()
        vector_to_parameters(self.vector, parameters)
        self.gradient = torch.zeros_like(self.vector)
        self.dtype = dtype
        self._copy, self._copied_gradient = self.vector.to(dtype), self.gradient.to(dtype)  # themselves in float32
        sizes = [parameter.numel() for parameter in parameters]
        self._slices: dict[Tensor, tuple[Tensor, Tensor]] = {
            parameter: (copy.view_as(parameter), gradient.view_as(parameter))
            for parameter, copy, gradient in zip(
                parameters, self._copy.split(sizes), self._copied_gradient.split(sizes), strict=True
            )
        }

    def of(self, parameter: Tensor) -> tuple[Tensor, Tensor]:
        """A parameter and its gradient, both as the matrix products see them."""
        return self._slices[parameter]

    def refresh(self) -> None:
        """Bring the copy up to date after a change of ``vector``."""
        self._copy.copy_(self.vector)

    def gather_gradient(self) -> Tensor:
        """The gradient in float32 (P,)."""
        return self.gradient.copy_(self._copied_gradient)


class AffineLayer:
    """y = x·Wᵀ + b, or its positive part, for batches of one size; δ is the gradient by what the ReLU takes.

    ∂/∂W = δᵀ·x     ∂/∂b = Σ δ over the batch     ∂/∂x = δ·W
    """

    def __init__(self, linear: nn.Linear, weights: Weights, batch_size: int, *, relu: bool) -> None:
        self.weight, self.weight_gradient = weights.of(linear.weight)
        self.bias, self.bias_gradient = weights.of(linear.bias)
        self.relu = relu
        self.output = self.weight.new_empty(batch_size, linear.out_features)
        self.input_gradient = self.weight.new_empty(0)  # set aside by the first product that is written to it

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        self.input = x
        torch.addmm(self.bias, x, self.weight.t(), out=self.output)
        return self.output.relu_() if self.relu else self.output

    def backward(self, gradient: Tensor) -> None:
        """Write the gradients of weight and bias, from that by the output (B, outputs), which is overwritten."""
        if self.relu:
            torch.ops.aten.threshold_backward.grad_input(gradient, self.output, 0, grad_input=gradient)
        torch.mm(gradient.t(), self.input, out=self.weight_gradient)
        torch.sum(gradient, 0, out=self.bias_gradient)

    def backward_to_input(self, gradient: Tensor) -> Tensor:
        """The same, and the gradient by the input (B, inputs)."""
        self.backward(gradient)
        return torch.mm(gradient, self.weight, out=self.input_gradient)


class NegativeElboGradient:
    """The loss of a batch and its gradient by all weights, for batches of one size.

        L = 1/B Σ -log p(x given z) + β·KL(q(z given x) ‖ p(z)),   z = μ + σ·ε
        ∂L/∂μ = ∂L/∂z + β·μ/B     ∂L/∂log σ² = ½·(∂L/∂z·σ·ε + β·(σ² - 1)/B)

    The likelihood gives ∂L/∂logits in closed form, and an affine layer passes on what it gets. Products are computed
    in the precision of ``weights``; likelihood, KL and their gradients in float32.
    """

    def __init__(self, model: VAE, weights: Weights, batch_size: int) -> None:
        encoder, decoder, likelihood = model.encoder, model.decoder, model.likelihood
        assert isinstance(encoder, DenseEncoder)
        assert isinstance(decoder, DenseDecoder)
        assert isinstance(likelihood, Bernoulli)
        self.image_shape = (batch_size, *model.architecture.image_shape)
        self.likelihood = likelihood
        self.dtype = weights.dtype
        self.encoder = _layers([encoder.hidden, encoder.moments], weights, batch_size)
        self.decoder = _layers([decoder.hidden, decoder.output], weights, batch_size)

    def __call__(self, images: Tensor, noise: Tensor, kl_weight: Tensor, losses: Tensor) -> None:
        """Compute the gradient of a batch, into ``weights``.

        Args:
            images: uint8 (B, pixels).
            noise: ε, standard normal (B, D).
            kl_weight: β, 0-dimensional.
            losses: where the sums over the batch of loss, reconstruction and KL go, in nats: float32 (3,).
        """
        x = torch.div(images, 255)
        mean, log_variance = self._forward(self.encoder, x).chunk(2, dim=1)
        scaled_noise = torch.exp(0.5 * log_variance).mul_(noise)
        logits = self._forward(self.decoder, mean + scaled_noise)

        by_logits = self._likelihood(x.view(self.image_shape), logits.view(self.image_shape), losses[1])
        by_z = self._backward(self.decoder, by_logits)
        by_moments = self._latent(mean, log_variance, scaled_noise, by_z, kl_weight, losses[2])
        torch.addcmul(losses[1], losses[2], kl_weight, out=losses[0])
        gradient = self._backward(self.encoder[1:], by_moments)
        self.encoder[0].backward(gradient.to(self.dtype))  # nobody asks for the gradient by the image

    def _forward(self, layers: Sequence[AffineLayer], x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        for layer in layers:
            x = layer.forward(x)
        return x.to(torch.float32)

    def _backward(self, layers: Sequence[AffineLayer], gradient: Tensor) -> Tensor:
        gradient = gradient.to(self.dtype)
        for layer in reversed(layers):
            gradient = layer.backward_to_input(gradient)
        return gradient.to(torch.float32)

    def _likelihood(self, x: Tensor, logits: Tensor, loss: Tensor) -> Tensor:
        """The reconstruction, and its gradient by the logits (B, pixels)."""
        torch.sum(self.likelihood.log_density(x, logits), 0, out=loss).neg_()
        return self.likelihood.log_density_gradient(x, logits).mul_(-1 / len(x)).flatten(1)

    def _latent(
        self,
        mean: Tensor,
        log_variance: Tensor,
        scaled_noise: Tensor,
        by_z: Tensor,
        kl_weight: Tensor,
        loss: Tensor,
    ) -> Tensor:
        """The KL, and the gradient of both terms by μ and log σ²: (B, 2·D)."""
        variance_less_one = torch.expm1(log_variance)
        torch.sum(mean.square().add_(variance_less_one).sub_(log_variance), (0, 1), out=loss).mul_(0.5)
        share = kl_weight / len(mean)
        by_mean = torch.addcmul(by_z, mean, share)
        by_log_variance = torch.mul(by_z, scaled_noise).addcmul_(variance_less_one, share).mul_(0.5)
        return torch.cat([by_mean, by_log_variance], 1)


def known_by_hand(architecture: Architecture, params: TrainParams) -> bool:
    """Whether the gradient of such a training is the one derived here."""
    network = (architecture.network, architecture.activation, architecture.likelihood)
    return network == ("mlp", "relu", "bernoulli") and params.importance_samples == 1 and params.free_bits == 0


def _layers(modules: Iterable[nn.Module], weights: Weights, batch_size: int) -> list[AffineLayer]:
    """A chain of affine layers, with a ReLU after each but the last."""
    linear = [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]
    return [AffineLayer(layer, weights, batch_size, relu=layer is not linear[-1]) for layer in linear]
