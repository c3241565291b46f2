"""The bare matrix products of a computation, as a lower bound on its time.

They are computed into preallocated memory, on dense random numbers, with operands laid out as in the real computation.
On CUDA they are captured as one graph, so that launching kernels takes no time.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae.model.networks import mlp
from vae.model.vae import VAE


class Product(NamedTuple):
    """A matrix product: left (M, K) · right (K, N), written to out (M, N)."""

    left: Tensor
    right: Tensor
    out: Tensor

    @property
    def operations(self) -> int:
        """The number of multiplications and additions."""
        rows, inner = self.left.shape
        return 2 * rows * inner * self.right.shape[1]


class Layer(NamedTuple):
    """The products of a linear layer: forward y = x·Wᵀ, backward ∂/∂W = δᵀ·x and ∂/∂x = δ·W."""

    forward: Product
    by_weight: Product
    by_input: Product


def step_products(model: VAE, batch_size: int, dtype: torch.dtype) -> list[Product]:
    """The products of a training step of an MLP, in order, without the gradient with respect to the images."""
    layers = [*_layers(_of_encoder(model), batch_size, dtype), *_layers(_of_decoder(model), batch_size, dtype)]
    backward = [product for layer in reversed(layers) for product in (layer.by_weight, layer.by_input)]
    return [*(layer.forward for layer in layers), *backward[:-1]]


def decoder_products(model: VAE, batch_size: int) -> list[Product]:
    """The products of decoding a batch of codes, in float32."""
    return [layer.forward for layer in _layers(_of_decoder(model), batch_size, torch.float32)]


def operations(products: Sequence[Product]) -> int:
    """The number of multiplications and additions of all products."""
    return sum(product.operations for product in products)


def multiply(products: Sequence[Product]) -> None:
    """Compute all products."""
    for left, right, out in products:
        torch.mm(left, right, out=out)


def training_epoch(model: VAE, images: int, batch_size: int, dtype: torch.dtype) -> Callable[[], None]:
    """Return a function that computes the products of an epoch of training."""
    return _in_batches(lambda size: step_products(model, size, dtype), images, batch_size, model.device)


def decoding(model: VAE, images: int, batch_size: int) -> Callable[[], None]:
    """Return a function that computes the products of decoding one code per image."""
    return _in_batches(lambda size: decoder_products(model, size), images, batch_size, model.device)


def _in_batches(
    products_of: Callable[[int], list[Product]], images: int, batch_size: int, device: torch.device
) -> Callable[[], None]:
    """Return a function that computes the products of all batches. The last batch may be smaller."""
    batches, rest = divmod(images, batch_size)
    full, last = products_of(batch_size), products_of(rest) if rest else []

    def compute() -> None:
        for _ in range(batches):
            multiply(full)
        multiply(last)

    return _without_launches(compute, device)


def _of_encoder(model: VAE) -> list[nn.Module]:
    assert isinstance(model.encoder, mlp.Encoder)
    return [model.encoder.hidden, model.encoder.posterior_params]


def _of_decoder(model: VAE) -> list[nn.Module]:
    assert isinstance(model.decoder, mlp.Decoder)
    return [model.decoder.hidden, model.decoder.output]


def _layers(modules: Sequence[nn.Module], batch_size: int, dtype: torch.dtype) -> list[Layer]:
    """Build a chain of layers, where each layer reads the output of the one before it."""
    linear = [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]
    device = linear[0].weight.device
    activations = [torch.randn(batch_size, width, dtype=dtype, device=device) for width in _widths(linear)]
    gradients = [torch.randn_like(activation) for activation in activations]
    layers = []
    for layer, x, y, x_gradient, y_gradient in zip(
        linear, activations, activations[1:], gradients, gradients[1:], strict=False
    ):
        weight = torch.randn_like(layer.weight, dtype=dtype) / layer.in_features**0.5
        layers.append(
            Layer(
                Product(x, weight.t(), y),
                Product(y_gradient.t(), x, torch.empty_like(weight)),
                Product(y_gradient, weight, x_gradient),
            )
        )
    return layers


def _widths(linear: Sequence[nn.Linear]) -> list[int]:
    return [linear[0].in_features, *(layer.out_features for layer in linear)]


def _without_launches(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Capture the work as one CUDA graph if the device is CUDA."""
    if device.type != "cuda":
        return work
    work()  # initializes libraries before the capture
    with torch.cuda.device(device):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
            work()

    def replay(_memory: Callable[[], None] = work) -> None:  # keeps the tensors of the graph alive
        with torch.cuda.device(device):
            graph.replay()

    return replay
