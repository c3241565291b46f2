"""The moving average of weights, next to its definition as a weighted mean."""

import pytest
import torch
from torch import Tensor

from vae.optimizer.average import MovingAverage

INITIAL = torch.full((5,), 1000.0)


def weights_of(steps: int) -> Tensor:
    """The weights after each step: (steps, 5)."""
    return torch.randn(steps, 5, generator=torch.Generator().manual_seed(1)).cumsum(0)


def averaged(weights: Tensor, decay: float) -> Tensor:
    average = MovingAverage(INITIAL, decay)
    for step, row in enumerate(weights, 1):
        average.update(row, torch.tensor(float(step)))
    return average.vector


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999, 0.99999])
@pytest.mark.parametrize("steps", [1, 2, 10, 300])
def test_the_average_is_the_mean_of_the_weights_after_each_step_with_exponential_shares(
    steps: int, decay: float
) -> None:
    weights = weights_of(steps)
    shares = decay ** torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    expected = (shares[:, None] * weights).sum(0) / shares.sum()
    torch.testing.assert_close(averaged(weights, decay).double(), expected, rtol=1e-4, atol=1e-4)


def test_after_one_step_the_average_is_the_weights_and_the_initial_weights_have_no_share() -> None:
    weights = weights_of(1)
    torch.testing.assert_close(averaged(weights, 0.9999), weights[0], rtol=0, atol=1e-6 * INITIAL[0].item())


def test_the_average_stays_at_the_initial_weights_as_long_as_all_steps_are_skipped() -> None:
    average = MovingAverage(INITIAL, 0.99)
    for _ in range(3):
        average.update(INITIAL, torch.tensor(0.0))
    assert torch.equal(average.vector, INITIAL)


def test_the_average_is_a_copy_that_is_updated_in_place() -> None:
    """CUDA graphs depend on where it is in memory."""
    weights = INITIAL.clone()
    average = MovingAverage(weights, 0.5)
    place = average.vector.data_ptr()
    weights.zero_()
    assert torch.equal(average.vector, INITIAL)
    average.update(weights, torch.tensor(1.0))
    assert average.vector.data_ptr() == place
