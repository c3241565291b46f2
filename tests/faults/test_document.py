"""The table of outcomes, and its place in the document."""

import pytest

from faults.__main__ import PAGE, PARTS
from faults.document import DocumentError, replaced, table
from faults.outcome import Outcome

KILLED = [Outcome("SIGKILL", "train", "the same bytes"), Outcome("SIGKILL", "embed", "the same bytes")]


def rows(outcomes: list[Outcome]) -> list[list[str]]:
    """The cells of the rows below the head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table(outcomes).splitlines()[2:]]


def test_a_row_counts_the_places_and_the_results_of_a_fault() -> None:
    outcomes = [*KILLED, Outcome("SIGKILL", "train", "refused"), Outcome("Ctrl-C", "train", "the same bytes")]
    assert rows(outcomes) == [
        ["SIGKILL", "3", "train 2, embed 1", "the same bytes 2, refused 1"],
        ["Ctrl-C", "1", "train", "the same bytes"],
    ]


def test_a_row_says_how_many_outcomes_broke_a_promise() -> None:
    assert rows([*KILLED, Outcome("SIGKILL", "train", "a traceback", "kept in /tmp")]) == [
        ["SIGKILL", "3", "train 2, embed 1", "the same bytes 2, wrong: a traceback 1"]
    ]


def test_a_section_replaces_what_is_between_the_comments_of_its_part_alone() -> None:
    text = "# Title\n<!-- a: begin -->\nold\n<!-- a: end -->\nprose\n<!-- b: begin -->\nkept\n<!-- b: end -->\n"
    assert replaced(text, "a", r"new \1") == text.replace("\nold\n", "\n\nnew \\1\n\n")


def test_a_document_without_the_comments_is_refused() -> None:
    with pytest.raises(DocumentError, match="<!-- a: begin -->"):
        replaced("<!-- a: end -->", "a", "new")


@pytest.mark.parametrize("part", PARTS)
def test_the_document_has_a_place_for_each_part(part: str) -> None:
    assert "new" in replaced(PAGE.read_text(encoding="utf-8"), part, "new")
