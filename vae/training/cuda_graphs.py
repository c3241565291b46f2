"""Record work on a CUDA device once, and launch it as a whole afterwards."""

from collections.abc import Callable

import torch
from torch import Tensor


class CapturedFunction:
    """A function of tensors, captured as a CUDA graph: one launch for all of its kernels.

    On small networks, a kernel runs for less time than Python takes to launch it. The kernels of a graph run one after
    another without Python. The function must have run once on inputs of the same shapes, so that libraries are
    initialized. It may change tensors in place, but must not wait for the device.

    The graph is captured on the device of the inputs. PyTorch would capture on the current device, which is another one
    if the inputs are on ``cuda:1``: the graph would be empty, and each call would return what was in memory.
    """

    def __init__(self, function: Callable[..., Tensor], *inputs: Tensor) -> None:
        self._device = inputs[0].device
        self._inputs = [torch.empty_like(tensor) for tensor in inputs]
        with torch.cuda.device(self._device):
            self._graph = torch.cuda.CUDAGraph()
            # A stream of its own, because PyTorch's default one is on the device of the first capture of the process.
            with torch.cuda.graph(self._graph, stream=torch.cuda.Stream()):  # records without computing
                self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run the function on inputs of the shapes that it was captured with, and return its result."""
        with torch.cuda.device(self._device):
            for place, tensor in zip(self._inputs, inputs, strict=True):
                place.copy_(tensor)
            self._graph.replay()
            return self._output.clone()
