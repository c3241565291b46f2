import csv
import errno
import math
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from vae.base.artifacts import (
    ArtifactError,
    read_json,
    whole_file,
    write_bytes,
    write_csv,
    write_json,
    write_png,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A path for a test's file, in a folder that does not exist yet."""
    return tmp_path / "outputs" / "file"


@contextmanager
def room_for_100_bytes() -> Iterator[None]:
    """Make the operating system refuse to write more than 100 bytes to a file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files_beside(path: Path) -> list[str]:
    """The names of everything in a file's folder."""
    return sorted(entry.name for entry in path.parent.iterdir())


def small_figure() -> Figure:
    figure = Figure(figsize=(2, 1), layout="constrained")
    figure.subplots().plot([0, 1], [1, 0])
    return figure


class TestWholeFile:
    def test_a_file_appears_with_its_folders_when_the_block_ends_and_not_before(self, tmp_path: Path) -> None:
        path = tmp_path / "a" / "b" / "file"
        with whole_file(path) as partial:
            partial.write_bytes(b"whole")
            assert not path.exists()
            assert partial.parent == path.parent  # within one file system, a rename is all or nothing
        assert path.read_bytes() == b"whole"
        assert files_beside(path) == ["file"]

    @pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
    @pytest.mark.parametrize("written", [True, False])
    @pytest.mark.parametrize("older", [None, b"older"])
    def test_a_block_that_raises_leaves_an_older_file_as_it_was_and_nothing_else(
        self, path: Path, error: type[BaseException], written: bool, older: bytes | None
    ) -> None:
        if older is not None:
            write_bytes(path, older)

        def fail() -> None:
            with whole_file(path) as partial:
                if written:
                    partial.write_bytes(b"half of the newer")
                raise error

        with pytest.raises(error):
            fail()
        assert files_beside(path) == ([] if older is None else ["file"])
        assert older is None or path.read_bytes() == older

    def test_an_older_file_is_replaced(self, path: Path) -> None:
        write_bytes(path, b"older and longer")
        write_bytes(path, b"newer")
        assert path.read_bytes() == b"newer"
        assert files_beside(path) == ["file"]


class TestUnwritable:
    def test_a_parent_that_is_a_file_is_refused_with_the_path(self, path: Path) -> None:
        path.parent.write_bytes(b"a file where a folder belongs")
        with pytest.raises(ArtifactError, match=re.escape(f"{path}: cannot be written: ")):
            write_bytes(path, b"content")

    def test_a_folder_of_the_same_name_is_refused_with_the_path(self, path: Path) -> None:
        path.mkdir(parents=True)
        with pytest.raises(ArtifactError, match=re.escape(f"{path}: cannot be written: Is a directory")):
            write_bytes(path, b"content")
        assert files_beside(path) == ["file"]

    def test_a_name_that_is_too_long_is_refused_with_the_path(self, tmp_path: Path) -> None:
        path = tmp_path / ("x" * 300)
        with pytest.raises(ArtifactError, match=re.escape(f"{path}: cannot be written: File name too long")):
            write_bytes(path, b"content")

    @pytest.mark.parametrize("older", [None, b"older"])
    def test_a_disk_that_fills_up_leaves_an_older_file_as_it_was_and_nothing_else(
        self, path: Path, older: bytes | None
    ) -> None:
        if older is not None:
            write_bytes(path, older)
        message = re.escape(f"{path}: cannot be written: File too large")
        with pytest.raises(ArtifactError, match=message), room_for_100_bytes():
            write_bytes(path, bytes(1000))
        assert files_beside(path) == ([] if older is None else ["file"])
        assert older is None or path.read_bytes() == older

    def test_a_disk_that_proves_full_when_flushed_leaves_nothing(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_file: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ArtifactError, match=re.escape(f"{path}: cannot be written: No space left on device")):
            write_bytes(path, b"content")
        assert files_beside(path) == []

    def test_the_message_of_an_error_without_a_number_is_shown(self, path: Path) -> None:
        with pytest.raises(ArtifactError, match="the wire was cut"), whole_file(path):
            raise OSError("the wire was cut")


@pytest.fixture(scope="module")
def dead() -> int:
    """The ID of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert process.wait() == 0
    return process.pid


class TestAbandoned:
    """Files that killed processes left half-written."""

    @pytest.mark.parametrize("name", ["vae.safetensors", "losses (1) [a-z]*?.csv", "grüße.json"])
    def test_partial_files_of_dead_processes_are_removed_when_the_file_is_written_again(
        self, tmp_path: Path, name: str, dead: int
    ) -> None:
        path = tmp_path / name
        (tmp_path / f".{name}.{dead}.partial").write_text("half")
        write_bytes(path, b"whole")
        assert path.read_bytes() == b"whole"
        assert files_beside(path) == [name]

    def test_partial_files_of_living_processes_stay(self, tmp_path: Path, dead: int) -> None:
        path = tmp_path / "file"
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            living = {f".file.{number}.partial" for number in (other.pid, os.getppid())}
            for name in (*living, f".file.{dead}.partial"):
                (tmp_path / name).write_text("half")
            write_bytes(path, b"whole")
            assert set(files_beside(path)) == {"file", *living}
            assert other.poll() is None
            other.communicate(b"\n")
        write_bytes(path, b"whole")
        assert files_beside(path) == [f".file.{os.getppid()}.partial", "file"]

    def test_partial_files_of_another_users_processes_stay(
        self, tmp_path: Path, dead: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_process: int, _signal: int) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "kill", refuse)
        (tmp_path / f".file.{dead}.partial").write_text("half")
        write_bytes(tmp_path / "file", b"whole")
        assert files_beside(tmp_path / "file") == [f".file.{dead}.partial", "file"]

    @pytest.mark.parametrize(
        "name",
        [
            ".file.partial",
            ".file..partial",
            ".file.draft.partial",
            ".file.-{dead}.partial",
            ".file.0.partial",
            ".file.²5.partial",
            f".file.{10**30}.partial",
            "file.{dead}.partial",
            ".file.{dead}",
            ".file.{dead}.partial.txt",
            ".other.{dead}.partial",
            ".profile.{dead}.partial",
        ],
    )
    def test_files_with_other_names_stay(self, tmp_path: Path, name: str, dead: int) -> None:
        other = tmp_path / name.format(dead=dead)
        other.write_text("of somebody else")
        write_bytes(tmp_path / "file", b"whole")
        assert other.read_text() == "of somebody else"

    def test_what_a_process_killed_while_writing_leaves_is_removed_by_the_next_one(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        write_bytes(path, b"older")
        script = (
            "import os, signal, sys; from pathlib import Path; from vae.base.artifacts import whole_file\n"
            "with whole_file(Path(sys.argv[1])) as partial:\n"
            "    partial.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
        )
        root = Path(__file__).parents[3]
        killed = subprocess.run([sys.executable, "-c", script, str(path)], cwd=root)
        assert killed.returncode == -signal.SIGKILL
        assert len(files_beside(path)) == 2
        assert path.read_bytes() == b"older"
        write_bytes(path, b"newer")
        assert path.read_bytes() == b"newer"
        assert files_beside(path) == ["file"]


class TestJson:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1 / 3, "0.333333"),
            (123456789.0, "123457000.0"),
            (1.23456789e-12, "1.23457e-12"),
            (0.1 + 0.2, "0.3"),
            (np.float64(1) / 3, "0.333333"),
            (0.0, "0.0"),
            (123456789, "123456789"),
            (True, "true"),
            (None, "null"),
            ("1.23456789", '"1.23456789"'),
        ],
    )
    def test_floats_have_six_significant_digits_and_all_else_stays_as_it_is(
        self, path: Path, value: object, text: str
    ) -> None:
        write_json(path, {"value": value})
        assert path.read_bytes() == f'{{\n  "value": {text}\n}}\n'.encode()

    def test_floats_are_rounded_however_deep_they_lie(self, path: Path) -> None:
        write_json(path, {"test": {"bounds": [1 / 3, (2 / 3, {"kl": 1 / 7})]}}, checked=True)
        assert read_json(path) == {"test": {"bounds": [0.333333, [0.666667, {"kl": 0.142857}]]}}

    def test_what_was_written_is_read_in_its_order(self, path: Path) -> None:
        values = {"b": 1, "a": {"shape": [1, 8, 8], "name": "σ²", "loss": 1.5}, "images": {}}
        write_json(path, values, checked=True)
        assert list(read_json(path).items()) == list(values.items())

    @pytest.mark.parametrize("value", [math.nan, -math.inf, {"kl": [1.0, math.nan]}], ids=str)
    def test_nan_and_infinity_are_refused_and_an_older_file_stays(self, path: Path, value: object) -> None:
        write_json(path, {"loss": 1}, checked=True)
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(path, {"loss": value})
        assert read_json(path) == {"loss": 1}

    def test_a_missing_file_is_refused_with_its_path(self, path: Path) -> None:
        with pytest.raises(ArtifactError, match=re.escape(f"{path}: no such file; run dvc repro")):
            read_json(path)

    @pytest.mark.parametrize(
        "content",
        [b"", b'{"loss": 1', b"[1, 2]", b"\xff\x00\x9c", b'{"loss": 1}', b"[" * 100_000, b"1" * 10_000],
        ids=["empty", "truncated", "list", "no text", "no checksum", "nested too deeply", "too many digits"],
    )
    def test_a_damaged_file_is_refused_with_its_path(self, path: Path, content: bytes) -> None:
        write_bytes(path, content)
        with pytest.raises(ArtifactError, match=re.escape(f"{path}: damaged")):
            read_json(path)

    def test_a_file_with_one_changed_digit_is_refused_and_one_with_other_spaces_is_read(self, path: Path) -> None:
        values = {"epochs": {"loss": [25.125, 24.5]}}
        write_json(path, values, checked=True)
        text = path.read_text()
        path.write_text(text.replace("25.125", "25.135"))
        with pytest.raises(ArtifactError, match="its checksum is wrong"):
            read_json(path)
        path.write_text(" ".join(text.split()))
        assert read_json(path) == values


def test_a_table_has_six_significant_digits_quotes_where_needed_and_empty_cells_for_none(path: Path) -> None:
    rows = [(1, 1 / 3, "a, b"), (2, None, 'the "c"'), (30, 1e-12, "σ²")]
    write_csv(path, ["epoch", "loss", "class"], (row for row in rows))
    assert path.read_bytes().decode() == 'epoch,loss,class\n1,0.333333,"a, b"\n2,,"the ""c"""\n30,1e-12,σ²\n'


@pytest.mark.parametrize("text", ["=1+1", "=cmd|'/C calc'!A0", "+cmd|x", "-2+3+cmd|x", "@SUM(A1)", "\t=1", " =1", "-x"])
def test_a_text_that_a_spreadsheet_would_run_is_written_behind_an_apostrophe(path: Path, text: str) -> None:
    write_csv(path, [text], [[text]])
    assert list(csv.reader(path.read_text().splitlines())) == [[f"'{text}"], [f"'{text}"]]


@pytest.mark.parametrize("text", ["-1", "+0.5", "-1.2 ± 0.1", "1e-3", "-1e-05 ± 2e-06", "a=b", "T-shirt", "", "–"])
def test_numbers_and_other_texts_are_written_as_they_are(path: Path, text: str) -> None:
    write_csv(path, ["value", "other"], [[text, 1]])
    assert list(csv.reader(path.read_text().splitlines()))[1] == [text, "1"]


def test_a_picture_is_a_png_without_metadata_and_the_same_bytes_each_time(path: Path, tmp_path: Path) -> None:
    write_png(path, small_figure())
    write_png(tmp_path / "again.png", small_figure())
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert not re.search(rb"tEXt|iTXt|zTXt|tIME", path.read_bytes())
    assert path.read_bytes() == (tmp_path / "again.png").read_bytes()
