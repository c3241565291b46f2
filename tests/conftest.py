import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from playwright.sync_api import Browser

from faults.project import SMALL, Project, copy_project
from tests.browser import running_browser
from vae.base.runtime import SAME_ON_EVERY_MACHINE

# Tests compute little, so that distributing work to threads would take longer than the work itself.
torch.set_num_threads(1)
# Tests run in parallel. Waiting threads of stages must not take the cores from other tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


LOG = "repro.log"
ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

# Tests that use DVC, separate processes or a browser. `make quick` skips them, and all tests that are marked as slow.
SLOW_FIXTURES = {"project", "reproduced", "workspace", "clone", "browser", "prepared_project"}
SLOW_FILES = (
    "tests/pipeline/",
    "tests/stages/test_entry.py",
    "tests/stages/test_interruption.py",
    "tests/test_makefile.py",
    "tests/workspace/",
)

# The files that take longest run first, so that at the end no process waits for one of them. The second one does not
# need the reproduced project, so it runs while that is made.
LONGEST_FILES = (
    "tests/pipeline/test_pipeline.py",
    "tests/pipeline/test_one_loss.py",
    "tests/search/test_command.py",
    "tests/pipeline/test_queue.py",
    "tests/pipeline/test_processes.py",
    "tests/faults/test_faults.py",
    "tests/stages/test_interruption.py",
    "tests/vae/explorer/test_explorer_in_browser.py",
    "tests/calibration/test_ladders.py",
    "tests/pipeline/test_sharing.py",
    "tests/vae/training/test_engine.py",
    "tests/stages/test_dvc_yaml.py",
    "tests/stages/test_own_images.py",
    "tests/faults/test_machines.py",
    "tests/stages/test_entry.py",
    "tests/test_makefile.py",
    "tests/pipeline/test_stages_on_cuda.py",
    "tests/vae/explorer/test_page.py",
    "tests/review/test_compare.py",
    "tests/vae/training/test_waiting.py",
    "tests/review/test_report.py",
    "tests/review/test_experiments.py",
    "tests/stages/test_threads.py",
    "tests/vae/training/test_loop.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, and run the files that take longest first."""
    places = {name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::")[0], len(places)))
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & SLOW_FIXTURES or item.nodeid.startswith(SLOW_FILES):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def instructions() -> Iterator[None]:
    """Undo the variables that a stage sets for the libraries of its process, if it runs in the process of the tests."""
    before = {name: os.environ.get(name) for name in SAME_ON_EVERY_MACHINE}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the project with small parameters, before any run."""
    copy = copy_project(tmp_path / "project")
    copy.set(SMALL)
    return copy


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project with small parameters, reproduced and committed. Tests must not change it.

    It is reproduced in a path with a space and in an ASCII locale, so that all stages are tested in these surroundings.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # shared by all workers
        folder = folder.parent
    with FileLock(folder / "reproduced.lock"):
        copy = Project(folder / "reproduced" / "project")
        if not copy.folder.exists():
            unfinished = copy_project(folder / "un finished")
            unfinished.set(SMALL)
            log = unfinished.run("dvc", "repro", env=ASCII_LOCALE)
            unfinished.commit("Reproduced with small parameters")
            copy.folder.parent.mkdir()
            copy.folder.with_name(LOG).write_text(log, encoding="utf-8")
            unfinished.folder.rename(copy.folder)
    return copy


@pytest.fixture
def log_of_reproduced(reproduced: Project) -> str:
    """What ``dvc repro`` printed in the reproduced project, in an ASCII locale."""
    return reproduced.folder.with_name(LOG).read_text(encoding="utf-8")


@pytest.fixture
def workspace(reproduced: Project, tmp_path: Path) -> Project:
    """A copy of the reproduced project and its DVC cache, which a test may change."""
    return Project(shutil.copytree(reproduced.folder, tmp_path / "workspace", symlinks=True))


@pytest.fixture
def clone(reproduced: Project, tmp_path: Path) -> Project:
    """A clone of the reproduced project: everything in Git, an empty DVC cache."""
    copy = Project(tmp_path / "clone")
    reproduced.run("git", "clone", "--quiet", str(reproduced.folder), str(copy.folder))
    return copy


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium without network access."""
    with running_browser() as chromium:
        yield chromium
