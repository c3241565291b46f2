"""The make targets for reviews, called as a user or a workflow calls them."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from faults.project import Project
from tests.imports import ROOT
from tests.review.changed import record
from vae.base.yaml12 import parse_yaml

WORKFLOW: dict[str, Any] = parse_yaml((ROOT / ".github/workflows/pull-request.yml").read_bytes())
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["review"]["steps"]


@pytest.fixture
def checkout(clone: Project) -> Project:
    """A clone that uses this environment as its own."""
    (clone.folder / ".venv").symlink_to(sys.prefix)
    with (clone.folder / ".git/info/exclude").open("a") as file:
        file.write("/.venv\n")  # a link, which .gitignore's /.venv/ does not match
    return clone


def make(project: Project, *arguments: str, status: int = 0) -> str:
    """Run make without updating the environment."""
    return project.run("make", "--no-print-directory", "--old-file=.venv/.ready", *arguments, status=status)


def test_verify_passes_in_a_clone_without_data_if_the_results_are_committed(checkout: Project) -> None:
    assert make(checkout, "verify") == "dvc.lock is up to date.\n"
    assert checkout.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    "path", ["vae/model/objective.py", "params.yaml", "metrics/embed.json", "plots/generate/samples.png"]
)
def test_verify_fails_after_a_change_that_was_not_reproduced(checkout: Project, path: str) -> None:
    file = checkout.folder / path
    if path == "params.yaml":
        checkout.set({"train.beta": "2.0"})
    else:
        file.write_bytes(file.read_bytes() + b"\n")
    output = make(checkout, "verify", status=2)
    assert "dvc.lock is not up to date: run make repro and commit the changes." in output


def test_make_repro_removes_what_a_killed_dvc_process_left_and_make_back_restores_lost_results(
    workspace: Project,
) -> None:
    (workspace.folder / ".venv").symlink_to(sys.prefix)
    (workspace.folder / ".dvc/tmp/rwlock").write_text('{"read": {"/some/wh')
    printed = make(workspace, "repro")
    assert ".dvc/tmp/rwlock is cut off or damaged: removed" in printed
    assert "Data and pipelines are up to date." in printed
    for name in ("models/vae.safetensors", "metrics/embed.json"):
        (workspace.folder / name).unlink()
    printed = make(workspace, "back")
    assert "1 file restored from Git: metrics/embed.json" in printed
    assert "1 file restored from DVC's cache: models/vae.safetensors" in printed
    assert "up to date" in workspace.dvc("status")


@pytest.fixture
def linked(clone: Project) -> Project:
    """A clone whose .venv is a link to an older environment that was set up with the same requirements.txt."""
    environment = clone.folder.with_name("environment")
    environment.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (environment / name).symlink_to(Path(sys.prefix) / name)
    shutil.copy(clone.folder / "requirements.txt", environment / ".ready")
    os.utime(environment / ".ready", (0, 0))
    (clone.folder / ".venv").symlink_to(environment)
    return clone


def test_an_environment_that_was_set_up_with_the_same_requirements_is_used_as_it_is(linked: Project) -> None:
    environment = {"PYTHON": "python-must-not-be-called"}
    assert linked.run("make", "--no-print-directory", "env", env=environment) == ""
    assert linked.dvc("config", "--local", "plots.html_template") == "../.venv/share/vae/plots.html\n"
    assert "Nothing to be done" in linked.run("make", "--no-print-directory", "env")


def test_a_link_to_an_environment_with_other_requirements_is_refused_and_left_as_it_is(linked: Project) -> None:
    ready = linked.folder / ".venv/.ready"
    ready.write_text("other requirements")
    os.utime(ready, (0, 0))
    printed = linked.run("make", "--no-print-directory", "env", status=2)
    assert f".venv is a link to {linked.folder.with_name('environment')}, which was set up with another" in printed
    assert ready.read_text() == "other requirements"


def test_the_template_of_plots_is_optional(linked: Project) -> None:
    (linked.folder / ".venv/share").write_text("a file in the place of the folder")
    printed = linked.run("make", "--no-print-directory", "env")
    assert "plots.html: cannot be written" in printed
    assert "The pages of dvc plots will load Vega from the web." in printed


def test_make_gate_takes_a_base_a_head_a_metric_and_a_limit(checkout: Project) -> None:
    assert "1 metric checked" in make(checkout, "gate", "BASE=HEAD", "METRIC=negative_elbo", "MAX_WORSE=0")
    assert "12 metrics checked" in make(checkout, "gate", "BASE=HEAD", "HEAD=HEAD")


def test_a_study_needs_a_file(checkout: Project) -> None:
    assert "Set STUDY=… to a file of studies/." in make(checkout, "study", status=2)


def test_pictures_are_pushed_to_the_addresses_that_the_report_refers_to(checkout: Project, tmp_path: Path) -> None:
    """The address of each picture in the report is a file on the pushed branch."""
    picture = checkout.folder / "plots/generate/samples.png"
    picture.write_bytes(checkout.read("plots/generate/holes.png"))
    record(checkout)
    checkout.commit("Another picture")
    commit = checkout.run("git", "rev-parse", "HEAD").strip()
    remote = tmp_path / "remote.git"
    checkout.run("git", "init", "--quiet", "--bare", str(remote))
    checkout.run("git", "remote", "set-url", "origin", str(remote))
    make(checkout, "report", "BASE=HEAD~1", f"HEAD={commit}", f"IMAGE_ROOT=https://host/raw/{commit}/")
    make(checkout, "pictures", "PR=7", f"COMMIT={commit}")
    branch = checkout.run("git", f"--git-dir={remote}", "ls-tree", "-r", "--name-only", "reports/pull-request-7")
    shown = re.findall(r"https://host/raw/([^\s)\"]+)", checkout.read("report/report.md").decode())
    assert shown
    assert set(shown) <= set(branch.splitlines())
    assert all(name.endswith(".png") for name in branch.splitlines())
    assert checkout.run("git", "status", "--porcelain") == ""
    make(checkout, "pictures", "PR=7")  # replaces the first commit
    assert (
        len(checkout.run("git", f"--git-dir={remote}", "log", "--oneline", "reports/pull-request-7").splitlines()) == 1
    )


def test_pictures_are_not_pushed_without_the_number_of_a_pull_request(checkout: Project) -> None:
    assert "Set PR=… to the number of the pull request." in make(checkout, "pictures", status=2)


def test_the_workflow_runs_the_project_only_through_existing_make_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = [step["run"].split() for step in STEPS if "run" in step]
    made = [words[1] for words in called if words[0] == "make"]
    assert set(made) <= targets
    assert made == ["env", "verify", "repro", "gate", "report", "pictures", "comment", "gate"]
    assert [words[:2] for words in called if words[0] != "make"] == [["cat", "report/report.md"]]


def test_the_workflow_caches_environment_and_results_uploads_the_page_and_may_comment() -> None:
    kept = [step["with"]["path"] for step in STEPS if step.get("uses", "").startswith("actions/cache@")]
    assert kept == [".venv", ".dvc/cache"]
    assert WORKFLOW["permissions"]["pull-requests"] == "write"
    uploaded = [step["with"]["path"] for step in STEPS if step.get("uses", "").startswith("actions/upload-artifact@")]
    assert uploaded == ["report/index.html"]
