"""The page: its tables, signs and criteria."""

import re

import pytest

from calibration.document import page, section, table
from calibration.ladder import Ladder, Reading
from vae.diagnostics.verdict import Level, Verdict

RUNGS = ("clean", "dusty", "dirty")
LADDER = Ladder("Dirt", "Dust is added.", "Grams of dust.", RUNGS, lambda _: {})


def reading(measure: str, level: Level, criterion: str = "at most 1 gram") -> Reading:
    return Reading(measure, Verdict("dirt", level, f"{measure} grams", criterion))


WOOD = {"clean": reading("0.5", Level.HEALTHY), "dusty": reading("1.5", Level.WARNING)}
STONE = {"clean": reading("0.25", Level.HEALTHY), "dirty": reading("12", Level.FAILURE)}


def test_a_table_has_a_row_for_each_rung_a_column_for_each_data_kind_and_a_sign_for_each_level() -> None:
    assert table(RUNGS, {"wood": WOOD, "stone": STONE}).splitlines() == [
        "|       | wood   | stone   |",
        "|-------|--------|---------|",
        "| clean | 0.5 ●  | 0.25 ●  |",
        "| dusty | 1.5 ▲  | –       |",
        "| dirty | –      | 12 ■    |",
    ]


def test_a_rung_that_no_data_kind_has_has_no_row() -> None:
    assert "dirty" not in table(RUNGS, {"wood": WOOD})


@pytest.mark.parametrize(
    ("level", "sign"),
    [(Level.HEALTHY, "●"), (Level.WARNING, "▲"), (Level.FAILURE, "■"), (Level.NOT_JUDGED, "○")],
)
def test_the_head_of_the_page_explains_the_sign_of_each_level(level: Level, sign: str) -> None:
    text = page([LADDER], {"wood": {"Dirt": {"clean": reading("1", level)}}})
    assert f"{sign} {level}" in " ".join(text.split())
    assert f"| 1 {sign}" in text


def test_a_section_names_what_is_degraded_and_measured_and_quotes_the_criterion_of_the_verdict_once() -> None:
    text = section(LADDER, {"wood": WOOD, "stone": STONE})
    assert text.startswith("## Dirt\n\nDust is added. Grams of dust.\n\n|")
    assert text.count("Healthy: at most 1 gram.") == 1


def test_criteria_that_differ_between_data_kinds_are_all_quoted() -> None:
    steel = {"clean": reading("0.1", Level.HEALTHY, "at most 2 grams")}
    text = section(LADDER, {"wood": WOOD, "steel": steel})
    assert "Healthy: at most 1 gram.\n\nHealthy: at most 2 grams." in text


def test_a_data_kind_that_a_verdict_does_not_judge_has_no_column() -> None:
    assert "glass" not in section(LADDER, {"wood": WOOD, "glass": {}})


def test_no_line_of_prose_is_wider_than_120_columns() -> None:
    ladder = Ladder("Dirt", "Dust is added. " * 20, "Grams of dust.", RUNGS, lambda _: {})
    text = page([ladder], {"wood": {"Dirt": {"clean": reading("1", Level.HEALTHY, "at most 1 gram " * 20)}}})
    assert all(len(line) <= 120 for line in text.splitlines())
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
