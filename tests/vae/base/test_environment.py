import os
import platform
from pathlib import Path

import pytest

from vae.base import environment
from vae.base.environment import NUMPY_WITH_AVX2, SPIN_COUNT, others_running, spin_count


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which Linux counts running threads, on a machine with four cores that this process may use."""
    path = tmp_path / "loadavg"
    monkeypatch.setattr(environment, "LOAD", path)
    monkeypatch.setattr(environment, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    return path


def write(path: Path, running: int) -> None:
    path.write_text(f"0.42 0.31 0.20 {running}/213 4711\n", encoding="ascii")


def test_threads_spin_where_nothing_else_runs(load: Path) -> None:
    write(load, 1)
    assert others_running() == 0
    assert spin_count() == SPIN_COUNT


@pytest.mark.parametrize("running", [2, 3, 40])
def test_threads_sleep_at_once_where_others_use_the_cores(load: Path, running: int) -> None:
    write(load, running)
    assert others_running() == running - 1
    assert spin_count() == 0


def test_threads_spin_beside_others_where_there_are_cores_for_all(load: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(load, 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert spin_count() == SPIN_COUNT


def test_a_process_that_runs_for_a_moment_does_not_count(load: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([1, 2, 1])

    def run_until_the_next(_: float) -> None:
        write(load, next(looks, 1))

    write(load, 1)
    monkeypatch.setattr(environment, "_keep_running", run_until_the_next)
    assert others_running() == 0


@pytest.mark.parametrize("content", [None, "", "0.1 0.2 0.3\n", "0.1 0.2 0.3 many/213 1\n"])
def test_threads_spin_where_the_system_does_not_say_what_runs(load: Path, content: str | None) -> None:
    if content is not None:
        load.write_text(content, encoding="ascii")
    assert spin_count() == SPIN_COUNT


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which Linux describes the processor, here an x86-64 processor with AVX2."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nflags\t\t: fpu sse2 avx avx2 fma\n", encoding="ascii")
    monkeypatch.setattr(environment, "PROCESSOR", path)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return path


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(
    ("variables", "spinning"),
    [
        ({}, {"GOMP_SPINCOUNT": str(SPIN_COUNT)}),
        ({"GOMP_SPINCOUNT": "77"}, {"GOMP_SPINCOUNT": "77"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"OPENBLAS_CORETYPE": "Zen"}, {"GOMP_SPINCOUNT": str(SPIN_COUNT), "OPENBLAS_CORETYPE": "Zen"}),
    ],
    ids=str,
)
def test_variables_are_set_unless_a_user_has_set_them(
    load: Path, variables: dict[str, str], spinning: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(load, 1)
    found = dict(variables)
    monkeypatch.setattr(os, "environ", found)
    environment.configure()
    assert found == {**NUMPY_WITH_AVX2, **spinning}


@pytest.mark.parametrize(
    ("machine", "content"),
    [
        ("aarch64", "flags\t: avx2 fma\n"),
        ("x86_64", "flags\t: fpu sse2 avx fma\n"),
        ("x86_64", "flags\t: fpu sse2 avx avx2\n"),
        ("x86_64", ""),
        ("x86_64", None),
    ],
)
def test_numpy_is_not_limited_to_avx2_where_there_is_none(
    load: Path, processor: Path, machine: str, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenBLAS would then use instructions that the processor lacks."""
    write(load, 1)
    processor.unlink()
    if content is not None:
        processor.write_text(content, encoding="ascii")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    found: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", found)
    environment.configure()
    assert set(found) == {"GOMP_SPINCOUNT"}
