"""Errors of stages: helpful messages, exit statuses, and outputs that stay intact."""

import io
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch

import stages.embed
import stages.evaluate
import stages.generate
import stages.prepare
import stages.train
from faults.project import ROOT, Project
from stages import INTERRUPTED, entry
from vae.base.params import Params
from vae.data.images import LabelledImages, save_images

STAGES: dict[str, Callable[[Params], None]] = {
    module.__name__.removeprefix("stages."): module.main
    for module in (stages.prepare, stages.train, stages.evaluate, stages.generate, stages.embed)
}

# Less work for tests that run several stages.
TINY = {"evaluate.importance_samples": "2", "generate.samples": "20", "embed.points": "50"}


@pytest.fixture
def inside(workspace: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The reproduced project as the current folder, on the CPU."""
    monkeypatch.chdir(workspace.folder)
    monkeypatch.setenv("VAE_DEVICE", "cpu")
    return workspace


def outputs(project: Project) -> dict[str, bytes]:
    return project.files("data", "models", "pages", "metrics", "plots")


def refusal(stage: str) -> str:
    """The error message of a stage that fails."""
    errors = io.StringIO()
    with pytest.raises(SystemExit) as exit_, redirect_stderr(errors):
        entry.run(STAGES[stage])
    assert exit_.value.code == 1
    return errors.getvalue()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "usage: python -m stages.train [-h]\n\nTrain the model;"),
        (["--epochs", "5"], 2, "python -m stages.train: error: A stage takes no arguments: it reads params.yaml."),
    ],
    ids=["help", "a parameter"],
)
def test_a_stage_with_arguments_does_nothing_and_says_where_its_parameters_are(
    arguments: list[str],
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        entry.run(STAGES["train"], arguments)
    assert exit_.value.code == status
    assert said in "".join(capsys.readouterr())


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_passes_its_arguments_on_and_all_but_prepare_may_be_shared_training_by_its_shards(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, object]]] = []
    monkeypatch.setattr(entry, "run", lambda _, arguments, **options: started.append((arguments, options)))
    monkeypatch.setattr(sys, "argv", [stage, "--epochs", "5"])
    runpy.run_path(str(ROOT / "stages" / f"{stage}.py"), run_name="__main__")
    ((arguments, options),) = started
    assert arguments == ["--epochs", "5"]
    assert options.get("divided", True) == (stage != "prepare")
    assert ("shards" in options) == (stage == "train")


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_validates_all_parameters_before_any_work(stage: str, inside: Project) -> None:
    inside.set({"embed.points": "'many'", "train.batch_size": "0"})
    before = outputs(inside)
    message = refusal(stage)
    assert "params.yaml: train.batch_size" in message
    assert "params.yaml: embed.points" in message
    assert outputs(inside) == before


@pytest.mark.parametrize("stage", ["evaluate", "generate", "embed"])
@pytest.mark.parametrize("content", [b"", b"not a model", b"\xff" * 200], ids=["empty", "text", "noise"])
def test_a_damaged_model_file_is_rejected_with_its_name(stage: str, content: bytes, inside: Project) -> None:
    (inside.folder / "models/vae.safetensors").write_bytes(content)
    before = outputs(inside)
    assert "models/vae.safetensors: damaged" in refusal(stage)
    assert outputs(inside) == before


@pytest.mark.parametrize("stage", ["evaluate", "generate", "embed"])
def test_a_model_of_images_of_another_shape_is_rejected_with_both_shapes(stage: str, inside: Project) -> None:
    images = torch.zeros(20, 1, 4, 6, dtype=torch.uint8)
    other = LabelledImages(images, torch.arange(20) % 2, ("a", "b"))
    for name in ("train", "test"):
        save_images(Path(f"data/prepared/{name}.safetensors"), other)
    inside.set({"embed.points": "10", "embed.neighbours": "2"})
    message = refusal(stage)
    assert "1×8×8" in message
    assert "1×4×6" in message


@pytest.mark.parametrize("stage", ["train", "evaluate", "generate", "embed"])
def test_an_error_about_missing_data_names_its_path_and_the_command_that_makes_it(stage: str, inside: Project) -> None:
    for path in (inside.folder / "data/prepared").iterdir():
        path.unlink()
    message = refusal(stage)
    assert "data/prepared/" in message
    assert "run dvc repro prepare" in message


def test_training_that_diverges_stops_with_advice_and_writes_no_model(inside: Project) -> None:
    inside.set({"train.learning_rate": "1e30"})
    (inside.folder / "models/vae.safetensors").unlink()
    message = refusal("train")
    assert "diverged in epoch 1" in message
    assert "train.learning_rate" in message
    assert not (inside.folder / "models/vae.safetensors").exists()


def test_an_unavailable_device_is_rejected_with_its_name(inside: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE_DEVICE", "abacus")
    assert "VAE_DEVICE=abacus" in refusal("train")
    assert inside.run("git", "status", "--porcelain") == ""


def test_a_likelihood_that_does_not_fit_the_pixels_is_rejected_with_both_keys(inside: Project) -> None:
    inside.set({"prepare.binarize": "static", "model.likelihood": "gaussian"})
    message = refusal("prepare")
    assert "model.likelihood: gaussian" in message
    assert "prepare.binarize=static" in message


@pytest.mark.parametrize("network", ["conv", "autoregressive"])
def test_a_network_that_does_not_fit_the_images_is_rejected_with_advice(network: str, inside: Project) -> None:
    images = LabelledImages(torch.zeros(20, 1, 3, 6, dtype=torch.uint8), torch.arange(20) % 2, ("a", "b"))
    for name in ("train", "validation"):
        save_images(Path(f"data/prepared/{name}.safetensors"), images)
    inside.set({"model.network": network, "model.likelihood": "continuous_bernoulli"})
    before = outputs(inside)
    message = refusal("train")
    assert f"params.yaml: model.network: {network}" in message
    assert "set model.network=mlp" in message
    assert outputs(inside) == before


def test_without_a_validation_set_the_last_epoch_is_kept_and_every_stage_writes_the_same_files(inside: Project) -> None:
    before = set(outputs(inside))
    inside.set({"prepare.validation_fraction": "0", "prepare.train_images": "200", **TINY})
    for name in before:
        (inside.folder / name).unlink()
    for stage in STAGES.values():
        entry.run(stage)
    assert set(outputs(inside)) == before
    assert '"best_epoch": 3' in inside.read("metrics/train.json").decode()
    assert inside.read("plots/train/losses.csv").decode().splitlines()[1].endswith(",,,")


@pytest.mark.parametrize("latent_dim", ["1", "2"])
def test_a_latent_space_of_one_or_two_dimensions_is_its_own_projection(latent_dim: str, inside: Project) -> None:
    before = set(outputs(inside))
    inside.set({"model.latent_dim": latent_dim, "train.epochs": "1", "model.hidden_dims": "[]", **TINY})
    for stage in ("train", "evaluate", "generate", "embed"):
        entry.run(STAGES[stage])
    assert set(outputs(inside)) == before
    first = inside.read("plots/embed/projection.csv").decode().splitlines()[1]
    assert (first.split(",")[1] == "0.0") == (latent_dim == "1")


def test_an_invalid_parameter_ends_the_process_with_status_1_and_without_a_traceback(workspace: Project) -> None:
    workspace.set({"train.learning_rate": "'1e-3'"})
    output = workspace.run("python", "-m", "stages.train", status=1)
    assert output == "train: params.yaml: train.learning_rate: expected a number, got the string '1e-3'\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "kill"])
def test_interrupted_training_exits_with_the_status_of_the_signal_and_leaves_no_partly_written_file(
    workspace: Project, number: signal.Signals, status: int
) -> None:
    workspace.set({"train.epochs": "1000000"})
    for name in ("models/vae.safetensors", "models/history.json", "metrics/train.json", "plots/train/losses.csv"):
        (workspace.folder / name).unlink()
    others = outputs(workspace)
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=workspace.folder,
        env=workspace.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    losses = workspace.folder / "plots/train/losses.csv"
    deadline = time.monotonic() + 60
    while not losses.exists():
        assert process.poll() is None, "training ended by itself"
        assert time.monotonic() < deadline, "training wrote no losses"
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in errors
    left = outputs(workspace)
    assert set(left) - set(others) == {"plots/train/losses.csv"}
    assert all(len(row.split(",")) == 8 for row in left["plots/train/losses.csv"].decode().splitlines())
    assert {path: left[path] for path in others} == others


def test_ctrl_c_while_a_stage_imports_its_modules_prints_how_to_continue_and_no_traceback(workspace: Project) -> None:
    module = workspace.folder / "stages/train.py"
    module.write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    output = workspace.run("python", "-m", "stages.train", status=130)
    assert output == f"{INTERRUPTED}\n"


@pytest.fixture(scope="module")
def imported(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """The modules of a process that has imported every stage, and after it has trained as well."""
    folder = tmp_path_factory.mktemp("imported") / "project"
    project = Project(shutil.copytree(reproduced.folder, folder, symlinks=True))
    project.set({"train.epochs": "1"})
    imports = "; ".join(f"import stages.{name}" for name in STAGES)
    script = f"import sys; {imports}; print(*sys.modules); stages.entry.run(stages.train.main); print(*sys.modules)"
    before, *_, after = project.run("python", "-c", script).splitlines()
    return set(before.split()), set(after.split())


def test_importing_a_stage_does_not_import_slow_packages(imported: tuple[set[str], set[str]]) -> None:
    before, _ = imported
    assert "stages.embed" in before
    assert before & {"matplotlib", "pandas", "sklearn", "torchvision", "umap"} == set()


@pytest.mark.parametrize(("started_as", "collects"), [("-m", False), ("another program", True)])
def test_only_the_process_of_a_stage_imports_without_garbage_collection(started_as: str, collects: bool) -> None:
    script = f"import gc, sys; sys.argv[0] = {started_as!r}; import stages; print(gc.isenabled())"
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert printed == f"{collects}\n"


def test_training_does_not_import_the_compiler_of_torch(imported: tuple[set[str], set[str]]) -> None:
    """``torch.optim`` would import it with the first optimizer, which takes as long as importing PyTorch."""
    _, after = imported
    assert "vae.training.loop" in after
    assert after & {"torch._dynamo", "torch._inductor"} == set()


@pytest.mark.parametrize(
    ("command", "path"),
    [(["-m", "stages.train"], str(ROOT)), ([str(ROOT / "stages/train.py")], "")],
    ids=["as a module", "as a file"],
)
def test_a_stage_that_is_started_in_another_folder_says_where_to_start_it(
    command: list[str], path: str, tmp_path: Path
) -> None:
    printed = Project(tmp_path).run(sys.executable, *command, env={"PYTHONPATH": path}, status=1)
    assert printed.startswith("train: ")
    assert printed.endswith(f"cd '{ROOT}', then python -m stages.train\n")
    assert printed.count("\n") == 1


def test_a_stage_on_an_ascii_terminal_succeeds_and_prints_question_marks_for_other_characters(
    log_of_reproduced: str,
) -> None:
    assert "test images of 1?8?8\n" in log_of_reproduced
