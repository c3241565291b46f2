"""Copies of the project to try things in, each a Git repository of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

# Enough of everything to have each output, little enough to wait for.
SMALL = {
    "train.epochs": "3",
    "evaluate.importance_samples": "5",
    "generate.samples": "100",
    "embed.points": "100",
}


@dataclass(frozen=True)
class Project:
    """A copy of the project in a folder of its own."""

    folder: Path

    def run(self, *command: str, env: dict[str, str] | None = None, status: int = 0) -> str:
        """Run a command in the project's folder, expect an exit status, and return what it printed."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment(), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert result.returncode == status, f"{' '.join(command)} exited with {result.returncode}:\n{result.stdout}"
        return result.stdout

    def dvc(self, *arguments: str, status: int = 0) -> str:
        """Run DVC."""
        return self.run("dvc", *arguments, status=status)

    def commit(self, message: str) -> None:
        """Commit everything that Git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", message)

    def set(self, values: Mapping[str, str]) -> None:
        """Change parameters by their dotted keys, each to YAML on one line."""
        path = self.folder / "params.yaml"
        lines = []
        section = dotted = ""
        changed = set()
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.lstrip().startswith("- "):  # of a list below its key
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
        assert changed == set(values), f"no such parameters: {set(values) - changed}"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return (self.folder / name).read_bytes()

    def files(self, *folders: str) -> dict[str, bytes]:
        """Every file under some folders by its path."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for folder in folders
            for path in sorted((self.folder / folder).rglob("*"))
            if path.is_file()
        }

    @staticmethod
    def environment() -> dict[str, str]:
        """The environment of a user who activated nothing but has this Python's folder first on PATH."""
        identity = {
            f"GIT_{role}_{what}": "test@example" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
        return {**os.environ, **identity, "PATH": path, "VAE_DEVICE": "cpu", "DVC_NO_ANALYTICS": "1"}


def copy_project(folder: Path) -> Project:
    """Copy what Git tracks, or would track, into a new repository with a first commit."""
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
