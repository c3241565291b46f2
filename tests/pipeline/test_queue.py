"""Experiments in DVC's queue, run in parallel by real workers."""

import csv
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, product
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from faults.material import STAGES
from faults.project import Project
from tests.vae.data.archives import SMALL as ARCHIVES
from tests.vae.data.archives import contents, in_raw, md5
from vae.base.environment import SPIN_COUNT
from vae.base.runtime import CPU
from vae.base.yaml12 import parse_yaml
from vae.model.model_file import load_model

Cell = tuple[str, str]

# A grid of training runs, and one experiment with all stages, by latent dimension and beta.
LATENT_DIMS, BETAS = ("2", "5"), ("0.5", "4.0")
GRID: list[Cell] = list(product(LATENT_DIMS, BETAS))
WHOLE: Cell = ("5", "2.0")
EPOCHS = 2
NOT_QUEUED = "this is not the code that was queued"
TINY = {
    "model.hidden_dims": "[16]",
    "train.epochs": str(EPOCHS),
    "evaluate.importance_samples": "2",
    "generate.samples": "20",
}

# The metrics that dvc exp show lists.
METRICS = [
    *["images.train", "images.validation", "images.test", "entropy_floor", "classifier_accuracy"],
    "classifier_accuracy_se",
    *["best_epoch", "train_loss", "validation_loss", "validation_loss_se"],
    *["test.negative_elbo", "test.reconstruction", "test.kl", "test.negative_iwae_bound", "test.mse"],
    *["active_units", "evaluate_verdict"],
    *["frechet_distance", "precision", "recall", "density", "coverage", "unclear_share", "generate_verdict"],
    *["neighbour_accuracy", "linear_probe_accuracy", "embed_verdict"],
]
SECTIONS = (*STAGES, "model")  # of params.yaml

SHOW_THREADS = {"OMP_DISPLAY_ENV": "verbose"}  # each process prints how its threads wait
DEADLINE = 600  # seconds, enough for a busy machine
IDLE = 3  # seconds without an experiment, after which the queue may be done


@dataclass(frozen=True)
class Sweep:
    """Experiments that two workers ran while the workspace had other parameters and other code.

    Attributes:
        project: the project, back at the commit on which they were queued.
        states: Success or Failed, by name of the experiment.
        side_by_side: the largest number of experiments that ran at the same time.
    """

    project: Project
    states: dict[str, str]
    side_by_side: int

    @cached_property
    def rows(self) -> dict[Cell, dict[str, str]]:
        """The rows of ``dvc exp show`` by latent dimension and beta."""
        rows = [row for row in table(self.project) if row["Experiment"]]
        return {(row["model.latent_dim"], f"{float(row['train.beta'])}"): row for row in rows}

    def read(self, cell: Cell, path: str) -> str:
        """A file of an experiment, from Git."""
        return self.project.run("git", "show", f"{self.rows[cell]['rev']}:{path}")


def parameters(latent_dims: Iterable[str], betas: Iterable[str]) -> tuple[str, ...]:
    """Arguments of ``dvc exp run`` that set parameters, or queue a grid of values."""
    return ("-S", f"model.latent_dim={','.join(latent_dims)}", "-S", f"train.beta={','.join(betas)}")


def table(project: Project, *options: str) -> list[dict[str, str]]:
    """The table of the experiments of the current commit, with the workspace and the commit itself."""
    return list(csv.DictReader(project.dvc("exp", "show", "--csv", *options).splitlines()))


def states(project: Project) -> dict[str, str]:
    """The state of each task in the queue, by name of the experiment."""
    status = project.dvc("queue", "status")
    return dict(re.findall(r"^[0-9a-f]{7} +(\S+) .*(Queued|Running|Success|Failed) *$", status, re.MULTILINE))


def processes(folder: Path) -> Iterator[tuple[psutil.Process, Path, str]]:
    """Yield the processes that run in a folder or below, with their folders and commands."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            place = Path(process.cwd())
            if place.is_relative_to(folder):
                yield process, place, " ".join(process.cmdline())


def experiments_at_work(project: Project) -> set[Path]:
    """The temporary folders in which a stage is running."""
    folder = project.folder / ".dvc/tmp/exps"
    return {place for _, place, command in processes(folder) if "-m stages." in command}


def has(project: Project, command: str) -> bool:
    """Whether a process with these words in its command runs in the project's folder or below."""
    return any(command in found for *_, found in processes(project.folder))


def start(project: Project, *arguments: str, env: dict[str, str]) -> None:
    """Run a DVC command that starts workers. They keep its output open, so write it to a file."""
    with project.folder.with_name("output.log").open("w") as log:
        environment = {**project.environment(), **env}
        subprocess.run(["dvc", *arguments], cwd=project.folder, env=environment, stdout=log, stderr=log, check=True)


def watch(project: Project) -> int:
    """Wait until the queue is done, and return the largest number of experiments that ran at the same time.

    ``dvc queue status`` sends messages to the workers. A worker may read one that is not written yet, and ends
    (docs/experiments.md). So it is asked rarely, and workers are started again, as a user would.
    """
    most, deadline = 0, time.monotonic() + DEADLINE
    while set(states(project).values()) & {"Queued", "Running"}:
        if not has(project, "exp queue-worker"):
            start(project, "queue", "start", "-j", "2", env=SHOW_THREADS)
        idle_since = time.monotonic()
        while time.monotonic() < idle_since + IDLE:
            assert time.monotonic() < deadline, "the queue did not finish"
            most = max(most, len(experiments_at_work(project)))
            if has(project, "exp exec-run"):
                idle_since = time.monotonic()
            time.sleep(0.2)
    return most


@contextmanager
def queue(project: Project) -> Iterator[None]:
    """Stop the workers that were started in the block, and wait until they have ended."""
    try:
        yield
        project.dvc("queue", "stop")
        deadline = time.monotonic() + DEADLINE
        while list(processes(project.folder)):
            assert time.monotonic() < deadline, "workers did not stop"
            time.sleep(0.1)
    finally:
        for process, *_ in processes(project.folder):
            with suppress(psutil.Error):
                process.kill()


def tiny_copy(reproduced: Project, folder: Path) -> Project:
    project = Project(shutil.copytree(reproduced.folder, folder, symlinks=True))
    project.set(TINY)
    project.commit("Less of everything")
    return project


def change_parameters_and_code(project: Project) -> None:
    """Train for longer, and break two modules that every stage imports, one of them in a commit."""
    project.set({"train.epochs": str(EPOCHS + 3)})
    break_module(project, "vae/base/errors.py")
    project.commit("What the queue must not see")
    break_module(project, "vae/base/runtime.py")


def break_module(project: Project, name: str) -> None:
    path = project.folder / name
    with path.open("a", encoding="utf-8") as file:
        file.write(f'\nraise RuntimeError("{NOT_QUEUED}")\n')


def hashes(lock: str, stage: str) -> dict[str, str]:
    """The checksums of a stage's outputs in dvc.lock, by path."""
    return {output["path"]: output["md5"] for output in parse_yaml(lock)["stages"][stage]["outs"]}


def outputs(project: Project) -> dict[str, bytes]:
    """The content of all outputs in dvc.lock."""
    lock = project.read("dvc.lock").decode()
    return {path: project.read(path) for stage in STAGES for path in hashes(lock, stage)}


@pytest.fixture(scope="module", autouse=True)
def unset() -> Iterator[None]:
    """Remove settings of threads, so that the stages use their own."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("DVC_ROOT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
            patch.delenv(variable, raising=False)
        yield


@pytest.fixture(scope="module")
def sweep(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    project = tiny_copy(reproduced, tmp_path_factory.mktemp("sweep") / "project")
    queued_on = project.run("git", "rev-parse", "HEAD").strip()
    project.dvc("exp", "run", "--queue", *parameters(*zip(WHOLE, strict=True)))
    project.dvc("exp", "run", "--queue", *parameters(LATENT_DIMS, BETAS), "train")
    change_parameters_and_code(project)
    assert NOT_QUEUED in project.run("python", "-m", "stages.train", status=1)
    with queue(project):
        start(project, "queue", "start", "-j", "2", env=SHOW_THREADS)
        side_by_side = watch(project)
    project.run("git", "checkout", "--quiet", "--force", queued_on)
    return Sweep(project, states(project), side_by_side)


@pytest.fixture(scope="module")
def in_workspace(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """The experiment with all stages, run in a workspace, and the output of DVC."""
    project = tiny_copy(reproduced, tmp_path_factory.mktemp("workspace") / "project")
    return project, project.run("dvc", "exp", "run", *parameters(*zip(WHOLE, strict=True)), env=SHOW_THREADS)


def test_every_queued_experiment_succeeds(sweep: Sweep) -> None:
    assert list(sweep.states.values()) == ["Success"] * 5
    assert set(sweep.rows) == {*GRID, WHOLE}


def test_two_workers_run_two_experiments_at_the_same_time(sweep: Sweep) -> None:
    assert sweep.side_by_side == 2


@pytest.mark.parametrize("cell", [*GRID, WHOLE], ids=" ".join)
def test_an_experiment_runs_with_the_parameters_with_which_it_was_queued(sweep: Sweep, cell: Cell) -> None:
    latent_dim, beta = cell
    model = hashes(sweep.read(cell, "dvc.lock"), "train")["models/vae.safetensors"]
    cached = sweep.project.folder / ".dvc/cache/files/md5" / model[:2] / model[2:]
    assert load_model(cached, CPU, (1, 8, 8)).latent_dim == int(latent_dim)
    epochs = list(csv.DictReader(sweep.read(cell, "plots/train/losses.csv").splitlines()))
    assert len(epochs) == EPOCHS
    for epoch in epochs:
        reconstruction, kl = float(epoch["train_reconstruction"]), float(epoch["train_kl"])
        assert float(epoch["train_loss"]) == pytest.approx(reconstruction + float(beta) * kl, rel=1e-5)


def test_an_experiment_runs_with_the_code_with_which_it_was_queued(sweep: Sweep) -> None:
    """Before the workers started, the code in the workspace was replaced by code that cannot be imported."""
    assert list(sweep.states.values()) == ["Success"] * 5
    for row in sweep.rows.values():
        assert sweep.project.run("git", "diff", "--name-only", "HEAD", row["rev"], "--", "stages", "vae") == ""


def test_a_queued_experiment_ends_with_the_same_bytes_as_in_the_workspace(
    sweep: Sweep, in_workspace: tuple[Project, str]
) -> None:
    expected, _ = in_workspace
    sweep.project.dvc("exp", "apply", sweep.rows[WHOLE]["Experiment"])
    assert outputs(sweep.project) == outputs(expected)
    for name in ("dvc.lock", "params.yaml"):
        assert sweep.project.read(name) == expected.read(name)
    sweep.project.run("git", "checkout", "--quiet", "--force", "HEAD")


def test_threads_spin_briefly_or_not_at_all_in_a_queue_and_in_the_workspace(
    sweep: Sweep, in_workspace: tuple[Project, str]
) -> None:
    """It depends on whether other processes use the cores. The default of the OpenMP library is 300,000."""
    spins = re.compile(r"GOMP_SPINCOUNT = '(\d+)'")
    _, printed = in_workspace
    if not spins.search(printed):
        pytest.skip("needs GNU OpenMP")
    assert set(spins.findall(printed)) <= {"0", str(SPIN_COUNT)}
    for name in sweep.states:
        found = set(spins.findall(sweep.project.dvc("queue", "logs", name)))
        assert found
        assert found <= {"0", str(SPIN_COUNT)}


def test_dvc_exp_show_lists_the_documented_metrics(sweep: Sweep) -> None:
    columns = list(next(iter(sweep.rows.values())))
    first, last = (columns.index(name) for name in ("Executor", "prepare.dataset"))
    assert columns[first + 1 : last] == METRICS


def test_dvc_exp_show_only_changed_lists_the_parameters_and_metrics_that_differ(sweep: Sweep) -> None:
    rows = [row for row in table(sweep.project, "--only-changed") if row["Experiment"]]
    assert [name for name in rows[0] if name.split(".")[0] in SECTIONS] == ["model.latent_dim", "train.beta"]
    metrics = [name for name in METRICS if name in rows[0]]
    assert {"train_loss", "test.negative_elbo", "neighbour_accuracy"} <= set(metrics)
    assert not {"images.train", "entropy_floor"} & set(metrics)
    assert len({tuple(row[name] for name in ("train_loss", "test.negative_elbo")) for row in rows}) == len(rows) == 5


@pytest.fixture
def meeting_point() -> Iterator[str]:
    """The address of a mirror of small archives, which does not answer before a second download has begun.

    A download sends one request at a time, so two open requests belong to two downloads.
    """
    others, company = count(), Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if next(others) > 0:
                company.set()
            self.send_response(200)
            while not company.wait(timeout=1):
                self.send_header("X-Waiting", "for the other download")  # keeps the client waiting
                self.flush_headers()
            content = ARCHIVES[self.path.lstrip("/")]
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Ignore that torchvision closes the connection after it looked for redirections."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def expect_small_archives(project: Project, mirror: str) -> None:
    """Make the project's code download small archives from a mirror instead of the real ones."""
    checksums = [(archive, md5(content)) for archive, content in ARCHIVES.items()]
    lines = [
        "from torchvision.datasets import MNIST",
        f"MNIST.resources = {checksums}",
        f"MNIST.mirrors = ['{mirror}']",
    ]
    with (project.folder / "vae/data/mnist.py").open("a", encoding="utf-8") as file:
        file.write("\n".join(["", *lines, ""]))


def test_experiments_that_download_at_the_same_time_share_one_folder(
    project: Project, meeting_point: str, tmp_path: Path
) -> None:
    expect_small_archives(project, meeting_point)
    home, scratch = tmp_path / "downloads", tmp_path / "scratch"
    scratch.mkdir()
    project.dvc("exp", "run", "--queue", "-S", "prepare.dataset=mnist", "-S", "prepare.seed=1,2", "prepare")
    with queue(project):
        environment = {"VAE_DATA_HOME": str(home), "TMPDIR": str(scratch), "no_proxy": "*"}
        start(project, "exp", "run", "--run-all", "-j", "2", env=environment)
    assert list(states(project).values()) == ["Success"] * 2
    assert contents(home) == in_raw(ARCHIVES)
    assert list(scratch.glob("vae-*")) == []

    rows = [row for row in table(project) if row["Experiment"]]
    for row in rows:
        assert [row[f"images.{split}"] for split in ("train", "validation", "test")] == ["18", "2", "10"]
    first, second = (hashes(project.run("git", "show", f"{row['rev']}:dvc.lock"), "prepare") for row in rows)
    assert first["data/prepared/test.safetensors"] == second["data/prepared/test.safetensors"]
    assert first["data/prepared/train.safetensors"] != second["data/prepared/train.safetensors"], "seeds differ"
