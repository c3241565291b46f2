import pytest
import torch
from torch import Tensor

from vae.likelihoods import Bernoulli

SHAPE = (5, 2, 3, 4)


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits() -> Tensor:
    return 3 * torch.randn(SHAPE, dtype=torch.float64, generator=random(0))


def test_log_density_of_binary_images_is_that_of_torch_distributions_summed_over_pixels() -> None:
    x = torch.randint(0, 2, SHAPE, generator=random(1)).double()
    expected = torch.distributions.Bernoulli(logits=logits()).log_prob(x).sum((1, 2, 3))
    log_density = Bernoulli().log_density(x, logits())
    assert log_density.shape == (5,)
    torch.testing.assert_close(log_density, expected, rtol=1e-13, atol=0)


def test_log_density_of_grey_images_is_the_negative_cross_entropy() -> None:
    x = torch.rand(SHAPE, dtype=torch.float64, generator=random(1))
    p = 1 / (1 + torch.exp(-logits()))
    expected = (x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
    torch.testing.assert_close(Bernoulli().log_density(x, logits()), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("pixel", "logit", "expected"),
    [(1.0, 1000.0, 0.0), (0.0, -1000.0, 0.0), (0.0, 1000.0, -1000.0), (1.0, -1000.0, -1000.0), (0.25, 1000.0, -750.0)],
)
def test_log_density_does_not_saturate_at_extreme_logits(pixel: float, logit: float, expected: float) -> None:
    log_density = Bernoulli().log_density(torch.full((1, 1, 1, 1), pixel), torch.full((1, 1, 1, 1), logit))
    assert log_density.item() == expected


@pytest.mark.parametrize(("pixel", "logit", "expected"), [(0.0, 1000.0, -1.0), (1.0, -1000.0, 1.0), (1.0, 1000.0, 0.0)])
def test_extreme_logits_that_are_wrong_still_have_a_gradient(pixel: float, logit: float, expected: float) -> None:
    """The gradient by the logit l is x - sigmoid(l)."""
    output = torch.full((1, 1, 1, 1), logit, requires_grad=True)
    Bernoulli().log_density(torch.full((1, 1, 1, 1), pixel), output).sum().backward()
    assert output.grad is not None
    assert output.grad.item() == expected


def test_mean_is_the_probability_of_a_one() -> None:
    torch.testing.assert_close(Bernoulli().mean(logits()), 1 / (1 + torch.exp(-logits())), rtol=1e-14, atol=0)


def test_samples_are_zeros_and_ones_of_the_given_probability() -> None:
    count = 20_000
    output = logits()[:1]
    samples = Bernoulli().sample(output.expand(count, 2, 3, 4), random(1))
    assert samples.shape == (count, 2, 3, 4)
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    p = torch.sigmoid(output[0])
    assert ((samples.mean(0) - p).abs() < 4 * (p * (1 - p) / count).sqrt()).all()


def test_samples_repeat_with_their_generators_seed_only() -> None:
    output = torch.zeros(1, 1, 20, 20)
    samples = Bernoulli().sample(output, random(1))
    assert torch.equal(samples, Bernoulli().sample(output, random(1)))
    assert not torch.equal(samples, Bernoulli().sample(output, random(2)))
