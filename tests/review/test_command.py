"""What all commands of ``review`` have in common."""

import subprocess
import sys

import pytest

from tests.imports import ROOT

PLAIN_ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def python(script: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True)


def test_characters_that_a_terminal_cannot_show_are_printed_as_question_marks() -> None:
    script = r"from review import command; command.run(lambda: print('3 \u00b1 1 \u2192 \u03b2') or 0)"
    result = python(script, PLAIN_ASCII)
    assert (result.returncode, result.stdout, result.stderr) == (0, "3 ? 1 ? ?\n", "")


def test_an_error_that_the_user_can_fix_is_printed_without_a_traceback_and_exits_with_2() -> None:
    script = r"""
from review import command
from review.limits import LimitsError
def fail(): raise LimitsError("\u03b2: no such metric")
command.run(fail)
"""
    result = python(script, PLAIN_ASCII)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "?: no such metric\n")


@pytest.mark.parametrize("module", ["gate", "report", "plots_page", "comment"])
def test_commands_that_need_no_experiments_start_without_slow_packages(module: str) -> None:
    script = f"import sys, review.{module}; print({{'pandas', 'torch', 'dvc', 'jinja2'}} & set(sys.modules))"
    assert python(script).stdout == "set()\n"


def test_the_table_of_experiments_starts_without_torch_and_matplotlib() -> None:
    script = "import sys, review.experiments; print({'torch', 'matplotlib', 'dvc'} & set(sys.modules))"
    assert python(script).stdout == "set()\n"
