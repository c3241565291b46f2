import pytest
import torch
from torch import Tensor

from vae.model import discretized_logistic
from vae.model.discretized_logistic import COMPONENTS, DiscretizedLogistic, DiscretizedLogisticMixture
from vae.model.likelihood import Likelihood, Neighbours, neighbours

LEVELS = torch.arange(256, dtype=torch.float64) / 255
EACH = pytest.mark.parametrize(
    "likelihood", [DiscretizedLogistic(), DiscretizedLogisticMixture()], ids=["one", "mixture"]
)


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def outputs(likelihood: Likelihood, channels: int, count: int, spread: float = 1.0) -> Tensor:
    """Random outputs of a decoder for single pixels, in float64."""
    shape = (count, likelihood.output_channels(channels), 1, 1)
    return spread * torch.randn(shape, dtype=torch.float64, generator=random(0))


def probabilities(likelihood: Likelihood, output: Tensor) -> Tensor:
    """P(x) of every value of a grey pixel: (256, count)."""
    pixels = LEVELS.view(256, 1, 1, 1, 1).expand(256, len(output), 1, 1, 1)
    return torch.stack([likelihood.log_density(x, output) for x in pixels]).exp()


@EACH
@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0, 30.0])
def test_the_probabilities_of_the_256_values_of_a_grey_pixel_sum_to_one(likelihood: Likelihood, spread: float) -> None:
    total = probabilities(likelihood, outputs(likelihood, 1, 50, spread)).sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-12, atol=0)


@EACH
def test_the_probabilities_of_all_values_of_two_channels_sum_to_one(likelihood: Likelihood) -> None:
    (output,) = outputs(likelihood, 2, 1)
    pairs = torch.cartesian_prod(LEVELS, LEVELS)[:, :, None, None]
    log_probability = likelihood.log_density(pairs, output.expand(len(pairs), *output.shape))
    assert log_probability.exp().sum().item() == pytest.approx(1, rel=1e-11)


def test_log_density_is_the_difference_of_two_logistic_distribution_functions() -> None:
    likelihood = DiscretizedLogistic()
    output = outputs(likelihood, 3, 4, spread=0.2)  # far from the locations, the difference would lose its digits
    x = torch.randint(64, 192, (4, 3, 1, 1), generator=random(1)).double() / 255
    location = output[:, :3] + 0.5
    scale = (output[:, 3:] + discretized_logistic.INITIAL_LOG_SCALE).exp()
    above, below = (torch.sigmoid((x + half - location) / scale) for half in (1 / 510, -1 / 510))
    expected = (above - below).log().sum((1, 2, 3))
    torch.testing.assert_close(likelihood.log_density(x, output), expected, rtol=1e-9, atol=0)


def test_a_mixture_of_equal_components_without_coefficients_is_one_discretized_logistic_distribution() -> None:
    one, mixture = DiscretizedLogistic(), DiscretizedLogisticMixture()
    single = outputs(one, 3, 6)
    location, log_scale = single.chunk(2, 1)
    start = (2 * torch.arange(COMPONENTS) + 1) / (2 * COMPONENTS)  # which the mixture adds to each location
    parts = [
        torch.cat(
            [torch.full_like(location[:, :1], 0.7), location + 0.5 - at, log_scale, torch.zeros_like(location)], 1
        )
        for at in start
    ]
    x = torch.randint(0, 256, (6, 3, 1, 1), generator=random(1)).double() / 255
    log_density = mixture.log_density(x, torch.cat(parts, 1))
    torch.testing.assert_close(log_density, one.log_density(x, single), rtol=1e-6, atol=1e-6)


def test_a_coefficient_couples_a_channel_to_the_one_before_it() -> None:
    """Green is μ + a·(red - ½), with all components alike and almost no spread."""
    mixture = DiscretizedLogisticMixture()
    start = (2 * torch.arange(COMPONENTS, dtype=torch.float64) + 1) / (2 * COMPONENTS)
    red, green, coefficient = 0.8, 0.3, 0.5
    log_scale = -20.0
    parts = [
        torch.tensor([0.0, red - at, green - at, log_scale, log_scale, torch.tensor(coefficient).atanh()])
        for at in start
    ]
    output = torch.cat(parts).view(1, -1, 1, 1).double()
    mean = mixture.mean(output).flatten()
    expected = torch.tensor([red, green + coefficient * (red - 0.5)], dtype=torch.float64)
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-3)


@EACH
@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_the_mean_of_a_grey_pixel_is_its_expectation_to_within_half_a_grey_level(
    likelihood: Likelihood, spread: float
) -> None:
    output = outputs(likelihood, 1, 50, spread)
    expected = (probabilities(likelihood, output) * LEVELS[:, None]).sum(0)
    assert (likelihood.mean(output).flatten() - expected).abs().max() <= 0.5 / 255


@EACH
def test_samples_of_a_grey_pixel_have_the_probabilities_of_the_distribution(likelihood: Likelihood) -> None:
    count = 100_000
    output = outputs(likelihood, 1, 1)
    samples = likelihood.sample(output.expand(count, *output.shape[1:]), random(1)).flatten()
    levels = (samples * 255).round()
    torch.testing.assert_close(levels / 255, samples)
    expected = probabilities(likelihood, output)[:, 0]
    frequency = torch.bincount(levels.long(), minlength=256) / count
    error = (expected * (1 - expected) / count).sqrt()
    assert ((frequency - expected).abs() <= 5 * error + 1e-4).all()


def test_samples_of_a_mixture_in_colour_have_the_correlation_that_its_coefficients_give() -> None:
    """The log-density of samples is the negative entropy, so it agrees with an estimate from other samples' density."""
    mixture = DiscretizedLogisticMixture()
    output = outputs(mixture, 2, 1)
    pairs = torch.cartesian_prod(LEVELS, LEVELS)[:, :, None, None]
    log_probability = mixture.log_density(pairs, output.expand(len(pairs), -1, -1, -1))
    negative_entropy = (log_probability.exp() * log_probability).sum()
    samples = mixture.sample(output.expand(20_000, -1, -1, -1), random(1))
    log_density = mixture.log_density(samples, output.expand(20_000, -1, -1, -1))
    assert abs(log_density.mean() - negative_entropy) < 4 * log_density.std() / 20_000**0.5


@EACH
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_log_density_and_its_gradient_are_finite_at_extreme_outputs(likelihood: Likelihood, extreme: float) -> None:
    output = torch.full((2, likelihood.output_channels(3), 1, 1), extreme, requires_grad=True)
    x = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 3, 1, 1)
    log_density = likelihood.log_density(x, output)
    log_density.sum().backward()
    assert output.grad is not None
    assert log_density.isfinite().all()
    assert output.grad.isfinite().all()


@EACH
def test_the_gradient_of_the_log_density_agrees_with_finite_differences(likelihood: Likelihood) -> None:
    output = outputs(likelihood, 2, 3).requires_grad_()
    x = torch.tensor([0.0, 100 / 255, 1.0], dtype=torch.float64)[:, None, None, None].expand(3, 2, 1, 1)
    assert torch.autograd.gradcheck(lambda each: likelihood.log_density(x, each), output)


def test_a_probability_is_never_above_one() -> None:
    output = torch.tensor([0.0, -1e3]).view(1, 2, 1, 1)
    x = torch.tensor([128 / 255]).view(1, 1, 1, 1)
    assert DiscretizedLogistic().log_density(x, output).item() <= 0


def test_neighbours_are_the_pixels_to_the_left_above_and_above_left_with_zeros_beyond_the_image() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    near = neighbours(x)
    assert near.left.tolist() == [[[[0.0, 1.0], [0.0, 3.0]]]]
    assert near.above.tolist() == [[[[0.0, 0.0], [1.0, 2.0]]]]
    assert near.above_left.tolist() == [[[[0.0, 0.0], [0.0, 1.0]]]]


@pytest.mark.parametrize(
    ("component", "expected"),
    list(enumerate([0.8, 0.5, 0.5, 0.65, 0.9])),
    ids=["left", "above", "none", "average", "gradient"],
)
def test_components_start_from_the_predictions_of_the_filters_of_png(component: int, expected: float) -> None:
    likelihood = DiscretizedLogisticMixture()
    near = Neighbours(*(torch.full((1, 1, 1, 1), value) for value in (0.8, 0.5, 0.4)))
    output = torch.zeros(1, COMPONENTS, 3, 1, 1)  # a logit, a location and a scale of each component
    output[:, component, 0] = 100.0
    output[:, :, 2] = -10.0
    mean = likelihood.mean(likelihood.relative_to(output.flatten(1, 2), near))
    assert float(mean) == pytest.approx(expected, abs=1e-3)


def test_a_single_logistic_starts_from_the_average_of_left_and_above() -> None:
    likelihood = DiscretizedLogistic()
    near = Neighbours(*(torch.full((1, 3, 1, 1), value) for value in (0.8, 0.4, 0.1)))
    location, log_scale = likelihood.relative_to(torch.zeros(1, 6, 1, 1), near).chunk(2, 1)
    torch.testing.assert_close(location + 0.5, torch.full((1, 3, 1, 1), 0.6))
    assert not log_scale.any()


@EACH
def test_parameters_of_a_pixel_depend_on_earlier_pixels_only(likelihood: Likelihood) -> None:
    x = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    output = torch.zeros(1, likelihood.output_channels(3), 4, 5)
    parameters = likelihood.relative_to(output, neighbours(x))
    (gradient,) = torch.autograd.grad(parameters[:, :, 2, 3].square().sum(), x)
    assert {(row, column) for _, _, row, column in gradient.nonzero().tolist()} <= {(2, 2), (1, 3), (1, 2)}
    assert gradient[0, :, 2, 2].all()
    assert gradient[0, :, 1, 3].all()
