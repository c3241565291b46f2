"""A report as Markdown, for a comment on a pull request."""

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from review.changes import Direction
from review.findings import Cell, Findings, Line
from review.outcome import sentence
from review.pages import environment
from review.tables import as_markdown

# GitHub takes 65,536 characters. These are bytes, and leave room for what a comment has around the report.
LONGEST_COMMENT = 65_000
NUMBER = re.compile(r"[+−-]?\d[\d.]*(e[+-]?\d+)?")


class Detail(NamedTuple):
    """What is told; what is not is left to ``index.html``."""

    other_measures: bool = True
    images: bool = True
    tables: bool = True

    @property
    def full(self) -> bool:
        """Whether nothing is left out."""
        return all(self)


# From the most to the least, until a report is short enough.
DETAILS = (
    Detail(),
    Detail(other_measures=False),
    Detail(other_measures=False, images=False),
    Detail(other_measures=False, images=False, tables=False),
)


def markdown(findings: Findings, image_root: str = "") -> str:
    """The report, no longer than GitHub lets a comment be.

    Args:
        findings: what to report.
        image_root: put before the paths of images, which without it are relative to the report.
    """
    root = f"{image_root.rstrip('/')}/" if image_root else ""
    template = environment(
        autoescape=False,
        code=as_code,
        plain=as_plain,
        source=lambda path: escape(root + path),
        sentence=sentence,
        parameters_table=parameters_table,
        verdicts_table=verdicts_table,
        metrics_table=metrics_table,
    ).get_template("report.md")
    for detail in DETAILS:
        text = template.render(findings=findings, detail=detail)
        if len(text.encode()) <= LONGEST_COMMENT:
            break
    return text


def as_code(text: str) -> str:
    """Text as Markdown shows code, within a table too: nothing in it is markup, a mention or a link."""
    line = " ".join(text.split())
    if line and not set(line) & set("`|\\"):
        return f"`{line}`"
    return f"<code>{as_plain(line)}</code>"


def as_plain(text: str) -> str:
    """Text in Markdown without markup, within a table too: a character by its number has no meaning but itself."""
    return re.sub(r"[\\`*_{}\[\]()<>#|~$&!@]", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


def as_value(text: str) -> str:
    """A number as it is, any other text as code."""
    return text if NUMBER.fullmatch(text) or text in {"–", ""} else as_code(text)


def parameters_table(lines: Sequence[Line], names: Sequence[str]) -> str:
    """A column a revision."""
    head = ["parameter", *map(as_code, names)]
    rows = [[as_code(line.key), *(as_value(cell.text) for cell in (line.base, *line.heads))] for line in lines]
    return _table(head, rows)


def verdicts_table(lines: Sequence[Line], names: Sequence[str]) -> str:
    """A column for the base, and for each head one with the verdict and one with what its change means."""
    rows = [
        [
            as_code(line.key),
            as_plain(line.base.lit),
            *(text for cell in line.heads for text in (as_plain(cell.lit), _change(cell))),
        ]
        for line in lines
    ]
    return _table(_head("verdict", names), rows)


def metrics_table(lines: Sequence[Line], names: Sequence[str]) -> str:
    """A column for the base, and for each head one with the value and one with its change; the limits, if any."""
    limited = any(line.limit for line in lines)
    rows = [
        [
            as_code(line.key),
            as_value(line.base.text),
            *(text for cell in line.heads for text in (as_value(cell.text), _change(cell))),
            *[line.allowance] * limited,
        ]
        for line in lines
    ]
    alignment = "lr" + "rl" * (len(names) - 1) + "l" * limited
    return _table([*_head("metric", names), *["limit"] * limited], rows, alignment)


def _head(what: str, names: Sequence[str]) -> list[str]:
    return [what, as_code(names[0]), *(text for name in names[1:] for text in (as_code(name), "change"))]


def _change(cell: Cell) -> str:
    return f"**{cell.change}**" if cell.direction in {Direction.BETTER, Direction.WORSE} else cell.change


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], alignment: str = "") -> str:
    import pandas as pd

    return as_markdown(pd.DataFrame(rows, columns=list(head)), alignment)
