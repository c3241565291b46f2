"""Check that imports follow the order of ``vae.FOLDERS``, then stages/, review/, workspace/, search/ and scoring/."""

import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.imports import FOR_USERS, ROOT, imported_modules, module_file, modules_imported_by_name
from vae import FOLDERS

ORDER = (*(f"vae/{folder}" for folder in FOLDERS), "stages", "review", "workspace", "search", "scoring")
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("vae", "stages", "review", "workspace", "search", "scoring")
    for path in (ROOT / package).rglob("*.py")
)


def folder(file: str) -> str:
    """The folder of ``ORDER`` that contains a file; ``vae`` for vae/__init__.py."""
    parts = file.split("/")
    return "/".join(parts[: 2 if parts[0] == "vae" and len(parts) > 2 else 1])


def imported_by(file: str) -> set[str]:
    """The project's files that a file imports."""
    return {found for name in imported_modules(ROOT / file) if (found := module_file(name))} - {file}


def test_the_order_of_imports_contains_every_folder_of_the_library() -> None:
    assert {folder(file) for file in FILES} == {"vae", *ORDER}


@pytest.mark.parametrize("file", FILES)
def test_a_module_imports_only_from_its_own_folder_and_those_before_it(file: str) -> None:
    by_name = {found for name in modules_imported_by_name(ROOT / file) if (found := module_file(name))}
    for imported in imported_by(file) | by_name:
        allowed = ["vae/use"] if file == FOR_USERS else ORDER[: ORDER.index(folder(file)) + 1]
        assert folder(imported) in {"vae", *allowed}, imported


def test_there_are_no_circular_imports() -> None:
    TopologicalSorter(
        {file: imported_by(file) for file in FILES}
    ).prepare()  # raises CycleError, which lists the modules


@pytest.mark.parametrize("file", [file for file in FILES if folder(file) == "vae/figures"])
def test_figures_do_not_import_torch(file: str) -> None:
    assert "torch" not in {name.split(".")[0] for name in imported_modules(ROOT / file)}


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("vae/")])
def test_the_library_does_not_import_the_stages_the_review_or_dvc(file: str) -> None:
    names = {name.split(".")[0] for name in imported_modules(ROOT / file)}
    assert not names & {"stages", "review", "workspace", "search", "scoring", "dvc", "dvclive"}


def test_no_module_of_the_library_or_the_stages_calls_what_the_package_offers_to_users() -> None:
    for file in FILES:
        if file.startswith(("vae/", "stages/")):
            assert not {"vae", "vae.load"} & {*imported_modules(ROOT / file)}, file


def test_importing_the_package_imports_no_other_package() -> None:
    script = "import sys; before = set(sys.modules); import vae; print(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-c", script]
    added = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {name.split(".")[0] for name in added} <= {"vae", *sys.stdlib_module_names}
