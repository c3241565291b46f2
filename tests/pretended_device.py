"""A CUDA device for tests on machines without one: CPU values behind CUDA's rules.

Within ``pretended_cuda()``, ``torch.device("cuda")`` can be computed on. Its tensors hold their values in the CPU's
memory and are computed by the CPU's kernels, so results have the bits of the CPU. What differs is what may be done:

- tensors of two devices cannot be mixed, except for those mixtures that PyTorch allows on CUDA;
- operations are refused that CUDA does not have, or not deterministically, if deterministic algorithms are demanded;
- whatever makes the CPU wait for the device is counted in ``Waits``;
- CUDA graphs record operations on their device without computing them, and repeat them in the same memory. While a
  graph is captured, whatever waits for the device is refused;
- in a graph, the work of other streams runs at the latest moment that the graph allows, or at the earliest;
- NumPy cannot see the values, a CPU generator cannot draw them, and memory is pinned before it is copied in the
  background.

It cannot show how CUDA rounds, how fast it is, when memory is reused that a stream has freed, what autocast does
differently there (CUDA has a longer list of operations in float32), or errors of libraries and drivers.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch

DEVICES = 2
MEMORY = 2**30  # bytes, of which all are free
NAME = "Pretended H100"
_GENERATOR = torch.Generator
_COMPATIBLE = torch._has_compatible_shallow_copy_type

# Operations that raise an error on CUDA if deterministic algorithms are demanded, from the documentation of
# torch.use_deterministic_algorithms in PyTorch 2.15, by the names in the dispatcher. NLLLoss raises for pictures of
# classes only (nll_loss2d). Where the argument matters, ``_is_nondeterministic`` looks at it.
NONDETERMINISTIC = {
    "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward",
    "_ctc_loss_backward",
    "_embedding_bag_dense_backward",
    "adaptive_max_pool2d_backward",
    "avg_pool3d_backward",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward",
    "grid_sampler_2d_backward",
    "grid_sampler_3d_backward",
    "histc",
    "max_unpool2d",
    "max_unpool3d",
    "nll_loss2d_backward",
    "nll_loss2d_forward",
    "put",
    "put_",
    "reflection_pad1d_backward",
    "reflection_pad2d_backward",
    "reflection_pad3d_backward",
    "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward",
    "upsample_linear1d_backward",
    "upsample_trilinear3d_backward",
}
SOMETIMES_NONDETERMINISTIC = {"bincount", "median", "nanmedian", "scatter_reduce", "scatter_reduce_"}
# Operations that wait for the device, because the size of their result, or a Python number, depends on values.
WAITING = {
    "_linalg_check_errors",
    "_local_scalar_dense",
    "_unique",
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "multinomial",
    "nonzero",
    "repeat_interleave",
    "unique_consecutive",
    "unique_dim",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}  # by tensors, which may be on the CPU
CONSTANTS = {"arange", "full", "linspace", "ones", "zeros"}  # filled by the device, without a copy from the CPU
SHAPED_LIKE = {"expand_as", "reshape_as", "view_as"}  # another tensor, of which only the shape is read


class DeviceRuleError(RuntimeError):
    """What was asked for does not work on CUDA."""


@dataclass
class Waits:
    """How often the CPU waited for the device, by reason.

    Attributes:
        reasons: the number of waits for each reason.
        transfers: the number of copies between the two memories, those that do not wait included.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    transfers: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """The number of waits."""
        return self.reasons.total()

    def clear(self) -> None:
        """Start to count again."""
        self.reasons.clear()
        self.transfers.clear()


class PretendedTensor(Tensor):
    """A tensor that says that it is on a CUDA device."""

    ordinal: int

    @staticmethod
    def on(ordinal: int, values: Tensor) -> "PretendedTensor":
        """Put values on a device. The memory is shared."""
        with no_dispatch():
            tensor: PretendedTensor = torch.Tensor._make_subclass(PretendedTensor, values)
        tensor.ordinal = ordinal
        return tensor

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The device that it says it is on."""
        return torch.device("cuda", self.ordinal)

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """Whether it is on a CUDA device."""
        return True

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        """Whether it is on the CPU."""
        return False

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, forward or backward, of which an argument is on a device."""
        machine = _Machine.running
        assert machine is not None, "a tensor of the pretended device outlived it"
        return machine.run(operation, args, kwargs or {})


class PretendedGenerator(torch.Generator):
    """Stands in for ``torch.Generator``; on a device, it has the algorithm of the CPU."""

    ordinal: int

    def __new__(cls, device: torch.device | str = "cpu") -> torch.Generator:  # type: ignore[misc]
        """Create a generator on a device, or an ordinary one."""
        device = torch.device(device)
        if device.type != "cuda":
            return _GENERATOR(device)
        assert _Machine.running is not None
        generator = super().__new__(cls)
        generator.ordinal = _Machine.running.ordinal_of(device)
        return generator

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The device that it says it is on."""
        return torch.device("cuda", self.ordinal)


@dataclass
class _Recorded:
    """An operation in a graph, its stream, and its results when it was captured."""

    stream: "_Stream"
    operation: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: list[Tensor]

    def repeat(self) -> None:
        """Compute the operation, and write its results to their places."""
        results = _tensors(self.operation(*self.args, **self.kwargs))
        for place, result in zip(self.places, results, strict=True):
            if place.data_ptr() != result.data_ptr() or place.shape != result.shape:
                place.copy_(result)


@dataclass
class _Join:
    """Where the stream of a capture waits for another one."""

    stream: "_Stream"


class PretendedGraph:
    """A CUDA graph: operations that were recorded, to repeat in the same memory."""

    def __init__(self) -> None:
        self.recorded: list[_Recorded | _Join] = []
        self.ordinal = 0
        self.stream: _Stream | None = None

    def replay(self) -> None:
        """Repeat the operations, and write their results to where they were when they were captured."""
        assert _Machine.running is not None
        late = _Machine.running.late
        delayed: dict[_Stream, list[_Recorded]] = {}
        with torch._C.DisableTorchFunction(), no_dispatch(), torch.no_grad():
            for entry in self.recorded:
                if isinstance(entry, _Join):
                    for operation in delayed.pop(entry.stream, []):
                        operation.repeat()
                elif late and entry.stream is not self.stream:
                    delayed.setdefault(entry.stream, []).append(entry)
                else:
                    entry.repeat()

    def require_joined(self) -> None:
        """Check that the stream of the capture waits for the last operation of each other stream."""
        last = {entry.stream: entry for entry in self.recorded}
        if any(isinstance(entry, _Recorded) and entry.stream is not self.stream for entry in last.values()):
            raise DeviceRuleError("CUDA error: capturing stream has unjoined work")


class _Machine:
    """The state of the pretended devices: the current device, the capture that is going on, and the waits."""

    running: "_Machine | None" = None

    def __init__(self, *, late: bool) -> None:
        self.waits = Waits()
        self.current = 0
        self.capturing: PretendedGraph | None = None
        self.late = late
        self.streams = [_Stream(ordinal) for ordinal in range(DEVICES)]  # the current one of each device

    def wait(self, reason: str) -> None:
        """Count a wait. During a capture it is an error."""
        if self.capturing is not None:
            raise DeviceRuleError(f"{reason}: operation not permitted when stream is capturing")
        self.waits.reasons[reason] += 1

    def ordinal_of(self, device: torch.device) -> int:
        """The number of a device."""
        ordinal = self.current if device.index is None else device.index
        if ordinal >= DEVICES:
            raise DeviceRuleError(f"CUDA error: invalid device ordinal {ordinal}")
        return ordinal

    def run(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Check an operation by CUDA's rules, and compute or record it."""
        name = operation._schema.name.split("::")[1]
        if name == "copy_":
            return self._copy(operation, args, kwargs)
        if name in SHAPED_LIKE:
            return getattr(args[0], name.removesuffix("_as"))(args[1].shape)
        ordinal = self._device_of(operation, name, args, kwargs)
        _require_kernel(operation)
        if torch.are_deterministic_algorithms_enabled() and _is_nondeterministic(name, operation, args, kwargs):
            raise DeviceRuleError(
                f"{operation} does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True)'"
            )
        if name in WAITING or (name in INDEXING and _has_mask(name, args)):
            self.wait(name)
        graph = self.capturing
        if graph is None or graph.ordinal != ordinal:
            return self._computed(operation, args, kwargs, ordinal)
        return self._recorded(graph, operation, args, kwargs)

    def _computed(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], ordinal: int) -> Any:
        with no_dispatch():
            result = operation(*args, **kwargs)
        return _put(result, ordinal)

    def _recorded(self, graph: PretendedGraph, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record an operation. What it would change stays as it is; what it would return has the right shape."""
        written = _written(operation, args, kwargs)
        with no_dispatch():
            before = [tensor.clone() for tensor in written]
            result = operation(*args, **kwargs)
            for tensor, values in zip(written, before, strict=True):
                if tensor.shape != values.shape:
                    raise DeviceRuleError(f"{operation} allocates the memory of its result while a graph is captured")
                tensor.copy_(values)
        result = _put(result, graph.ordinal)
        graph.recorded.append(_Recorded(self.streams[graph.ordinal], operation, args, kwargs, _tensors(result)))
        return result

    def _copy(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``copy_``, which may copy from one memory to another."""
        target, source, *rest = args
        if isinstance(target, PretendedTensor) and isinstance(source, PretendedTensor):
            if self.capturing is not None and target.ordinal == self.capturing.ordinal:
                return self._recorded(self.capturing, operation, args, kwargs)
        else:
            self.transferred(source, target.device, bool(rest and rest[0]) or kwargs.get("non_blocking", False))
        with no_dispatch():
            operation(*args, **kwargs)
        return target

    def transferred(self, source: Tensor, target: torch.device, non_blocking: bool) -> None:
        """Count a copy from one memory to another. It waits unless it runs in the background from pinned memory."""
        if not source.numel():
            return
        if isinstance(source, PretendedTensor):
            reason = "copy to the CPU"
            if non_blocking:
                raise DeviceRuleError("a copy to the CPU in the background may be read before it has arrived")
        else:
            reason = "copy to the device"
        self.waits.transfers[reason] += 1
        if not (non_blocking and getattr(source, "is_pretended_pinned", False)):
            self.wait(reason)
        assert target is not None

    def _device_of(self, operation: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """The device of an operation.

        Raises:
            DeviceRuleError: its tensors are on more than one, and it is no mixture that CUDA allows.
        """
        tensors = _tensors([*args, *kwargs.values()])
        here = {tensor.ordinal for tensor in tensors if isinstance(tensor, PretendedTensor)}
        others = [tensor for tensor in tensors if not isinstance(tensor, PretendedTensor)]
        if len(here) > 1:
            raise DeviceRuleError(f"{operation}: expected all tensors to be on the same device, found two CUDA devices")
        if name in INDEXING and isinstance(args[0], PretendedTensor):
            on_cpu = [each for each in args[1] if each is not None and not isinstance(each, PretendedTensor)]
            for _ in on_cpu:  # copied to the device
                self.wait("index on the CPU")
            others = [tensor for tensor in others if not any(tensor is each for each in on_cpu)]
        scalars_allowed = torch.Tag.pointwise in operation.tags or name in INDEXING or name.startswith("_fused_adam")
        writes_here = all(isinstance(tensor, PretendedTensor) for tensor in _written(operation, args, kwargs))
        if not writes_here or any(tensor.ndim or not scalars_allowed for tensor in others):
            raise DeviceRuleError(
                f"{operation}: expected all tensors to be on the same device, but found at least two devices, "
                "cuda:0 and cpu"
            )
        return here.pop()


class _Functions(TorchFunctionMode):
    """What PyTorch's functions do before an operation begins: find the device, and move tensors."""

    def __init__(self, machine: _Machine) -> None:
        super().__init__()
        self.machine = machine

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if args and isinstance(args[0], Tensor) and name in _METHODS and function is getattr(Tensor, name, None):
            return getattr(self, f"_{name.strip('_')}")(function, *args, **kwargs)
        device = kwargs.get("device")
        if device is not None and not isinstance(device, torch.device):
            device = torch.device(device)
        _require_own_generator(name, device, args, kwargs)
        if name == "__set__" and len({isinstance(each, PretendedTensor) for each in args if each is not None}) > 1:
            raise DeviceRuleError("a tensor's data and gradient must be on its own device")
        if device is None or device.type != "cuda":
            if device is not None and any(isinstance(each, PretendedTensor) for each in args):
                raise NotImplementedError(f"{name} from a CUDA tensor to the device {device}")
            return function(*args, **kwargs)
        del kwargs["device"]
        ordinal = self.machine.ordinal_of(device)
        if name in {"tensor", "as_tensor"}:  # created by the CPU, then copied
            self.machine.transferred(torch.empty(1), device, non_blocking=False)
        result = _put(function(*args, **kwargs), ordinal)
        if self.machine.capturing is not None:
            if name in CONSTANTS:
                stream = self.machine.streams[self.machine.capturing.ordinal]
                self.machine.capturing.recorded.append(_Recorded(stream, function, args, kwargs, _tensors(result)))
            elif name not in {"empty", "empty_like", "new_empty"}:
                raise NotImplementedError(f"{name} while a graph is captured")
        return result

    def _to(self, function: Any, tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        if device is not None and device.type == "cuda":
            device = torch.device("cuda", self.machine.ordinal_of(device))
        options: dict[str, Any] = {} if memory_format is None else {"memory_format": memory_format}
        if device is None or device == tensor.device:
            moved: Tensor = function(tensor, dtype or tensor.dtype, copy=copy, **options)
            return moved
        if tensor.requires_grad and torch.is_grad_enabled():
            raise NotImplementedError("gradients through a copy between devices")
        if device.type not in {"cpu", "cuda"}:
            raise NotImplementedError(f"a copy to {device}")
        if isinstance(tensor, PretendedTensor) and device.type == "cuda":
            raise NotImplementedError("a copy from one CUDA device to another")
        self.machine.transferred(tensor, device, non_blocking)
        values = _values(tensor).clone()
        if dtype is not None or options:
            values = values.to(dtype or values.dtype, **options)
        if device.type == "cpu":
            return values
        return PretendedTensor.on(device.index, values)

    def _cpu(self, _: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self._to(Tensor.to, tensor, "cpu", *args, **kwargs)

    def _cuda(self, _: Any, tensor: Tensor, device: Any = "cuda", **kwargs: Any) -> Tensor:
        return self._to(Tensor.to, tensor, device, **kwargs)

    def _tolist(self, function: Any, tensor: Tensor) -> Any:
        return function(self._cpu(None, tensor) if isinstance(tensor, PretendedTensor) else tensor)

    def _numpy(self, function: Any, tensor: Tensor, **kwargs: Any) -> Any:
        if isinstance(tensor, PretendedTensor):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first")
        return function(tensor, **kwargs)

    def _array(self, function: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if isinstance(tensor, PretendedTensor):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first")
        return function(tensor, *args, **kwargs)

    def _format(self, function: Any, tensor: Tensor, form: str) -> Any:
        if isinstance(tensor, PretendedTensor) and not tensor.ndim:
            return format(tensor.item(), form)
        return function(tensor, form)

    def _get_device(self, function: Any, tensor: Tensor) -> Any:
        return tensor.ordinal if isinstance(tensor, PretendedTensor) else function(tensor)

    def _pin_memory(self, _: Any, tensor: Tensor) -> Tensor:
        if isinstance(tensor, PretendedTensor):
            raise DeviceRuleError("cannot pin 'torch.cuda.FloatTensor', only dense CPU tensors can be pinned")
        pinned = tensor.clone()
        pinned.is_pretended_pinned = True  # type: ignore[attr-defined]
        return pinned


_METHODS = {"to", "cpu", "cuda", "tolist", "numpy", "__array__", "__format__", "get_device", "pin_memory"}


class _Device:
    """Stands in for ``torch.cuda.device``, which makes a device the current one."""

    def __init__(self, device: torch.device | str | int) -> None:
        assert _Machine.running is not None
        self.machine = _Machine.running
        named = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
        self.ordinal = self.machine.ordinal_of(named)

    def __enter__(self) -> None:
        self.before, self.machine.current = self.machine.current, self.ordinal

    def __exit__(self, *_: object) -> None:
        self.machine.current = self.before


class _Stream:
    """Stands in for ``torch.cuda.Stream``, on the current device or another."""

    def __init__(self, device: torch.device | int | None = None) -> None:
        if isinstance(device, int):
            self.ordinal = device
        else:
            assert _Machine.running is not None
            self.ordinal = _Machine.running.ordinal_of(device or torch.device("cuda"))

    def wait_stream(self, other: "_Stream") -> None:
        """In a graph, remember where its own stream waits."""
        assert _Machine.running is not None
        graph = _Machine.running.capturing
        if graph is not None and self is graph.stream:
            graph.recorded.append(_Join(other))


@contextmanager
def _on_stream(stream: _Stream) -> Iterator[None]:
    """Stands in for ``torch.cuda.stream``: makes the stream and its device the current ones."""
    machine = _Machine.running
    assert machine is not None
    before, machine.streams[stream.ordinal] = machine.streams[stream.ordinal], stream
    try:
        with _Device(stream.ordinal):
            yield
    finally:
        machine.streams[stream.ordinal] = before


def _current_stream(device: torch.device | None = None) -> _Stream:
    """Stands in for ``torch.cuda.current_stream``."""
    assert _Machine.running is not None
    return _Machine.running.streams[_Machine.running.ordinal_of(device or torch.device("cuda"))]


class _Capture:
    """Stands in for ``torch.cuda.graph``: captures on the device of the stream, like CUDA."""

    default_stream: _Stream | None = None

    def __init__(self, graph: PretendedGraph, stream: _Stream | None = None) -> None:
        if stream is None:  # like PyTorch, one for the whole process, on the device that was current at first
            type(self).default_stream = type(self).default_stream or _Stream()
            stream = type(self).default_stream
        assert stream is not None
        self.graph, self.stream = graph, stream

    def __enter__(self) -> None:
        machine = _Machine.running
        assert machine is not None
        machine.wait("capture of a graph")
        self.graph.ordinal, self.graph.stream = self.stream.ordinal, self.stream
        self.own = _on_stream(self.stream)
        self.own.__enter__()
        machine.capturing = self.graph

    def __exit__(self, *error: Any) -> None:
        assert _Machine.running is not None
        _Machine.running.capturing = None
        self.own.__exit__(*error)
        if error[0] is None:
            self.graph.require_joined()


class _Autocast(torch.autocast):
    """``torch.autocast``, with the CPU's list of operations for CUDA."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


@contextmanager
def pretended_cuda(*, late: bool = True) -> Iterator[Waits]:
    """Pretend within the block that there are two CUDA devices; count how often the CPU waits for them.

    Args:
        late: in a graph, run the work of other streams when its own stream waits for it, and not when it is queued.
    """
    machine = _Machine(late=late)

    def synchronize(_: object = None) -> None:
        machine.wait("synchronize")

    stand_ins: list[tuple[Any, str, Any]] = [
        (_Machine, "running", machine),
        (_Capture, "default_stream", None),
        (torch, "Generator", PretendedGenerator),
        (torch, "_has_compatible_shallow_copy_type", _have_the_same_device),  # asked when a module moves its parameters
        (torch, "autocast", _Autocast),
        (torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda")),  # noqa: ARG005
        (torch.accelerator, "device_count", lambda: DEVICES),
        (torch.accelerator, "get_memory_info", lambda _=None: (MEMORY, MEMORY)),
        (torch.accelerator, "synchronize", synchronize),
        (torch.cuda, "CUDAGraph", PretendedGraph),
        (torch.cuda, "Stream", _Stream),
        (torch.cuda, "current_device", lambda: machine.current),
        (torch.cuda, "current_stream", _current_stream),
        (torch.cuda, "device", _Device),
        (torch.cuda, "get_device_name", lambda _=None: NAME),
        (torch.cuda, "graph", _Capture),
        (torch.cuda, "stream", _on_stream),
        (torch.cuda, "synchronize", synchronize),
    ]
    patches = [mock.patch.object(*stand_in) for stand_in in stand_ins]
    for patch in patches:
        patch.start()
    try:
        with _Functions(machine):
            yield machine.waits
    finally:
        for patch in reversed(patches):
            patch.stop()


def _have_the_same_device(one: Tensor, other: Tensor) -> bool:
    same_kind = isinstance(one, PretendedTensor) == isinstance(other, PretendedTensor)
    return same_kind and _COMPATIBLE(one, other)


def _put(result: Any, ordinal: int) -> Any:
    """Put the tensors of a result on a device."""
    if isinstance(result, Tensor) and not isinstance(result, PretendedTensor):
        return PretendedTensor.on(ordinal, result)
    if isinstance(result, list | tuple):
        return [_put(each, ordinal) for each in result]
    return result


def _values(tensor: Tensor) -> Tensor:
    """The values of a tensor of either kind, as one on the CPU."""
    if not isinstance(tensor, PretendedTensor):
        return tensor.detach()
    with no_dispatch():
        values: Tensor = torch.Tensor._make_subclass(Tensor, tensor)
        return values


def _tensors(values: Any) -> list[Tensor]:
    """The tensors in the arguments or the result of an operation."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, list | tuple):
        return [tensor for each in values for tensor in _tensors(each)]
    return []


def _written(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operation writes to."""
    arguments = operation._schema.arguments
    given = {argument.name: value for argument, value in zip(arguments, args, strict=False)} | kwargs
    return [
        tensor
        for argument in arguments
        if argument.alias_info is not None and argument.alias_info.is_write and argument.name in given
        for tensor in _tensors(given[argument.name])
    ]


def _is_nondeterministic(name: str, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether CUDA refuses an operation if deterministic algorithms are demanded."""
    match name:
        case "median" | "nanmedian":  # with indices
            return "dim" in operation._overloadname
        case "bincount":  # with weights
            return any(isinstance(each, Tensor) for each in (*args[1:], *kwargs.values()))
        case "scatter_reduce" | "scatter_reduce_":
            return args[4] not in {"sum", "mean"}
        case _:
            return name in NONDETERMINISTIC


def _has_mask(name: str, args: tuple[Any, ...]) -> bool:
    """Whether an index is a mask, whose elements have to be counted; to fill by a mask nothing is counted."""
    if name != "index" and args[2].numel() == 1:
        return False
    return any(index is not None and index.dtype in {torch.bool, torch.uint8} for index in args[1])


def _require_kernel(operation: Any) -> None:
    """Check that CUDA has an operation, if this build of PyTorch contains CUDA's kernels."""
    if torch.version.cuda is None:
        return
    name = operation.name()
    if not torch._C._dispatch_has_computed_kernel_for_dispatch_key(name, "CUDA"):
        raise NotImplementedError(f"{name} does not run on CUDA")


def _require_own_generator(
    name: str, device: torch.device | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Check that a generator is on the device on which it draws."""
    generator = kwargs.get("generator")
    if generator is None:
        return
    here = device or next((each.device for each in args if isinstance(each, Tensor)), torch.device("cpu"))
    if generator.device.type != here.type:
        raise DeviceRuleError(f"{name}: expected a '{here.type}' device type for generator but found another")
