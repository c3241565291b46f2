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


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "grey"])
def test_log_density_gradient_is_that_of_automatic_differentiation(binary: bool) -> None:
    x = torch.rand(SHAPE, dtype=torch.float64, generator=random(1))
    x = x.round() if binary else x
    output = logits().requires_grad_()
    Bernoulli().log_density(x, output).sum().backward()
    assert output.grad is not None
    gradient = Bernoulli().log_density_gradient(x, output.detach())
    torch.testing.assert_close(gradient, output.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("pixel", "logit", "expected"),
    [
        (1.0, 1000.0, 0.0),
        (0.0, -1000.0, 0.0),
        (0.0, 1000.0, -1.0),
        (1.0, -1000.0, 1.0),
        (0.25, 1000.0, -0.75),
        (0.25, -1000.0, 0.25),
        (0.25, 0.0, -0.25),
    ],
)
def test_log_density_gradient_is_exact_at_extreme_logits(
    pixel: float, logit: float, expected: float, dtype: torch.dtype
) -> None:
    x, output = (torch.full((1, 1, 1, 1), value, dtype=dtype) for value in (pixel, logit))
    gradient = Bernoulli().log_density_gradient(x, output)
    assert gradient.item() == expected
    assert gradient.dtype == dtype


def test_log_density_gradient_is_a_tensor_of_its_own() -> None:
    """Whoever asked for it may change it in place."""
    x = torch.rand(SHAPE, dtype=torch.float64, generator=random(1))
    output, images = logits(), x.clone()
    gradient = Bernoulli().log_density_gradient(images, output)
    assert gradient.shape == SHAPE
    gradient.zero_()
    assert torch.equal(images, x)
    assert torch.equal(output, logits())


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
