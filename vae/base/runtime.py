"""The machine a run finds: its device, and random numbers that repeat on it."""

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

from vae.base.errors import VAEError

CPU = torch.device("cpu")

PACKAGES = ("torch", "numpy", "scikit-learn", "safetensors")
CPU_SHARE = Path("/sys/fs/cgroup/cpu.max")  # a container's, from Linux
WAITING_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


class DeviceError(VAEError):
    """``VAE_DEVICE`` names a device that this machine does not have."""


def configure() -> None:
    """Make results reproducible bit for bit on a machine, and computations fast.

    Call it before any computation: threads that are already running keep their settings.
    """
    # The same number of threads for PyTorch and for MKL, which may otherwise use fewer. The last bits of a sum depend
    # on how the work is split.
    torch.set_num_threads(threads())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    # What use_deterministic_algorithms(True) does for eager code, without importing the compiler for two seconds.
    torch.set_deterministic_debug_mode("error")
    # CUDA's convolutions would round to TF32 unasked.
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # not in the stubs
    # Numbers below 1e-38 become zero. A pixel that is never white drives its probability there, and a product with
    # such numbers takes many times as long.
    torch.set_flush_denormal(True)
    # What imports have made stays; a garbage collector that keeps looking through it costs training a twentieth.
    gc.freeze()
    # Filling memory that nobody reads would cost time only.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # not in the stubs


def threads() -> int:
    """The number of threads to compute with: one for each core that is available, or ``OMP_NUM_THREADS`` if fewer."""
    allowed = torch.get_num_threads()  # by default the number of physical cores
    if hasattr(os, "sched_getaffinity"):
        allowed = min(allowed, len(os.sched_getaffinity(0)))
    with suppress(OSError, ValueError):
        quota, period = CPU_SHARE.read_text(encoding="ascii").split()
        allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed


@contextmanager
def one_thread() -> Iterator[None]:
    """Let scikit-learn and SciPy compute with one thread within the block, or within a function that it decorates.

    Otherwise the last digits of a sum depend on the number of threads and on the order in which they finish.
    """
    import sklearn.utils  # noqa: F401  # only libraries that are loaded can be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def device() -> torch.device:
    """The device to compute on: ``VAE_DEVICE`` where it is set, else the accelerator at hand, else the CPU.

    Raises:
        DeviceError: ``VAE_DEVICE`` is no device of this machine.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    requested = os.environ.get("VAE_DEVICE", "").strip()
    if not requested:
        return accelerator or CPU
    present = ["cpu"]
    if accelerator is not None:
        present += [accelerator.type]
        present += [f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count())]
    if requested not in present:
        raise DeviceError(
            f"VAE_DEVICE={requested}: no such device on this machine; choose one of {', '.join(present)}, "
            "or unset it to take the best"
        )
    return torch.device(requested)


def machine(device: torch.device) -> dict[str, str | int]:
    """What the last bits of a result depend on, besides code, parameters and data."""
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "features": " ".join(sorted(name for name, there in torch.cpu.get_capabilities().items() if there is True)),
        "threads": torch.get_num_threads(),
        "mkl": os.environ.get("MKL_CBWR", "not reproducible"),
    }


def description(device: torch.device) -> str:
    """Device, threads and versions, in one line for the log."""
    seen = machine(device)
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return (
        f"device {seen['device']}, {seen['threads']} threads ({wait_settings()}), {seen['instructions']}, "
        f"MKL {seen['mkl']}; Python {platform.python_version()}, {versions}"
    )


def wait_settings() -> str:
    """The environment variables that control how OpenMP threads wait."""
    found = [f"{name}={os.environ[name]}" for name in WAITING_VARIABLES if name in os.environ]
    return ", ".join(found) or "OpenMP's default wait policy"


def fits(tensor: Tensor, on: torch.device) -> bool:
    """Whether a tensor can be kept on a device and leave half of its free memory for the work on it."""
    if tensor.device == on or on.type in {"cpu", "mps"}:  # whose memory is the machine's
        return True
    free, _ = torch.accelerator.get_memory_info(on)
    return tensor.nbytes <= free / 2


def derive(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose (weights, order, noise, …), so that one's draws never shift another's."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "little") >> 1


def generator(seed: int, purpose: str, on: torch.device = CPU) -> torch.Generator:
    """A random generator on a device, seeded for one purpose."""
    return torch.Generator(on).manual_seed(derive(seed, purpose))


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Seed PyTorch's global CPU generator within the block, for what takes no generator: initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, purpose))
        yield


def permutation(size: int, seed: int, purpose: str) -> Tensor:
    """A random order of ``range(size)``: int64 (size,), the same on every device."""
    return torch.randperm(size, generator=generator(seed, purpose))
