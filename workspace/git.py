"""Ask Git about the project's folder."""

import subprocess
from pathlib import Path

from vae.base.errors import VAEError


class GitError(VAEError):
    """Git is missing, or a command failed."""


def git(folder: Path, *arguments: str) -> str:
    """Run a Git command in a folder; return its output without the last newline.

    Raises:
        GitError: the folder is in no repository, or the command fails.
    """
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, encoding="utf-8", errors="surrogateescape"
        )
    except FileNotFoundError as error:
        raise GitError("git is not on PATH; install Git") from error
    if result.returncode:
        raise GitError(f"git {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout.rstrip("\n")


def paths(folder: Path, *arguments: str) -> list[str]:
    """The paths that a Git command lists. The command must separate them by NUL (``-z``), so that none is quoted."""
    return [path for path in git(folder, *arguments).split("\0") if path]


def worktrees(folder: Path) -> list[Path]:
    """The folders of all worktrees of the repository. They share its references, such as those of experiments."""
    lines = git(folder, "worktree", "list", "--porcelain").splitlines()
    return [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]
