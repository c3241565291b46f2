"""A model's parameters as one vector, their gradients as another."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

import vae.optimizer.weights
from tests.settings import architecture
from tests.weights import entries, gaps
from vae.base.runtime import seeded
from vae.model.vae import VAE
from vae.optimizer.adam import Adam
from vae.optimizer.weights import ALIGNMENT, Weights

NETWORKS = pytest.mark.parametrize("network", ["mlp", "conv", "autoregressive"])


def build(network: str = "mlp", latent_dim: int = 2) -> VAE:
    """A model with a scale, which is a parameter without dimensions."""
    with seeded(0, "weights"):
        changes = {"image_shape": (1, 4, 8), "network": network, "latent_dim": latent_dim, "likelihood": "gaussian"}
        return VAE(architecture(**changes))


def test_the_module_has_other_weights_within_the_block_and_its_own_again_after_it() -> None:
    model = build()
    weights, own = Weights(model), parameters_to_vector(model.parameters())

    def interrupt() -> None:
        assert (parameters_to_vector(model.parameters()) == 3).all()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), weights.replaced(torch.full_like(weights.vector, 3)):
        interrupt()
    assert torch.equal(parameters_to_vector(model.parameters()), own)
    with weights.replaced(weights.vector):
        assert torch.equal(parameters_to_vector(model.parameters()), own)


def numbered(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32)


@NETWORKS
def test_parameters_are_views_of_the_vector_in_the_models_order(network: str) -> None:
    model = build(network)
    weights = Weights(model)
    assert weights.vector.dtype == torch.float32
    assert torch.equal(entries(weights, weights.vector), parameters_to_vector(build(network).parameters()))
    weights.vector.copy_(numbered(len(weights.vector)))
    numbers = entries(weights, numbered(len(weights.vector)))
    assert torch.equal(parameters_to_vector(model.parameters()), numbers)
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
    assert torch.equal(parameters_to_vector(gradients), entries(weights, numbered(len(weights.gradient))))


@NETWORKS
def test_slices_say_where_each_parameter_is_and_do_not_overlap(network: str) -> None:
    model = build(network)
    weights = Weights(model)
    assert list(weights.slices) == list(model.parameters())
    for parameter, part in weights.slices.items():
        assert weights.vector[part].data_ptr() == parameter.data_ptr()
        assert torch.equal(weights.vector[part].view_as(parameter), parameter)
    slices = list(weights.slices.values())
    assert slices[0].start == 0
    assert slices[-1].stop == len(weights.vector)
    assert all(one.stop <= other.start < one.stop + ALIGNMENT for one, other in pairwise(slices))


@NETWORKS
@pytest.mark.parametrize("latent_dim", [1, 2, 3, 5, 6, 8])
def test_every_parameter_and_gradient_starts_at_a_multiple_of_16_bytes_in_float32_and_bfloat16(
    network: str, latent_dim: int
) -> None:
    model = build(network, latent_dim)
    weights = Weights(model)
    for dtype in (torch.float32, torch.bfloat16):  # training in bfloat16 copies the vectors
        for vector in (weights.vector.to(dtype), weights.gradient.to(dtype)):
            assert all(vector[part].data_ptr() % 16 == 0 for part in weights.slices.values())
    assert all(parameter.data_ptr() % 16 == 0 for parameter in model.parameters())


def trained(network: str) -> tuple[Weights, Adam, list[float]]:
    """Weights after a few steps of Adam with decay and clipping on random gradients, and the norms of these."""
    weights = Weights(build(network, 3))
    adam = Adam(weights.vector, weights.filled(lambda parameter: 0.1 * parameter.ndim), largest_norm=2.0)
    random = torch.Generator().manual_seed(1)
    norms = []
    for _ in range(5):
        for part in weights.slices.values():
            weights.gradient[part] = torch.randn(part.stop - part.start, generator=random)
        norms.append(float(adam.step(weights.gradient, torch.tensor(0.01))))
    return weights, adam, norms


@NETWORKS
def test_gaps_between_parameters_stay_zero_and_change_nothing(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with a vector without gaps. Norms are sums, which gaps may round differently in the last bit."""
    weights, adam, norms = trained(network)
    state = (weights.vector, weights.gradient, adam.first_moment, adam.second_moment)
    monkeypatch.setattr(vae.optimizer.weights, "ALIGNMENT", 1)
    dense, dense_adam, dense_norms = trained(network)
    dense_state = (dense.vector, dense.gradient, dense_adam.first_moment, dense_adam.second_moment)
    assert len(dense.vector) < len(weights.vector)
    assert norms == pytest.approx(dense_norms, rel=1e-6)
    for ours, theirs in zip(state, dense_state, strict=True):
        assert gaps(weights, ours).numel() == len(weights.vector) - len(dense.vector)
        assert not gaps(weights, ours).any()
        torch.testing.assert_close(entries(weights, ours), theirs, rtol=1e-5, atol=1e-8)


@NETWORKS
def test_a_vector_filled_by_parameter_is_zero_in_the_gaps(network: str) -> None:
    weights = Weights(build(network, 3))
    filled = weights.filled(lambda parameter: parameter.ndim + 1.0)
    assert not gaps(weights, filled).any()
    for parameter, part in weights.slices.items():
        assert (filled[part] == parameter.ndim + 1).all()


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
