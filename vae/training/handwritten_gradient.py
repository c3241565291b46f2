"""An accelerator: the gradient of the negative ELBO, derived by hand, for MLPs with ReLU and Bernoulli pixels.

Automatic differentiation gives the same numbers. On small networks, however, its overhead takes longer than the matrix
products: it records a graph, allocates memory, and runs a kernel for each term of each formula. Here matrix products
write to memory that is allocated once, and the chain rule has been applied on paper.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae.base.params import TrainParams
from vae.base.products import by_torch, product_for
from vae.base.side_stream import SideStream
from vae.model.likelihoods import Bernoulli
from vae.model.objective import Losses
from vae.model.vae import VAE
from vae.optimizer.weights import Weights


def backward(model: VAE, weights: Weights, params: TrainParams, dtype: torch.dtype) -> "NegativeElboGradient | None":
    """The handwritten gradient, with matrix products in ``dtype``; None if it does not fit the network or objective."""
    layers = [*_leaves(model.encoder), *_leaves(model.decoder)]
    known_network = all(isinstance(layer, nn.Linear | nn.ReLU | nn.Unflatten | nn.Sequential) for layer in layers)
    known_objective = params.importance_samples == 1 and params.free_bits == 0
    if not (known_network and known_objective and isinstance(model.likelihood, Bernoulli)):
        return None
    return NegativeElboGradient(model, weights, dtype)


class AffineLayer:
    """An affine layer y = x·Wᵀ + b, optionally followed by a ReLU, for batches of one size.

    With δ = ∂L/∂y, before the ReLU: ∂L/∂W = δᵀ·x, ∂L/∂b = Σ δ over the batch, and ∂L/∂x = δ·W.
    """

    def __init__(
        self, linear: nn.Linear, products: "ProductWeights", batch_size: int, side: SideStream, *, relu: bool
    ) -> None:
        self.side = side
        self.weight, self.weight_gradient = products.of(linear.weight)
        self.bias, self.bias_gradient = products.of(linear.bias)
        self.relu = relu
        self.product = product_for(self.weight)
        self.output = self.weight.new_empty(batch_size, linear.out_features)
        self.input_gradient = self.weight.new_empty(batch_size, linear.in_features)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        self.input = x
        if self.product is by_torch:
            affine = torch._addmm_activation if self.relu else torch.addmm  # on CUDA, one kernel with the ReLU
            return affine(self.bias, x, self.weight.t(), out=self.output)
        self.product(x, self.weight.t(), self.output).add_(self.bias)
        return self.output.relu_() if self.relu else self.output

    def backward(self, gradient: Tensor) -> None:
        """Compute the gradients of weight and bias from that of the output (B, outputs), which is overwritten."""
        self._through_relu(gradient)
        with self.side.beside(gradient):
            torch.sum(gradient, 0, out=self.bias_gradient)
        self.product(gradient.t(), self.input, self.weight_gradient)

    def backward_to_input(self, gradient: Tensor) -> Tensor:
        """The same, and also return the gradient of the input (B, inputs). The layer before waits only for that."""
        self._through_relu(gradient)
        with self.side.beside(gradient, self.input):
            self.product(gradient.t(), self.input, self.weight_gradient)
            torch.sum(gradient, 0, out=self.bias_gradient)
        return self.product(gradient, self.weight, self.input_gradient)

    def _through_relu(self, gradient: Tensor) -> None:
        if self.relu:
            torch.ops.aten.threshold_backward.grad_input(gradient, self.output, 0, grad_input=gradient)


class ProductWeights:
    """The weights and their gradient in the precision of the matrix products.

    In float32 they are those of ``Weights``. In a lower precision they are copies: the optimizer updates float32
    weights, so that small steps are not rounded away (Micikevicius et al. 2018, section 3.1).
    """

    def __init__(self, weights: Weights, dtype: torch.dtype) -> None:
        self.weights = weights
        self.vector, self.gradient = weights.vector.to(dtype), weights.gradient.to(dtype)

    def of(self, parameter: Tensor) -> tuple[Tensor, Tensor]:
        """A parameter and its gradient."""
        part = self.weights.slices[parameter]
        return self.vector[part].view_as(parameter), self.gradient[part].view_as(parameter)

    def read(self) -> None:
        """Copy the current weights from ``Weights.vector``."""
        self.vector.copy_(self.weights.vector)

    def write(self) -> None:
        """Copy the gradient to ``Weights.gradient``."""
        self.weights.gradient.copy_(self.gradient)


class NegativeElboGradient:
    """The loss of a batch and its gradient with respect to all weights.

        L = 1/B Σ -log p(x|z) + β·KL(q(z|x) ‖ p(z)),   z = μ + σ·ε
        ∂L/∂μ = ∂L/∂z + β·μ/B     ∂L/∂log σ² = ½·(∂L/∂z·σ·ε + β·(σ² - 1)/B)

    ∂L/∂logits = (sigmoid(logits) - x) / B, and each affine layer propagates the gradient. Matrix products are computed
    in ``dtype``; likelihood, KL and their gradients in float32. On CUDA, the losses and the gradients of weights, for
    which nothing waits, are computed beside the gradients that pass from layer to layer.
    """

    def __init__(self, model: VAE, weights: Weights, dtype: torch.dtype) -> None:
        self.model = model
        self.dtype = dtype
        self.products = ProductWeights(weights, dtype)
        self.side = SideStream(weights.vector.device)
        self._layers: dict[int, tuple[list[AffineLayer], list[AffineLayer]]] = {}

    def __call__(self, images: Tensor, noise: Tensor, kl_weight: Tensor) -> Losses[Tensor]:
        """Compute the loss of a batch, and write its gradient to ``Weights.gradient``."""
        self.products.read()
        encoder, decoder = self._layers_for(len(images))
        x = torch.div(images, 255)
        mean, log_variance = self._forward(encoder, x).chunk(2, dim=1)
        variance_less_one = torch.expm1(log_variance)
        with self.side.beside(mean, log_variance, variance_less_one):
            kl = mean.square().add_(variance_less_one).sub_(log_variance).sum().mul_(0.5 / len(x))
        scaled_noise = torch.exp(0.5 * log_variance).mul_(noise)
        logits = self._forward(decoder, mean + scaled_noise)
        with self.side.beside(x, logits):
            reconstruction = self._reconstruction(x, logits)
            loss = torch.addcmul(reconstruction, kl, kl_weight)

        by_logits = torch.sub(x, torch.sigmoid(logits)).mul_(-1 / len(x))
        by_z = self._backward(decoder, by_logits)
        share = kl_weight / len(x)  # β/B
        by_mean = torch.addcmul(by_z, mean, share)
        by_log_variance = torch.mul(by_z, scaled_noise).addcmul_(variance_less_one, share).mul_(0.5)
        gradient = self._backward(encoder[1:], torch.cat([by_mean, by_log_variance], 1))
        encoder[0].backward(gradient.to(self.dtype))  # the gradient of the image is not needed
        self.side.join()
        self.products.write()
        return Losses(loss, reconstruction, kl)

    def _layers_for(self, batch_size: int) -> tuple[list[AffineLayer], list[AffineLayer]]:
        """Encoder and decoder, with memory for batches of one size."""
        if batch_size not in self._layers:
            encoder, decoder = (
                _affine_layers(network, self.products, batch_size, self.side)
                for network in (self.model.encoder, self.model.decoder)
            )
            self._layers[batch_size] = encoder, decoder
        return self._layers[batch_size]

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

    def _reconstruction(self, x: Tensor, logits: Tensor) -> Tensor:
        """Averaged over the batch, 0-dimensional."""
        shape = (len(x), *self.model.architecture.image_shape)
        return -self.model.likelihood.log_density(x.view(shape), logits.view(shape)).mean()


def _affine_layers(
    network: nn.Module, products: ProductWeights, batch_size: int, side: SideStream
) -> list[AffineLayer]:
    """A chain of affine layers, with a ReLU after each but the last."""
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return [AffineLayer(layer, products, batch_size, side, relu=layer is not linear[-1]) for layer in linear]


def _leaves(network: nn.Module) -> list[nn.Module]:
    """The modules of a network that contain no other modules."""
    return [module for module in network.modules() if not list(module.children())]
