"""The workspace that a study starts from, and the repository through which experiments come home to it."""

import subprocess
import sys
from collections.abc import Sequence
from configparser import ConfigParser, Error
from dataclasses import dataclass
from pathlib import Path

from search import WORKSPACE_VARIABLES
from search.trial import Job
from vae.base.errors import VAEError, shortened
from workspace.git import GitError, git

STUDIES = Path(".dvc/tmp/studies")
ORIGIN = "origin"  # the Git remote through which other machines send experiments
COLLECTION_OFF = {"gc.auto": "0", "maintenance.auto": "false", "receive.autogc": "false"}  # see search/trial.py
SHOWN = 5  # changed files that an error names


class HomeError(VAEError):
    """The workspace cannot be the start of a study, or an experiment cannot be brought to it."""


@dataclass(frozen=True)
class Home:
    """A clean workspace.

    Attributes:
        folder: of the project.
        commit: at which trials run.
        repository: the path or the address of the Git repository between workers and the workspace.
        cache: the DVC cache that workers on this machine share; None if they send files through DVC's remote.
        identity: the variables that tell Git who commits experiments.
    """

    folder: Path
    commit: str
    repository: str
    cache: str | None
    identity: dict[str, str | None]

    def job(self, name: str, options: Sequence[str], *, watched: bool) -> Job:
        """An experiment for a worker to run."""
        return Job(
            name,
            options,
            self.repository,
            self.commit,
            self.cache,
            {**WORKSPACE_VARIABLES, **self.identity},
            self._without_files,
            watched,
        )

    def experiment(self, name: str) -> str | None:
        """The commit of an experiment in the workspace that began at this study's commit, or None."""
        try:
            return git(self.folder, "rev-parse", "--verify", "--quiet", self._reference(name))
        except GitError:
            return None

    def pull(self, name: str) -> str:
        """Bring an experiment to the workspace; why it is not possible, or an empty text."""
        options = ("--force", *self._without_files, self.repository, self._reference(name))
        result = subprocess.run(
            [sys.executable, "-m", "dvc", "exp", "pull", *options],
            cwd=self.folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if result.returncode:
            return shortened(result.stderr)
        return "" if self.experiment(name) else f"{self.repository} has no {name}"  # where DVC succeeds, too

    def _reference(self, name: str) -> str:
        """The whole name, which is the same whatever the workspace's commit is by now."""
        return f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/{name}"

    @property
    def _without_files(self) -> Sequence[str]:
        """Options of ``dvc exp push`` and ``pull`` where both sides have the same cache."""
        return ("--no-cache",) if self.cache else ()


def open_home(folder: Path, *, other_machines: bool) -> Home:
    """Check the workspace and prepare the repository.

    Raises:
        HomeError: there are uncommitted changes or no commit, or other machines lack a remote to use.
    """
    try:
        commit = git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except GitError as error:
        raise HomeError(f"{folder.resolve()}: no commit to run trials at; commit the project first") from error
    if changes := git(folder, "status", "--porcelain", "--untracked-files=no").splitlines():
        names = ", ".join(line[3:] for line in changes[:SHOWN]) + ", …" * (len(changes) > SHOWN)
        raise HomeError(
            f"uncommitted changes ({names}): trials run at a commit, so they would not have them; commit them, or go "
            "back with git checkout and make back"
        )
    identity = _identity(folder)
    if other_machines:
        return Home(folder, commit, _common_remote(folder, commit), None, identity)
    repository = (folder / STUDIES / "repository.git").resolve()
    if not repository.exists():
        git(folder, "init", "--quiet", "--bare", str(repository))
        for setting, value in COLLECTION_OFF.items():
            git(repository, "config", setting, value)
    git(folder, "push", "--quiet", "--force", str(repository), f"{commit}:refs/heads/study-{commit}")
    return Home(folder, commit, str(repository), _cache(folder), identity)


def _common_remote(folder: Path, commit: str) -> str:
    """The address of ``origin``, which must have the commit, and the commit a default DVC remote."""
    try:
        address = git(folder, "remote", "get-url", ORIGIN)
    except GitError as error:
        raise HomeError(
            f"no Git remote {ORIGIN}: workers on other machines clone the project from it; git remote add {ORIGIN} URL"
        ) from error
    settings = ConfigParser(strict=False, interpolation=None)
    try:
        settings.read_string(git(folder, "show", f"{commit}:.dvc/config"))
        settings.get("core", "remote")
    except (GitError, Error) as error:
        raise HomeError(
            "no default DVC remote in the committed .dvc/config: workers on other machines send data and models "
            "through it; dvc remote add --default storage URL, and commit"
        ) from error
    if not git(folder, "ls-remote", ORIGIN) or not _is_on(folder, commit):
        raise HomeError(f"commit {commit[:7]} is not on {ORIGIN}, where workers clone it from; git push it first")
    return address


def _is_on(folder: Path, commit: str) -> bool:
    git(folder, "fetch", "--quiet", ORIGIN)
    return bool(git(folder, "branch", "--remotes", "--list", f"{ORIGIN}/*", "--contains", commit))


def _cache(folder: Path) -> str:
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        return str(repo.cache.local_cache_dir)


def _identity(folder: Path) -> dict[str, str | None]:
    """Who commits, as far as Git's settings say."""
    found: dict[str, str | None] = {}
    for what in ("name", "email"):
        try:
            value = git(folder, "config", f"user.{what}")
        except GitError:
            continue
        found |= {f"GIT_{role}_{what.upper()}": value for role in ("AUTHOR", "COMMITTER")}
    return found
