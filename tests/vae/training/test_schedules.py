"""Learning-rate and KL-weight schedules next to published ones and closed forms."""

from itertools import pairwise
from math import cos, pi

import pytest
import torch

from tests.settings import train_params
from vae.training.schedules import epoch_schedule, kl_weight, learning_rate

SCHEDULES = pytest.mark.parametrize("schedule", ["constant", "cosine", "eight_stages"])
RATE = 0.02


class TestLearningRate:
    @pytest.mark.parametrize("epochs", [0, 0.3, 1, 9.99])
    def test_a_constant_schedule_keeps_the_learning_rate(self, epochs: float) -> None:
        assert learning_rate(train_params(learning_rate=RATE, epochs=10), epochs) == RATE

    def test_a_cosine_schedule_falls_from_the_whole_rate_through_half_to_zero(self) -> None:
        params = train_params(learning_rate=RATE, epochs=10, schedule="cosine")
        assert learning_rate(params, 0) == RATE
        assert learning_rate(params, 5) == pytest.approx(RATE / 2, rel=1e-12)
        assert learning_rate(params, 10) == pytest.approx(0, abs=1e-12)
        assert learning_rate(params, 10 / 3) == pytest.approx(0.75 * RATE, rel=1e-12)
        assert learning_rate(params, 20 / 3) == pytest.approx(0.25 * RATE, rel=1e-12)

    def test_a_cosine_schedule_never_rises(self) -> None:
        params = train_params(epochs=10, schedule="cosine")
        rates = [learning_rate(params, epoch / 10) for epoch in range(101)]
        assert all(later < earlier for earlier, later in pairwise(rates))

    def test_eight_stages_have_the_published_rates_and_lengths(self) -> None:
        """3^i passes over the data at a rate of 0.001·10^(-i/7) for i = 0 … 7, 3,280 passes in all."""
        published = [0.001 * 10 ** (-i / 7) for i in range(8) for _ in range(3**i)]
        assert len(published) == 3280
        params = train_params(learning_rate=0.001, epochs=3280, schedule="eight_stages")
        for epoch, rate in enumerate(published):
            assert learning_rate(params, epoch) == pytest.approx(rate, rel=1e-12)
            assert learning_rate(params, epoch + 0.999) == pytest.approx(rate, rel=1e-12)

    @pytest.mark.parametrize("epochs", [1, 30, 100, 328])
    def test_eight_stages_take_the_same_shares_of_any_number_of_epochs(self, epochs: int) -> None:
        params = train_params(learning_rate=RATE, epochs=epochs, schedule="eight_stages")
        stages = [learning_rate(params, epochs * (part + 0.5) / 3280) for part in range(3280)]
        assert [stages.count(rate) for rate in sorted(set(stages), reverse=True)] == [3**i for i in range(8)]
        assert stages[0] == RATE
        assert stages[-1] == pytest.approx(RATE / 10, rel=1e-12)
        assert learning_rate(params, epochs) == stages[-1]  # no ninth stage

    @SCHEDULES
    def test_the_learning_rate_rises_linearly_from_zero_to_its_schedule_during_the_warm_up(self, schedule: str) -> None:
        plain = train_params(learning_rate=RATE, epochs=10, schedule=schedule)
        params = plain.model_copy(update={"warmup_epochs": 0.5})
        for epochs, factor in [(0, 0.0), (0.125, 0.25), (0.25, 0.5), (0.5, 1.0), (0.7, 1.0), (9.5, 1.0)]:
            assert learning_rate(params, epochs) == pytest.approx(factor * learning_rate(plain, epochs), rel=1e-12)


class TestKlWeight:
    @pytest.mark.parametrize("epochs", [0, 0.5, 10])
    def test_the_kl_weight_is_beta_without_a_warm_up(self, epochs: float) -> None:
        assert kl_weight(train_params(beta=0.7), epochs) == 0.7

    @pytest.mark.parametrize(
        ("epochs", "share"), [(0, 0.0), (1, 0.25), (2.5, 0.625), (4, 1.0), (4.001, 1.0), (10, 1.0)]
    )
    def test_the_kl_weight_rises_linearly_from_zero_to_beta_and_stays_there(self, epochs: float, share: float) -> None:
        params = train_params(epochs=10, kl_warmup_epochs=4, beta=3.0)
        assert kl_weight(params, epochs) == pytest.approx(3 * share, rel=1e-12)

    def test_the_kl_weight_is_always_zero_if_beta_is_zero(self) -> None:
        params = train_params(epochs=10, kl_warmup_epochs=4, beta=0.0)
        assert {kl_weight(params, epoch) for epoch in range(11)} == {0.0}


class TestEpochSchedule:
    @SCHEDULES
    @pytest.mark.parametrize("steps", [1, 7])
    def test_the_schedule_of_an_epoch_has_the_learning_rate_and_the_kl_weight_of_each_step(
        self, schedule: str, steps: int
    ) -> None:
        params = train_params(epochs=10, schedule=schedule, kl_warmup_epochs=4)
        for epoch in range(1, 11):
            found = epoch_schedule(params, epoch, steps)
            assert found.shape == (steps, 2)
            assert found.dtype == torch.float32
            for step, (rate, weight) in enumerate(found.tolist()):
                done = epoch - 1 + step / steps
                assert rate == pytest.approx(learning_rate(params, done), rel=1e-6)
                assert weight == pytest.approx(kl_weight(params, done), rel=1e-6)

    def test_the_first_step_of_a_training_with_warm_up_has_the_whole_learning_rate_and_no_kl(self) -> None:
        params = train_params(epochs=10, learning_rate=RATE, schedule="cosine", kl_warmup_epochs=4)
        assert torch.equal(epoch_schedule(params, 1, 7)[0], torch.tensor([RATE, 0.0]))

    def test_the_kl_weight_reaches_beta_at_the_first_step_after_the_warm_up(self) -> None:
        params = train_params(epochs=10, kl_warmup_epochs=4, beta=2.0)
        assert epoch_schedule(params, 4, 7)[-1, 1].item() == pytest.approx(2 * 27 / 28, rel=1e-6)
        assert epoch_schedule(params, 5, 7)[0, 1].item() == 2

    def test_schedules_continue_from_epoch_to_epoch_without_a_jump(self) -> None:
        """Ten epochs of seven steps are one schedule of seventy."""
        params = train_params(epochs=10, learning_rate=RATE, schedule="cosine", kl_warmup_epochs=9)
        rate, weight = torch.cat([epoch_schedule(params, epoch, 7) for epoch in range(1, 11)]).double().unbind(1)
        expected = torch.tensor([RATE * 0.5 * (1 + cos(pi * step / 70)) for step in range(70)], dtype=torch.float64)
        torch.testing.assert_close(rate, expected, rtol=0, atol=1e-8)
        torch.testing.assert_close(weight[:64].diff(), torch.full((63,), 1 / 63).double(), rtol=0, atol=1e-6)
        assert (weight[63:] == 1).all()

    def test_a_stage_may_end_within_an_epoch(self) -> None:
        """The first of eight takes a 3,280th, here of 40 epochs of 82 steps: a single step."""
        params = train_params(epochs=40, learning_rate=RATE, schedule="eight_stages")
        rates = epoch_schedule(params, 1, 82)[:, 0].tolist()
        expected = [RATE * 10 ** (-i / 7) for i in range(4) for _ in range(3**i)]
        assert rates[:40] == pytest.approx(expected, rel=1e-6)
