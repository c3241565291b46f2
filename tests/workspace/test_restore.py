"""The committed results come back, whatever the cache holds, and nothing of the user's is lost."""

import io
import shutil
from contextlib import redirect_stdout

import pytest

from faults.project import Project
from vae.base.errors import VAEError
from workspace.restore import main, md5_of, restore

RESULTS = ("models", "metrics")


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in packages that DVC uses


def back(project: Project, status: int = 0) -> str:
    """Restore the results; return what is printed."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.chdir(project.folder)
        assert main() == status
    return printed.getvalue()


def refusal(project: Project) -> str:
    """The message with which restoring is refused."""
    with pytest.raises(VAEError) as error:
        restore(project.folder)
    return str(error.value)


def test_after_an_experiment_the_committed_results_are_back_and_git_is_clean(small: Project) -> None:
    committed = small.files(*RESULTS)
    small.dvc("exp", "run", "--name", "wide", "-S", "scale=3")
    assert small.read("models/model.bin") == b"weights 3"
    printed = back(small)
    assert "3 files restored from Git: dvc.lock, metrics/train.json, params.yaml" in printed
    assert "1 file restored from DVC's cache: models/model.bin" in printed
    assert "dvc exp apply wide brings them and its results back" in printed
    assert small.files(*RESULTS) == committed
    assert small.run("git", "status", "--porcelain") == ""
    assert "up to date" in small.dvc("status")


def test_outputs_that_an_interrupted_stage_lost_come_back(small: Project) -> None:
    committed = small.files(*RESULTS)
    for name in committed:
        (small.folder / name).unlink()
    back(small)
    assert small.files(*RESULTS) == committed
    assert small.run("git", "status", "--porcelain") == ""
    assert back(small) == "The results are the committed ones: nothing to restore.\n"


def test_changes_of_code_and_parameters_that_are_in_no_experiment_are_kept(small: Project) -> None:
    (small.folder / "params.yaml").write_text("scale: 4\nseconds: 0\n")
    small.dvc("repro")
    with (small.folder / "train.py").open("a") as file:
        file.write("# changed\n")
    small.run("git", "add", "train.py")
    printed = back(small)
    assert "2 files with changes of yours, left as they are: params.yaml, train.py" in printed
    assert small.read("params.yaml") == b"scale: 4\nseconds: 0\n"
    assert small.read("train.py").endswith(b"# changed\n")
    assert small.read("models/model.bin") == b"weights 1"
    assert small.run("git", "status", "--porcelain") == " M params.yaml\nM  train.py\n"


def test_without_the_model_in_the_cache_results_of_another_run_are_removed_and_what_is_missing_is_named(
    small: Project,
) -> None:
    shutil.rmtree(small.folder / ".dvc/cache")
    small.dvc("exp", "run", "--name", "wide", "-S", "scale=3")
    printed = back(small)
    assert "1 file neither in DVC's cache nor in a remote: models/model.bin. make repro makes them again." in printed
    assert not (small.folder / "models/model.bin").exists()
    assert small.run("git", "status", "--porcelain") == ""


def test_a_model_that_is_in_no_cache_is_kept_and_named(small: Project) -> None:
    (small.folder / "models/model.bin").write_text("trained by hand for a week")
    printed = back(small, status=1)
    assert "1 file in no cache, and so left in place: models/model.bin" in printed
    assert small.read("models/model.bin") == b"trained by hand for a week"
    (small.folder / "models/model.bin").unlink()
    back(small)
    assert small.read("models/model.bin") == b"weights 1"


def test_what_the_cache_lacks_comes_from_the_remote(small: Project) -> None:
    small.dvc("remote", "add", "--local", "--default", "storage", "../remote")
    small.dvc("push")
    for name in (".dvc/cache", "models"):
        shutil.rmtree(small.folder / name)
    assert "1 file restored from DVC's cache: models/model.bin" in back(small)
    assert small.read("models/model.bin") == b"weights 1"


def test_a_remote_that_cannot_be_read_is_no_obstacle(small: Project) -> None:
    small.dvc("remote", "add", "--local", "--default", "storage", "/nowhere/at/all")
    for name in (".dvc/cache", "models"):
        shutil.rmtree(small.folder / name)
    (small.folder / "metrics/train.json").unlink()
    assert "1 file neither in DVC's cache nor in a remote: models/model.bin" in back(small)
    assert small.run("git", "status", "--porcelain") == ""


def test_a_damaged_file_in_the_cache_is_not_restored(small: Project) -> None:
    md5 = md5_of(small.folder / "models/model.bin") or ""
    cached = small.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    (small.folder / "models/model.bin").unlink()
    cached.chmod(0o644)
    cached.write_text("damaged")
    assert "neither in DVC's cache nor in a remote: models/model.bin" in back(small)
    assert not (small.folder / "models/model.bin").exists()


def test_the_configuration_that_applying_an_older_experiment_deleted_comes_back(small: Project) -> None:
    (small.folder / ".dvc/config").write_text("[core]\n    check_update = false\n")
    small.commit("Configuration")
    (small.folder / ".dvc/config").unlink()
    assert "1 file restored from Git: .dvc/config" in back(small)
    assert small.run("git", "status", "--porcelain") == ""


def test_without_a_committed_lock_there_is_nothing_to_go_back_to(small: Project) -> None:
    small.run("git", "rm", "--quiet", "dvc.lock")
    small.commit("No results")
    assert refusal(small) == "dvc.lock is not committed, so there are no results to go back to; run make repro"


def test_a_damaged_pipeline_is_an_error_that_says_how_to_get_it_back(small: Project) -> None:
    (small.folder / "dvc.yaml").write_text("stages: [")
    assert "dvc.yaml: cannot be read" in refusal(small)
