"""How the threads of a stage wait for work: asleep where experiments run side by side, and otherwise as ever."""

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.projects import Project, copy_project

VARIABLES = ("DVC_ROOT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")

# Imports a stage, and prints what threads were told when torch was first asked for, and how many of them there are.
REPORT = """
import os, sys
class Watch:
    policy = "torch was not imported"
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            Watch.policy = os.environ.get("OMP_WAIT_POLICY")
sys.meta_path.insert(0, Watch())
import stages.train, torch
print("policy:", Watch.policy)
print("threads:", torch.get_num_threads())
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project, in an environment that says nothing of threads."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in VARIABLES:
            patch.delenv(variable, raising=False)
        yield copy_project(tmp_path_factory.mktemp("threads") / "project")


@cache
def report(project: Project, **environment: str) -> dict[str, str]:
    """What a stage finds, by ``REPORT`` and by the word of the OpenMP library that torch has loaded."""
    printed = project.run("python", "-c", REPORT, env={"OMP_DISPLAY_ENV": "verbose", **environment})
    found = dict(re.findall(r"^(policy|threads): (\S+)$", printed, re.MULTILINE))
    spins = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", printed)
    return found | ({"spins": spins[0]} if spins else {})


def temporary_experiment(project: Project) -> dict[str, str]:
    """The environment of a stage that DVC runs in another folder than the workspace."""
    return {"DVC_ROOT": str(project.folder.parent)}


def test_in_another_folder_than_the_workspace_they_are_to_sleep_before_torch_is_imported(project: Project) -> None:
    assert report(project, **temporary_experiment(project))["policy"] == "passive"


@pytest.mark.parametrize("by_dvc", [True, False], ids=["by DVC", "without DVC"])
def test_in_the_workspace_nothing_is_set(by_dvc: bool, project: Project) -> None:
    environment = {"DVC_ROOT": str(project.folder)} if by_dvc else {}
    assert report(project, **environment)["policy"] == "None"


def test_a_workspace_known_by_a_symbolic_link_is_one(project: Project) -> None:
    link = project.folder.with_name("link")
    link.symlink_to(project.folder)
    assert report(Project(link), DVC_ROOT=str(link))["policy"] == "None"


@pytest.mark.parametrize(
    ("setting", "policy"),
    [({"OMP_WAIT_POLICY": "active"}, "active"), ({"OMP_NUM_THREADS": "1"}, "None")],
    ids=["policy", "number"],
)
def test_what_a_user_has_set_stays(setting: dict[str, str], policy: str, project: Project) -> None:
    found = report(project, **temporary_experiment(project), **setting)
    assert found["policy"] == policy
    assert found["threads"] == setting.get("OMP_NUM_THREADS", found["threads"])


def test_there_are_as_many_of_them_in_either_place(project: Project) -> None:
    """Results may depend on their number."""
    assert report(project)["threads"] == report(project, **temporary_experiment(project))["threads"]


@pytest.mark.skipif(sys.platform != "linux", reason="only GCC's OpenMP, which torch comes with on Linux, tells")
def test_openmp_hears_of_it(project: Project) -> None:
    """A waiting thread turns so many times before it sleeps; without a word from anybody, some 300,000 times."""
    assert report(project, **temporary_experiment(project))["spins"] == "0"
    assert int(report(project)["spins"]) > 0


@pytest.mark.parametrize("temporary", [True, False], ids=["temporary", "workspace"])
def test_dvc_says_where_the_workspace_is(temporary: bool, project: Project) -> None:
    """The stage knows by a variable that DVC's documentation does not promise."""
    script = "python -c \"import os; print(os.environ['DVC_ROOT'], os.getcwd(), sep=chr(10))\""
    path = project.folder / "dvc.yaml"
    path.write_text(f"stages:\n  where:\n    cmd: {script}\n")
    printed = project.dvc("exp", "run", *(["--temp"] if temporary else []))
    root, place = re.findall(r"^/.*$", printed, re.MULTILINE)
    assert Path(root) == project.folder
    assert (Path(place) != project.folder) == temporary
