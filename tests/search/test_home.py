"""The workspace that a study starts from."""

import shutil
from pathlib import Path

import pytest

from faults.project import Project
from search.home import HomeError, open_home


@pytest.fixture
def repository(tmp_path: Path) -> Project:
    """A Git repository with a commit, a bare one as origin, and a default DVC remote."""
    found, origin = Project(tmp_path / "project"), tmp_path / "origin.git"
    (found.folder / ".dvc").mkdir(parents=True)
    (found.folder / ".dvc/config").write_text(
        "[core]\n    remote = storage\n['remote \"storage\"']\n    url = /storage\n"
    )
    found.run("git", "init", "--quiet", "--initial-branch=main")
    found.run("git", "init", "--quiet", "--bare", str(origin))
    found.run("git", "remote", "add", "origin", str(origin))
    found.commit("A project")
    found.run("git", "push", "--quiet", "origin", "main")
    return found


def refusal(project: Project, *, other_machines: bool = True) -> str:
    with pytest.raises(HomeError) as error:
        open_home(project.folder, other_machines=other_machines)
    return str(error.value)


def test_other_machines_use_origin_and_the_remote_of_dvc(repository: Project, tmp_path: Path) -> None:
    home = open_home(repository.folder, other_machines=True)
    assert home.commit == repository.run("git", "rev-parse", "HEAD").strip()
    assert (home.repository, home.cache) == (str(tmp_path / "origin.git"), None)
    assert home.job("a-00-seed-0", [], watched=False).push == ()


@pytest.mark.parametrize("other_machines", [True, False])
def test_a_folder_without_a_commit_is_refused(other_machines: bool, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("git", "init", "--quiet")
    assert "no commit to run trials at; commit the project first" in refusal(project, other_machines=other_machines)


@pytest.mark.parametrize("other_machines", [True, False])
def test_uncommitted_changes_are_refused_by_name_but_new_files_are_not(
    other_machines: bool, repository: Project
) -> None:
    (repository.folder / "new.yaml").write_text("a study that is not committed\n")
    assert open_home(repository.folder, other_machines=True).commit
    (repository.folder / ".dvc/config").write_text("")
    assert refusal(repository, other_machines=other_machines).startswith("uncommitted changes (.dvc/config)")


def test_other_machines_need_an_origin(repository: Project) -> None:
    repository.run("git", "remote", "rename", "origin", "elsewhere")
    assert "no Git remote origin" in refusal(repository)


@pytest.mark.parametrize("config", [None, "", "[core]\n    analytics = false\n", "no settings"])
def test_other_machines_need_a_default_dvc_remote_in_the_commit(config: str | None, repository: Project) -> None:
    path = repository.folder / ".dvc/config"
    path.unlink() if config is None else path.write_text(config)
    repository.commit("No remote")
    repository.run("git", "push", "--quiet", "origin", "main")
    assert "no default DVC remote in the committed .dvc/config" in refusal(repository)


def test_other_machines_need_the_commit_on_origin(repository: Project) -> None:
    repository.commit("Not pushed")
    assert "is not on origin, where workers clone it from; git push it first" in refusal(repository)


def test_on_one_machine_workers_share_the_cache_and_files_are_not_pushed(workspace: Project) -> None:
    home = open_home(workspace.folder, other_machines=False)
    assert home.cache == str(workspace.folder / ".dvc/cache")
    assert (
        workspace.run("git", f"--git-dir={home.repository}", "rev-parse", f"study-{home.commit}").strip() == home.commit
    )
    assert workspace.run("git", f"--git-dir={home.repository}", "config", "gc.auto") == "0\n"
    assert home.job("a-00-seed-0", [], watched=False).push == ("--no-cache",)


def test_a_second_study_at_another_commit_uses_the_same_repository(workspace: Project) -> None:
    first = open_home(workspace.folder, other_machines=False)
    workspace.commit("More")
    second = open_home(workspace.folder, other_machines=False)
    assert (first.repository, first.commit != second.commit) == (second.repository, True)


def test_stages_get_the_threads_of_the_workspace_and_the_identity_of_the_user(repository: Project) -> None:
    repository.run("git", "config", "user.name", "Somebody")
    environment = open_home(repository.folder, other_machines=True).job("a", [], watched=False).environment
    assert environment["GIT_AUTHOR_NAME"] == environment["GIT_COMMITTER_NAME"] == "Somebody"
    assert "OMP_NUM_THREADS" in environment


def test_why_an_experiment_cannot_be_pulled_is_one_line(workspace: Project) -> None:
    home = open_home(workspace.folder, other_machines=False)
    assert home.pull("no-such-experiment") == f"{home.repository} has no no-such-experiment"
    shutil.rmtree(home.repository)
    problem = home.pull("no-such-experiment")
    assert "repository.git" in problem
    assert "\n" not in problem


def test_an_experiment_is_found_by_name_at_the_commit_of_the_study_whatever_the_workspace_is_at(
    repository: Project,
) -> None:
    home = open_home(repository.folder, other_machines=True)
    assert home.experiment("a-00-seed-0") is None
    repository.run("git", "update-ref", f"refs/exps/{home.commit[:2]}/{home.commit[2:]}/a-00-seed-0", "HEAD")
    repository.commit("The work goes on")
    assert home.experiment("a-00-seed-0") == home.commit
    assert home.experiment("a-00-seed-1") is None
