"""Where the CPUID instructions of a shared library are."""

import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

CPUID = b"\x0f\xa2"
# Disassembly that starts within an instruction is aligned again after a few, each of at most 15 bytes.
BEFORE, AFTER = 512, 16
GAP = 16 * b"\x90"  # instructions of one byte, so that each piece starts a new instruction


def addresses(library: Path) -> list[int]:
    """The addresses of all CPUID instructions, relative to where the library is loaded.

    The two bytes also occur by chance, within other instructions, so the code before them has to be disassembled.
    Disassembling the pieces alone takes a second for PyTorch, instead of a minute for all of its code.
    """
    content = library.read_bytes()
    code, places = bytearray(), {}
    for offset, address, size in code_sections(content):
        section = memoryview(content)[offset : offset + size]
        for match in re.finditer(CPUID, section):
            start = max(0, match.start() - BEFORE)
            code += GAP
            places[len(code) + match.start() - start] = address + match.start()
            code += section[start : match.end() + AFTER]
    return [places[place] for place in disassembled(code) if place in places] if places else []


def code_sections(content: bytes) -> Iterator[tuple[int, int, int]]:
    """The place in the file, the address and the size of each section of code (elf(5))."""
    if content[:6] != b"\x7fELF\x02\x01":  # 64 bits, the low byte first
        return
    (headers,) = struct.unpack_from("<Q", content, 40)
    size, count = struct.unpack_from("<HH", content, 58)
    for place in range(headers, headers + size * count, size):
        _, kind, flags, address, offset, length = struct.unpack_from("<IIQQQQ", content, place)
        if kind == 1 and flags & 4:
            yield offset, address, length


def disassembled(code: bytes | bytearray) -> Iterator[int]:
    """Where the CPUID instructions of some code are, by GNU objdump."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(code)
        file.flush()
        command = ["objdump", "--disassemble-all", "--target=binary", "--architecture=i386:x86-64", file.name]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    yield from (int(line.split(":")[0], 16) for line in lines if line.endswith("\tcpuid"))
