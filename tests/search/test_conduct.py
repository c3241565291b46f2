"""What is checked before any trial, and how many workers there are."""

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="needs make search")
pytest.importorskip("distributed", reason="needs make search")

from review.limits import LimitsError
from review.revisions import Revision, flattened
from search import conduct, settings, workers
from search.conduct import Results, checked
from search.home import Home, HomeError
from search.sampling import Trial
from search.study import StudyError
from search.workers import GIB, SchedulerError, connect, default_devices
from tests.imports import ROOT
from tests.review.revisions import revision
from tests.search.test_study import study

HEAD = revision(
    "HEAD", metrics={"evaluate.test.negative_elbo": 24.0, "generate.recall": 0.7, "train.validation_loss": 25.0}
)


def refusal(**changes: Any) -> str:
    found = study(**changes)
    with pytest.raises((StudyError, LimitsError)) as error:
        checked(found, settings.base_of(found, ROOT), HEAD)
    return str(error.value)


def test_the_metric_may_be_the_end_of_its_key() -> None:
    found = study(metric="recall", direction="highest", parameters={"train.beta": [1.0, 2.0]})
    assert checked(found, settings.base_of(found, ROOT), HEAD).metric == "generate.recall"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "negative_elbow"}, "negative_elbow: no such metric; did you mean evaluate.test.negative_elbo"),
        ({"parameters": {"train.beat": [1.0, 2.0]}}, "train.beat: unknown key; did you mean beta?"),
        ({"parameters": {"prepare.dataset": ["digits", "mnist"]}}, "of different prepare.dataset cannot be compared"),
        ({"parameters": {"model.likelihood": ["bernoulli", "gaussian"]}}, "of different model.likelihood cannot be"),
        ({"metric": "validation_loss", "parameters": {"train.beta": [1.0, 2.0]}}, "of different train.beta cannot be"),
        ({"pruning": True, "parameters": {"prepare.seed": [0, 1]}}, "validation losses of different prepare.seed"),
        ({"pruning": True, "fixed": {"prepare.validation_fraction": 0.0}, "parameters": {"train.beta": [1.0, 2.0]}},
         "there are no validation images"),
    ],
)  # fmt: skip
def test_a_study_whose_values_could_not_be_compared_is_refused(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(**changes)


def test_settings_of_another_beta_may_be_pruned_since_their_losses_are_compared_at_beta_1() -> None:
    found = study(pruning=True, parameters={"train.beta": [1.0, 2.0]})
    assert checked(found, settings.base_of(found, ROOT), HEAD).pruning


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    """The results of a study of which one experiment is in the workspace."""
    found = study(parameters={"train.beta": [1.0, 2.0]}, metric="evaluate.test.negative_elbo")
    base = settings.base_of(found, ROOT)

    def load(name: str, _folder: Path) -> Revision:
        parameters = dict(flattened(settings.changed(base, {"train.beta": 2.0, "train.seed": 1})))
        return revision(name, parameters, {"evaluate.test.negative_elbo": 23.0})

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(Home, "experiment", lambda _home, name: name if name == "a-study-01-seed-1" else None)
    monkeypatch.setattr(conduct, "load_revision", load)
    return Results(found, base, Home(tmp_path, "abc", "repository", None, {}))


def test_an_experiment_with_the_parameters_of_a_trial_has_its_value(results: Results) -> None:
    assert results.value_of(Trial(1, {"train.beta": 2.0}), 1) == 23.0
    assert results.value_of(Trial(0, {"train.beta": 2.0}), 1) is None


def test_an_experiment_of_the_same_name_with_other_parameters_is_not_overwritten(results: Results) -> None:
    with pytest.raises(
        HomeError, match=r"a-study-01-seed-1: .* has other parameters; .* dvc exp remove a-study-01-seed-1"
    ):
        results.value_of(Trial(1, {"train.beta": 1.0}), 1)


def test_a_study_does_not_run_twice_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduct, "PROJECT", tmp_path)
    with (
        conduct._alone(study()),
        pytest.raises(HomeError, match="this study is running already"),
        conduct._alone(study()),
    ):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "127.0.0.1:1", "nonsense", "http://127.0.0.1:1"])
def test_a_scheduler_that_does_not_answer_is_named(address: str) -> None:
    with pytest.raises(SchedulerError, match=f"^{re.escape(address)}: no Dask scheduler answers"):
        connect(address, seconds=0.3)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with eight cores, much memory and no GPU."""
    monkeypatch.setattr("search.workers.os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    set_memory(monkeypatch, 64 * GIB)
    monkeypatch.setattr(workers, "cuda_devices", list)
    return monkeypatch


def set_memory(patch: pytest.MonkeyPatch, available: int) -> None:
    class Memory:
        pass

    Memory.available = available  # type: ignore[attr-defined]
    patch.setattr("search.workers.psutil.virtual_memory", lambda: Memory)


def number_of_workers(**changes: Any) -> int:
    found = study(**changes)
    return len(default_devices(found, settings.base_of(found, ROOT)))


def test_the_digits_get_a_worker_for_each_core_and_larger_images_two(machine: pytest.MonkeyPatch) -> None:
    assert machine
    assert number_of_workers() == 8
    assert number_of_workers(recipe="mnist") == 2
    assert number_of_workers(parameters={"prepare.dataset": ["digits", "mnist"]}) == 2


def test_there_are_no_more_workers_than_memory_for_them_but_at_least_one(machine: pytest.MonkeyPatch) -> None:
    for memory, expected in ((10 * GIB, 3), (GIB, 1)):
        set_memory(machine, memory)
        assert number_of_workers() == expected


def test_each_gpu_gets_a_worker_of_its_own(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(workers, "cuda_devices", lambda: ["0", "3"])
    found = study()
    devices = default_devices(found, settings.base_of(found, ROOT))
    assert devices == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "3"}]


def test_gpus_are_those_that_the_user_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("VAE_DEVICE", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert workers.cuda_devices() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert workers.cuda_devices() == ["1", "3"]
    monkeypatch.setenv("VAE_DEVICE", "cpu")
    assert workers.cuda_devices() == []
