import gc
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info
from torch import Tensor, nn

from vae.base import runtime
from vae.base.runtime import CPU, DeviceError, derive, device, fits, generator, machine, permutation, seeded

PURPOSES = ["initial weights", "data order", "latent noise", "test split", ""]
SEEDS = [0, 1, 2, 10, 2**31, 2**63 - 1]


def pretend_accelerators(monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int = 0) -> None:
    """Make PyTorch see a number of accelerators of one kind, or none."""
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
    def test_vae_device_cpu_is_used_even_where_there_is_an_accelerator(
        self, monkeypatch: pytest.MonkeyPatch, accelerator: str | None, value: str
    ) -> None:
        pretend_accelerators(monkeypatch, accelerator, 1)
        monkeypatch.setenv("VAE_DEVICE", value)
        assert device() == torch.device("cpu")

    @pytest.mark.parametrize("accelerator", ["cuda", "mps"])
    @pytest.mark.parametrize("value", [None, "", " "])
    def test_an_accelerator_is_used_where_vae_device_is_unset_or_empty(
        self, monkeypatch: pytest.MonkeyPatch, accelerator: str, value: str | None
    ) -> None:
        pretend_accelerators(monkeypatch, accelerator, 1)
        if value is None:
            monkeypatch.delenv("VAE_DEVICE", raising=False)
        else:
            monkeypatch.setenv("VAE_DEVICE", value)
        assert device() == torch.device(accelerator)

    def test_the_cpu_is_used_where_there_is_no_accelerator_and_vae_device_is_unset(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pretend_accelerators(monkeypatch, None)
        monkeypatch.delenv("VAE_DEVICE", raising=False)
        assert device() == torch.device("cpu")

    @pytest.mark.parametrize("requested", ["cuda", "cuda:0", "cuda:1"])
    def test_vae_device_selects_one_of_several_accelerators(
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
    def test_vae_device_of_a_missing_device_is_refused_with_the_devices_there_are(
        self, monkeypatch: pytest.MonkeyPatch, requested: str, accelerator: str | None, count: int, present: str
    ) -> None:
        pretend_accelerators(monkeypatch, accelerator, count)
        monkeypatch.setenv("VAE_DEVICE", requested)
        with pytest.raises(DeviceError, match=f"^VAE_DEVICE={requested}: .*choose one of {re.escape(present)}, or"):
            device()


class TestRandomNumbers:
    def test_derived_seeds_differ_for_every_seed_and_purpose(self) -> None:
        derived = {derive(seed, purpose) for seed in SEEDS for purpose in PURPOSES}
        assert len(derived) == len(SEEDS) * len(PURPOSES)

    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("purpose", PURPOSES)
    def test_derived_seeds_are_63_bit_integers(self, seed: int, purpose: str) -> None:
        assert 0 <= derive(seed, purpose) < 2**63

    # The values were taken from sha256sum: models of one seed must not change with the version of Python or PyTorch.
    @pytest.mark.parametrize(
        ("seed", "purpose", "expected"),
        [(0, "data order", 2341963780614413411), (7, "latent noise", 5023255137693813754)],
    )
    def test_derived_seeds_have_their_recorded_values(self, seed: int, purpose: str, expected: int) -> None:
        assert derive(seed, purpose) == expected

    def test_a_generator_repeats_with_its_seed_and_purpose_only(self) -> None:
        def draw(seed: int, purpose: str) -> list[float]:
            return torch.randn(5, generator=generator(seed, purpose)).tolist()

        assert draw(0, "data order") == draw(0, "data order")
        assert draw(0, "data order") != draw(0, "latent noise")
        assert draw(0, "data order") != draw(1, "data order")

    def test_a_generator_neither_depends_on_the_global_generator_nor_changes_it(self) -> None:
        torch.manual_seed(1)
        first = torch.randn(5, generator=generator(0, "latent noise"))
        state = torch.get_rng_state()
        torch.manual_seed(2)
        second = torch.randn(5, generator=generator(0, "latent noise"))
        torch.manual_seed(1)
        assert torch.equal(first, second)
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("size", [0, 1, 2, 1797])
    def test_a_permutation_holds_every_index_once(self, size: int) -> None:
        order = permutation(size, 0, "test split")
        assert order.dtype == torch.int64
        assert sorted(order.tolist()) == list(range(size))

    def test_a_permutation_repeats_with_its_seed_and_purpose_only(self) -> None:
        order = permutation(100, 3, "test split").tolist()
        assert permutation(100, 3, "test split").tolist() == order
        assert permutation(100, 4, "test split").tolist() != order
        assert permutation(100, 3, "validation split").tolist() != order
        assert order != list(range(100))


class TestSeeded:
    def test_initial_weights_within_seeded_repeat_with_seed_and_purpose_only(self) -> None:
        def weights(seed: int, purpose: str) -> list[float]:
            with seeded(seed, purpose):
                return nn.Linear(4, 3).weight.flatten().tolist()

        assert weights(0, "initial weights") == weights(0, "initial weights")
        assert weights(0, "initial weights") != weights(1, "initial weights")
        assert weights(0, "initial weights") != weights(0, "data order")

    def test_seeded_restores_the_global_generator(self) -> None:
        torch.manual_seed(5)
        expected = torch.rand(4)
        torch.manual_seed(5)
        with seeded(0, "initial weights"):
            torch.rand(100)
        assert torch.equal(torch.rand(4), expected)

    def test_seeded_restores_the_global_generator_after_an_exception(self) -> None:
        before = torch.get_rng_state()
        with suppress(ZeroDivisionError), seeded(0, "initial weights"):
            torch.rand(100)
            raise ZeroDivisionError
        assert torch.equal(torch.get_rng_state(), before)


class TestMachine:
    def test_machine_is_a_mapping_that_survives_json(self) -> None:
        assert json.loads(json.dumps(machine(CPU))) == machine(CPU)
        assert machine(CPU)["device"] == "cpu"
        assert machine(CPU)["torch"] == torch.__version__

    def test_machine_changes_with_the_number_of_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = machine(CPU)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
        assert {name for name, value in machine(CPU).items() if value != before[name]} == {"threads"}

    def test_machine_changes_with_the_instruction_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = machine(CPU)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
        assert machine(CPU) != before

    def test_machine_names_a_cuda_device_by_its_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the model of {device}")
        assert machine(torch.device("cuda:1"))["device"] == "the model of cuda:1"

    def test_machine_has_the_versions_of_cuda_and_cudnn_on_cuda_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the model of {device}")
        monkeypatch.setattr(torch.version, "cuda", "13.2")
        monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 92600)
        on_cuda, on_cpu = machine(torch.device("cuda:0")), machine(CPU)
        assert (on_cuda["cuda"], on_cuda["cudnn"]) == ("13.2", 92600)
        assert on_cuda.keys() - on_cpu.keys() == {"cuda", "cudnn"}
        assert "device the model of cuda:0, CUDA 13.2, cuDNN 92600, " in runtime.description(torch.device("cuda:0"))

    def test_machine_names_other_accelerators_by_their_kind(self) -> None:
        assert machine(torch.device("mps"))["device"] == "mps"

    def test_it_names_all_instructions_of_the_processor_and_the_mode_of_mkl(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MKL_CBWR", "AUTO")
        seen = runtime.machine(CPU)
        assert seen["mkl"] == "AUTO"
        assert {name for name, there in torch.cpu.get_capabilities().items() if there is True} == set(
            str(seen["features"]).split()
        )

    def test_it_names_only_what_is_pinned_where_results_are_the_same_on_every_machine(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in runtime.SAME_ON_EVERY_MACHINE.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
        ours = runtime.machine(CPU)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "amx_tile": True})
        assert runtime.machine(CPU) == ours
        assert ours["mkl"] == "COMPATIBLE"

    @pytest.mark.parametrize("name", runtime.SAME_ON_EVERY_MACHINE)
    def test_a_setting_that_the_user_changes_makes_results_depend_on_the_machine(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for each, value in runtime.SAME_ON_EVERY_MACHINE.items():
            monkeypatch.setenv(each, value)
        assert runtime.is_same_on_every_machine()
        monkeypatch.setenv(name, "other")
        assert not runtime.is_same_on_every_machine()


class TestFits:
    IMAGES = torch.zeros(1000, dtype=torch.uint8)

    @pytest.fixture
    def free(self, monkeypatch: pytest.MonkeyPatch) -> dict[torch.device, int]:
        """The free and total memory of each device, in bytes; the total is a million."""
        free: dict[torch.device, int] = {}
        monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (free[device], 1_000_000))
        return free

    def test_every_tensor_fits_the_cpu_whose_memory_is_not_asked_for(self, free: dict[torch.device, int]) -> None:
        assert free == {}
        assert fits(self.IMAGES, CPU)
        assert fits(torch.empty(1000, device="meta"), CPU)

    def test_a_tensor_fits_the_device_it_is_on(self, free: dict[torch.device, int]) -> None:
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
    def test_a_tensor_fits_an_accelerator_if_it_takes_at_most_half_of_the_free_memory(
        self, free: dict[torch.device, int], images: Tensor, available: int, expected: bool
    ) -> None:
        free[torch.device("cuda:0")] = 1_000_000
        free[torch.device("cuda:1")] = available
        assert fits(images, torch.device("cuda:1")) is expected
        assert fits(images, torch.device("cuda:0"))


@pytest.mark.usefixtures("deterministic")
def test_configure_makes_operations_that_do_not_repeat_raise() -> None:
    runtime.configure()
    with pytest.raises(RuntimeError, match="deterministic"):
        torch.zeros(2).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot flush denormal numbers")
@pytest.mark.usefixtures("deterministic")
def test_configure_flushes_denormal_numbers_to_zero() -> None:
    torch.set_flush_denormal(False)
    small = torch.full((4,), 1e-30)
    assert (small * 1e-10 != 0).all()
    runtime.configure()
    assert (small * 1e-10 == 0).all()
    assert (small * 1e-7 != 0).all()  # 1e-37 is an ordinary number


@pytest.mark.usefixtures("deterministic")
def test_configure_makes_the_garbage_collector_skip_existing_objects() -> None:
    def collected(thing: object) -> bool:
        return any(candidate is thing for candidate in gc.get_objects())

    before: list[object] = []
    assert collected(before)
    runtime.configure()
    after: list[object] = []
    assert not collected(before)
    assert collected(after)


@pytest.mark.usefixtures("deterministic")
def test_configure_enables_the_garbage_collector() -> None:
    gc.disable()
    try:
        runtime.configure()
        assert gc.isenabled()
    finally:
        gc.enable()


class TestThreads:
    """The number of threads to compute with."""

    def test_configuring_leaves_the_number_of_threads_that_pytorch_was_given(
        self,
        deterministic: None,  # noqa: ARG002
    ) -> None:
        before = torch.get_num_threads()
        runtime.configure()
        assert torch.get_num_threads() == before

    def test_there_are_no_more_threads_than_cores_that_the_process_may_use(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
        assert runtime.threads() <= 3

    @pytest.mark.parametrize(
        ("quota", "expected"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("damaged", 64)]
    )
    def test_there_are_no_more_threads_than_a_containers_share_of_the_cores(
        self, quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        share = tmp_path / "cpu.max"
        share.write_text(quota, encoding="ascii")
        monkeypatch.setattr(runtime, "CPU_SHARE", share)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
        assert runtime.threads() == expected

    def test_within_one_thread_every_library_that_scikit_learn_uses_has_one(self) -> None:
        with runtime.one_thread():
            counts = {pool["num_threads"] for pool in threadpool_info()}
        assert counts == {1}

    def test_after_one_thread_the_libraries_have_as_many_threads_as_before(self) -> None:
        def counts() -> dict[str, int]:
            return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}

        with runtime.one_thread():
            pass
        before = counts()
        with runtime.one_thread():
            pass
        assert counts() == before

    def test_a_function_decorated_with_one_thread_runs_with_one_thread_whenever_it_is_called(self) -> None:
        @runtime.one_thread()
        def counts() -> set[int]:
            return {pool["num_threads"] for pool in threadpool_info()}

        assert counts() == counts() == {1}


class TestDescription:
    """The line that each stage logs first."""

    def test_it_names_device_threads_and_versions(self) -> None:
        text = runtime.description(CPU)
        assert text.startswith(f"device cpu, {torch.get_num_threads()} thread")
        for part in (f"torch {torch.__version__.split('+')[0]}", "numpy 2.", "scikit-learn 1.", "Python 3."):
            assert part in text

    @pytest.mark.parametrize(
        ("variables", "expected"),
        [
            ({}, "OpenMP's default wait policy"),
            ({"GOMP_SPINCOUNT": "5000"}, "GOMP_SPINCOUNT=5000"),
            ({"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "7"}, "OMP_WAIT_POLICY=passive, GOMP_SPINCOUNT=7"),
        ],
    )
    def test_it_says_how_waiting_threads_wait(
        self, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert f"({expected})" in runtime.description(CPU)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_bf16": True}, True),
        ({"architecture": "x86_64", "amx_bf16": True}, True),
        ({"architecture": "aarch64"}, True),
        ({}, True),
    ],
)
def test_a_processor_without_instructions_for_bfloat16_is_known(
    capabilities: dict[str, object], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    for name in runtime.SAME_ON_EVERY_MACHINE:
        monkeypatch.delenv(name, raising=False)
    assert runtime.has_bfloat16(CPU) == expected
    assert runtime.has_bfloat16(torch.device("cuda"))


def test_instructions_for_bfloat16_are_not_used_for_results_that_are_the_same_on_every_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capabilities = {"architecture": "x86_64", "avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    for name, value in runtime.SAME_ON_EVERY_MACHINE.items():
        monkeypatch.setenv(name, value)
    assert not runtime.has_bfloat16(CPU)
