"""Write a report as Markdown, for a comment on a pull request."""

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from review.changes import Direction
from review.findings import Findings
from review.lines import Cell, Line
from review.pages import environment
from review.tables import as_markdown, as_plain

# In bytes. GitHub's limit is 65,536 characters; the rest is for what a comment has around the report.
LONGEST_COMMENT = 65_000
NUMBER = re.compile(r"[+−-]?\d[\d.]*(e[+-]?\d+)?( ± [\d.]+)?")


class Detail(NamedTuple):
    """The parts that the Markdown contains; ``index.html`` always contains all."""

    other_measures: bool = True
    images: bool = True
    tables: bool = True

    @property
    def full(self) -> bool:
        """Whether all parts are included."""
        return all(self)


# Tried in this order, until the report is short enough.
DETAILS = (
    Detail(),
    Detail(other_measures=False),
    Detail(other_measures=False, images=False),
    Detail(other_measures=False, images=False, tables=False),
)


def markdown(findings: Findings, image_root: str = "", *, images: bool = True) -> str:
    """Write the report, within GitHub's limit on the length of a comment.

    Args:
        findings: what to report.
        image_root: prefix of the paths of images; without it they are relative to the report.
        images: whether to include charts and pictures, which cannot be shown where nothing can be uploaded.
    """
    root = f"{image_root.rstrip('/')}/" if image_root else ""
    template = environment(
        autoescape=False,
        code=as_code,
        plain=as_plain,
        source=lambda path: escape(root + path),
        parameters_table=parameters_table,
        metrics_table=metrics_table,
    ).get_template("report.md")
    for each in DETAILS:
        detail = each if images else each._replace(images=False)
        text = template.render(findings=findings, detail=detail)
        if len(text.encode()) <= LONGEST_COMMENT:
            break
    return text


def as_code(text: str) -> str:
    """Format text as code, also within a table: nothing in it is read as markup, a mention or a link."""
    line = " ".join(text.split())
    if line and not set(line) & set("`|\\"):
        return f"`{line}`"
    return f"<code>{as_plain(line)}</code>"


def as_value(text: str) -> str:
    """Format a number, with or without its standard error, as it is, and any other text as code."""
    return text if NUMBER.fullmatch(text) or text in {"–", ""} else as_code(text)


def parameters_table(lines: Sequence[Line], names: Sequence[str]) -> str:
    """Format a table of parameters: a column for each revision."""
    head = ["parameter", *map(as_code, names)]
    rows = [[as_code(line.key), *(as_value(cell.text) for cell in (line.base, *line.heads))] for line in lines]
    return _table(head, rows)


def metrics_table(lines: Sequence[Line], names: Sequence[str]) -> str:
    """Format a table of metrics: the value at the base, and value and change at each head.

    The better direction stands before the name. Limits are in the changes, as multiples.
    """
    rows = [
        [
            f"{as_code(line.key)} {line.arrow}".strip(),
            as_value(line.base.text),
            *(text for cell in line.heads for text in (as_value(cell.text), _change(cell))),
        ]
        for line in lines
    ]
    return _table(_head("metric", names), rows, "lr" + "rl" * (len(names) - 1))


def _head(what: str, names: Sequence[str]) -> list[str]:
    return [what, as_code(names[0]), *(text for name in names[1:] for text in (as_code(name), "change"))]


def _change(cell: Cell) -> str:
    decided = {Direction.BETTER, Direction.WORSE, Direction.MISSING}
    return f"**{cell.change}**" if cell.direction in decided else cell.change


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], alignment: str = "") -> str:
    import pandas as pd

    return as_markdown(pd.DataFrame(rows, columns=list(head)), alignment)
