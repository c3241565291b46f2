"""Files mapped into memory."""

import os
import sys
from pathlib import Path

import pytest

from vae.base.mapped_file import map_file


def test_a_mapped_file_has_its_bytes_and_changes_do_not_reach_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with path.open("rb") as file:
        mapped = map_file(file)
    assert bytes(mapped.tolist()) == b"abc"
    mapped[0] = 0
    assert path.read_bytes() == b"abc"


@pytest.mark.skipif(sys.platform != "linux", reason="limits mappings as Linux does")
def test_a_file_may_be_larger_than_the_memory(tmp_path: Path) -> None:
    size = 4 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with (tmp_path / "file").open("w+b") as file:
        try:
            file.truncate(size)  # takes no space on the disk
        except OSError as error:
            pytest.skip(f"the file system has no files of this size: {error}")
        mapped = map_file(file)
    assert len(mapped) == size
    assert int(mapped[-1]) == 0
