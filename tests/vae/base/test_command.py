"""Exit statuses and messages of commands, in processes of their own."""

import argparse
import signal
import subprocess
import sys
import time

import pytest

from tests.imports import ROOT
from vae.base import command


def python(script: str) -> "subprocess.CompletedProcess[str]":
    header = "import os, signal, sys, time\nfrom vae.base import command\nfrom vae.base.errors import VAEError\n"
    return subprocess.run([sys.executable, "-c", header + script], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("returned", "status"), [("None", 0), ("0", 0), ("3", 3)])
def test_a_command_exits_with_the_status_that_it_returns(returned: str, status: int) -> None:
    assert python(f"command.run('name', lambda: {returned})").returncode == status


def test_an_error_that_the_user_can_fix_is_printed_after_the_name_with_the_status_of_a_failure() -> None:
    script = "def fail(): raise VAEError('too few')\ncommand.run('name', fail, failure=7)"
    result = python(script)
    assert (result.returncode, result.stdout, result.stderr) == (7, "", "name: too few\n")


def test_an_error_message_cannot_control_the_terminal() -> None:
    result = python(r"def fail(): raise VAEError('\x1b[2Ja\u202eb\nc')" "\ncommand.run('name', fail)")
    assert result.stderr == "name: \\x1b[2Ja\\u202eb\nc\n"


def test_an_error_of_the_code_is_shown_with_its_traceback() -> None:
    result = python("command.run('name', lambda: 1 / 0)")
    assert result.returncode == 1
    assert "ZeroDivisionError" in result.stderr


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [(signal.SIGINT, 130, "name: not finished\n"), (signal.SIGTERM, 143, "")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_ends_a_command_after_it_has_cleaned_up(number: int, status: int, message: str) -> None:
    script = f"""
def work():
    try:
        os.kill(os.getpid(), {number})
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
command.run("name", work, interrupted="not finished")
"""
    result = python(script)
    assert (result.returncode, result.stdout, result.stderr) == (status, "cleaned up\n", message)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_that_python_drops_in_a_destructor_is_raised_again(number: int, status: int) -> None:
    script = f"""
class Dropped:
    def __del__(self):
        os.kill(os.getpid(), {number})
        time.sleep(0.01)
def work():
    Dropped()
    print("still running", flush=True)
    time.sleep(60)
command.SECONDS_UNTIL_REPEATED = 1
command.run("name", work)
"""
    start = time.monotonic()
    result = python(script)
    assert result.returncode == status
    assert result.stdout == "still running\n", "the destructor did not drop it"
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [(signal.SIGINT, 130, "name: not finished\n"), (signal.SIGTERM, 143, "")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_that_python_drops_counts_when_the_command_ends_and_no_traceback_is_printed(
    number: int, status: int, message: str
) -> None:
    script = f"""
class Doomed:
    def __del__(self):
        os.kill(os.getpid(), {number})
        for _ in range(1000):
            pass
def work():
    Doomed()
    print("finished", flush=True)
command.run("name", work, interrupted="not finished")
"""
    result = python(script)
    assert (result.returncode, result.stdout, result.stderr) == (status, "finished\n", message)


def test_other_exceptions_that_python_drops_are_still_printed() -> None:
    script = """
class Doomed:
    def __del__(self):
        raise ValueError("dropped")
command.run("name", lambda: Doomed() and None)
"""
    result = python(script)
    assert result.returncode == 0
    assert "ValueError: dropped" in result.stderr


def test_ctrl_c_before_a_command_starts_prints_a_message_and_no_traceback() -> None:
    result = python("command.before_imports('nothing is lost')\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)")
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "nothing is lost\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_while_python_shuts_down_ends_the_process_without_a_traceback(number: int) -> None:
    script = f"""
import atexit
atexit.register(lambda: os.kill(os.getpid(), {number}))
command.run("name", lambda: None)
"""
    result = python(script)
    assert (result.returncode, result.stdout, result.stderr) == (-number, "", "")


def test_a_count_is_a_whole_number_of_at_least_one() -> None:
    assert command.count("1") == 1
    assert command.count("250") == 250


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "ten", "1e3"])
def test_another_text_is_refused_as_a_count_with_what_is_expected(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a whole number of at least 1, got"):
        command.count(text)


def test_a_name_is_one_of_those_known_and_another_is_refused_with_the_choices() -> None:
    part = command.one_of(("storage", "damage"), "part")
    assert part("damage") == "damage"
    with pytest.raises(argparse.ArgumentTypeError, match="no part 'disk'; choose from storage, damage"):
        part("disk")


def test_a_list_of_names_may_be_empty() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", type=command.one_of(("storage",), "part"))
    assert parser.parse_args([]).names == []
