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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests."""
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
        os.environ.pop(name, None)
        if value is not None:
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
