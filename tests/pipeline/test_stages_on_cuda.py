"""All stages on the pretended CUDA device, from the images to the latent explorer, compared with the CPU.

Every file that the stages write is compared byte by byte. The pretended device computes with the CPU's kernels, so any
difference is a mistake: a seed that depends on the device, a graph that is replayed on other data. Pictures are not
drawn, which would take most of the time; the arrays that they would be drawn from are compared.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import stages.decoded
import stages.embed
import stages.evaluate
import stages.generate
import stages.prepare
import stages.results
import stages.train
import vae.classifier.training
import vae.figures.diagnoses
from faults.project import ROOT
from tests.deterministic import settings_of_a_run
from tests.pretended_device import NAME, pretended_cuda
from vae.base import runtime
from vae.base.artifacts import write_bytes
from vae.base.params import Params, load_params
from vae.model import local_inference

STAGES = (stages.prepare, stages.train, stages.evaluate, stages.generate, stages.embed)
SMALL: dict[str, Any] = {
    "prepare": {"train_images": 120},
    "model": {"hidden_dims": (16,), "channels": 4, "masked_layers": 2, "latent_dim": 3},
    "train": {"epochs": 3, "batch_size": 7},
    "evaluate": {"importance_samples": 12},
    "generate": {"samples": 40, "neighbours": 3},
    "embed": {"points": 60, "method": "pca"},
}
DYNAMIC = {"binarize": "dynamic"}
SAMPLES = {"importance_samples": 3}


@dataclass(frozen=True)
class Case:
    """Parameters of a run, on a device that holds all images at once or a part of them at a time."""

    model: Mapping[str, Any]
    train: Mapping[str, Any]
    prepare: Mapping[str, Any]
    fits: bool = True


# Each network, likelihood, precision, objective and kind of pixels.
CASES = {
    "mlp, bernoulli": Case({"network": "mlp", "likelihood": "bernoulli"}, {}, {}),
    "mlp, bernoulli, dynamic": Case({"network": "mlp", "likelihood": "bernoulli"}, {}, DYNAMIC, fits=False),
    "mlp, continuous_bernoulli, importance-weighted, tf32": Case(
        {"network": "mlp", "likelihood": "continuous_bernoulli"}, {**SAMPLES, "precision": "tf32"}, {}
    ),
    "conv, gaussian, bfloat16": Case(
        {"network": "conv", "likelihood": "gaussian"}, {"precision": "bfloat16"}, {}, fits=False
    ),
    "conv, laplace, importance-weighted": Case({"network": "conv", "likelihood": "laplace"}, SAMPLES, {}),
    "autoregressive, bernoulli, importance-weighted, dynamic": Case(
        {"network": "autoregressive", "likelihood": "bernoulli"}, SAMPLES, DYNAMIC
    ),
    "conv with residual blocks, averages, skipped steps and warm-up, bfloat16": Case(
        {"network": "conv", "likelihood": "discretized_logistic", "residual_blocks": 1},
        {"ema_decay": 0.9, "skip_above": 2000.0, "warmup_epochs": 0.5, "precision": "bfloat16"},
        {},
    ),
    "mlp, discretized_logistic": Case({"network": "mlp", "likelihood": "discretized_logistic"}, {}, {}),
    "autoregressive, discretized_logistic_mixture, no validation images": Case(
        {"network": "autoregressive", "likelihood": "discretized_logistic_mixture"},
        {"free_bits": 0.1, "gradient_clip": 1.0},
        {"validation_fraction": 0.0},
    ),
}


def parameters(case: Case) -> Params:
    """The project's parameters with small values and those of a case."""
    values = load_params(ROOT / "params.yaml").model_dump()
    for section, changes in SMALL.items():
        values[section] |= {**changes, **getattr(case, section, {})}
    return Params(**values)


def described(value: Any) -> Any:
    """What a picture is drawn from, as JSON: arrays by their bytes. A tensor is an error unless it is on the CPU."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, value.tobytes().hex()]
    if is_dataclass(value) and not isinstance(value, type):
        return described(vars(value))
    if isinstance(value, Mapping):
        return {str(key): described(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [described(each) for each in value]
    return repr(value)


def describe_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write what pictures are drawn from, in place of the pictures."""

    def describing(draw: Callable[..., Any]) -> Callable[..., bytes]:
        def describe(*args: Any, **kwargs: Any) -> bytes:
            return json.dumps([draw.__name__, described(args), described(kwargs)]).encode()

        return describe

    modules: tuple[ModuleType, ...] = (*STAGES, stages.decoded, stages.results, vae.figures.diagnoses)
    for module in modules:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__.startswith("vae.figures."):
                monkeypatch.setattr(module, name, describing(function))
            if name == "write_png":
                monkeypatch.setattr(module, name, write_bytes)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings of a run; less work in what has no parameter."""
    monkeypatch.setattr(vae.classifier.training, "MOST_EPOCHS", 2)
    monkeypatch.setattr(vae.classifier.training, "FEWEST_EPOCHS", 2)
    monkeypatch.setattr(local_inference, "IMAGES", {"mlp": 8, "conv": 8, "autoregressive": 4})
    for name, less in (("optimize_posterior", {"steps": 10}), ("measure_gaps", {"samples": 5})):
        monkeypatch.setattr(local_inference, name, partial(getattr(local_inference, name), **less))
    monkeypatch.setattr(stages.generate, "JUDGED_INTERPOLATIONS", 10)
    monkeypatch.setattr(stages.decoded, "MANIFOLD_SIDE", 4)
    with settings_of_a_run():
        yield


def run(case: Case, device: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Run all stages on a device, and return every file that they wrote."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VAE_DEVICE", device)
    params = parameters(case)
    for stage in STAGES:
        stage.main(params)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert not any(name.startswith(".dvc") for name in files)
    return files


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_stage_runs_on_cuda_to_the_end_and_writes_the_bytes_of_the_cpu(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe_pictures(monkeypatch)
    monkeypatch.setattr("vae.training.engine.fits", lambda *_: case.fits)
    on_cpu = run(case, "cpu", tmp_path / "cpu", monkeypatch)
    with pretended_cuda() as waits:
        on_cuda = run(case, "cuda:1", tmp_path / "cuda", monkeypatch)
        assert runtime.machine(runtime.device())["device"] == NAME
    assert waits.reasons["capture of a graph"] >= 1
    assert on_cuda.keys() == on_cpu.keys()
    assert len(on_cuda) > 30
    assert [name for name in on_cpu if on_cuda[name] != on_cpu[name]] == []


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")


@needs_cuda
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_stage_runs_to_the_end_on_a_cuda_device_and_writes_the_same_bytes_twice(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe_pictures(monkeypatch)
    monkeypatch.setattr("vae.training.engine.fits", lambda *_: case.fits)
    first, again = (run(case, "cuda", tmp_path / name, monkeypatch) for name in ("first", "again"))
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []
