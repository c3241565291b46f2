"""The number of threads of a stage, how they wait for work, and the instructions that libraries use."""

import os
import re
import sys
from collections.abc import Iterator
from functools import cache

import pytest

from faults.project import Project, copy_project
from stages import entry
from vae.base.environment import SPIN_COUNT, has_avx2
from vae.base.runtime import SAME_ON_EVERY_MACHINE

VARIABLES = (
    "DVC_ROOT",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "VAE_SAME_BYTES",
    *SAME_ON_EVERY_MACHINE,
)

# Imports a stage, and prints the environment at the first import of torch, and the threads and instructions of the
# stage for one data set.
REPORT = """
import os, sys
class Watch:
    seen = {}
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and not Watch.seen:
            Watch.seen = dict(os.environ)
sys.meta_path.insert(0, Watch())
import stages.train, torch
from stages.entry import same_bytes
from stages.paths import PARAMS
from vae.base import runtime
from vae.base.params import load_params
runtime.configure(same_on_every_machine=same_bytes(load_params(PARAMS).prepare.dataset))
for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OPENBLAS_CORETYPE"):
    print(f"{name}: {Watch.seen.get(name)}")
print("MKL_CBWR:", os.environ["MKL_CBWR"])
print("threads:", torch.get_num_threads())
print("instructions:", torch.backends.cpu.get_cpu_capability())
print("default:", runtime.threads())
"""

# Imports a stage up to the first import of torch, and prints the environment there.
BEFORE_TORCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            for variable in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
                print(f"{variable}: {os.environ.get(variable)}")
            sys.exit()
sys.meta_path.insert(0, Watch())
import stages.train
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


def test_the_spin_count_and_numpys_instructions_are_set_before_torch_is_imported(project: Project) -> None:
    found = report(project)
    assert found["GOMP_SPINCOUNT"] in {"0", str(SPIN_COUNT)}  # depends on whether other processes use the cores
    assert found["OPENBLAS_CORETYPE"] == ("Haswell" if has_avx2() else "None")


@pytest.mark.parametrize(
    ("dataset", "requested", "expected"),
    [
        ("digits", "", True),
        ("digits", "0", False),
        ("digits", "1", True),
        ("mnist", "", False),
        ("mnist", "0", False),
        ("mnist", "1", True),
    ],
)
def test_the_same_bytes_on_every_machine_are_for_the_digits_unless_a_user_says_otherwise(
    dataset: str, requested: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAE_SAME_BYTES", requested)
    assert entry.same_bytes(dataset) == expected


@pytest.mark.skipif(not has_avx2(), reason="needs Linux and a processor with AVX2")
@pytest.mark.parametrize(
    ("dataset", "requested"), [("digits", {}), ("mnist", {"VAE_SAME_BYTES": "1"})], ids=["digits", "mnist by request"]
)
def test_the_same_bytes_on_every_machine_are_computed_with_avx2_and_one_thread(
    dataset: str, requested: dict[str, str], project: Project
) -> None:
    project.set({"prepare.dataset": dataset})
    found = report(project, **requested)
    project.set({"prepare.dataset": "digits"})
    assert (found["threads"], found["instructions"], found["MKL_CBWR"]) == ("1", "AVX2", "COMPATIBLE")


@pytest.mark.parametrize(
    ("dataset", "requested"),
    [("digits", {"VAE_SAME_BYTES": "0"}), ("mnist", {"VAE_SAME_BYTES": ""})],
    ids=["digits by request", "mnist"],
)
def test_other_results_are_computed_with_all_threads_that_there_are(
    dataset: str, requested: dict[str, str], project: Project
) -> None:
    project.set({"prepare.dataset": dataset})
    found = report(project, **requested)
    project.set({"prepare.dataset": "digits"})
    assert (found["threads"], found["MKL_CBWR"]) == (found["default"], "AUTO")


@pytest.mark.skipif(sys.platform != "linux", reason="needs GNU OpenMP, which torch uses on Linux")
def test_openmp_reads_the_spin_count(project: Project) -> None:
    """The default of GNU OpenMP is 300,000."""
    assert report(project)["spins"] == report(project)["GOMP_SPINCOUNT"]


def test_a_queued_experiment_uses_as_many_threads_as_the_workspace(project: Project) -> None:
    """DVC runs it in another folder and sets ``DVC_ROOT``. Results may depend on the number of threads."""
    settings = {"VAE_SAME_BYTES": "0"}
    within = report(project, DVC_ROOT=str(project.folder.parent), **settings)
    assert within["threads"] == report(project, **settings)["threads"]


@pytest.mark.parametrize(
    "setting", [{"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "passive"}, {"GOMP_SPINCOUNT": "77"}], ids=str
)
def test_a_wait_policy_or_spin_count_set_by_the_user_is_kept(setting: dict[str, str], project: Project) -> None:
    found = dict(re.findall(r"^(\w+): (\S+)$", project.run("python", "-c", BEFORE_TORCH, env=setting), re.MULTILINE))
    unset = {"GOMP_SPINCOUNT": "None", "OMP_WAIT_POLICY": "None"}
    assert {name: found[name] for name in unset} == {**unset, **setting}


def test_a_reproducibility_mode_of_mkl_set_by_the_user_is_kept(project: Project) -> None:
    assert report(project, MKL_CBWR="AVX2")["MKL_CBWR"] == "AVX2"


def test_a_number_of_threads_set_by_the_user_is_kept(project: Project) -> None:
    assert report(project, OMP_NUM_THREADS="1", VAE_SAME_BYTES="0")["threads"] == "1"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind processes to cores")
def test_a_stage_bound_to_one_core_uses_one_thread(project: Project) -> None:
    core = min(os.sched_getaffinity(0))
    bound = f"import os; os.sched_setaffinity(0, {{{core}}})\n{REPORT}"
    assert "threads: 1\n" in project.run("python", "-c", bound, env={"VAE_SAME_BYTES": "0"})


@pytest.mark.skipif(not has_avx2(), reason="needs Linux and a processor with AVX2")
def test_the_first_log_line_of_a_stage_states_device_threads_and_versions(project: Project) -> None:
    """Training ends with an error behind it, since there are no images."""
    first, *_ = project.run("python", "-m", "stages.train", status=1).splitlines()
    assert first.startswith("train: device cpu, ")
    for part in ("1 thread ", "GOMP_SPINCOUNT=", "AVX2, MKL COMPATIBLE", "Python 3.", "torch 2.", "scikit-learn 1."):
        assert part in first
