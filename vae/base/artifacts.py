"""Write files so that they appear complete or not at all."""

import csv
import glob
import io
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae.base import processes
from vae.base.errors import VAEError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGNIFICANT_DIGITS = 6
NUMBER = re.compile(r"[+-]?\d[\d.]*(e[+-]?\d+)?( ± [\d.e+-]+)?")
CHECKSUM = "crc32"  # the key of a checksum in a file of values


class ArtifactError(VAEError):
    """An output cannot be written, or a file of numbers cannot be read."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which is renamed to ``path`` if the block succeeds, and deleted otherwise.

    Raises:
        ArtifactError: the folder is read-only, the disk is full, or the like.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove partial files that killed processes left behind."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        process = partial.suffixes[-2].removeprefix(".")
        if process.isdecimal() and not _is_alive(int(process)):
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    """Whether a process is running on this machine; True if unknown."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def write_bytes(path: Path, *contents: bytes | memoryview) -> None:
    """Write one content after another to a file, and flush it to disk before it is renamed into place.

    Of several processes that compute together, only the first one writes.
    """
    if not processes.is_first():
        return
    with whole_file(path) as partial, partial.open("wb") as file:
        for content in contents:
            file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, values: Mapping[str, Any], *, checked: bool = False) -> None:
    """Write values as JSON, with floats rounded to six significant digits.

    Args:
        path: of the file.
        values: by name.
        checked: whether to add a checksum of the values, which ``read_json`` requires.

    Raises:
        ValueError: a value is NaN or infinite, which JSON cannot represent.
    """
    values = _rounded(values)
    if checked:
        values = {**values, CHECKSUM: checksum(values)}
    write_bytes(path, (json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode())


def checksum(values: Mapping[str, Any], start: int = 0) -> str:
    """CRC-32 of values that JSON can represent, which detects accidental damage, as hexadecimal digits.

    Args:
        values: by name, in any order.
        start: the CRC-32 of what precedes them.
    """
    return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode(), start):08x}"


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV, with floats rounded to six significant digits and None as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(inert, columns))
    writer.writerows([inert(cell) if isinstance(cell, str) else _rounded(cell) for cell in row] for row in rows)
    write_bytes(path, text.getvalue().encode())


def inert(text: str) -> str:
    """A text for a cell that a spreadsheet shows and does not run as a formula: with an apostrophe before ``=1+1``.

    Numbers keep their sign, also with a standard error: ``-1.2 ± 0.1``.
    """
    is_formula = text.lstrip().startswith(("=", "+", "-", "@")) and not NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def read_json(path: Path) -> dict[str, Any]:
    """Read what ``write_json`` wrote with a checksum.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict):
            raise TypeError("not a mapping")
        if values.pop(CHECKSUM, None) != checksum(values):
            raise ValueError("its checksum is wrong")
        return values
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: no such file; run dvc repro to write it") from error
    except (OSError, ValueError, TypeError, RecursionError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(
            f"{path}: damaged, or not of this version ({reason}); delete it and run dvc repro to write it again"
        ) from error


def write_png(path: Path, figure: "Figure") -> None:
    """Write a figure as PNG."""
    write_bytes(path, as_png(figure))


def as_png(figure: "Figure") -> bytes:
    """A figure as PNG, without matplotlib's version in the metadata."""
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
        case Mapping():
            return {key: _rounded(item) for key, item in value.items()}
        case list() | tuple():
            return [_rounded(item) for item in value]
        case _:
            return value
