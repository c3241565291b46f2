from pathlib import Path

import pytest

from faults.project import Project
from review.folders import whole_folder
from vae.base.artifacts import ArtifactError


def write(path: Path, **files: str) -> None:
    with whole_folder(path) as folder:
        for name, text in files.items():
            (folder / name).write_text(text)


def shown(path: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in path.iterdir() if not each.name.startswith(".")}


def test_a_new_report_replaces_the_whole_folder_of_the_last_report(tmp_path: Path) -> None:
    write(tmp_path / "report", old="1", both="1")
    write(tmp_path / "report", both="2")
    assert shown(tmp_path / "report") == {"both": "2"}
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_an_error_while_writing_leaves_the_earlier_folder_unchanged(tmp_path: Path) -> None:
    write(tmp_path / "report", old="1")
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "report") as folder:
        (folder / "new").write_text(str(1 / 0))
    assert shown(tmp_path / "report") == {"old": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_git_does_not_see_a_folder_of_results_wherever_it_is(clone: Project) -> None:
    write(clone.folder / "elsewhere/report", page="1")
    assert clone.run("git", "status", "--porcelain", "--untracked-files=all") == ""


def test_a_folder_that_was_not_written_by_these_commands_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="choose another"):
        write(tmp_path, new="1")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
