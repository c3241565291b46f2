"""Format tables for Markdown and for a terminal."""

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 120  # characters in a line of a terminal


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


def as_narrow_text(table: "pd.DataFrame", droppable: int) -> str:
    """Format a table for a terminal, no wider than ``WIDTH``. Drop columns if necessary, and name them below.

    Args:
        table: a table with text in every cell.
        droppable: how many columns at the right may be dropped. The first of them always stays.
    """
    for dropped in range(max(droppable, 1)):
        kept = table.iloc[:, : len(table.columns) - dropped]
        text = as_text(kept)
        if max(map(len, text.splitlines())) <= WIDTH:
            break
    if not dropped:
        return text
    names = ", ".join(table.columns[len(kept.columns) :])
    note = f"Left out to fit the line: {names}. List fewer metrics, or the important ones first, in METRICS=…"
    return f"{text}\n\n{textwrap.fill(note, WIDTH)}"
