"""Replace a folder of results as a whole, or leave it unchanged."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vae.base.artifacts import ArtifactError

MARK = ".written-by-review"  # marks folders written by this module; no other folder is ever replaced


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder. It replaces ``path`` when the block succeeds, and is deleted when the block fails.

    Raises:
        ArtifactError: the folder cannot be written, or ``path`` exists and was not written by this function.
    """
    if path.exists() and not (path / MARK).is_file():
        raise ArtifactError(f"{path}: already exists and was not written by this command; choose another with OUT=…")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        try:
            partial.chmod(0o777 & ~_mask())
            (partial / MARK).touch()
            (partial / ".gitignore").write_text("*\n")  # wherever OUT=… is, Git does not see it
            yield partial
            if path.exists():
                shutil.rmtree(path)
            partial.replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written: {error.strerror or error}") from error


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
