"""A few faults of each part, in one stage each, so that they take seconds. ``make faults`` has many more."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from faults import interruptions, repetition, storage
from faults.interruptions import CTRL_C, KILL, KILL_STAGE, Interruption
from faults.material import Material, copy_of
from faults.outcome import Outcome
from faults.project import Project


@pytest.fixture
def material(reproduced: Project, tmp_path: Path) -> Material:
    """The reproduced project as the undisturbed one. Tests give the clone the results of all stages but one."""
    return Material(tmp_path, copy_of(reproduced, tmp_path / "clone"), reproduced)


@pytest.mark.parametrize(
    ("interruption", "stage", "seconds"),
    [(KILL, "evaluate", 2.5), (KILL_STAGE, "embed", 1.0), (CTRL_C, "train", 1.0)],
    ids=["SIGKILL", "SIGKILL to the stage", "Ctrl-C"],
)
def test_an_interrupted_run_that_is_started_again_ends_with_the_same_bytes(
    interruption: Interruption, stage: str, seconds: float, material: Material
) -> None:
    storage.forget(material.clone, stage)
    outcome = interruptions.outcome(material, interruption, stage, seconds)
    assert outcome == Outcome(interruption.fault, stage, "the same bytes")


@pytest.mark.parametrize(
    ("obstacle", "stage"),
    [(storage.FULL_DISK, "train"), (storage.LIMITED_FILES, "evaluate")],
    ids=["full disk", "limit on file size"],
)
def test_a_stage_that_cannot_write_prints_one_error_and_the_next_run_ends_with_the_same_bytes(
    obstacle: storage.Obstacle, stage: str, material: Material
) -> None:
    if obstacle.needs_namespace and (reason := storage.reason_against_namespaces()):
        pytest.skip(reason)
    outcome = storage.outcome(material, obstacle, stage, Random(1))
    assert outcome == Outcome(obstacle.fault, stage, "one error of the stage, then the same bytes")


def test_a_repeated_stage_beside_a_busy_process_writes_the_same_bytes(material: Material) -> None:
    first = repetition.run(material.clone, "train")
    with repetition.busy_processes(1):
        outcome = repetition.outcome(material, material.clone, "train", "beside a busy process", first)
    assert (outcome.place, outcome.result) == ("beside a busy process", "the same bytes")


@pytest.mark.parametrize("cases", [1, 10, 13])
def test_repeated_stages_take_turns_alone_in_pairs_and_beside_a_busy_process(
    cases: int, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetition, "enlarge", lambda _: None)
    monkeypatch.setattr(repetition, "run", lambda _, stage: ({"output": stage.encode()}, "2 threads"))
    outcomes = list(repetition.outcomes(material, cases))
    assert len(outcomes) == cases
    assert {outcome.result for outcome in outcomes} == {"the same bytes"}
    places = Counter((outcome.fault.partition(",")[0], outcome.place) for outcome in outcomes[:10])
    pair = "beside another such stage"
    expected = {(stage, "alone"): 1 for stage in repetition.STAGES}
    expected |= {(stage, place): 2 for stage in repetition.STAGES for place in (pair, f"{pair} and a busy process")}
    assert cases == 1 or places == expected


def test_a_stage_that_writes_other_bytes_the_next_time_is_reported_and_both_versions_are_kept(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetition, "run", lambda *_: ({"params.yaml": b"second"}, "the second log"))
    first = ({"params.yaml": b"first"}, "the first log")
    with material.workspace(material.clone) as project:
        outcome = repetition.outcome(material, project, "train", "alone", first)
        assert outcome.result == "other bytes"
        assert project.read("params.yaml") == b"first"
    kept = Path(outcome.wrong.rpartition(" in ")[2])
    assert (kept / "first.log").read_text(encoding="utf-8") == "the first log"
    assert (kept / "other.log").read_text(encoding="utf-8") == "the second log"
    assert (kept / "first/params.yaml").read_bytes() == b"first"
    assert (kept / "other/params.yaml").read_bytes() == b"second"
