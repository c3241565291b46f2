"""Work beside other work: computed by a real CUDA device where there is one, and by the pretended one."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.pretended_device import pretended_cuda
from vae.base.side_stream import SideStream
from vae.training.cuda_graphs import CapturedFunction

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


@pytest.fixture(
    params=["cpu", "pretended, at the latest", "pretended, at the earliest", pytest.param("cuda", marks=needs_cuda)]
)
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    if request.param in {"cpu", "cuda"}:
        yield torch.device(request.param)
    else:
        with pretended_cuda(late=request.param.endswith("latest")):
            yield torch.device("cuda:1")  # not the current one


def sums(x: Tensor, side: SideStream) -> Tensor:
    """For each of eight steps: of the sum before it, x, and their product."""
    total, rows = x.clone(), []
    for _ in range(8):
        before = total.clone()
        with side.beside(before, x):
            product = before * x
        total = total + x
        side.join()
        rows.append(torch.stack([before.sum(), product.sum(), total.sum()]))
    return torch.stack(rows)


def test_work_beside_other_work_gives_the_same_results_as_in_order(device: torch.device) -> None:
    x = torch.arange(1000.0).remainder(7)
    expected = torch.stack([torch.stack([n * x.sum(), n * (x * x).sum(), (n + 1) * x.sum()]) for n in range(1, 9)])
    side, own = SideStream(device), x.to(device)
    assert torch.equal(sums(own, side).cpu(), expected)
    if device.type == "cuda":
        captured = CapturedFunction(lambda values: sums(values, side), own)
        for _ in range(3):
            assert torch.equal(captured(own).cpu(), expected)


def test_memory_that_is_read_beside_other_work_is_not_reused_before_the_join(device: torch.device) -> None:
    side, count = SideStream(device), 2**20
    for number in range(20):
        values = torch.full((count,), float(number), device=device)
        with side.beside(values):
            copies = [values.clone() for _ in range(5)]
        del values
        others = [torch.full((count,), -1.0, device=device) for _ in range(5)]  # would get the freed memory
        side.join()
        assert all(copy.eq(number).all().item() for copy in copies), number
        del others
