"""The short form of ``python -m faults damage``: every kind of damage in every kind of file; what the part notices."""

from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from faults.damage import DAMAGES, RUNNINGS, read_with, run_with
from faults.material import Material
from faults.project import Project
from faults.reading import READINGS, Reading, save_state
from vae.base.errors import VAEError

HARMLESS = {"refused", "the same result", "ignored: the run starts from the beginning"}


@pytest.fixture
def material(reproduced: Project, tmp_path: Path) -> Material:
    return Material(tmp_path / "copies", reproduced, reproduced)


def test_every_kind_of_damage_in_every_kind_of_file_is_refused_or_harmless_or_an_edit_of_a_source(
    material: Material, workspace: Project
) -> None:
    save_state(workspace)
    before = workspace.files("data", "models", "metrics", "plots")
    random, expected = Random(0), dict[str, str]()
    for way, reading in product(DAMAGES, READINGS):
        outcome = read_with(material, workspace, reading, way, random, expected)
        assert outcome.wrong == ""
        assert outcome.result in HARMLESS | ({"read as an edit, which Git shows"} if reading.is_source else set())
    assert workspace.files("data", "models", "metrics", "plots") == before


def test_a_stage_that_is_run_by_hand_refuses_a_damaged_input_and_leaves_all_results(material: Material) -> None:
    outcome = run_with(material, RUNNINGS[0]._replace(names=["models/history.json"]), "bits flipped", Random(0))
    assert (outcome.result, outcome.wrong) == ("refused", "")


@pytest.mark.parametrize("way", DAMAGES)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_damage_changes_bytes_and_is_the_same_for_the_same_seed(way: str, size: int) -> None:
    content = Random(0).randbytes(size)
    cases = [DAMAGES[way](content, Random(seed)) for seed in (1, 1, 2, 3, 4)]
    assert cases[0] == cases[1]
    assert any(case != content for case in cases)


def read_carelessly(project: Project, name: str) -> Any:
    """Reads the first digits of a file whatever follows, and fails without them."""
    return int(project.read(name)[:2])


def refuse_vaguely(_project: Project, _name: str) -> Any:
    raise VAEError("something is wrong")


def test_a_wrong_result_a_traceback_and_a_vague_error_are_noticed(material: Material, project: Project) -> None:
    (project.folder / "digits").write_text("12")
    careless = Reading("digits", ("digits",), read_carelessly)
    outcomes = [read_with(material, project, careless, "bits flipped", Random(seed), {}) for seed in range(12)]
    assert {"another result", "a traceback"} <= {outcome.result for outcome in outcomes}
    assert all(outcome.wrong.startswith("digits: ") for outcome in outcomes)
    assert all(path.name.startswith("damaged-") for path in material.folder.iterdir())
    expected = {"digits": "12"}
    vague = read_with(material, project, careless._replace(read=refuse_vaguely), "zeros", Random(0), expected)
    assert "does not name the file: something is wrong" in vague.wrong
