from math import log

import pytest
import torch
from torch import Tensor

from vae.data.entropy import entropy_floor
from vae.data.images import pixels
from vae.model.likelihoods import Bernoulli

SHAPE = (6, 1, 3, 4)


def images(lowest: int, highest: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(lowest, highest + 1, SHAPE, dtype=torch.uint8, generator=random)


def reconstruction(images: Tensor, logits: Tensor) -> float:
    """The Bernoulli reconstruction of a decoder that outputs these logits, in nats per image."""
    return float(-Bernoulli().log_density(pixels(images).double(), logits).mean())


def test_entropy_floor_of_black_and_white_images_is_zero() -> None:
    assert entropy_floor(255 * images(0, 1)) == 0


@pytest.mark.parametrize("level", [127, 128])
def test_entropy_floor_of_middle_grey_is_one_bit_per_pixel(level: int) -> None:
    """The levels next to ½ differ from it by 1/510, which lowers the entropy by 2/510² = 8e-6."""
    assert entropy_floor(images(level, level)) == pytest.approx(12 * (log(2) - 2 / 510**2), rel=1e-6)


def test_entropy_floor_is_summed_over_pixels_and_averaged_over_images() -> None:
    one = images(0, 255)[:1]
    floor = entropy_floor(one)
    assert entropy_floor(one.repeat(5, 1, 1, 1)) == pytest.approx(floor, rel=1e-12)
    assert entropy_floor(one.repeat(1, 1, 2, 1)) == pytest.approx(2 * floor, rel=1e-12)


def test_entropy_floor_is_the_reconstruction_of_a_perfect_decoder() -> None:
    grey = images(1, 254)
    assert entropy_floor(grey) == pytest.approx(reconstruction(grey, pixels(grey).double().logit()), rel=1e-6)


def test_entropy_floor_ignores_black_and_white_pixels_among_grey_ones() -> None:
    mixed = images(0, 255)
    mixed[:, :, 0], mixed[:, :, 1] = 0, 255
    perfect = pixels(mixed).double().logit().clamp(-1000, 1000)
    assert entropy_floor(mixed) == pytest.approx(reconstruction(mixed, perfect), rel=1e-6)
    assert entropy_floor(mixed) == pytest.approx(entropy_floor(mixed[:, :, 2:]), rel=1e-12)


@pytest.mark.parametrize("error", [0.01, 0.1, 1.0, 10.0])
def test_no_logits_reach_a_reconstruction_below_the_entropy_floor(error: float) -> None:
    grey = images(1, 254)
    errors = error * torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert reconstruction(grey, pixels(grey).double().logit() + errors) > entropy_floor(grey)
