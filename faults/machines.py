"""The default run on imitated processors, with 1, 2 and 4 threads: it ends with the bytes of this machine each time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

from faults import cpuid
from faults.material import OUTPUTS, STAGES, Material
from faults.outcome import Outcome
from faults.project import Project, copy_project
from vae.base.environment import PROCESSOR
from vae.base.errors import VAEError

SOURCE = Path(__file__).with_name("processor.c")
# By their names in processor.c. Those with AVX-512 can only be imitated where it is.
WITH_AVX2 = {"haswell": "Intel Haswell, AVX2", "zen2": "AMD Zen 2, AVX2", "zen3": "AMD Zen 3, AVX2"}
WITH_AVX512 = {
    "skylake": "Intel Skylake, AVX-512",
    "icelake": "Intel Ice Lake, AVX-512",
    "zen4": "AMD Zen 4, AVX-512",
    "zen5": "AMD Zen 5, AVX-512",
}
ITSELF = "this machine itself"
THREADS = (1, 2, 4)
# For mathematical functions of the C library, which chooses their code before anything else runs.
WITHOUT_AVX512 = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD"
# Whose code depends on the processor.
COMPUTING = ("torch", "numpy", "scipy", "sklearn")
# Unless it is pinned, MKL rounds these products and exponentials differently on processors of different makers.
ROUNDED = """
import hashlib, torch
torch.set_num_threads(1)
values = torch.rand(1000, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
print(hashlib.md5((values @ values.T).numpy().tobytes() + torch.exp(values).numpy().tobytes()).hexdigest())
"""


class NoImitationError(VAEError):
    """Other processors cannot be imitated on this machine."""


def outcomes(material: Material, cases: int) -> Iterator[Outcome]:
    """Run all stages with the default parameters, on one processor after another, each with 1, 2 and 4 threads."""
    library = compiled(material.folder)
    project = copy_project(material.folder / "machines" / "project")
    expected = written(project, {})
    processors = ["", *WITH_AVX2, *(WITH_AVX512 if "avx512f" in features() else ())]
    for case in range(cases):
        processor, threads = processors[case % len(processors)], THREADS[case % len(THREADS)]
        yield outcome(project, expected, environment(library, processor, threads), processor, threads)


def outcome(project: Project, expected: dict[str, bytes], env: dict[str, str], processor: str, threads: int) -> Outcome:
    """Run all stages in an environment, and compare what they write with what is expected."""
    found = written(project, env)
    differs = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
    fault = {**WITH_AVX2, **WITH_AVX512}.get(processor, ITSELF)
    place = f"OMP_NUM_THREADS={threads}"
    if differs:
        return Outcome(fault, place, "other bytes", ", ".join(differs))
    return Outcome(fault, place, "the same bytes")


def written(project: Project, env: dict[str, str]) -> dict[str, bytes]:
    """Run all stages; the content of their outputs."""
    for path in project.files(*OUTPUTS):
        (project.folder / path).unlink()
    for stage in STAGES:
        project.run("python", "-m", f"stages.{stage}", env=env)
    return project.files(*OUTPUTS)


def environment(library: Path, processor: str, threads: int) -> dict[str, str]:
    """The variables with which a process takes this machine for another one; no processor is this machine itself."""
    variables = {"OMP_NUM_THREADS": str(threads)}
    if processor:
        variables |= {"LD_AUDIT": str(library), "IMITATED_PROCESSOR": processor}
    if processor in WITH_AVX2:
        variables["GLIBC_TUNABLES"] = WITHOUT_AVX512
    return variables


def compiled(folder: Path) -> Path:
    """Compile ``processor.c`` for the libraries of this environment, and check that it works.

    Raises:
        NoImitationError: a tool is missing, or libraries still see the processor of this machine.
    """
    library = folder / "processor.so"
    instructions = folder / "instructions.txt"
    options = ["-O1", "-shared", "-fPIC", f'-DINSTRUCTIONS="{instructions}"']
    try:
        found = [(path, address) for path in libraries() for address in cpuid.addresses(path)]
        instructions.write_text("".join(f"{address:x} {path}\n" for path, address in found))
        run("cc", *options, "-o", str(library), str(SOURCE))
        if rounded(library, "haswell") == rounded(library, "zen2"):
            raise NoImitationError("other processors cannot be imitated: MKL gives the same results on two of them")
    except FileNotFoundError as error:
        raise NoImitationError(f"other processors cannot be imitated: no {error.filename} is installed") from error
    except subprocess.CalledProcessError as error:
        raise NoImitationError(f"other processors cannot be imitated on this machine: {error.stderr}") from error
    return library


def rounded(library: Path, processor: str) -> str:
    """A checksum of results of MKL, not pinned, on an imitated processor."""
    return run(sys.executable, "-c", ROUNDED, env=environment(library, processor, 1))


def libraries() -> Iterator[Path]:
    """The shared libraries that compute on the processor, in this environment."""
    for package in COMPUTING:
        folder = Path(import_module(package).__path__[0]).resolve()
        for path in sorted({*folder.rglob("*.so*"), *folder.with_name(f"{folder.name}.libs").glob("*.so*")}):
            if not any(word in path.name for word in ("cuda", "nvshmem")):
                yield path


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a command with more variables; what it prints."""
    variables = {**os.environ, **(env or {})}
    return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout


@cache
def features() -> frozenset[str]:
    """The features of this machine's processor, as Linux names them."""
    lines = PROCESSOR.read_text(encoding="ascii", errors="replace").splitlines()
    return frozenset(next((line.split() for line in lines if line.startswith("flags")), []))
