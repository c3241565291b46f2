"""The number of threads of a stage, how they wait for work, and the settings of MKL."""

import os
import re
import sys
from collections.abc import Iterator
from functools import cache

import pytest

from tests.projects import Project, copy_project
from vae.base.openmp import SPIN_COUNT

VARIABLES = ("DVC_ROOT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MKL_CBWR")

# Imports a stage, and prints the environment at the first import of torch and the number of threads of the stage.
REPORT = """
import os, sys
class Watch:
    seen = {}
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and not Watch.seen:
            Watch.seen = dict(os.environ)
sys.meta_path.insert(0, Watch())
import stages.train, torch
from vae.base import runtime
runtime.configure()
for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "MKL_CBWR"):
    print(f"{name}: {Watch.seen.get(name)}")
print("threads:", torch.get_num_threads())
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project, in an environment without settings for threads."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in VARIABLES:
            patch.delenv(variable, raising=False)
        yield copy_project(tmp_path_factory.mktemp("threads") / "project")


@cache
def report(project: Project, **environment: str) -> dict[str, str]:
    """The settings of a stage, from ``REPORT`` and from the OpenMP library that torch loaded."""
    printed = project.run("python", "-c", REPORT, env={"OMP_DISPLAY_ENV": "verbose", **environment})
    found = dict(re.findall(r"^(\w+): (\S+)$", printed, re.MULTILINE))
    spins = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", printed)
    return found | ({"spins": spins[0]} if spins else {})


def test_the_spin_count_and_reproducible_products_are_set_before_torch_is_imported(project: Project) -> None:
    found = report(project)
    assert found["GOMP_SPINCOUNT"] in {"0", str(SPIN_COUNT)}  # depends on whether other processes use the cores
    assert found["MKL_CBWR"] == "AUTO"


@pytest.mark.skipif(sys.platform != "linux", reason="needs GNU OpenMP, which torch uses on Linux")
def test_openmp_reads_the_spin_count(project: Project) -> None:
    """The default of GNU OpenMP is 300,000."""
    assert report(project)["spins"] == report(project)["GOMP_SPINCOUNT"]


def test_a_queued_experiment_uses_as_many_threads_as_the_workspace(project: Project) -> None:
    """DVC runs it in another folder and sets ``DVC_ROOT``. Results may depend on the number of threads."""
    assert report(project, DVC_ROOT=str(project.folder.parent))["threads"] == report(project)["threads"]


@pytest.mark.parametrize(
    "setting", [{"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "passive"}, {"GOMP_SPINCOUNT": "77"}], ids=str
)
def test_a_wait_policy_or_spin_count_set_by_the_user_is_kept(setting: dict[str, str], project: Project) -> None:
    found = report(project, **setting)
    unset = {"GOMP_SPINCOUNT": "None", "OMP_WAIT_POLICY": "None"}
    assert {name: found[name] for name in unset} == {**unset, **setting}


def test_a_reproducibility_mode_of_mkl_set_by_the_user_is_kept(project: Project) -> None:
    assert report(project, MKL_CBWR="COMPATIBLE")["MKL_CBWR"] == "COMPATIBLE"


def test_a_number_of_threads_set_by_the_user_is_kept(project: Project) -> None:
    assert report(project, OMP_NUM_THREADS="1")["threads"] == "1"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind processes to cores")
def test_a_stage_bound_to_one_core_uses_one_thread(project: Project) -> None:
    core = min(os.sched_getaffinity(0))
    bound = f"import os; os.sched_setaffinity(0, {{{core}}})\n{REPORT}"
    assert "threads: 1\n" in project.run("python", "-c", bound)


def test_the_first_log_line_of_a_stage_states_device_threads_and_versions(project: Project) -> None:
    first, *_ = project.run("python", "-m", "stages.prepare").splitlines()
    assert first.startswith("prepare: device cpu, ")
    for part in ("threads", "GOMP_SPINCOUNT=", "MKL AUTO", "Python 3.", "torch 2.", "scikit-learn 1."):
        assert part in first
