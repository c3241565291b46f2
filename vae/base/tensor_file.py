"""Files of tensors as safetensors, with a description and a checksum of all that they contain.

Nothing in such a file is executed, and a header cannot make reading take more memory than the file has bytes:
safetensors compares the header with the size of the file before it reads a tensor. Tensors may be larger than the
memory: they are written from where they are, and mapped into memory when they are read.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vae.base.artifacts import CHECKSUM, checksum, write_bytes
from vae.base.errors import VAEError, shortened
from vae.base.mapped_file import map_file

# The types of tensors by their names in a file, in the order in which safetensors writes tensors.
DTYPES = {
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
    "F32": torch.float32,
    "U32": torch.uint32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "U16": torch.uint16,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
LENGTH_BYTES = 8  # of the length of the header, before the header


class DamagedFileError(VAEError):
    """A file is not what was written. The message says only what is wrong with it."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], key: str, description: Mapping[str, Any]) -> None:
    """Write tensors and their description; the same content gives the same bytes.

    Args:
        path: of the file.
        tensors: by name.
        key: of the description in the metadata, as JSON. It is the only one, since safetensors writes several in an
            order that changes from run to run.
        description: values that JSON can represent, none of them named ``crc32``.

    Raises:
        ArtifactError: the file cannot be written.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({**description, CHECKSUM: _checksum(tensors, description)})
    ordered = sorted(tensors, key=lambda name: (list(DTYPES.values()).index(tensors[name].dtype), name))
    header = _header({name: tensors[name] for name in ordered}, {key: text})
    write_bytes(path, header, *(_bytes(tensors[name]) for name in ordered))


def read_tensors(path: Path, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the description that ``write_tensors`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is damaged, or was not written by this function.
    """
    try:
        with safe_open(path, framework="np") as file:  # checks the header
            description = json.loads((file.metadata() or {})[key])
        tensors = _mapped(path)
        if description.pop(CHECKSUM) != _checksum(tensors, description):
            raise ValueError("its checksum is wrong")
    except FileNotFoundError:
        raise
    except KeyError as error:
        raise DamagedFileError(f"it has no {error.args[0]}") from error
    except (SafetensorError, OSError, AttributeError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise DamagedFileError(shortened(error)) from error
    return tensors, description


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """What safetensors writes before these tensors: the length of the header, and the header as JSON."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    values: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        values[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that tensors are aligned
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _mapped(path: Path) -> dict[str, Tensor]:
    """The tensors of a file with a valid header, mapped into memory."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
        content = map_file(file)[LENGTH_BYTES + length :]
    tensors = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            start, end = tensor["data_offsets"]
            tensors[name] = content[start:end].view(DTYPES[tensor["dtype"]]).view(tensor["shape"])
    return tensors


def _bytes(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor, where they are."""
    return tensor.flatten().view(torch.uint8).numpy().data


def _checksum(tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> str:
    """CRC-32 of all that a file contains: 13 ms for the training images of MNIST (47 MB), a third of SHA-256's time."""
    found = 0
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), found)
        found = zlib.crc32(_bytes(tensor), found)
    return checksum(description, found)
