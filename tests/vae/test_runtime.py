import gc
import json
import re
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn

from vae import runtime
from vae.runtime import CPU, DeviceError, derive, device, fits, generator, machine, permutation, seeded

PURPOSES = ["initial weights", "data order", "latent noise", "test split", ""]
SEEDS = [0, 1, 2, 10, 2**31, 2**63 - 1]


def pretend_accelerators(monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int = 0) -> None:
    """Make PyTorch believe in a number of accelerators of a kind, or in none."""
    accelerator = torch.device(kind) if kind else None
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: accelerator)  # noqa: ARG005
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Undo what ``configure`` sets for the whole process."""
    before = torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # not in the stubs
    yield
    torch.set_deterministic_debug_mode(before)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
    torch.set_flush_denormal(False)
    gc.unfreeze()


class TestDevice:
    @pytest.mark.parametrize("accelerator", [None, "cuda"])
    @pytest.mark.parametrize("value", ["cpu", " cpu "])
    def test_the_requested_cpu_is_taken_whatever_else_is_there(
        self, monkeypatch: pytest.MonkeyPatch, accelerator: str | None, value: str
    ) -> None:
        pretend_accelerators(monkeypatch, accelerator, 1)
        monkeypatch.setenv("VAE_DEVICE", value)
        assert device() == torch.device("cpu")

    @pytest.mark.parametrize("accelerator", ["cuda", "mps"])
    @pytest.mark.parametrize("value", [None, "", " "])
    def test_without_a_request_the_accelerator_is_taken(
        self, monkeypatch: pytest.MonkeyPatch, accelerator: str, value: str | None
    ) -> None:
        pretend_accelerators(monkeypatch, accelerator, 1)
        if value is None:
            monkeypatch.delenv("VAE_DEVICE", raising=False)
        else:
            monkeypatch.setenv("VAE_DEVICE", value)
        assert device() == torch.device(accelerator)

    def test_without_a_request_and_an_accelerator_the_cpu_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pretend_accelerators(monkeypatch, None)
        monkeypatch.delenv("VAE_DEVICE", raising=False)
        assert device() == torch.device("cpu")

    @pytest.mark.parametrize("requested", ["cuda", "cuda:0", "cuda:1"])
    def test_one_of_several_accelerators_may_be_requested(
        self, monkeypatch: pytest.MonkeyPatch, requested: str
    ) -> None:
        pretend_accelerators(monkeypatch, "cuda", 2)
        monkeypatch.setenv("VAE_DEVICE", requested)
        assert device() == torch.device(requested)

    @pytest.mark.parametrize(
        ("requested", "accelerator", "count", "present"),
        [
            ("cuda", None, 0, "cpu"),
            ("gpu", None, 0, "cpu"),
            ("cuda:2", "cuda", 2, "cpu, cuda, cuda:0, cuda:1"),
            ("mps", "cuda", 1, "cpu, cuda, cuda:0"),
            ("cuda:-1", "cuda", 1, "cpu, cuda, cuda:0"),
        ],
    )
    def test_a_device_that_is_not_there_is_refused_with_those_that_are(
        self, monkeypatch: pytest.MonkeyPatch, requested: str, accelerator: str | None, count: int, present: str
    ) -> None:
        pretend_accelerators(monkeypatch, accelerator, count)
        monkeypatch.setenv("VAE_DEVICE", requested)
        with pytest.raises(DeviceError, match=f"^VAE_DEVICE={requested}: .*choose one of {re.escape(present)}, or"):
            device()


class TestRandomNumbers:
    def test_every_seed_and_purpose_has_a_seed_of_its_own(self) -> None:
        derived = {derive(seed, purpose) for seed in SEEDS for purpose in PURPOSES}
        assert len(derived) == len(SEEDS) * len(PURPOSES)

    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("purpose", PURPOSES)
    def test_derived_seeds_are_what_any_generator_takes(self, seed: int, purpose: str) -> None:
        assert 0 <= derive(seed, purpose) < 2**63

    # The values were taken from sha256sum: models of one seed must not change with the version of Python or PyTorch.
    @pytest.mark.parametrize(
        ("seed", "purpose", "expected"),
        [(0, "data order", 2341963780614413411), (7, "latent noise", 5023255137693813754)],
    )
    def test_derived_seeds_are_the_same_everywhere(self, seed: int, purpose: str, expected: int) -> None:
        assert derive(seed, purpose) == expected

    def test_a_generator_repeats_for_its_seed_and_purpose_only(self) -> None:
        def draw(seed: int, purpose: str) -> list[float]:
            return torch.randn(5, generator=generator(seed, purpose)).tolist()

        assert draw(0, "data order") == draw(0, "data order")
        assert draw(0, "data order") != draw(0, "latent noise")
        assert draw(0, "data order") != draw(1, "data order")

    def test_a_generator_does_not_depend_on_the_global_one_and_leaves_it_alone(self) -> None:
        torch.manual_seed(1)
        first = torch.randn(5, generator=generator(0, "latent noise"))
        state = torch.get_rng_state()
        torch.manual_seed(2)
        second = torch.randn(5, generator=generator(0, "latent noise"))
        torch.manual_seed(1)
        assert torch.equal(first, second)
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("size", [0, 1, 2, 1797])
    def test_a_permutation_has_every_index_once(self, size: int) -> None:
        order = permutation(size, 0, "test split")
        assert order.dtype == torch.int64
        assert sorted(order.tolist()) == list(range(size))

    def test_a_permutation_repeats_for_its_seed_and_purpose_only(self) -> None:
        order = permutation(100, 3, "test split").tolist()
        assert permutation(100, 3, "test split").tolist() == order
        assert permutation(100, 4, "test split").tolist() != order
        assert permutation(100, 3, "validation split").tolist() != order
        assert order != list(range(100))


class TestSeeded:
    def test_initial_weights_repeat_for_their_seed_and_purpose_only(self) -> None:
        def weights(seed: int, purpose: str) -> list[float]:
            with seeded(seed, purpose):
                return nn.Linear(4, 3).weight.flatten().tolist()

        assert weights(0, "initial weights") == weights(0, "initial weights")
        assert weights(0, "initial weights") != weights(1, "initial weights")
        assert weights(0, "initial weights") != weights(0, "data order")

    def test_the_global_generator_goes_on_as_if_nothing_had_been_drawn(self) -> None:
        torch.manual_seed(5)
        expected = torch.rand(4)
        torch.manual_seed(5)
        with seeded(0, "initial weights"):
            torch.rand(100)
        assert torch.equal(torch.rand(4), expected)

    def test_the_global_generator_is_put_back_after_a_mishap_too(self) -> None:
        before = torch.get_rng_state()
        with suppress(ZeroDivisionError), seeded(0, "initial weights"):
            torch.rand(100)
            raise ZeroDivisionError
        assert torch.equal(torch.get_rng_state(), before)


class TestMachine:
    def test_it_is_a_plain_mapping_that_json_gives_back(self) -> None:
        assert json.loads(json.dumps(machine(CPU))) == machine(CPU)
        assert machine(CPU)["device"] == "cpu"
        assert machine(CPU)["torch"] == torch.__version__

    def test_another_number_of_threads_is_another_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = machine(CPU)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
        assert {name for name, value in machine(CPU).items() if value != before[name]} == {"threads"}

    def test_another_instruction_set_is_another_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = machine(CPU)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
        assert machine(CPU) != before

    def test_a_cuda_device_goes_by_its_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the model of {device}")
        assert machine(torch.device("cuda:1"))["device"] == "the model of cuda:1"

    def test_another_accelerator_goes_by_its_kind(self) -> None:
        assert machine(torch.device("mps"))["device"] == "mps"


class TestFits:
    IMAGES = torch.zeros(1000, dtype=torch.uint8)

    @pytest.fixture
    def free(self, monkeypatch: pytest.MonkeyPatch) -> dict[torch.device, int]:
        """The free memory of each device, in bytes, of a total of a million."""
        free: dict[torch.device, int] = {}
        monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (free[device], 1_000_000))
        return free

    def test_the_cpu_is_never_asked_for_its_memory(self, free: dict[torch.device, int]) -> None:
        assert free == {}
        assert fits(self.IMAGES, CPU)
        assert fits(torch.empty(1000, device="meta"), CPU)

    def test_what_lies_there_already_fits(self, free: dict[torch.device, int]) -> None:
        there = torch.device("meta")
        free[there] = 0
        assert fits(torch.empty(1000, device=there), there)

    @pytest.mark.parametrize(
        ("images", "available", "expected"),
        [
            (IMAGES, 2000, True),
            (IMAGES, 1999, False),
            (IMAGES, 0, False),
            (IMAGES.float(), 8000, True),
            (IMAGES.float(), 7999, False),
        ],
        ids=["half", "more than half", "full", "half, in float32", "more than half, in float32"],
    )
    def test_an_accelerator_is_filled_to_half_of_its_free_memory(
        self, free: dict[torch.device, int], images: Tensor, available: int, expected: bool
    ) -> None:
        free[torch.device("cuda:0")] = 1_000_000
        free[torch.device("cuda:1")] = available
        assert fits(images, torch.device("cuda:1")) is expected
        assert fits(images, torch.device("cuda:0"))


@pytest.mark.usefixtures("deterministic")
def test_what_does_not_repeat_is_refused_once_configured() -> None:
    runtime.configure()
    with pytest.raises(RuntimeError, match="deterministic"):
        torch.zeros(2).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot flush denormal numbers")
@pytest.mark.usefixtures("deterministic")
def test_numbers_too_small_for_float32_become_zero_once_configured() -> None:
    torch.set_flush_denormal(False)
    small = torch.full((4,), 1e-30)
    assert (small * 1e-10 != 0).all()
    runtime.configure()
    assert (small * 1e-10 == 0).all()
    assert (small * 1e-7 != 0).all()  # 1e-37 is an ordinary number


@pytest.mark.usefixtures("deterministic")
def test_the_garbage_collector_passes_over_what_was_there_when_configured() -> None:
    def collected(thing: object) -> bool:
        return any(candidate is thing for candidate in gc.get_objects())

    before: list[object] = []
    assert collected(before)
    runtime.configure()
    after: list[object] = []
    assert not collected(before)
    assert collected(after)
