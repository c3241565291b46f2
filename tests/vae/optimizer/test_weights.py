"""A model's parameters as one vector, their gradients as another."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from tests.settings import architecture
from vae.base.runtime import seeded
from vae.model.vae import VAE
from vae.optimizer.weights import Weights

NETWORKS = pytest.mark.parametrize("network", ["mlp", "conv", "autoregressive"])


def build(network: str = "mlp") -> VAE:
    """A model with a scale, which is a parameter without dimensions."""
    with seeded(0, "weights"):
        return VAE(architecture(image_shape=(1, 4, 8), network=network, likelihood="gaussian"))


def numbered(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32)


@NETWORKS
def test_parameters_are_views_of_the_vector_in_the_models_order(network: str) -> None:
    model = build(network)
    weights = Weights(model)
    assert weights.vector.dtype == torch.float32
    assert torch.equal(weights.vector, parameters_to_vector(build(network).parameters()))
    weights.vector.copy_(numbered(len(weights.vector)))
    assert torch.equal(parameters_to_vector(model.parameters()), numbered(len(weights.vector)))
    first = next(model.parameters())
    with torch.no_grad():
        first.fill_(-1)
    assert (weights.vector == -1).sum() == first.numel()


@NETWORKS
def test_parameters_gradients_are_views_of_the_gradient_in_the_models_order(network: str) -> None:
    model = build(network)
    weights = Weights(model)
    assert weights.gradient.dtype == torch.float32
    assert weights.gradient.shape == weights.vector.shape
    assert not weights.gradient.any()
    weights.gradient.copy_(numbered(len(weights.gradient)))
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert [gradient.shape for gradient in gradients] == [parameter.shape for parameter in model.parameters()]
    assert torch.equal(parameters_to_vector(gradients), numbered(len(weights.gradient)))


@NETWORKS
def test_slices_say_where_each_parameter_is_and_cover_the_vector_once(network: str) -> None:
    model = build(network)
    weights = Weights(model)
    assert list(weights.slices) == list(model.parameters())
    for parameter, part in weights.slices.items():
        assert weights.vector[part].data_ptr() == parameter.data_ptr()
        assert torch.equal(weights.vector[part].view_as(parameter), parameter)
    slices = list(weights.slices.values())
    assert slices[0].start == 0
    assert slices[-1].stop == len(weights.vector)
    assert all(one.stop == other.start for one, other in pairwise(slices))


def test_the_model_computes_with_what_the_vector_holds() -> None:
    model, other = build(), build()
    Weights(model).vector.neg_()
    with torch.no_grad():
        for weight in other.parameters():
            weight.neg_()
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(3))
    assert torch.equal(model.decoder(z), other.decoder(z))
    assert not torch.equal(model.decoder(z), build().decoder(z))


@NETWORKS
def test_the_models_state_dict_keeps_its_names_and_values(network: str) -> None:
    model, before = build(network), build(network).state_dict()
    Weights(model)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(parameter.requires_grad for parameter in model.parameters())
