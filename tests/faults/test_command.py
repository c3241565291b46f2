"""``python -m faults`` as a user calls it, with parts that provoke nothing."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import __main__ as command
from faults.material import Material
from faults.outcome import Outcome
from faults.project import Project


def good(_material: Material, cases: int) -> Iterator[Outcome]:
    for _ in range(cases):
        yield Outcome("a fault", "train", "the same bytes")


def bad(_material: Material, _cases: int) -> Iterator[Outcome]:
    yield Outcome("another fault", "train", "other bytes", "metrics/train.json differs")


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two parts, a document for them, and a place for copies of the project."""
    monkeypatch.setattr(command, "PARTS", {"good": good, "bad": bad})
    monkeypatch.setattr(command, "PAGE", tmp_path / "reliability.md")
    comments = "".join(f"<!-- {part}: begin -->\n<!-- {part}: end -->\n" for part in ("good", "bad"))
    command.PAGE.write_text(comments)
    nothing = Project(tmp_path)
    monkeypatch.setattr(command, "prepared", lambda folder: Material(folder, nothing, nothing))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["faults", *arguments])
    command.main()


def test_a_part_prints_each_outcome_and_a_table_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    call(monkeypatch, "good", "--cases", "2")
    printed = capsys.readouterr().out
    assert "good 2/2: a fault, train: the same bytes\n" in printed
    assert "`python -m faults good --cases 2`: 2 cases in 1 min, none of them wrong." in printed
    assert "| a fault" in printed
    assert "a fault" not in command.PAGE.read_text()
    assert not list((tmp_path / "copies").iterdir())


def test_a_broken_promise_is_status_1_and_keeps_the_copies_of_the_project(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch)
    assert caught.value.code == 1
    printed = capsys.readouterr()
    assert "WRONG: metrics/train.json differs\n" in printed.out
    (kept,) = (tmp_path / "copies").iterdir()
    assert f"1 broke a promise; the copies of the project are kept in {kept}" in printed.err


def test_tables_are_written_to_the_document_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch, "good", "--cases", "3", "--write")
    first, second = command.PAGE.read_text().split("<!-- bad: begin -->")
    assert "`python -m faults good --cases 3`" in first
    assert second == "\n<!-- bad: end -->\n"


@pytest.mark.parametrize(
    ("arguments", "word"), [(["fire"], "choose from good, bad"), (["--cases", "0"], "a whole number of at least 1")]
)
def test_an_error_on_the_command_line_is_explained(
    arguments: list[str], word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, *arguments)
    assert caught.value.code == 2
    assert word in capsys.readouterr().err
