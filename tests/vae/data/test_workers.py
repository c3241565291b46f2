"""A function applied on all cores."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from vae.base.artifacts import ArtifactError
from vae.data import workers
from vae.data.workers import WorkerError, forked_map


@pytest.fixture(autouse=True, params=[1, 3])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    count: int = request.param
    monkeypatch.setattr(workers, "available_cores", lambda: count)
    return count


def square_and_process(number: int) -> tuple[int, int]:
    time.sleep(0.01 if number == 0 else 0)
    return number**2, os.getpid()


@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_results_are_in_the_order_of_the_arguments_and_come_from_as_many_processes_as_there_are_cores(
    count: int, cores: int
) -> None:
    results = list(forked_map(square_and_process, range(count)))
    assert [square for square, _ in results] == [number**2 for number in range(count)]
    assert len({process for _, process in results}) == min(cores, count)


def fail_at(number: int, error: Callable[[], object]) -> Callable[[int], int]:
    def function(argument: int) -> int:
        if argument == number:
            error()
        return argument

    return function


def disk_is_full() -> None:
    raise ArtifactError("the disk is full")


def test_an_error_is_raised_in_its_place_after_the_results_before_it() -> None:
    results = forked_map(fail_at(5, disk_is_full), range(20))
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(ArtifactError, match=r"^the disk is full$"):
        next(results)


@pytest.mark.parametrize("death", [lambda: os._exit(0), lambda: os.kill(os.getpid(), signal.SIGKILL)])
def test_a_process_that_dies_is_an_error_and_no_endless_wait(death: Callable[[], object], cores: int) -> None:
    if cores > 1:
        with pytest.raises(WorkerError, match="crashed, or was killed because memory ran out"):
            list(forked_map(fail_at(5, death), range(20)))


def test_processes_end_when_no_more_results_are_wanted(cores: int) -> None:
    with closing(forked_map(square_and_process, range(10_000))) as results:
        processes = {next(results)[1] for _ in range(2 * cores)} - {os.getpid()}
    assert len(processes) == (cores if cores > 1 else 0)
    for process in processes:
        assert not Path(f"/proc/{process}").exists()


def test_an_interruption_of_the_whole_group_is_handled_by_the_parent_alone(
    cores: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """As Ctrl-C does; the other processes neither print a traceback nor stop early."""
    if cores > 1:
        interrupt = fail_at(5, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert list(forked_map(interrupt, range(20))) == list(range(20))
        assert capfd.readouterr().err == ""


def test_what_libraries_print_as_errors_is_not_shown(cores: int, capfd: pytest.CaptureFixture[str]) -> None:
    if cores > 1:
        list(forked_map(lambda _: os.write(2, b"a warning"), range(4)))
        assert capfd.readouterr().err == ""
