"""``python -m calibration`` as a user calls it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torchvision.datasets

from calibration import __main__ as command
from calibration import material
from calibration.ladder import Ladder
from vae.base import runtime

UNREACHABLE = "http://127.0.0.1:9/"  # the discard service, which no machine runs any more


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave PyTorch's settings as they are, for the tests that follow."""
    monkeypatch.setattr(runtime, "configure", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["calibration", *arguments])
    command.main()


@pytest.mark.slow
def test_all_ladders_on_the_digits_are_a_page_with_a_table_for_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(material.KINDS, "digits", lambda: replace(material.digits(), epochs=50))
    monkeypatch.setattr(material, "STEPS", 100)
    output = tmp_path / "calibration.md"
    call(monkeypatch, "--data", "digits", "--output", str(output))
    text = output.read_text(encoding="utf-8")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        ladder.title for ladder in command.LADDERS.values()
    ]
    assert text.count("| digits") == len(command.LADDERS)
    assert text.count("\nHealthy: ") == len(command.LADDERS)


def test_a_part_of_the_ladders_is_printed_and_leaves_the_page_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "PAGE", tmp_path / "docs" / "calibration.md")
    call(monkeypatch, "blur", "--data", "digits")
    assert "\n## Blur\n" in capsys.readouterr().out
    assert not command.PAGE.exists()


def test_everything_is_written_to_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "PAGE", tmp_path / "docs" / "calibration.md")
    monkeypatch.setattr(command, "DEFAULT_KINDS", ("digits",))
    monkeypatch.setattr(command, "LADDERS", {"nothing": Ladder("Nothing", "", "", (), lambda _: {})})
    call(monkeypatch)
    assert "\n## Nothing\n" in command.PAGE.read_text(encoding="utf-8")
    assert str(command.PAGE) in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # torchvision leaves connections open
def test_without_the_archives_of_mnist_the_error_names_the_folder_and_how_to_do_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAE_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [UNREACHABLE])
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch)
    message = capsys.readouterr().err
    assert caught.value.code == 1
    assert message.startswith("calibration: ")
    assert "VAE_DATA_HOME" in message
    assert str(tmp_path) in message
    assert "--data digits" in message


@pytest.mark.parametrize(
    ("arguments", "word"), [(["speed"], "choose from samples"), (["--data", "cifar"], "invalid choice")]
)
def test_an_error_on_the_command_line_is_explained(
    arguments: list[str], word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, *arguments)
    assert caught.value.code == 2
    assert word in capsys.readouterr().err
