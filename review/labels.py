"""Short names of revisions, for headings and columns."""

import re
from collections import Counter
from collections.abc import Sequence

from review.revisions import WORKSPACE

LONGEST = 28  # characters of a label
COMMIT = re.compile(r"[0-9a-f]{40}")
SHORT_COMMIT = 8  # characters
THIS_CHANGE = "this change"


def labels(names: Sequence[str]) -> list[str]:
    """A short name for each revision, all of them different: the base first, then the heads.

    The workspace is ``this change`` if it is the only head. A commit is shortened as by Git. A long name loses its
    middle.
    """
    found = [THIS_CHANGE if names[1:] == [WORKSPACE] and name == WORKSPACE else _short(name) for name in names]
    counts = Counter(found)
    return [f"{label} ({place})" if counts[label] > 1 else label for place, label in enumerate(found, start=1)]


def _short(name: str) -> str:
    if COMMIT.fullmatch(name):
        return name[:SHORT_COMMIT]
    if len(name) <= LONGEST:
        return name
    half = (LONGEST - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
