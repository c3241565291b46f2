"""Adam: the paper's algorithm, bit for bit like PyTorch's fused kernel, with decay and gradient clipping."""

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from tests.pretended_device import pretended_cuda
from vae.optimizer.adam import CUDA_BLOCK, CUDA_PIECES, Adam

PARAMETERS = 103  # no multiple of a vector register's width
STEPS = 50
LEARNING_RATES = pytest.mark.parametrize("learning_rate", [1e-3, 0.05])
DECAYS = pytest.mark.parametrize("decay", [None, 0.1], ids=["no decay", "decay"])
NORMS = pytest.mark.parametrize("largest_norm", [None, 100.0, 1e9], ids=["no limit", "low limit", "high limit"])
DEVICES = pytest.mark.parametrize(
    "on",
    [
        "cpu",
        pytest.param(
            "accelerator",
            marks=pytest.mark.skipif(not torch.accelerator.is_available(), reason="this machine has no accelerator"),
        ),
    ],
)


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def initial() -> Tensor:
    return torch.randn(PARAMETERS, generator=random(0))


def gradients(count: int = STEPS) -> Tensor:
    """Gradients of every size from 1e-4 to 1e4, each with a trend and noise around it: (steps, P)."""
    sizes = torch.logspace(-4, 4, PARAMETERS)
    trend = torch.randn(PARAMETERS, generator=random(1))
    return sizes * (trend + torch.randn(count, PARAMETERS, generator=random(2)))


def rate(learning_rate: float, on: torch.device | str = "cpu") -> Tensor:
    return torch.tensor(learning_rate, device=on)


@DEVICES
@pytest.mark.parametrize(
    "learning_rate", [lambda _: 1e-3, lambda _: 0.05, lambda step: 0.1 / (1 + step)], ids=["0.001", "0.05", "falling"]
)
def test_parameters_and_moments_equal_those_of_pytorchs_fused_adam_bit_for_bit(
    on: str, learning_rate: Callable[[int], float]
) -> None:
    device = (torch.accelerator.current_accelerator() if on == "accelerator" else None) or torch.device("cpu")
    theta, alpha = torch.nn.Parameter(initial().to(device)), rate(0.0, device)
    reference = torch.optim.Adam([theta], lr=alpha, fused=True)
    adam = Adam(initial().to(device))
    for step, gradient in enumerate(gradients().to(device)):
        alpha.fill_(learning_rate(step))
        theta.grad = gradient.clone()
        reference.step()
        adam.step(gradient, alpha.clone())
        assert torch.equal(adam.parameters, theta.detach())
    state = reference.state[theta]
    assert torch.equal(adam.first_moment, state["exp_avg"])
    assert torch.equal(adam.second_moment, state["exp_avg_sq"])
    assert adam.steps.item() == state["step"].item() == STEPS


@LEARNING_RATES
def test_parameters_and_moments_follow_the_papers_algorithm_to_rounding(learning_rate: float) -> None:
    """Algorithm 1 in float64."""
    adam = Adam(initial())
    theta, alpha = initial().double(), rate(learning_rate).double()
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    for t, gradient in enumerate(gradients(), start=1):
        adam.step(gradient, rate(learning_rate))
        m = 0.9 * m + 0.1 * gradient.double()
        v = 0.999 * v + 0.001 * gradient.double() ** 2
        theta = theta - alpha * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    sizes = gradients().abs().amax(0).double()
    rounding = torch.finfo(torch.float32).eps / 2
    # m is rounded a few times a step, by the largest gradient at most, and forgets a tenth of it; v only ever grows.
    assert ((adam.first_moment - m).abs() <= 3 * rounding * sizes).all()
    torch.testing.assert_close(adam.second_moment.double(), v, rtol=STEPS * rounding, atol=0)
    # θ is rounded once a step; what a step itself is off by is less, as long as the learning rate is small.
    largest = initial().abs() + STEPS * learning_rate
    assert ((adam.parameters - theta).abs() <= STEPS * rounding * largest).all()


@LEARNING_RATES
@DECAYS
@NORMS
def test_decay_and_clipping_follow_pytorchs_adamw_and_clip_grad_norm_in_float64(
    learning_rate: float, decay: float | None, largest_norm: float | None
) -> None:
    theta = torch.nn.Parameter(initial().double())
    reference = torch.optim.AdamW([theta], lr=rate(learning_rate).item(), weight_decay=decay or 0.0)
    adam = Adam(initial(), None if decay is None else torch.full((PARAMETERS,), decay), largest_norm)
    clipped = 0
    for gradient in gradients():
        theta.grad = gradient.double()
        norm = torch.nn.utils.clip_grad_norm_([theta], torch.inf if largest_norm is None else largest_norm)
        clipped += largest_norm is not None and norm.item() > largest_norm
        reference.step()
        returned = adam.step(gradient.clone(), rate(learning_rate))
        assert returned.item() == pytest.approx(norm.item(), rel=1e-6)
    assert clipped == (STEPS if largest_norm == 100 else 0)
    torch.testing.assert_close(adam.parameters.double(), theta.detach(), rtol=1e-5, atol=1e-4 * learning_rate)


@pytest.mark.parametrize("largest_norm", [None, 1.0])
@pytest.mark.parametrize("norm", [0.5, 1.0, 2.0, 1e6])
def test_a_step_returns_the_gradients_norm_before_clipping_and_clips_longer_gradients_only(
    norm: float, largest_norm: float | None
) -> None:
    direction = torch.nn.functional.normalize(torch.randn(PARAMETERS, generator=random(1)), dim=0)
    adam = Adam(torch.zeros(PARAMETERS), largest_norm=largest_norm)
    returned = adam.step(norm * direction, rate(0.01))
    assert returned.shape == ()
    assert returned.item() == pytest.approx(norm, rel=1e-6)
    used = norm if largest_norm is None else min(norm, largest_norm)
    torch.testing.assert_close(adam.first_moment, 0.1 * used * direction, rtol=1e-5, atol=1e-9)


def test_each_parameter_decays_at_its_own_rate() -> None:
    decay = torch.zeros(PARAMETERS)
    decay[::2] = 0.5
    adam, undecayed = Adam(initial(), decay), Adam(initial())
    for each in (adam, undecayed):
        each.step(gradients(1)[0], rate(0.1))
    assert torch.equal(adam.parameters[1::2], undecayed.parameters[1::2])
    expected = undecayed.parameters - 0.05 * initial()
    torch.testing.assert_close(adam.parameters[::2], expected[::2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("largest_norm", [None, 1.0])
def test_gradients_of_zero_change_neither_parameters_nor_moments(largest_norm: float | None) -> None:
    """Dividing by zeros gives no NaN."""
    adam = Adam(initial(), largest_norm=largest_norm)
    for _ in range(3):
        assert adam.step(torch.zeros(PARAMETERS), rate(0.1)).item() == 0
    assert torch.equal(adam.parameters, initial())
    assert not adam.first_moment.any()
    assert not adam.second_moment.any()
    assert adam.steps.item() == 3


def test_clipping_does_not_hide_an_infinite_gradient() -> None:
    """The parameters become NaN and the norm is infinite, so that training notices that it diverged."""
    gradient = gradients(1)[0]
    gradient[3] = torch.inf
    adam = Adam(initial(), largest_norm=1.0)
    assert adam.step(gradient, rate(0.1)).item() == torch.inf
    assert adam.parameters[3].isnan()


def test_moments_start_at_zero_in_float32_on_the_parameters_device() -> None:
    parameters = initial()
    adam = Adam(parameters)
    assert adam.parameters is parameters
    for state in (adam.first_moment, adam.second_moment, adam.steps):
        assert state.dtype == torch.float32
        assert state.device == parameters.device
        assert not state.any()
    assert adam.first_moment.shape == adam.second_moment.shape == parameters.shape
    assert adam.steps.shape == ()


def test_a_step_without_clipping_changes_parameters_and_moments_in_place_and_leaves_the_gradient_alone() -> None:
    """CUDA graphs and views of the parameters depend on where these tensors are in memory."""
    adam = Adam(initial())
    state = [adam.parameters, adam.first_moment, adam.second_moment, adam.steps]
    places = [tensor.data_ptr() for tensor in state]
    before = [tensor.clone() for tensor in state]
    gradient = gradients(1)[0]
    adam.step(gradient, rate(0.1))
    now = [adam.parameters, adam.first_moment, adam.second_moment, adam.steps]
    assert [tensor.data_ptr() for tensor in now] == places
    assert not any(map(torch.equal, now, before))
    assert torch.equal(gradient, gradients(1)[0])


BLOCKS = CUDA_PIECES * CUDA_BLOCK


@pytest.mark.parametrize(
    ("count", "launches"),
    [(1, 1), (64, 1), (65, 1), (PARAMETERS, 1), (BLOCKS, 1), (BLOCKS + 1, 2), (3 * BLOCKS, 3), (9 * BLOCKS + 5, 4)],
)
def test_on_cuda_the_update_is_split_into_up_to_four_launches_of_36_pieces_and_has_the_bits_of_the_cpu(
    count: int, launches: int
) -> None:
    initial, gradient = (torch.randn(count, generator=random(seed)) for seed in (0, 1))
    on_cpu = Adam(initial.clone())
    on_cpu.step(gradient.clone(), rate(0.01))
    with pretended_cuda():
        on_cuda = Adam(initial.to("cuda"))
        with patch.object(torch, "_fused_adam_", wraps=torch._fused_adam_) as kernel:
            on_cuda.step(gradient.to("cuda"), rate(0.01, "cuda"))
        pieces = [len(call.args[0]) for call in kernel.call_args_list]
        assert len(pieces) == launches
        assert all(1 <= each <= CUDA_PIECES for each in pieces)
        assert sum(pieces) > 1 or count <= 64
        assert torch.equal(on_cuda.parameters.cpu(), on_cpu.parameters)


def test_on_cuda_every_parameter_is_updated() -> None:
    with pretended_cuda():
        for count in (*range(1, 3000, 7), *range(BLOCKS - 5, BLOCKS + 5), *range(4 * BLOCKS, 4 * BLOCKS + 9)):
            adam = Adam(torch.zeros(count, device="cuda"))
            adam.step(torch.ones(count, device="cuda"), rate(0.01, "cuda"))
            assert (adam.parameters.cpu() < 0).all(), count


@pytest.mark.parametrize("decay", [None, 0.1], ids=["no decay", "decay"])
@pytest.mark.parametrize("largest_norm", [None, 1.0], ids=["no limit", "limit"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e6])
def test_a_step_with_too_large_a_gradient_is_as_if_it_had_not_been_taken(
    bad: float, largest_norm: float | None, decay: float | None
) -> None:
    decays = None if decay is None else torch.full((PARAMETERS,), decay)
    adam, reference = (Adam(initial(), decays, largest_norm, skip_above=limit) for limit in (1e5, None))
    for step, gradient in enumerate(gradients(6)):
        if step in (0, 3):
            spoilt = gradient.clone()
            spoilt[7] = bad
            norm = adam.step(spoilt, rate(0.01))
            assert adam.skips(norm)
        assert not adam.skips(adam.step(gradient.clone(), rate(0.01)))
        reference.step(gradient.clone(), rate(0.01))
        assert torch.equal(adam.parameters, reference.parameters)
        assert torch.equal(adam.first_moment, reference.first_moment)
        assert torch.equal(adam.second_moment, reference.second_moment)
        assert adam.steps.item() == reference.steps.item() == step + 1


@pytest.mark.parametrize(("limit", "skipped"), [(1.0, False), (0.999, True), (None, False)])
def test_a_step_is_skipped_above_the_limit_and_not_at_it(limit: float | None, skipped: bool) -> None:
    gradient = torch.zeros(PARAMETERS)
    gradient[2] = 1.0
    adam = Adam(initial(), skip_above=limit)
    assert adam.skips(adam.step(gradient, rate(0.1))).item() is skipped
    assert torch.equal(adam.parameters, initial()) is skipped


def test_clipping_a_gradient_of_a_skipped_step_leaves_zeros_in_it() -> None:
    """Those between parameters are never written again."""
    gradient = gradients(1)[0]
    gradient[::2] = 0
    gradient[1] = torch.nan
    Adam(initial(), largest_norm=1.0, skip_above=1e9).step(gradient, rate(0.1))
    assert not gradient[::2].any()


def test_on_cuda_a_step_is_skipped_in_all_pieces_without_waiting() -> None:
    initial, gradient = (torch.randn(36 * 64 + 1, generator=random(seed)) for seed in (0, 1))
    with pretended_cuda() as waits:
        adam = Adam(initial.to("cuda"), largest_norm=1.0, skip_above=1.0)
        theirs, alpha = gradient.to("cuda"), rate(0.01, "cuda")
        waits.clear()
        adam.step(theirs, alpha)
        assert waits.total == 0
        assert torch.equal(adam.parameters.cpu(), initial)
        assert adam.steps.item() == 0
