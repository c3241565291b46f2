"""Share data, models and experiments between clones, through remotes that are folders."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.project import Project
from vae.base.runtime import CPU
from vae.base.yaml12 import parse_yaml
from vae.model.model_file import load_model

CACHED = ("data", "models", "pages")  # folders in DVC's cache
IN_GIT = ("metrics", "plots")


@dataclass(frozen=True)
class Published:
    """A project that is pushed to a bare Git repository and to a DVC remote."""

    author: Project
    repository: Path
    storage: Path

    def clone(self, folder: Path) -> Project:
        """A fresh clone, without a DVC cache."""
        self.author.run("git", "clone", "--quiet", str(self.repository), str(folder))
        return Project(folder)


@pytest.fixture(scope="module")
def published(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """The reproduced project on its branch main, with a version of the model; a second one is on another branch.

    The experiment ``flat`` has two latent dimensions, and its model is the second version. Tests must not change it.
    """
    folder = tmp_path_factory.mktemp("published")
    repository, storage = folder / "repository.git", folder / "storage"
    author = Project(shutil.copytree(reproduced.folder, folder / "author", symlinks=True))
    author.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(repository))
    author.run("git", "remote", "add", "origin", str(repository))
    author.dvc("remote", "add", "--default", "storage", str(storage))
    author.commit("Where data and models are stored")
    author.run("gto", "register", "vae", "--version", "v1.0.0")
    author.run("git", "push", "--quiet", "--set-upstream", "origin", "main", "vae@v1.0.0")
    author.dvc("push")

    author.dvc("exp", "run", "embed", "--name", "flat", "-S", "model.latent_dim=2")
    author.dvc("exp", "push", "origin", "flat")
    author.run("git", "checkout", "--quiet", "-b", "flatter")
    author.commit("Two latent dimensions")
    author.run("git", "tag", "--annotate", "vae@v2.0.0", "--message", "What gto register would write")
    author.run("git", "push", "--quiet", "origin", "vae@v2.0.0")
    return Published(author, repository, storage)


def outcome(project: Project) -> dict[str, bytes]:
    """All outputs of the stages, params.yaml and dvc.lock."""
    recorded = {name: project.read(name) for name in ("params.yaml", "dvc.lock")}
    return recorded | project.files(*CACHED, *IN_GIT)


def test_data_and_model_are_pulled_into_a_fresh_clone(
    published: Published, reproduced: Project, tmp_path: Path
) -> None:
    clone = published.clone(tmp_path / "clone")
    assert clone.files(*CACHED) == {}
    clone.dvc("pull")
    assert clone.files(*CACHED) == reproduced.files(*CACHED) != {}
    assert json.loads(clone.dvc("status", "--json")) == {}
    assert clone.run("git", "status", "--porcelain") == ""


def test_an_experiment_is_pushed_and_pulled_with_its_data_and_its_model(
    published: Published, reproduced: Project, tmp_path: Path
) -> None:
    author, clone = published.author, published.clone(tmp_path / "clone")
    assert "flat" not in clone.dvc("exp", "list", "--name-only")
    assert "flat" in clone.dvc("exp", "list", "--name-only", "origin")
    clone.dvc("exp", "pull", "origin", "flat")
    assert "flat" in clone.dvc("exp", "list", "--name-only")
    clone.dvc("exp", "apply", "flat")
    assert outcome(clone) == outcome(author) != outcome(reproduced)
    assert json.loads(clone.dvc("status", "--json", "embed")) == {}


def test_an_experiment_older_than_the_remote_can_be_pushed_if_the_remote_is_set_locally(
    workspace: Project, tmp_path: Path
) -> None:
    """DVC reads the remote from the commit of the experiment, or from settings outside of Git."""
    repository, storage = tmp_path / "repository.git", tmp_path / "storage"
    workspace.run("git", "clone", "--quiet", "--bare", ".", str(repository))
    workspace.dvc("exp", "save", "--name", "kept")
    workspace.dvc("remote", "add", "--local", "--default", "storage", str(storage))
    workspace.dvc("exp", "push", str(repository), "kept")
    assert set(workspace.files(*CACHED).values()) == set(Project(storage).files(".").values())


def test_each_registered_version_of_the_model_can_be_downloaded_without_a_clone(
    published: Published, reproduced: Project, tmp_path: Path
) -> None:
    elsewhere = Project(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    first, second = (project.read("models/vae.safetensors") for project in (reproduced, published.author))
    default = parse_yaml(reproduced.read("params.yaml"))["model"]["latent_dim"]

    where = str(published.repository)
    elsewhere.dvc("artifacts", "get", where, "vae", "--rev", "v1.0.0", "--out", "first.safetensors")
    elsewhere.dvc("artifacts", "get", published.repository.as_uri(), "vae", "--rev", "v2.0.0", "--out", "second")
    elsewhere.dvc("artifacts", "get", where, "vae")
    assert elsewhere.files(".") == {"first.safetensors": first, "second": second, "vae.safetensors": second}
    sizes = [load_model(elsewhere.folder / name, CPU, (1, 8, 8)).latent_dim for name in ("first.safetensors", "second")]
    assert sizes == [default, 2]


def test_downloading_a_version_that_is_not_registered_is_an_error(published: Published) -> None:
    printed = published.author.dvc("artifacts", "get", str(published.repository), "vae", "--rev", "v9.0.0", status=1)
    assert "Unable to find artifact 'vae @ v9.0.0'" in printed
