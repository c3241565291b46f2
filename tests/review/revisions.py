"""Revisions for tests with only the values that matter."""

from review.revisions import Revision, Value


def revision(
    name: str = "main",
    parameters: dict[str, Value] | None = None,
    metrics: dict[str, Value] | None = None,
    verdicts: dict[str, str] | None = None,
) -> Revision:
    """A revision without files."""
    return Revision(name, parameters or {}, metrics or {}, verdicts or {}, None)
