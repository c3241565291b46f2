"""The gradient of a batch from its shards, in a single process; tests/pipeline/test_processes.py has several."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.settings import architecture, train_params
from tests.weights import entries
from vae.base.runtime import seeded
from vae.model.objective import Losses
from vae.model.vae import VAE
from vae.optimizer.weights import Weights
from vae.training.engine import TrainingEngine
from vae.training.handwritten_gradient import NegativeElboGradient
from vae.training.shards import ShardedGradient, sum_in_order
from vae.training.step import AutomaticDifferentiation

IMAGE_SHAPE = (1, 4, 8)
PIXELS = 32
LATENT_DIM = 2
ROUNDING = 1e-5
BETA = torch.tensor(0.5)


def batch(size: int, *samples: int) -> tuple[Tensor, Tensor]:
    """Images as bytes (B, pixels), and noise (B, D) or (B, k, D)."""
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (size, PIXELS), dtype=torch.uint8, generator=random)
    return images, torch.randn(size, *samples, LATENT_DIM, generator=random)


def build(network: str) -> VAE:
    with seeded(0, "weights"):
        return VAE(architecture(image_shape=IMAGE_SHAPE, latent_dim=LATENT_DIM, network=network))


class Recorded:
    """A gradient of ones times the number of images, which remembers the shards that it was asked for."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.shards: list[tuple[Tensor, Tensor]] = []

    def __call__(self, images: Tensor, noise: Tensor, kl_weight: Tensor) -> Losses[Tensor]:
        del kl_weight
        self.shards.append((images, noise))
        self.weights.gradient.fill_(len(images))
        return Losses(*(torch.tensor(float(len(images) + term)) for term in range(3)))


@pytest.mark.parametrize("size", [12, 7, 2], ids=["equal shards", "unequal shards", "fewer images than shards"])
@pytest.mark.parametrize("samples", [(), (3,)], ids=["ELBO", "importance-weighted"])
@pytest.mark.parametrize("network", ["mlp", "conv", "autoregressive"])
@torch.no_grad()
def test_loss_and_gradient_from_shards_are_those_of_the_batch(
    network: str, samples: tuple[int, ...], size: int
) -> None:
    model = build(network)
    weights = Weights(model)
    whole = AutomaticDifferentiation(model, weights, 0.0, torch.float32)
    images, noise = batch(size, *samples)
    losses = torch.stack(whole(images, noise, BETA))
    gradient = entries(weights, weights.gradient).clone()

    from_shards = torch.stack(ShardedGradient(whole, weights, 4)(images, noise, BETA))

    torch.testing.assert_close(from_shards, losses, rtol=ROUNDING, atol=0)
    assert (entries(weights, weights.gradient) - gradient).norm() < ROUNDING * gradient.norm()


@torch.no_grad()
def test_shards_are_consecutive_images_in_parts_of_equal_size_or_with_one_more() -> None:
    weights = Weights(build("mlp"))
    recorded = Recorded(weights)
    images, noise = batch(7)
    losses = ShardedGradient(recorded, weights, 3)(images, noise, BETA)
    assert [len(part) for part, _ in recorded.shards] == [3, 2, 2]
    assert torch.equal(torch.cat([part for part, _ in recorded.shards]), images)
    assert torch.equal(torch.cat([part for _, part in recorded.shards]), noise)
    average = (3 * 3 + 2 * 2 + 2 * 2) / 7
    torch.testing.assert_close(weights.gradient, torch.full_like(weights.gradient, average))
    torch.testing.assert_close(torch.stack(losses), average + torch.arange(3.0))


def test_rows_are_added_from_the_first_to_the_last() -> None:
    # 1 disappears next to 2²⁵ in float32, so each order has its own result.
    large = float(2**25)
    rows = torch.tensor([[large, 1.0, 1.0], [1.0, large, 1.0], [-large, -large, large], [1.0, 1.0, -large]])
    assert sum_in_order(rows).tolist() == [1.0, 1.0, 0.0]
    assert rows[0].tolist() == [large, 1.0, 1.0]


@pytest.mark.parametrize("shards", [1, 2])
def test_an_accelerator_computes_the_gradient_of_each_shard(shards: int) -> None:
    settings: dict[str, Any] = {"shards": shards, "batch_size": 8}
    engine = TrainingEngine(build("mlp"), batch(16)[0].view(-1, *IMAGE_SHAPE), train_params(**settings))
    backward = engine.step.backward
    assert isinstance(backward, ShardedGradient) == (shards == 2)
    assert isinstance(backward.backward if isinstance(backward, ShardedGradient) else backward, NegativeElboGradient)
