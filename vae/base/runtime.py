"""The device, threads, reproducible computations and seeded random numbers."""

import gc
import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from vae.base import processes
from vae.base.environment import NUMPY_WITH_AVX2, has_avx2
from vae.base.errors import VAEError

CPU = torch.device("cpu")

PACKAGES = ("torch", "numpy", "scikit-learn", "safetensors")
CPU_SHARE = Path("/sys/fs/cgroup/cpu.max")  # the CPU quota of a container, on Linux
WAITING_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
# With these and one thread, results do not depend on the processor. MKL's only mode that is the same on processors of
# Intel and of other makers is COMPATIBLE, which uses no instructions beyond SSE2.
SAME_ON_EVERY_MACHINE = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_CBWR": "COMPATIBLE",  # matrix products, linear algebra, exp and log
    **NUMPY_WITH_AVX2,
}


class DeviceError(VAEError):
    """``VAE_DEVICE`` names a device that this machine does not have."""


def configure(*, same_on_every_machine: bool = False) -> None:
    """Make results bit-for-bit reproducible on one machine, and computations fast.

    Call it before any computation: libraries choose their instructions at the first one, and threads that are already
    running keep their settings. Variables that the user has set are kept.

    Args:
        same_on_every_machine: make results bit-for-bit reproducible on all Linux machines with AVX2, at the cost of
            speed: one thread, and no instructions that some of these machines lack. Without AVX2, it has no effect.
    """
    if same_on_every_machine and has_avx2():
        for name, value in SAME_ON_EVERY_MACHINE.items():
            os.environ.setdefault(name, value)
    os.environ.setdefault("MKL_CBWR", "AUTO")  # reproducible on one machine
    # The same number of threads for PyTorch and for MKL, which may otherwise use fewer. The last bits of a sum depend
    # on how the work is split.
    torch.set_num_threads(1 if is_same_on_every_machine() else threads())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    # As use_deterministic_algorithms(True) for eager code, but without importing the compiler, which takes two seconds.
    torch.set_deterministic_debug_mode("error")
    # By default, CUDA's convolutions round to TF32.
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # not in the stubs
    # Treat numbers below 1e-38 as zero. The probability of a pixel that is never white becomes that small, and products
    # with such numbers are many times slower.
    torch.set_flush_denormal(True)
    # Imported objects are never freed; scanning them in every garbage collection would slow training by 5%.
    gc.freeze()
    gc.enable()  # which a stage disables while it imports its libraries
    # Uninitialized memory is never read, so filling it would only cost time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # not in the stubs


def is_same_on_every_machine() -> bool:
    """Whether the variables are set with which results do not depend on the processor."""
    return all(os.environ.get(name) == value for name, value in SAME_ON_EVERY_MACHINE.items())


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16 and may use them; True if PyTorch cannot tell."""
    if device.type != "cpu":
        return True
    capabilities = torch.cpu.get_capabilities()
    if capabilities.get("architecture") != "x86_64":
        return True
    return not is_same_on_every_machine() and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def threads() -> int:
    """The number of threads to compute with: one for each core that is available, or ``OMP_NUM_THREADS`` if fewer.

    Processes that compute together share the cores of their machine.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = CPU_SHARE.read_text(encoding="ascii").split()
        cores = min(cores, int(quota) // int(period))
    own = max(1, cores // processes.local_count())
    return min(own, torch.get_num_threads())  # by default the number of physical cores


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit scikit-learn and SciPy to one thread, within a block or a decorated function.

    Otherwise the last digits of a sum depend on the number of threads and on the order in which they finish.
    """
    import sklearn.utils  # noqa: F401  # only libraries that are loaded can be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def device(wanted: str | None = None) -> torch.device:
    """The device to compute on: ``VAE_DEVICE`` if set, else the accelerator if there is one, else the CPU.

    Of several processes on a machine, each has its own accelerator.

    Args:
        wanted: the name of a device, instead of what ``VAE_DEVICE`` says.

    Raises:
        DeviceError: ``VAE_DEVICE`` or the argument names a device that this machine does not have.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    requested = os.environ.get("VAE_DEVICE", "").strip() if wanted is None else wanted
    if accelerator is not None and requested in {"", accelerator.type} and processes.local_count() > 1:
        return _own_accelerator(accelerator.type)
    if not requested:
        return accelerator or CPU
    present = ["cpu"]
    if accelerator is not None:
        present += [accelerator.type]
        present += [f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count())]
    if requested not in present:
        raise DeviceError(
            f"{'VAE_DEVICE=' if wanted is None else ''}{requested}: no such device on this machine; choose one of "
            f"{', '.join(present)}, or {'unset it' if wanted is None else 'leave it out'} to use the default"
        )
    return torch.device(requested)


def _own_accelerator(kind: str) -> torch.device:
    """The accelerator of this process, of several on this machine.

    Raises:
        DeviceError: there are fewer accelerators than processes.
    """
    wanted, present = processes.local_count(), torch.accelerator.device_count()
    if wanted > present:
        raise DeviceError(
            f"{wanted} processes need as many {kind} devices, but this machine has {present}; start fewer processes, "
            "or set VAE_DEVICE=cpu"
        )
    return torch.device(kind, processes.local_number())


def machine(device: torch.device) -> dict[str, str | int]:
    """The properties of the machine that the last bits of a result depend on."""
    libraries: dict[str, str | int] = {}
    if device.type == "cuda":
        libraries = {"cuda": torch.version.cuda or "none", "cudnn": torch.backends.cudnn.version() or "none"}
    seen: dict[str, str | int] = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        **libraries,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "mkl": os.environ.get("MKL_CBWR", "not reproducible"),
    }
    if is_same_on_every_machine():
        return seen | {"numpy": version("numpy")}  # with OpenBLAS, which then computes products
    return seen | {
        "features": " ".join(sorted(name for name, on in torch.cpu.get_capabilities().items() if on is True))
    }


def description(device: torch.device) -> str:
    """Device, threads and versions, as one line for the log."""
    seen = machine(device)
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    threads = f"{seen['threads']} thread{'s' * (seen['threads'] != 1)}"
    libraries = "".join(f", {name} {seen[key]}" for key, name in (("cuda", "CUDA"), ("cudnn", "cuDNN")) if key in seen)
    return (
        f"device {seen['device']}{libraries}, {threads} ({wait_settings()}), {seen['instructions']}, "
        f"MKL {seen['mkl']}; Python {platform.python_version()}, {versions}"
    )


def wait_settings() -> str:
    """The environment variables that control how OpenMP threads wait."""
    found = [f"{name}={os.environ[name]}" for name in WAITING_VARIABLES if name in os.environ]
    return ", ".join(found) or "OpenMP's default wait policy"


def fits(tensor: Tensor, on: torch.device) -> bool:
    """Whether a tensor fits in half of a device's free memory, which leaves the other half for computations."""
    if tensor.device == on or on.type in {"cpu", "mps"}:  # these use the machine's memory
        return True
    free, _ = torch.accelerator.get_memory_info(on)
    return tensor.nbytes <= free / 2


def derive(seed: int, purpose: str) -> int:
    """Derive a seed for each purpose (weights, data order, noise, …), so that draws for one do not affect another."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "little") >> 1


def generator(seed: int, purpose: str, on: torch.device = CPU) -> torch.Generator:
    """A random generator on a device, seeded for one purpose."""
    return torch.Generator(on).manual_seed(derive(seed, purpose))


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Seed PyTorch's global CPU generator within the block, for code that takes no generator (initial weights)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, purpose))
        yield


def permutation(size: int, seed: int, purpose: str) -> Tensor:
    """A random order of ``range(size)``: int64 (size,), the same on every device."""
    return torch.randperm(size, generator=generator(seed, purpose))
