import math

import pytest
import torch
from torch import Tensor

from vae.adam import Adam

PARAMETERS = 103  # no multiple of a vector register's width
STEPS = 50
LEARNING_RATES = pytest.mark.parametrize("learning_rate", [1e-3, 0.05])
DECAYS = pytest.mark.parametrize("decay", [None, 0.1], ids=["no decay", "decay"])
NORMS = pytest.mark.parametrize("largest_norm", [None, 100.0, 1e9], ids=["no limit", "low limit", "high limit"])


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def initial() -> Tensor:
    return torch.randn(PARAMETERS, generator=random(0))


def gradients(count: int = STEPS) -> Tensor:
    """Of every size from 1e-4 to 1e4, each with a trend and noise around it: (steps, P)."""
    sizes = torch.logspace(-4, 4, PARAMETERS)
    trend = torch.randn(PARAMETERS, generator=random(1))
    return sizes * (trend + torch.randn(count, PARAMETERS, generator=random(2)))


def optimize(learning_rate: float, *, on: torch.device | str = "cpu") -> Adam:
    adam = Adam(initial().to(on))
    for gradient in gradients().to(on):
        adam.step(gradient, rate(learning_rate, on))
    return adam


def rate(learning_rate: float, on: torch.device | str = "cpu") -> Tensor:
    return torch.tensor(learning_rate, device=on)


def as_published(learning_rate: float) -> tuple[Tensor, Tensor, Tensor]:
    """θ, m and v after all steps, by algorithm 1 of the paper in float64."""
    theta, alpha = initial().double(), rate(learning_rate).double()
    first, second = torch.zeros_like(theta), torch.zeros_like(theta)
    for t, gradient in enumerate(gradients().double(), start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        theta = theta - alpha * (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
    return theta, first, second


@LEARNING_RATES
@pytest.mark.parametrize(
    "on",
    [
        "cpu",
        pytest.param(
            "accelerator",
            marks=pytest.mark.skipif(not torch.accelerator.is_available(), reason="this machine has no accelerator"),
        ),
    ],
)
def test_steps_are_those_of_pytorchs_fused_adam_bit_for_bit(on: str, learning_rate: float) -> None:
    device = (torch.accelerator.current_accelerator() if on == "accelerator" else None) or torch.device("cpu")
    theta, alpha = torch.nn.Parameter(initial().to(device)), rate(learning_rate, device)
    reference = torch.optim.Adam([theta], lr=alpha, fused=True)
    adam = Adam(initial().to(device))
    for gradient in gradients().to(device):
        theta.grad = gradient.clone()
        reference.step()
        adam.step(gradient, alpha)
        assert torch.equal(adam.parameters, theta.detach())
    state = reference.state[theta]
    assert torch.equal(adam.first_moment, state["exp_avg"])
    assert torch.equal(adam.second_moment, state["exp_avg_sq"])
    assert adam.steps.item() == state["step"].item() == STEPS


@LEARNING_RATES
def test_steps_are_those_of_the_paper_to_rounding(learning_rate: float) -> None:
    adam = optimize(learning_rate)
    theta, first, second = as_published(learning_rate)
    sizes = gradients().abs().amax(0).double()
    rounding = torch.finfo(torch.float32).eps / 2
    # m is rounded a few times a step, by the largest gradient at most, and forgets a tenth of it; v only ever grows.
    assert ((adam.first_moment - first).abs() <= 3 * rounding * sizes).all()
    torch.testing.assert_close(adam.second_moment.double(), second, rtol=STEPS * rounding, atol=0)
    # θ is rounded once a step; what a step itself is off by is less, as long as the learning rate is small.
    largest = initial().abs() + STEPS * learning_rate
    assert ((adam.parameters - theta).abs() <= STEPS * rounding * largest).all()


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_first_step_is_as_long_as_the_learning_rate_whatever_the_size_of_the_gradient(size: float) -> None:
    """Corrected for their bias, the moments are g and g², so the step is α·g/(|g| + ε)."""
    adam = Adam(torch.zeros(4))
    adam.step(size * torch.tensor([1.0, -1.0, 0.5, -3.0]), rate(0.01))
    torch.testing.assert_close(adam.parameters, torch.tensor([-0.01, 0.01, -0.01, 0.01]), rtol=3e-4, atol=0)


def test_gradients_of_zero_leave_everything_where_it_is() -> None:
    """And no NaN arises from the zero under the root."""
    adam = Adam(initial())
    for _ in range(3):
        adam.step(torch.zeros(PARAMETERS), rate(0.1))
    assert torch.equal(adam.parameters, initial())
    assert not adam.first_moment.any()
    assert not adam.second_moment.any()
    assert adam.steps.item() == 3


def test_a_parameter_without_gradient_rests_while_the_others_move() -> None:
    adam = Adam(initial())
    gradient = gradients(1)[0]
    gradient[::2] = 0
    adam.step(gradient, rate(0.1))
    moved = adam.parameters != initial()
    assert not moved[::2].any()
    assert moved[1::2].all()


def test_after_the_gradient_has_gone_the_moments_fade_at_their_rates_and_the_steps_with_them() -> None:
    adam = Adam(torch.zeros(1))
    adam.step(torch.ones(1), rate(0.01))
    for _ in range(9):
        adam.step(torch.zeros(1), rate(0.01))
    assert adam.first_moment.item() == pytest.approx(0.1 * 0.9**9, rel=1e-5)
    assert adam.second_moment.item() == pytest.approx(0.001 * 0.999**9, rel=1e-5)
    steps = [
        0.1 * 0.9 ** (t - 1) / (1 - 0.9**t) / math.sqrt(0.001 * 0.999 ** (t - 1) / (1 - 0.999**t)) for t in range(1, 11)
    ]
    assert adam.parameters.item() == pytest.approx(-0.01 * sum(steps), rel=1e-5)


def test_the_state_begins_at_zero_and_is_float32_on_the_parameters_device() -> None:
    parameters = initial()
    adam = Adam(parameters)
    assert adam.parameters is parameters
    for state in (adam.first_moment, adam.second_moment, adam.steps):
        assert state.dtype == torch.float32
        assert state.device == parameters.device
        assert not state.any()
    assert adam.first_moment.shape == adam.second_moment.shape == parameters.shape
    assert adam.steps.shape == ()


def test_all_of_the_state_changes_in_place_and_the_gradient_not_at_all() -> None:
    """A CUDA graph, and whoever holds views of the parameters, goes by where they lie."""
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


def test_the_rest_of_the_way_depends_on_nothing_but_the_state() -> None:
    """What a state kept on disk rests on."""
    whole = optimize(0.05)
    adam = Adam(initial())
    for gradient in gradients()[:20]:
        adam.step(gradient, rate(0.05))
    heir = Adam(adam.parameters.clone())
    heir.first_moment.copy_(adam.first_moment)
    heir.second_moment.copy_(adam.second_moment)
    heir.steps.copy_(adam.steps)
    for gradient in gradients()[20:]:
        heir.step(gradient, rate(0.05))
    assert torch.equal(heir.parameters, whole.parameters)


class TestLearningRate:
    def test_each_step_is_made_with_its_own_bit_for_bit(self) -> None:
        theta, alpha = torch.nn.Parameter(initial()), rate(0.0)
        reference = torch.optim.Adam([theta], lr=alpha, fused=True)
        adam = Adam(initial())
        for step, gradient in enumerate(gradients()):
            alpha.fill_(0.1 / (1 + step))
            theta.grad = gradient.clone()
            reference.step()
            adam.step(gradient, alpha.clone())
        assert torch.equal(adam.parameters, theta.detach())

    def test_of_zero_gathers_moments_and_moves_nothing(self) -> None:
        adam = Adam(initial(), torch.full((PARAMETERS,), 0.1))
        adam.step(gradients(1)[0], rate(0.0))
        assert torch.equal(adam.parameters, initial())
        assert adam.first_moment.all()
        assert adam.steps.item() == 1


class TestDecayAndLargestNorm:
    @LEARNING_RATES
    @DECAYS
    @NORMS
    def test_steps_are_those_of_pytorch_to_rounding(
        self, learning_rate: float, decay: float | None, largest_norm: float | None
    ) -> None:
        """In float64, by AdamW, which without decay is Adam, after ``clip_grad_norm_``."""
        theta = torch.nn.Parameter(initial().double())
        reference = torch.optim.AdamW([theta], lr=rate(learning_rate).item(), weight_decay=decay or 0.0)
        adam = Adam(initial(), None if decay is None else torch.full((PARAMETERS,), decay), largest_norm)
        shortened = 0
        for gradient in gradients():
            theta.grad = gradient.double()
            if largest_norm is not None:
                shortened += int(torch.nn.utils.clip_grad_norm_([theta], largest_norm) > largest_norm)
            reference.step()
            adam.step(gradient.clone(), rate(learning_rate))
        assert shortened == (STEPS if largest_norm == 100 else 0)
        torch.testing.assert_close(adam.parameters.double(), theta.detach(), rtol=1e-5, atol=1e-4 * learning_rate)

    def test_decay_shrinks_by_the_learning_rate_and_takes_no_part_in_the_moments(self) -> None:
        """Without a gradient nothing else moves θ: (1 - α·λ)ᵗ is left of it."""
        adam = Adam(initial(), torch.full((PARAMETERS,), 0.5))
        for _ in range(10):
            adam.step(torch.zeros(PARAMETERS), rate(0.1))
        torch.testing.assert_close(adam.parameters, 0.95**10 * initial(), rtol=2e-6, atol=0)
        assert not adam.first_moment.any()
        assert not adam.second_moment.any()

    def test_each_parameter_has_its_own_decay(self) -> None:
        decay = torch.zeros(PARAMETERS)
        decay[::2] = 0.5
        adam, undecayed = Adam(initial(), decay), Adam(initial())
        for each in (adam, undecayed):
            each.step(gradients(1)[0], rate(0.1))
        assert torch.equal(adam.parameters[1::2], undecayed.parameters[1::2])
        expected = undecayed.parameters - 0.05 * initial()
        torch.testing.assert_close(adam.parameters[::2], expected[::2], rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("norm", [0.5, 1.0, 2.0, 1e6])
    def test_a_gradient_is_shortened_to_the_largest_norm_and_never_lengthened(self, norm: float) -> None:
        direction = torch.nn.functional.normalize(torch.randn(PARAMETERS, generator=random(1)), dim=0)
        adam = Adam(torch.zeros(PARAMETERS), largest_norm=1.0)
        adam.step(norm * direction, rate(0.01))
        torch.testing.assert_close(adam.first_moment, 0.1 * min(norm, 1.0) * direction, rtol=1e-5, atol=1e-9)

    def test_a_gradient_of_zero_stays_so_under_a_largest_norm(self) -> None:
        adam = Adam(initial(), largest_norm=1.0)
        adam.step(torch.zeros(PARAMETERS), rate(0.1))
        assert torch.equal(adam.parameters, initial())

    def test_a_gradient_without_a_norm_is_not_made_one_of_use(self) -> None:
        """The loss that follows is NaN, and training says so: to go on as if nothing had been would hide it."""
        gradient = gradients(1)[0]
        gradient[3] = torch.inf
        adam = Adam(initial(), largest_norm=1.0)
        adam.step(gradient, rate(0.1))
        assert adam.parameters[3].isnan()
