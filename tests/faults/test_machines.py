"""Other processors are imitated well enough to change bytes, and the pinned instructions keep them the same."""

import sys
from pathlib import Path

import pytest

from faults import machines
from faults.material import OUTPUTS, Material
from faults.outcome import Outcome
from faults.project import Project

EVERY_STAGE = """
from stages import embed, entry, evaluate, generate, prepare, train
for stage in (prepare, train, evaluate, generate, embed):
    entry.run(stage.main)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that imitates processors."""
    try:
        return machines.compiled(tmp_path_factory.mktemp("library"))
    except machines.NoImitationError as error:
        pytest.skip(str(error))


def written_by_one_process(project: Project, env: dict[str, str]) -> dict[str, bytes]:
    """As ``machines.written``, but all stages in one process, which takes half the time."""
    for path in project.files(*OUTPUTS):
        (project.folder / path).unlink()
    project.run("python", "-c", EVERY_STAGE, env=env)
    return project.files(*OUTPUTS)


def test_stages_write_the_same_bytes_on_a_processor_of_another_maker_and_with_another_number_of_threads(
    library: Path, workspace: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "written", written_by_one_process)
    expected = workspace.files(*OUTPUTS)
    outcome = machines.outcome(workspace, expected, machines.environment(library, "zen2", 4), "zen2", 4)
    assert outcome == Outcome("AMD Zen 2, AVX2", "OMP_NUM_THREADS=4", "the same bytes")


def test_an_imitated_processor_is_what_pytorch_and_mkl_see(library: Path) -> None:
    """Else the test above could not fail."""
    script = f"{machines.ROUNDED}\nprint(torch.backends.cpu.get_cpu_capability())"
    printed = [
        machines.run(sys.executable, "-c", script, env=machines.environment(library, processor, 1)).splitlines()
        for processor in ("haswell", "zen2")
    ]
    (one, capability), (other, same_capability) = printed
    assert one != other
    assert capability == same_capability == "AVX2"


def test_another_file_and_a_missing_file_are_found(workspace: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "written", lambda *_: {"metrics/train.json": b"1", "models/vae.safetensors": b"2"})
    expected = {"metrics/train.json": b"1", "models/vae.safetensors": b"3", "models/history.json": b"4"}
    outcome = machines.outcome(workspace, expected, {}, "", 2)
    assert outcome.result == "other bytes"
    assert outcome.wrong == "models/history.json, models/vae.safetensors"


def test_cases_cover_every_processor_with_every_number_of_threads(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "compiled", lambda folder: folder)
    monkeypatch.setattr(machines, "copy_project", lambda _: project)
    monkeypatch.setattr(machines, "written", lambda *_: {})
    monkeypatch.setattr(machines, "features", lambda: {"avx512f"})
    found = [(each.fault, each.place) for each in machines.outcomes(Material(tmp_path, project, project), 24)]
    assert len(set(found)) == 24


def test_avx512_is_not_imitated_where_there_is_none(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "compiled", lambda folder: folder)
    monkeypatch.setattr(machines, "copy_project", lambda _: project)
    monkeypatch.setattr(machines, "written", lambda *_: {})
    monkeypatch.setattr(machines, "features", lambda: {"avx2"})
    faults = {each.fault for each in machines.outcomes(Material(tmp_path, project, project), 24)}
    assert faults == {machines.ITSELF, *machines.WITH_AVX2.values()}
