"""Outcomes as a Markdown table, and its place in docs/reliability.md."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from faults.outcome import Outcome
from vae.base.errors import VAEError

HEAD = ("what was done", "times", "where", "what came out")


class DocumentError(VAEError):
    """The document has no place for a table."""


def table(outcomes: Sequence[Outcome]) -> str:
    """A row for each fault, in the order of their first outcomes: how often, where, and what came out."""
    rows = [row(fault, outcomes) for fault in dict.fromkeys(outcome.fault for outcome in outcomes)]
    return str(tabulate(rows, HEAD, "github", disable_numparse=True))


def row(fault: str, outcomes: Iterable[Outcome]) -> tuple[str, str, str, str]:
    """The cells of a fault."""
    chosen = [outcome for outcome in outcomes if outcome.fault == fault]
    results = [f"wrong: {outcome.result}" if outcome.wrong else outcome.result for outcome in chosen]
    return fault, str(len(chosen)), counted(outcome.place for outcome in chosen), counted(results)


def counted(words: Iterable[str]) -> str:
    """Each text and how often it occurs, the most frequent first; a text alone if there is no other."""
    counts = Counter(filter(None, words))
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{text} {number}" for text, number in counts.most_common())


def replaced(text: str, part: str, section: str) -> str:
    """A document with a new section between the two comments that mark the place of a part.

    Raises:
        DocumentError: the document lacks the comments.
    """
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise DocumentError(f"the document lacks the comments {begin} and {end}")
    return pattern.sub(lambda _: f"{begin}\n\n{section}\n\n{end}", text)
