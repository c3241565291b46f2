"""Bring the committed results back to the workspace: dvc.lock, and the outputs that dvc.yaml declares.

Metrics and plots come from Git; data, models and pages from DVC's cache, or from its remote if there is one. Code and
parameters keep the changes that were not committed. The exception is a params.yaml that is that of an experiment, which
`dvc exp apply` brings back.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vae.base import command
from vae.base.errors import VAEError
from vae.base.yaml12 import YAMLError, parse_yaml
from workspace.git import git, paths
from workspace.recover import recover

LOCK, PIPELINE, PARAMS, CONFIG = "dvc.lock", "dvc.yaml", "params.yaml", ".dvc/config"


class RestoreError(VAEError):
    """The committed results cannot be restored."""


class Restored(NamedTuple):
    """What was done, by path."""

    from_git: list[str]
    from_cache: list[str]
    missing: list[str]
    unsaved: list[str]
    experiment: str | None


def restore(project: Path) -> Restored:
    """Restore the committed results of HEAD.

    Returns:
        Restored: the files that came from Git and from DVC's cache; those that are neither in the cache nor in a
            remote; those that were left as they are, because they are in no cache and would be lost; and the
            experiment whose parameters were in params.yaml.

    Raises:
        RestoreError: dvc.lock is not committed, or damaged.
    """
    if not paths(project, "ls-tree", "-z", "--name-only", "HEAD", LOCK):
        raise RestoreError(f"{LOCK} is not committed, so there are no results to go back to; run make repro")
    experiment = experiment_with_these_parameters(project)
    wanted = [LOCK, *committed_results(project), *([PARAMS] if experiment else [])]
    if not (project / CONFIG).exists():  # dvc exp apply deletes it if the experiment is older than the file
        wanted += paths(project, "ls-tree", "-z", "--name-only", "HEAD", CONFIG)
    changed = paths(project, "diff", "-z", "--name-only", "HEAD", "--", *wanted)
    if changed:
        git(project, "restore", "--source=HEAD", "--staged", "--worktree", "--", *changed)
    return from_cache(project, changed, experiment)


def committed_results(project: Path) -> list[str]:
    """The outputs of dvc.yaml that are in Git, at HEAD."""
    stages = parsed(project, PIPELINE)["stages"].values()
    entries = [entry for stage in stages for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    declared = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return paths(project, "ls-tree", "-z", "-r", "--name-only", "HEAD", "--", *declared)


def experiment_with_these_parameters(project: Path) -> str | None:
    """The name of an experiment of this commit with exactly the params.yaml of the workspace, which HEAD has not."""
    if not (project / PARAMS).is_file() or not paths(project, "diff", "-z", "--name-only", "HEAD", "--", PARAMS):
        return None
    content = git(project, "hash-object", PARAMS)
    commit = git(project, "rev-parse", "HEAD")
    for name in git(
        project, "for-each-ref", "--format=%(refname)", f"refs/exps/{commit[:2]}/{commit[2:]}"
    ).splitlines():
        if git(project, "ls-tree", "--format=%(objectname)", name, PARAMS) == content:
            return name.rsplit("/", 1)[1]
    return None


def from_cache(project: Path, from_git: list[str], experiment: str | None) -> Restored:
    """Restore the outputs that DVC keeps, after dvc.lock was restored."""
    from dvc.repo import Repo

    outputs, in_git = dict(locked(project)), set(committed_results(project))
    differing = {path: md5 for path, md5 in outputs.items() if path not in in_git and md5_of(project / path) != md5}
    with Repo(str(project)) as repo:
        cache = repo.cache.local
        absent = [path for path, md5 in differing.items() if not cache.exists(md5)]
        if absent:
            fetch(repo, absent)
        unsaved, available, missing = [], [], []
        for path, md5 in differing.items():
            here = md5_of(project / path)
            if here is not None and not cache.exists(here):
                unsaved.append(path)
            elif cache.exists(md5):
                available.append(path)
            else:
                missing.append(path)
                (project / path).unlink(missing_ok=True)  # results of something else; the cache has them
        if available:
            repo.checkout(targets=[str(project / path) for path in available], force=True)
        for path in [path for path in available if md5_of(project / path) != outputs[path]]:  # the cache is damaged
            available.remove(path)
            missing.append(path)
            (project / path).unlink(missing_ok=True)
    return Restored(from_git, available, missing, unsaved, experiment)


def fetch(repo: Any, targets: list[str]) -> None:
    """Get what the remote has of some outputs, if there is a remote. Failing is no error: DVC can make them again."""
    if not repo.config["core"].get("remote"):
        return
    try:
        repo.fetch(targets=targets)
    except Exception as error:  # anything that a remote can raise: each kind has libraries of its own
        print(f"The remote does not have all outputs, or cannot be read: {error}")


def locked(project: Path) -> Iterator[tuple[str, str]]:
    """Yield path and MD5 of each output in dvc.lock."""
    for stage in parsed(project, LOCK)["stages"].values():
        yield from ((out["path"], out["md5"]) for out in stage.get("outs", []))


def parsed(project: Path, name: str) -> Mapping[str, Any]:
    """The content of dvc.yaml or dvc.lock.

    Raises:
        RestoreError: it is missing or damaged.
    """
    try:
        values: Mapping[str, Any] = parse_yaml((project / name).read_bytes())
        if not isinstance(values["stages"], Mapping):
            raise TypeError("no stages")
    except (OSError, YAMLError, ValueError, KeyError, TypeError) as error:
        raise RestoreError(f"{name}: cannot be read ({error}); get it back with git checkout {name}") from error
    return values


def md5_of(file: Path) -> str | None:
    """The MD5 of a file's content, by which DVC's cache knows it; None if there is no file."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "md5").hexdigest()
    except OSError:
        return None


def in_words(restored: Restored, left: list[str]) -> list[str]:
    """What was done, a line each.

    Args:
        restored: what was done.
        left: the files whose changes were kept.
    """
    found = [
        (restored.from_git, "{count} restored from Git: {names}"),
        (restored.from_cache, "{count} restored from DVC's cache: {names}"),
        (restored.missing, "{count} neither in DVC's cache nor in a remote: {names}. make repro makes them again."),
        (
            restored.unsaved,
            "{count} in no cache, and so left in place: {names}. To give up their content, delete them and make back "
            "again.",
        ),
        (left, "{count} with changes of yours, left as they are: {names}. git diff shows them."),
    ]
    lines = [text.format(count=count(names), names=shortened(names)) for names, text in found if names]
    if restored.experiment:
        lines.append(
            f"params.yaml had the parameters of the experiment {restored.experiment}: "
            f"dvc exp apply {restored.experiment} brings them and its results back."
        )
    return lines or ["The results are the committed ones: nothing to restore."]


def count(names: list[str]) -> str:
    """The number of files in words."""
    return "1 file" if len(names) == 1 else f"{len(names)} files"


def shortened(names: list[str], most: int = 5) -> str:
    """The first names of a list."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def main() -> int:
    """Restore the committed results, and say what was done."""
    project = Path(os.path.realpath(Path.cwd()))
    recover(project)
    restored = restore(project)
    left = paths(project, "diff", "-z", "--name-only", "HEAD")
    print(*in_words(restored, left), sep="\n")
    return 1 if restored.unsaved else 0


if __name__ == "__main__":
    command.run("", main)
