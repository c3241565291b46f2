"""The matrix products that a computation cannot do without, and nothing else: what it could cost at best.

They are computed into memory set aside before, on dense random numbers, with the operands laid out as in the real
computation. On CUDA they are one graph, so that launching kernels does not count.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae.model.networks import mlp
from vae.model.vae import VAE


class Product(NamedTuple):
    """left (M, K) · right (K, N), and where it goes (M, N)."""

    left: Tensor
    right: Tensor
    out: Tensor

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        rows, inner = self.left.shape
        return 2 * rows * inner * self.right.shape[1]


class Layer(NamedTuple):
    """The products of y = x·Wᵀ forward, and of ∂/∂W = δᵀ·x and ∂/∂x = δ·W backward."""

    forward: Product
    by_weight: Product
    by_input: Product


def step_products(model: VAE, batch_size: int, dtype: torch.dtype) -> list[Product]:
    """The products of a training step of an MLP, in its order: nobody asks for the gradient by the image."""
    layers = [*_layers(_of_encoder(model), batch_size, dtype), *_layers(_of_decoder(model), batch_size, dtype)]
    backward = [product for layer in reversed(layers) for product in (layer.by_weight, layer.by_input)]
    return [*(layer.forward for layer in layers), *backward[:-1]]


def decoder_products(model: VAE, batch_size: int) -> list[Product]:
    """The products of decoding a batch of codes, in float32."""
    return [layer.forward for layer in _layers(_of_decoder(model), batch_size, torch.float32)]


def operations(products: Sequence[Product]) -> int:
    """Multiplications and additions of all."""
    return sum(product.operations for product in products)


def multiply(products: Sequence[Product]) -> None:
    """Compute all."""
    for left, right, out in products:
        torch.mm(left, right, out=out)


def training_epoch(model: VAE, images: int, batch_size: int, dtype: torch.dtype) -> Callable[[], None]:
    """The products of an epoch's steps, ready to be computed."""
    return _in_batches(lambda size: step_products(model, size, dtype), images, batch_size, model.device)


def decoding(model: VAE, images: int, batch_size: int) -> Callable[[], None]:
    """The products of decoding a code for each image, ready to be computed."""
    return _in_batches(lambda size: decoder_products(model, size), images, batch_size, model.device)


def _in_batches(
    products_of: Callable[[int], list[Product]], images: int, batch_size: int, device: torch.device
) -> Callable[[], None]:
    """The products of a batch as often as there are batches, the last of which may be smaller."""
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
    """A chain of layers: each reads what the one before it wrote, and backward the other way round."""
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
    """Work as one CUDA graph, where there is CUDA."""
    if device.type != "cuda":
        return work
    work()  # so that libraries have set themselves up
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def replay(_memory: Callable[[], None] = work) -> None:  # the graph itself does not keep its tensors alive
        graph.replay()

    return replay
