"""``make gpu`` with stand-ins for its parts, on machines without a CUDA device."""

import json
import sys
from pathlib import Path
from shlex import quote
from time import monotonic

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import NoCudaError, Part, Result, parts, report, require_card, run_parts
from tests.imports import ROOT
from tests.pretended_device import NAME, pretended_cuda

CARD = {"card": "H100", "driver": "580.1", "CUDA": "13.2", "cuDNN": 92600, "PyTorch": "2.15", "commit": "abc"}
WORKS = Part("works", "echo all well", 1)
FAILS = Part("fails", "echo what went wrong >&2; exit 3", 1)


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.usefixtures("without_cuda")
def test_without_a_cuda_device_one_line_says_so_and_the_status_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "FOLDER", tmp_path / "gpu")
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("make gpu: no CUDA device: PyTorch ")
    assert not (tmp_path / "gpu").exists()


@pytest.mark.usefixtures("without_cuda")
def test_a_missing_card_is_an_error_that_names_the_document() -> None:
    with pytest.raises(NoCudaError, match=r"docs/performance\.md"):
        require_card()


@pytest.mark.usefixtures("with_cuda")
def test_the_card_is_described_by_its_name_and_the_versions_of_driver_cuda_and_cudnn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 92600)
    with pretended_cuda():
        card = require_card()
    assert list(card) == ["card", "driver", "CUDA", "cuDNN", "PyTorch", "commit"]
    assert card["card"] == NAME
    assert all(card.values())


def test_a_part_that_fails_does_not_stop_the_others_and_each_has_a_log(tmp_path: Path) -> None:
    results = run_parts([FAILS, WORKS], tmp_path, 60)
    assert [(result.part.name, result.status) for result in results] == [("fails", 3), ("works", 0)]
    assert (tmp_path / "fails.log").read_text() == "what went wrong\n"
    assert (tmp_path / "works.log").read_text() == "all well\n"


@pytest.mark.parametrize(("minutes", "seconds"), [(0.005, 60.0), (1.0, 0.3)], ids=["of the part", "of all parts"])
def test_a_part_that_takes_too_long_is_stopped_with_everything_that_it_started(
    minutes: float, seconds: float, tmp_path: Path
) -> None:
    start = monotonic()
    mark = tmp_path / "mark"
    slow = Part("slow", f"(sleep 1; touch '{mark}') & wait", minutes)
    (result,) = run_parts([slow], tmp_path, seconds)
    assert monotonic() - start < 0.9
    assert result.status is None
    assert result.outcome == "stopped: too long"
    while monotonic() - start < 1.3:
        pass
    assert not mark.exists()


def test_a_part_that_takes_too_long_may_say_what_it_has_found(tmp_path: Path) -> None:
    """As pytest does, which lists its failures when it is interrupted."""
    says_so = "trap 'echo 2 failures so far; exit 1' INT; sleep 60 & wait"
    (result,) = run_parts([Part("slow", says_so, 0.005)], tmp_path, 60)
    assert result.outcome == "stopped: too long"
    assert (tmp_path / "slow.log").read_text() == "2 failures so far\n"


def test_a_part_that_does_not_end_when_it_is_interrupted_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "SECONDS_TO_END", 0.3)
    start = monotonic()
    (result,) = run_parts([Part("deaf", "trap '' INT; sleep 60; sleep 60", 0.005)], tmp_path, 60)
    assert result.status is None
    assert monotonic() - start < 5


def test_the_report_has_the_card_each_outcome_tables_metrics_and_the_logs_of_failures(tmp_path: Path) -> None:
    metrics = tmp_path / "mnist" / "metrics"
    metrics.mkdir(parents=True)
    (metrics / "evaluate.json").write_text(json.dumps({"test": {"negative_elbo": 99.5}}))
    (tmp_path / "benchmarks.log").write_text("training: 2 of 2 goals met\n\n| what | measured |\n| epoch | 0.02 s |\n")
    (tmp_path / "fails.log").write_text("many words\nwhat went wrong\n")
    text = report(CARD, [Result(WORKS, 0, 61.4), Result(FAILS, 3, 2.0)], tmp_path)
    for line in (
        "# H100",
        "- driver: 580.1",
        "- cuDNN: 92600",
        "| works | passed | 61 | [works.log](works.log) |",
        "| fails | status 3 | 2 | [fails.log](fails.log) |",
        "| epoch | 0.02 s |",
        "| evaluate.test.negative_elbo | 99.5 |",
        "## fails: status 3",
        "what went wrong",
    ):
        assert line in text.splitlines()
    assert "## works" not in text


def test_a_report_of_parts_that_left_nothing_can_be_written(tmp_path: Path) -> None:
    assert "no tables" in report(CARD, [Result(FAILS, None, 0.0)], tmp_path)


@pytest.mark.usefixtures("with_cuda")
@pytest.mark.parametrize(("chosen", "status"), [([WORKS], 0), ([FAILS, WORKS], 1)], ids=["all pass", "one fails"])
def test_the_status_is_1_if_a_part_failed_and_the_report_is_written_in_either_case(
    chosen: list[Part], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "parts", lambda _: chosen)
    monkeypatch.setattr(gpu, "require_card", lambda: CARD)
    assert gpu._main(tmp_path / "gpu") == status
    assert (tmp_path / "gpu" / "report.md").exists()
    assert json.loads((tmp_path / "gpu" / "machine.json").read_text()) == CARD


def test_the_parts_run_all_tests_the_benchmarks_and_mnist_within_half_an_hour(tmp_path: Path) -> None:
    named = {part.name: part.command for part in parts(tmp_path)}
    assert list(named) == ["device-tests", "mnist", "benchmarks", "all-tests"]
    assert named["all-tests"].endswith("-m pytest -q --numprocesses auto --dist loadfile")
    assert f"{quote(sys.executable)} -m benchmarks --output {tmp_path}/benchmarks.json" in named["benchmarks"]
    assert "recipes/mnist" in named["mnist"]
    assert gpu.MINUTES < 30


def test_the_tests_of_the_device_exist_and_include_all_that_need_cuda() -> None:
    paths = [ROOT / name for name in gpu.DEVICE_TESTS.split()]
    assert all(path.exists() for path in paths)
    files = {file for path in paths for file in ([path] if path.is_file() else path.rglob("test_*.py"))}
    needing = {file for file in (ROOT / "tests").rglob("test_*.py") if "needs_cuda" in file.read_text(encoding="utf-8")}
    assert needing - {Path(__file__)} <= files


def test_git_ignores_the_folder_of_the_report() -> None:
    assert "/gpu/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
