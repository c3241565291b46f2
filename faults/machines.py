"""The default run on imitated processors, with 1, 2 and 4 threads: it ends with the bytes of this machine each time."""

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
        variables |= {"LD_PRELOAD": str(library), "IMITATED_PROCESSOR": processor}
    if processor in WITH_AVX2:
        variables["GLIBC_TUNABLES"] = WITHOUT_AVX512
    return variables


def compiled(folder: Path) -> Path:
    """Compile ``processor.c``, and check that it works.

    Raises:
        NoImitationError: there is no C compiler, or neither the processor nor the system lets CPUID be imitated.
    """
    library = folder / "processor.so"
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
        subprocess.run(["true"], check=True, capture_output=True, env={**os.environ, **environment(library, "zen2", 1)})
    except FileNotFoundError as error:
        raise NoImitationError("other processors cannot be imitated: no C compiler (cc) is installed") from error
    except subprocess.CalledProcessError as error:
        raise NoImitationError(f"other processors cannot be imitated on this machine: {error.stderr}") from error
    return library


@cache
def features() -> frozenset[str]:
    """The features of this machine's processor, as Linux names them."""
    lines = PROCESSOR.read_text(encoding="ascii", errors="replace").splitlines()
    return frozenset(next((line.split() for line in lines if line.startswith("flags")), []))
