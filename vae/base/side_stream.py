"""Work on a CUDA device beside the work that follows it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class SideStream:
    """Another stream of a CUDA device, for work whose results are needed only later.

    A kernel of a small network runs for a few microseconds and uses a fraction of the device. Kernels on one stream run
    one after another, kernels on two streams at the same time. They are the same kernels, with the same results. On
    other devices, all work runs in order.
    """

    def __init__(self, device: torch.device) -> None:
        """Create the stream, if the device is a CUDA device."""
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._used: list[Tensor] = []

    @contextmanager
    def beside(self, *used: Tensor) -> Iterator[None]:
        """Run the work of the block after all work before it, and beside the work that follows until ``join``.

        Args:
            used: the tensors that the work reads. Until ``join`` their memory is kept, and nothing may change them.
                Those that live longer anyway can be left out.
        """
        if self._stream is None:
            yield
            return
        self._used += used
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield

    def join(self) -> None:
        """Run the work that follows after that of all blocks."""
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            self._used.clear()
