"""Format tables for Markdown and for a terminal."""

import re
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vae.base.artifacts import inert

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 120  # characters in a line of a terminal


# What a cell of a table may contain unescaped: names, numbers, lists of numbers.
HARMLESS = re.compile(r"[\w .,;:+±–/%()=-]*|\[[\w ., -]*\]")


def as_csv(table: "pd.DataFrame") -> bytes:
    """A table as CSV, in which no text is a formula."""
    cells = table.map(lambda cell: inert(cell) if isinstance(cell, str) else cell).rename(columns=inert)
    return str(cells.to_csv(index=False, lineterminator="\n")).encode()


def as_cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table, if it has anything that could be markup, a mention or a link."""
    return text if HARMLESS.fullmatch(text) else as_plain(text)


def as_plain(text: str) -> str:
    """Escape text so that Markdown shows it as it is, also within a table."""
    return re.sub(r"[\\`*_{}\[\]()<>#|~$&!@]", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


def as_markdown(table: "pd.DataFrame", alignment: str = "") -> str:
    """Format a table as Markdown.

    Args:
        table: a table with text in every cell.
        alignment: l or r for each column; by default all are aligned to the left.
    """
    sides = [{"l": "left", "r": "right"}[side] for side in alignment or "l" * len(table.columns)]
    return str(table.to_markdown(index=False, disable_numparse=True, colalign=sides))


def as_text(table: "pd.DataFrame") -> str:
    """Format a table for a terminal, with the first column aligned to the left and the others to the right."""
    first, *others = table.columns
    named = table.set_index(first).rename_axis(index=None, columns=first)
    return named.to_string(col_space=[len(name) + 1 for name in others])


def as_narrow_text(
    table: "pd.DataFrame",
    droppable: int,
    *,
    shorter: "pd.DataFrame | None" = None,
    headings: Mapping[int, str] | None = None,
) -> str:
    """Format a table for a terminal, no wider than ``WIDTH``.

    If it is too wide, it loses standard errors, then columns, both from the right. Notes below it name them.

    Args:
        table: a table with text in every cell.
        droppable: how many columns at the right may be dropped. The first of them always stays.
        shorter: the same table without standard errors.
        headings: lines of text to insert above rows, by the number of the row.
    """
    notes = []
    if shorter is not None and not _fits(table):
        table, plain = _without_errors(table, shorter)
        notes = [f"Standard errors left out to fit the line: {', '.join(plain)}."] if plain else []
    for dropped in range(max(droppable, 1)):
        kept = table.iloc[:, : len(table.columns) - dropped]
        if _fits(kept):
            break
    if dropped:
        names = ", ".join(table.columns[len(kept.columns) :])
        notes.append(
            f"Left out to fit the line: {names}. List fewer metrics, or the important ones first, in METRICS=…"
        )
    head, *rows = as_text(kept).splitlines()
    for place, heading in sorted((headings or {}).items(), reverse=True):
        rows[place:place] = ["", *textwrap.wrap(heading, WIDTH)]
    return "\n\n".join(["\n".join([head, *rows]), *(textwrap.fill(note, WIDTH) for note in notes)])


def _without_errors(table: "pd.DataFrame", shorter: "pd.DataFrame") -> tuple["pd.DataFrame", list[str]]:
    """Take columns from the shorter table, from the right, until the table fits; return their names, too."""
    plain: list[str] = []
    for name in reversed(table.columns):
        narrower = table.assign(**{name: shorter[name]})
        if not _fits(table) and _width(narrower) < _width(table):
            table = narrower
            plain.insert(0, name)
    return table, plain


def _fits(table: "pd.DataFrame") -> bool:
    return _width(table) <= WIDTH


def _width(table: "pd.DataFrame") -> int:
    return max(map(len, as_text(table).splitlines()))
