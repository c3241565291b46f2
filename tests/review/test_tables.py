from html import unescape

import pandas as pd
import pytest

from review.tables import WIDTH, as_cell, as_markdown, as_narrow_text, as_text


def test_markdown_keeps_numbers_as_written_and_aligns_columns_as_requested() -> None:
    table = pd.DataFrame({"name": ["a", "b"], "value": ["1.50", "1e-05"]})
    assert as_markdown(table, "lr").splitlines() == [
        "| name   |   value |",
        "|:-------|--------:|",
        "| a      |    1.50 |",
        "| b      |   1e-05 |",
    ]


@pytest.mark.parametrize("text", ["evaluate.test.kl", "flat, flat-2", "23.93 ± 0.14", "-1e-05", "[400, 200]", "–", ""])
def test_names_numbers_and_lists_are_cells_as_they_are(text: str) -> None:
    assert as_cell(text) == text


@pytest.mark.parametrize(
    "text",
    ["a|b", "</td><script>", "`x`", "[x](http://y)", "![x](y)", "@user", "#1", "**b**", "a\\|b", "x\n\n# y"],
)
def test_markup_mentions_and_links_are_escaped_in_a_cell(text: str) -> None:
    cell = as_cell(text)
    assert not set(cell.replace("&#", "")) & set("|<>`[]!@*\\\n")
    assert unescape(cell) == " ".join(text.split())


def test_columns_with_the_same_heading_are_all_shown() -> None:
    table = pd.DataFrame([["a", "1", "2"]], columns=["name", "change", "change"])
    assert as_markdown(table).splitlines()[-1].split() == ["|", "a", "|", "1", "|", "2", "|"]
    assert as_text(table).split() == ["name", "change", "change", "a", "1", "2"]


def test_text_for_a_terminal_has_left_aligned_names_and_two_spaces_between_columns() -> None:
    table = pd.DataFrame({"experiment": ["HEAD", "limpy-gamy"], "latent_dim": ["2", "20"], "beta": ["0.55555", "1.0"]})
    assert as_text(table).splitlines() == [
        "experiment  latent_dim     beta",
        "HEAD                 2  0.55555",
        "limpy-gamy          20      1.0",
    ]


def test_headings_stand_above_their_rows_after_an_empty_line() -> None:
    table = pd.DataFrame({"name": ["a", "b", "c"], "value": ["1", "2", "3"]})
    text = as_narrow_text(table, 1, headings={1: "Others:", 2: "More:"})
    assert text.splitlines() == [
        "name  value",
        "a         1",
        "",
        "Others:",
        "b         2",
        "",
        "More:",
        "c         3",
    ]


@pytest.mark.parametrize(("width", "dropped"), [(28, ""), (38, "d"), (58, "c, d"), (200, "c, d")])
def test_a_table_that_is_too_wide_drops_columns_at_the_right_and_names_them_below(width: int, dropped: str) -> None:
    table = pd.DataFrame({name: ["x" * width] for name in "abcd"})
    text, _, note = as_narrow_text(table, 3).partition("\n\n")
    assert note == (
        dropped
        and f"Left out to fit the line: {dropped}. List fewer metrics, or the important ones first, in METRICS=…"
    )
    assert (max(map(len, text.splitlines())) <= WIDTH) == (width < 100)
