"""CPUID instructions of shared libraries are found, and bytes that only look like one are not."""

import shutil
import subprocess
from pathlib import Path

import pytest

from faults.cpuid import addresses

SOURCE = """
#include <cpuid.h>
unsigned data[] = {0xA20FA20F};                                      // the two bytes, outside of code
int first(void) { return __get_cpuid_max(0, 0); }
int constant(int value) { return value ^ 0x0BA20F00; }               // the two bytes, within an instruction
void last(void) { __asm__ volatile("cpuid" ::: "eax", "ebx", "ecx", "edx"); }
"""

pytestmark = pytest.mark.skipif(not (shutil.which("cc") and shutil.which("objdump")), reason="no cc or no objdump")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with CPUID instructions."""
    path = tmp_path_factory.mktemp("library") / "example.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-x", "c", "-o", path, "-"], input=SOURCE.encode(), check=True)
    return path


def test_addresses_are_those_of_a_disassembly_of_all_code(library: Path) -> None:
    lines = subprocess.run(["objdump", "-d", library], capture_output=True, text=True, check=True).stdout.splitlines()
    expected = [int(line.split(":")[0], 16) for line in lines if line.split("\t")[-1].strip() == "cpuid"]
    found = addresses(library)
    assert found == expected
    assert len(found) >= 2
    assert library.read_bytes().count(b"\x0f\xa2") >= len(found) + 3


def test_a_file_that_is_no_library_has_none(tmp_path: Path) -> None:
    path = tmp_path / "script.so"
    path.write_bytes(b"INPUT(libc.so.6)\n\x0f\xa2")
    assert addresses(path) == []
