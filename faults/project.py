"""Copies of the project, each in its own Git repository, and commands that run in them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

# Small values that still produce every output.
SMALL = {
    "train.epochs": "3",
    "evaluate.importance_samples": "5",
    "generate.samples": "100",
    "embed.points": "100",
}


class UnexpectedStatusError(Exception):
    """A command exited with another status than expected."""


@dataclass(frozen=True)
class Project:
    """A copy of the project."""

    folder: Path

    def run(self, *command: str, env: Mapping[str, str] | None = None, status: int = 0) -> str:
        """Run a command in the project's folder, check its exit status, and return its output.

        Raises:
            UnexpectedStatusError: the command exited with another status.
        """
        result = self.attempt(*command, env=env)
        if result.returncode != status:
            raise UnexpectedStatusError(f"{' '.join(command)} exited with {result.returncode}:\n{result.stdout}")
        return result.stdout

    def attempt(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder; its exit status, and its output and errors together."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment(), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def dvc(self, *arguments: str, status: int = 0) -> str:
        """Run DVC."""
        return self.run("dvc", *arguments, status=status)

    def commit(self, message: str) -> None:
        """Commit everything that Git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", message)

    def set(self, values: Mapping[str, str]) -> None:
        """Set parameters by dotted key, each to a YAML value on one line."""
        path = self.folder / "params.yaml"
        lines = []
        section = dotted = ""
        changed = set()
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.lstrip().startswith("- "):  # an item of a list
                if dotted not in values:
                    lines.append(line)
                continue
            key = line.split(":")[0]
            section = key if not line.startswith(" ") else section
            dotted = f"{section}.{key.strip()}"
            if dotted in values:
                line = f"{key}: {values[dotted]}"
                changed.add(dotted)
            lines.append(line)
        if changed != set(values):
            raise KeyError(f"no such parameters: {set(values) - changed}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return (self.folder / name).read_bytes()

    def files(self, *folders: str) -> dict[str, bytes]:
        """The content of every file in some folders, by path."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for folder in folders
            for path in sorted((self.folder / folder).rglob("*"))
            if path.is_file()
        }

    @staticmethod
    def environment() -> dict[str, str]:
        """The environment of a user without an activated environment, with this Python's folder first on PATH."""
        identity = {
            f"GIT_{role}_{what}": "test@example" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
        return {**os.environ, **identity, "PATH": path, "VAE_DEVICE": "cpu", "DVC_NO_ANALYTICS": "1"}


def copy_project(folder: Path) -> Project:
    """Copy all files that Git does not ignore into a new repository, and commit them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    project = Project(folder)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.commit("The project")
    return project
