"""The pretended CUDA device refuses what CUDA refuses, counts what waits, and computes what the CPU computes."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.deterministic import settings_of_a_run
from tests.pretended_device import DEVICES, DeviceRuleError, Waits, pretended_cuda
from vae.base.side_stream import SideStream
from vae.training.cuda_graphs import CapturedFunction

CUDA = "cuda:0"


@pytest.fixture(autouse=True)
def waits() -> Iterator[Waits]:
    """Deterministic algorithms are demanded, as in every run."""
    with settings_of_a_run(), pretended_cuda() as counted:
        yield counted


def on_cuda(*shape: int) -> Tensor:
    return torch.linspace(-1, 1, int(np.prod(shape)), device=CUDA).view(shape)


def with_gradient(*shape: int) -> Tensor:
    return on_cuda(*shape).requires_grad_()


REFUSED_MIXTURES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "sum": lambda here, cpu: here + cpu,
    "sum on the CPU": lambda here, cpu: cpu.add_(here),
    "product": lambda here, cpu: here @ cpu.T,
    "concatenation": lambda here, cpu: torch.cat([here, cpu]),
    "concatenation with a number on the CPU": lambda here, _: torch.stack([here.sum(), torch.tensor(1.0)]),
    "condition": lambda here, cpu: torch.where(cpu > 0, here, here),
    "rows": lambda here, _: here.index_select(0, torch.tensor([1])),
    "tensor on the CPU indexed by the device": lambda here, cpu: cpu[here.argmax(1)],
    "generator": lambda _, __: torch.randn(2, device=CUDA, generator=torch.Generator()),
    "generator in place": lambda here, _: here.bernoulli(generator=torch.Generator()),
    "generator of the device": lambda _, __: torch.randn(2, generator=torch.Generator(CUDA)),
    "two devices": lambda here, _: here + torch.ones(3, 4, device="cuda:1"),
    "layer on the CPU": lambda here, _: nn.Linear(4, 2)(here),
    "images on the CPU": lambda _, cpu: nn.Linear(4, 2).to(CUDA)(cpu),
    "gradient": lambda here, cpu: setattr(here.requires_grad_(), "grad", cpu),
    "third device": lambda _, __: torch.ones(1, device="cuda:2"),
}


@pytest.mark.parametrize("mix", REFUSED_MIXTURES.values(), ids=REFUSED_MIXTURES)
def test_tensors_of_two_devices_cannot_be_mixed(mix: Callable[[Tensor, Tensor], Any]) -> None:
    with pytest.raises(DeviceRuleError):
        mix(on_cuda(3, 4), torch.ones(3, 4))


ALLOWED_MIXTURES: dict[str, Callable[[Tensor], Tensor]] = {
    "Python number": lambda x: 2 * x + 1,
    "number on the CPU": lambda x: x * torch.tensor(2.0),
    "copy": lambda x: x.copy_(torch.ones(3, 4)),
    "index on the CPU": lambda x: x[torch.tensor([0, 2])],
    "shape": lambda x: x.flatten().view_as(torch.ones(3, 4)),
}


@pytest.mark.parametrize("mix", ALLOWED_MIXTURES.values(), ids=ALLOWED_MIXTURES)
def test_mixtures_that_cuda_allows_give_the_values_of_the_cpu_on_the_device(mix: Callable[[Tensor], Tensor]) -> None:
    mixed = mix(on_cuda(3, 4))
    assert mixed.device == torch.device(CUDA)
    assert torch.equal(mixed.cpu(), mix(torch.linspace(-1, 1, 12).view(3, 4)))


def realism_between(curves: Tensor) -> Tensor:
    """How ``stages.generate`` took the median at commit 54f2dcf."""
    return torch.cat([curves, curves.flip(1)]).median(0).values


REFUSED: dict[str, Callable[[], Any]] = {
    "median as generate took it": lambda: realism_between(on_cuda(5, 9)),
    "nanmedian": lambda: on_cuda(3, 4).nanmedian(1),
    "bincount with weights": lambda: torch.bincount(torch.ones(3, dtype=torch.int64, device=CUDA), on_cuda(3)),
    "histc": lambda: on_cuda(9).histc(3),
    "put": lambda: on_cuda(9).put_(torch.ones(3, dtype=torch.int64, device=CUDA), on_cuda(3)),
    "scatter_reduce": lambda: on_cuda(3).scatter_reduce(
        0, torch.zeros(3, dtype=torch.int64, device=CUDA), on_cuda(3), "prod"
    ),
    "gradient of interpolate": lambda: (
        torch.ops.aten.upsample_bilinear2d(with_gradient(1, 1, 4, 4), [8, 8], False).sum().backward()
    ),
    "gradient of reflection padding": lambda: (
        F.pad(with_gradient(1, 1, 4, 4), (1, 1, 1, 1), "reflect").sum().backward()
    ),
    "gradient of adaptive pooling": lambda: F.adaptive_avg_pool2d(with_gradient(1, 1, 5, 5), 2).sum().backward(),
    "pictures of classes": lambda: F.nll_loss(
        on_cuda(1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.int64, device=CUDA)
    ),
    "NumPy": lambda: on_cuda(3).numpy(),
    "NumPy array": lambda: np.asarray(on_cuda(3)),
    "copy to the CPU in the background": lambda: on_cuda(3).to("cpu", non_blocking=True),
    "pinning memory of the device": lambda: on_cuda(3).pin_memory(),
}


@pytest.mark.parametrize("work", REFUSED.values(), ids=REFUSED)
def test_what_cuda_refuses_is_refused(work: Callable[[], Any]) -> None:
    with pytest.raises((DeviceRuleError, TypeError)):
        work()


DETERMINISTIC: dict[str, Callable[[], Any]] = {
    "median without indices": lambda: on_cuda(3, 4).median(),
    "bincount": lambda: torch.bincount(torch.ones(3, dtype=torch.int64, device=CUDA)),
    "cumsum": lambda: on_cuda(9).cumsum(0),
    "gradient of indexing": lambda: with_gradient(9)[torch.zeros(3, dtype=torch.int64, device=CUDA)].sum().backward(),
    "gradient of convolutions": lambda: nn.Conv2d(1, 2, 3).to(CUDA)(on_cuda(1, 1, 5, 5)).sum().backward(),
    "cross-entropy": lambda: F.cross_entropy(with_gradient(3, 4), torch.tensor([0, 1, 2], device=CUDA)).backward(),
}


@pytest.mark.parametrize("work", DETERMINISTIC.values(), ids=DETERMINISTIC)
def test_what_cuda_computes_deterministically_is_computed(work: Callable[[], Any]) -> None:
    work()


def test_without_the_demand_for_deterministic_algorithms_nothing_is_refused_for_their_lack() -> None:
    torch.set_deterministic_debug_mode("default")
    realism_between(on_cuda(5, 9))


WAITING: dict[str, tuple[Callable[[Tensor], Any], int]] = {
    "item": (lambda x: x.sum().item(), 1),
    "float": (lambda x: float(x.sum()), 1),
    "bool": (lambda x: bool(x.any()), 1),
    "format": (lambda x: f"{x.sum():.2f}", 1),
    "tolist": (lambda x: x.tolist(), 1),
    "cpu": (lambda x: x.cpu(), 1),
    "to the CPU": (lambda x: x.to("cpu", torch.float64), 1),
    "copy to the CPU": (lambda x: torch.empty(3, 4).copy_(x), 1),
    "copy from the CPU": (lambda x: x.copy_(torch.ones(3, 4)), 1),
    "number from the CPU": (lambda _: torch.tensor(1.0, device=CUDA), 1),
    "copy in the background from memory that is not pinned": (lambda _: torch.ones(9).to(CUDA, non_blocking=True), 1),
    "copy in the background from pinned memory": (lambda _: torch.ones(9).pin_memory().to(CUDA, non_blocking=True), 0),
    "nonzero": (lambda x: x.nonzero(), 1),
    "mask": (lambda x: x[x > 0], 1),
    "filling by a mask": (lambda x: x.masked_fill_(x > 0, 1.0), 0),
    "writing by a mask": (lambda x: x.__setitem__(x > 2, torch.empty(0, device=CUDA)), 1),
    "unique": (lambda x: x.unique(), 1),
    "equal": (lambda x: torch.equal(x, x), 1),
    "synchronize": (lambda _: torch.accelerator.synchronize(), 1),
    "arithmetic": (lambda x: (x @ x.T).logsumexp(1).mean(), 0),
    "copy on the device": (lambda x: x.clone().copy_(x), 0),
    "fill": (lambda _: torch.full((), 0.1, device=CUDA), 0),
    "draw": (lambda _: torch.randn(3, device=CUDA, generator=torch.Generator(CUDA)), 0),
    "state of a generator": (lambda _: torch.Generator(CUDA).get_state(), 0),
}


@pytest.mark.parametrize(("work", "expected"), WAITING.values(), ids=WAITING)
def test_what_waits_for_the_device_is_counted(work: Callable[[Tensor], Any], expected: int, waits: Waits) -> None:
    x = on_cuda(3, 4)
    waits.clear()
    work(x)
    assert waits.total == expected


class TestGraphs:
    """CUDA graphs, through ``CapturedFunction``."""

    def test_capturing_computes_nothing_and_each_call_computes_once(self) -> None:
        total = torch.zeros(3, device=CUDA)
        captured = CapturedFunction(lambda x: total.add_(x).sum(), torch.ones(3, device=CUDA))
        assert total.tolist() == [0, 0, 0]
        outputs = [captured(torch.tensor(each, device=CUDA)) for each in ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])]
        assert [output.item() for output in outputs] == [6, 9]  # each keeps its own
        assert total.tolist() == [2, 3, 4]

    def test_a_constant_of_a_graph_is_filled_again_in_each_call(self) -> None:
        captured = CapturedFunction(lambda x: torch.ones(2, device=CUDA).add_(x), torch.zeros(2, device=CUDA))
        outputs = [captured(torch.tensor(each, device=CUDA)) for each in ([1.0, 2.0], [3.0, 4.0])]
        assert [output.tolist() for output in outputs] == [[2, 3], [4, 5]]

    @pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
    def test_a_function_is_captured_on_the_device_of_its_inputs(self, device: str) -> None:
        captured = CapturedFunction(lambda x: x * 2, torch.zeros(2, device=device))
        output = captured(torch.ones(2, device=device))
        assert output.device == torch.device(device)
        assert output.tolist() == [2, 2]

    @pytest.mark.parametrize("stream", [False, True])
    def test_on_another_device_than_the_current_one_a_capture_is_empty(self, stream: bool) -> None:
        """The mistake that ``CapturedFunction`` avoids: replays leave what was computed on unknown inputs."""
        x, graph = torch.zeros(2, device="cuda:1"), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.Stream() if stream else None):
            output = x + 1
        x.fill_(5)
        graph.replay()
        assert output.tolist() == [1, 1]

    @pytest.mark.parametrize("work", [lambda x: x / x.sum().item(), lambda x: x[x > 0], lambda x: x.cpu()])
    def test_while_a_graph_is_captured_nothing_may_wait(self, work: Callable[[Tensor], Tensor]) -> None:
        with pytest.raises(DeviceRuleError, match="not permitted when stream is capturing"):
            CapturedFunction(work, on_cuda(3))

    def test_work_of_another_stream_runs_when_its_own_stream_waits_for_it(self) -> None:
        """So that a mistake is found: the values change before they are read, in the order that CUDA may choose."""

        def doubled(x: Tensor, *, joined_first: bool) -> Tensor:
            own, values = SideStream(x.device), x.clone()
            with own.beside(values):
                result = values * 2
            if joined_first:
                own.join()
            values.zero_()
            own.join()
            return result

        for joined_first, expected in ((True, [2, 4]), (False, [0, 0])):
            captured = CapturedFunction(partial(doubled, joined_first=joined_first), on_cuda(2))
            assert captured(torch.tensor([1.0, 2.0], device=CUDA)).tolist() == expected

    def test_a_capture_has_to_wait_for_the_work_of_every_stream(self) -> None:
        def unjoined(x: Tensor) -> Tensor:
            with SideStream(x.device).beside(x):
                return x * 2

        with pytest.raises(DeviceRuleError, match="unjoined"):
            CapturedFunction(unjoined, on_cuda(2))


def test_after_the_block_pytorch_is_as_it_was() -> None:
    own = (torch.cuda.graph, torch.cuda.CUDAGraph, torch.Generator, torch.autocast, torch.accelerator.device_count)
    with pretended_cuda():
        assert torch.accelerator.device_count() == DEVICES
    now = (torch.cuda.graph, torch.cuda.CUDAGraph, torch.Generator, torch.autocast, torch.accelerator.device_count)
    assert now == own
