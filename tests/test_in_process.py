"""A command that runs in the process of a test leaves nothing to the tests after it."""

import os
import sys
from pathlib import Path

from faults.project import Project
from tests import in_process
from vae.base import runtime


def command() -> int:
    runtime.configure()
    sys.stdout.write(f"{os.environ['MKL_CBWR']} {Path.cwd().name}\n")
    return 0


def test_a_command_leaves_the_variables_and_the_folder_of_the_process_as_they_were(tmp_path: Path) -> None:
    before, folder = dict(os.environ), Path.cwd()
    (tmp_path / "project").mkdir()
    assert in_process.run(Project(tmp_path / "project"), command) == "AUTO project\n"
    assert dict(os.environ) == before
    assert Path.cwd() == folder
