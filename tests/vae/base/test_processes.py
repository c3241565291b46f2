"""Processes that compute together: what each is told, and errors. tests/pipeline/test_processes.py starts some."""

from pathlib import Path

import pytest
import torch

from vae.base import collective, processes
from vae.base.artifacts import write_bytes
from vae.base.collective import ProcessError
from vae.base.errors import VAEError
from vae.base.runtime import DeviceError, device, threads

SECOND_OF_FOUR = {
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "node",
    "MASTER_PORT": "1",
}


@pytest.fixture
def second_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchrun tells the second process of four, two on each of two machines."""
    for name, value in SECOND_OF_FOUR.items():
        monkeypatch.setenv(name, value)


def request(monkeypatch: pytest.MonkeyPatch, value: str, accelerators: int = 0) -> None:
    monkeypatch.setenv("VAE_PROCESSES", value)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: accelerators)


def test_a_process_that_was_started_alone_is_the_first_and_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")  # without the rest, it is not torchrun's
    numbers = processes.count(), processes.number(), processes.local_count(), processes.local_number()
    assert numbers == (1, 0, 1, 0)
    assert processes.is_first()


@pytest.mark.usefixtures("second_of_four")
def test_a_process_knows_its_number_and_how_many_there_are_from_torchrun() -> None:
    numbers = processes.count(), processes.number(), processes.local_count(), processes.local_number()
    assert numbers == (4, 1, 2, 0)
    assert not processes.is_first()


def test_a_single_process_computes_all_items_by_itself() -> None:
    assert collective.shared([3, 1, 2], lambda item: item * 10) == [30, 10, 20]
    assert collective.from_first(lambda: "read") == "read"


@pytest.mark.usefixtures("second_of_four")
def test_only_the_first_process_writes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "folder" / "file", b"content")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("RANK", "0")
    write_bytes(tmp_path / "folder" / "file", b"content")
    assert (tmp_path / "folder" / "file").read_bytes() == b"content"


@pytest.mark.parametrize(("wanted", "hides"), [(True, None), (False, True)])
def test_only_the_first_process_shows_progress_and_only_if_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, *, wanted: bool, hides: bool | None
) -> None:
    assert processes.hides_progress(wanted=wanted) is hides
    for name, value in SECOND_OF_FOUR.items():
        monkeypatch.setenv(name, value)
    assert processes.hides_progress(wanted=wanted) is True


@pytest.mark.parametrize(
    ("value", "accelerators", "shards", "expected"),
    [
        ("", 8, 8, 1),
        ("1", 0, 1, 1),
        ("3", 0, 6, 3),
        ("3", 0, None, 3),
        ("auto", 0, 8, 1),
        ("auto", 8, 1, 1),
        ("auto", 8, 6, 6),
        ("auto", 4, 6, 3),
        ("auto", 8, None, 8),
    ],
)
def test_as_many_processes_as_requested_or_as_accelerators_can_share_the_shards(
    monkeypatch: pytest.MonkeyPatch, value: str, accelerators: int, shards: int | None, expected: int
) -> None:
    request(monkeypatch, value, accelerators)
    assert collective.requested(shards) == expected


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    request(monkeypatch, value)
    with pytest.raises(ProcessError, match=f"VAE_PROCESSES={value}: expected a whole number from 1, or auto"):
        collective.requested(None)


@pytest.mark.parametrize("by_torchrun", [True, False])
def test_processes_that_cannot_share_the_shards_equally_are_refused(
    monkeypatch: pytest.MonkeyPatch, *, by_torchrun: bool
) -> None:
    request(monkeypatch, "4")
    for name, value in SECOND_OF_FOUR.items() if by_torchrun else ():
        monkeypatch.setenv(name, value)
    message = "4 processes cannot share train.shards=6 equally; set it to a multiple of 4, or start fewer processes"
    with pytest.raises(ProcessError, match=message), collective.together("no.module", shards=6):
        pytest.fail("unreachable")


def test_a_process_that_does_not_start_is_reported(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    request(monkeypatch, "2")
    with pytest.raises(ProcessError, match="did not start: process 1 with status 1"), collective.together("no.module"):
        pytest.fail("unreachable")
    assert processes.count() == 1
    assert "No module named" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("Read error: Connection reset by peer", "one of the 1 processes has ended, so the others cannot go on$"),
        ("NCCL error: unhandled system error", "cannot exchange results: NCCL error: unhandled system error"),
    ],
)
def test_a_failed_exchange_is_an_error_without_the_internals_of_the_library(reason: str, message: str) -> None:
    with pytest.raises(ProcessError, match=message), collective.exchanging():
        raise RuntimeError(reason)


@pytest.mark.usefixtures("second_of_four")
@pytest.mark.parametrize(("error", "status"), [(VAEError("wrong"), 1), (KeyboardInterrupt(), 130)])
def test_a_process_other_than_the_first_ends_silently_on_an_error_that_the_first_reports(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int
) -> None:
    with pytest.raises(SystemExit) as exit_, collective.together("no.module"):
        raise error
    assert exit_.value.code == status
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("cores", "expected"), [(8, 4), (3, 1), (1, 1)])
@pytest.mark.usefixtures("second_of_four")
def test_processes_share_the_cores_of_their_machine(monkeypatch: pytest.MonkeyPatch, cores: int, expected: int) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert threads() == expected


@pytest.mark.parametrize("requested", ["", "cuda"])
def test_each_process_of_a_machine_has_an_accelerator_of_its_own(
    monkeypatch: pytest.MonkeyPatch, requested: str
) -> None:
    for name, value in {**SECOND_OF_FOUR, "LOCAL_RANK": "1", "VAE_DEVICE": requested}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert device() == torch.device("cuda:1")
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="2 processes need as many cuda devices, but this machine has 1"):
        device()
