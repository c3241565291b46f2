"""Tables as text: for Markdown, and for a terminal."""

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 120  # characters of a line in a terminal


def as_markdown(table: "pd.DataFrame", alignment: str = "") -> str:
    """A table in Markdown.

    Args:
        table: its cells are text.
        alignment: l or r for each column; without it all are aligned to the left.
    """
    sides = [{"l": "left", "r": "right"}[side] for side in alignment or "l" * len(table.columns)]
    return str(table.to_markdown(index=False, disable_numparse=True, colalign=sides))


def as_text(table: "pd.DataFrame") -> str:
    """A table for a terminal, its first column aligned to the left, all others to the right."""
    first, *others = table.columns
    named = table.set_index(first).rename_axis(index=None, columns=first)
    return named.to_string(col_space=[len(name) + 1 for name in others])


def as_narrow_text(table: "pd.DataFrame", droppable: int) -> str:
    """A table for a terminal, no wider than ``WIDTH``, with a sentence on the columns that were dropped for it.

    Args:
        table: its cells are text.
        droppable: how many columns at the right may be dropped. The first of them stays.
    """
    for dropped in range(max(droppable, 1)):
        kept = table.iloc[:, : len(table.columns) - dropped]
        text = as_text(kept)
        if max(map(len, text.splitlines())) <= WIDTH:
            break
    if not dropped:
        return text
    names = ", ".join(table.columns[len(kept.columns) :])
    note = f"Too wide to show: {names}. List fewer metrics, or the important ones first, in METRICS=…"
    return f"{text}\n\n{textwrap.fill(note, WIDTH)}"
