"""Files of tensors: what is written is read, and no header makes reading take more memory than the file has bytes."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.imports import ROOT
from vae.base.tensor_file import DamagedFileError, read_tensors, write_tensors

KEY = "images"
TENSORS: dict[str, Tensor] = {
    "floats": torch.tensor([1.5, float("nan"), -0.0]),
    "bytes": torch.arange(6, dtype=torch.uint8).view(2, 3),
    "nothing": torch.empty(0, 4),
    "scalar": torch.tensor(7),
    "half": torch.tensor([1.5], dtype=torch.bfloat16),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "file.safetensors"


def test_tensors_and_their_description_are_read_as_they_were_written(path: Path) -> None:
    description = {"names": ["a", "σ²"], "scale": 0.1, "shape": [1, 8, 8], "none": None}
    write_tensors(path, TENSORS, KEY, description)
    tensors, found = read_tensors(path, KEY)
    assert found == description
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(tensors[name].flatten().view(torch.uint8), tensor.flatten().view(torch.uint8))


def test_the_same_content_gives_the_same_bytes_whatever_the_order_of_the_tensors(path: Path) -> None:
    write_tensors(path, TENSORS, KEY, {"a": 1})
    first = path.read_bytes()
    write_tensors(path, dict(reversed(TENSORS.items())), KEY, {"a": 1})
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("tensors", "description"),
    [
        ({**TENSORS, "scalar": torch.tensor(8)}, {"a": 1}),
        ({**TENSORS, "bytes": TENSORS["bytes"].view(3, 2)}, {"a": 1}),
        ({**TENSORS, "scalar": torch.tensor(7.0, dtype=torch.float64)}, {"a": 1}),
        ({("other" if name == "half" else name): tensor for name, tensor in TENSORS.items()}, {"a": 1}),
        ({name: tensor for name, tensor in TENSORS.items() if name != "nothing"}, {"a": 1}),
        (TENSORS, {"a": 2}),
        (TENSORS, {"a": 1, "b": None}),
    ],
    ids=["a value", "a shape", "a type", "a name", "a tensor less", "the description", "a key more"],
)
def test_the_checksum_covers_all_that_a_file_contains(
    path: Path, tensors: dict[str, Tensor], description: dict[str, Any]
) -> None:
    """The other content with the checksum of the first."""
    write_tensors(path, TENSORS, KEY, {"a": 1})
    checksum = json.loads(header(path)["__metadata__"][KEY])["crc32"]
    write_tensors(path, tensors, KEY, description)
    own = json.loads(header(path)["__metadata__"][KEY])["crc32"]
    path.write_bytes(path.read_bytes().replace(own.encode(), checksum.encode()))
    with pytest.raises(DamagedFileError, match="its checksum is wrong"):
        read_tensors(path, KEY)


def header(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    values: dict[str, Any] = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    return values


# Headers that claim more than the file contains, and the number of zeros that follow them.
TERABYTE = 2**40
DESCRIBED = {"__metadata__": {KEY: '{"crc32": "00000000"}'}}
CLAIMS: dict[str, tuple[bytes, int]] = {
    "a header of a terabyte": (struct.pack("<Q", TERABYTE) + b"{}", 0),
    "a header of all bytes there can be": (struct.pack("<Q", 2**64 - 1) + b"{}", 0),
    "a header of two gigabytes": (struct.pack("<Q", 2**31) + b"{", 0),
}
for _name, _shape, _offsets, _zeros in (
    ("a tensor of a terabyte", [TERABYTE], [0, TERABYTE], 8),
    ("a shape whose product overflows", [2**32, 2**32, 2**32], [0, 8], 8),
    ("a shape whose product overflows to its size", [2**62, 4, 2**62, 4], [0, 0], 0),
    ("a huge shape of no bytes", [2**62, 0, 2**62, 2**62], [0, 0], 0),
    ("offsets in the wrong order", [8], [8, 0], 8),
    ("offsets beyond the file", [8], [TERABYTE, TERABYTE + 8], 8),
):
    _tensor = {"dtype": "U8", "shape": _shape, "data_offsets": _offsets}
    _text = json.dumps({**DESCRIBED, "images": _tensor}).encode()
    CLAIMS[_name] = (struct.pack("<Q", len(_text)) + _text, _zeros)
_twice = {name: {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for name in ("images", "labels")}
_text = json.dumps({**DESCRIBED, **_twice}).encode()
CLAIMS["two tensors in one place"] = (struct.pack("<Q", len(_text)) + _text, 8)
_text = json.dumps({"__metadata__": {KEY: "[" * 1_000_000}}).encode()
CLAIMS["a description nested a million deep"] = (struct.pack("<Q", len(_text)) + _text, 0)

# Reads each file with half a gigabyte of memory more than the imports take.
READ = """
import resource, sys
from pathlib import Path
from vae.base.tensor_file import DamagedFileError, read_tensors
size = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, size + 2**29))
for path in sys.argv[2:]:
    try:
        read_tensors(Path(path), sys.argv[1])
    except DamagedFileError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_no_claim_of_a_header_takes_memory_and_each_is_refused_in_one_line(tmp_path: Path) -> None:
    paths = []
    for number, (content, zeros) in enumerate(CLAIMS.values()):
        paths.append(tmp_path / f"{number}.safetensors")
        paths[-1].write_bytes(content + bytes(zeros))
    result = subprocess.run(
        [sys.executable, "-c", READ, KEY, *paths], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == len(CLAIMS)
    assert max(map(len, result.stdout.splitlines())) <= 200
