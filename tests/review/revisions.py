"""Revisions for tests with only the values that matter."""

from review.revisions import Revision, Value


class NoFiles:
    """The files of a revision without any files."""

    @staticmethod
    def read_bytes(path: str) -> bytes:
        raise FileNotFoundError(path)


def revision(
    name: str = "main",
    parameters: dict[str, Value] | None = None,
    metrics: dict[str, Value] | None = None,
    verdicts: dict[str, str] | None = None,
) -> Revision:
    """A revision with values alone."""
    return Revision(name, parameters or {}, metrics or {}, verdicts or {}, NoFiles())
