"""Work on a CUDA device beside the work that follows it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class SideStream:
    """A second stream of a CUDA device, for work whose results are needed only at the end of a step.

    A kernel of a small network uses a fraction of the device, and takes microseconds, most of which it waits. On one
    stream kernels run one after another; on two streams they run at the same time. The kernels are the same and so are
    their results. On other devices all work runs in order, on one stream.
    """

    def __init__(self, device: torch.device) -> None:
        """Create the stream, if the device is a CUDA device."""
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._used: list[Tensor] = []

    @contextmanager
    def beside(self, *used: Tensor) -> Iterator[None]:
        """Run the work of the block after all work before it, and beside the work that follows, until ``join``.

        Args:
            used: all tensors that the work reads. Their memory is kept; until ``join`` nothing may change them.
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
