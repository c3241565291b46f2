"""How trials are given to workers, with a pretended client of Dask."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("optuna", reason="needs make search")
pytest.importorskip("distributed", reason="needs make search")

from search import runner, settings
from search.attempt import name_of
from search.home import Home
from search.runner import Runner
from search.sampling import Sampling, Trial
from search.study import Study
from search.trial import Job, Outcome
from search.workers import SchedulerError
from tests.imports import ROOT
from tests.search.test_study import study

GRID: dict[str, Any] = {"search": "grid", "trials": None, "parameters": {"model.latent_dim": [2, 10, 20]}}


@dataclass(eq=False)
class Future:
    """A task of the pretended client."""

    job: Job
    status: str = "pending"
    found: Outcome | None = None
    error: BaseException | None = None

    def result(self) -> tuple[bool, str, float]:
        assert self.found is not None
        return self.found.succeeded, self.found.log, self.found.seconds

    def exception(self) -> BaseException | None:
        return self.error

    def cancelled(self) -> bool:
        return self.status == "cancelled"


@dataclass
class Pretended:
    """Workers that do at each look what a function says.

    Attributes:
        act: called with all running tasks.
        workers: how many there are.
        futures: all tasks that were submitted.
        most: the largest number of tasks at the same time.
    """

    act: Callable[[list[Future]], None]
    workers: int = 2
    futures: list[Future] = field(default_factory=list)
    most: int = 0
    topics: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    lost: int = 0
    status: str = "running"
    dashboard_link: str = "http://scheduler:8787/status"

    def connect(self, address: str) -> "Pretended":
        if self.lost:
            self.lost -= 1
            raise SchedulerError(address)
        return self

    def subscribe_topic(self, topic: str, handler: Callable[[Any], None]) -> None:
        self.topics[topic] = handler

    def nthreads(self) -> Mapping[str, int]:
        return {f"worker {place}": 1 for place in range(self.workers)}

    def submit(self, task: tuple[Job, str], **_: object) -> Future:
        job, topic = task
        assert topic in self.topics
        self.futures.append(Future(job))
        return self.futures[-1]

    def cancel(self, futures: list[Future], **_: object) -> None:
        for future in futures:
            future.status = "cancelled"

    def close(self) -> None:
        pass

    def sleep(self, _seconds: float) -> None:
        running = [future for future in self.futures if future.status == "pending"]
        self.most = max(self.most, len(running))
        self.act(running)

    @property
    def names(self) -> list[str]:
        return [future.job.name for future in self.futures]


class Pulled(Home):
    """A workspace to which every experiment can be pulled, at the third try."""

    tries: ClassVar[Counter[str]] = Counter()

    def pull(self, name: str) -> str:
        self.tries[name] += 1
        return "" if self.tries[name] % 3 == 0 else "Unable to acquire lock"


def succeed(running: list[Future]) -> None:
    for future in running:
        future.status, future.found = "finished", Outcome(True, "", 1.0)


def value_of(trial: Trial, seed: int) -> float:
    return float(trial.setting["model.latent_dim"] + seed)


@dataclass
class Setup:
    """A study with pretended workers."""

    study: Study
    workers: Pretended
    folder: Path
    done: list[int] = field(default_factory=list)

    def run(self, before: set[str] = frozenset()) -> Runner:  # type: ignore[assignment]
        """Run the study; the experiments in ``before`` are in the workspace already."""
        sampling = Sampling(self.study, self.folder / "study.db")

        def value(trial: Trial, seed: int) -> float | None:
            name = name_of(self.study, trial, seed)
            ended = {future.job.name for future in self.workers.futures if future.status == "finished"}
            return value_of(trial, seed) if name in before | ended else None

        home = Pulled(self.folder, "abc", "repository", None, {})
        found = Runner(
            self.study,
            settings.base_of(self.study, ROOT),
            home,
            sampling,
            value,
            lambda _, trial: self.done.append(trial.number),
        )
        found.run("tcp://scheduler")
        return found


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Setup]:
    def prepare(act: Callable[[list[Future]], None] = succeed, workers: int = 2, **changes: Any) -> Setup:
        pretended = Pretended(act, workers)
        monkeypatch.setattr(runner, "connect", pretended.connect)
        monkeypatch.setattr(runner, "as_task", lambda job, topic: (job, topic))
        monkeypatch.setattr("search.runner.time.sleep", pretended.sleep)
        monkeypatch.setattr(runner, "SECONDS_BETWEEN_COUNTS", 0.0)
        return Setup(study(**{**GRID, **changes}), pretended, tmp_path)

    return prepare


def test_every_seed_of_every_trial_is_an_experiment_and_the_value_of_a_trial_is_the_mean_over_its_seeds(
    setup: Callable[..., Setup],
) -> None:
    trials = setup(seeds=[0, 4])
    found = trials.run()
    assert sorted(trials.workers.names) == [
        f"a-study-{number:02d}-seed-{seed}" for number in range(3) for seed in (0, 4)
    ]
    assert [each.value for each in found.sampling.finished] == [4.0, 12.0, 22.0]
    assert sorted(trials.done) == [0, 1, 2]
    assert (found.left, found.failures) == (0, {})


def test_the_address_of_the_dashboard_comes_first(
    setup: Callable[..., Setup], capsys: pytest.CaptureFixture[str]
) -> None:
    setup().run()
    assert capsys.readouterr().out.startswith("Dask's dashboard: http://scheduler:8787/status\n")


def test_an_experiment_that_cannot_be_pulled_is_pulled_later_and_said_once(
    setup: Callable[..., Setup], capsys: pytest.CaptureFixture[str]
) -> None:
    """Another DVC command in the workspace may hold its lock."""
    setup(seeds=[0]).run()
    printed = capsys.readouterr().out
    assert printed.count("a-study-00-seed-0 cannot be pulled yet: Unable to acquire lock") == 1


def test_an_experiment_that_can_never_be_pulled_fails_its_trial(
    setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pulled, "pull", lambda _home, _name: "disk full")
    trials = setup(seeds=[0])
    monkeypatch.setattr("tests.search.test_runner.value_of", lambda _trial, _seed: None)
    assert all("has not come home" in reason for reason in trials.run().failures.values())
    assert trials.done == []


def test_each_experiment_sets_the_parameters_of_its_trial_and_its_seed(setup: Callable[..., Setup]) -> None:
    trials = setup(seeds=[7], fixed={"train.epochs": 3})
    trials.run()
    options = sorted(tuple(future.job.options) for future in trials.workers.futures)
    assert options == sorted(
        ("-S", "train.epochs=3", "-S", f"model.latent_dim={value}", "-S", "train.seed=7") for value in (2, 10, 20)
    )


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_there_are_never_more_experiments_on_their_way_than_workers(workers: int, setup: Callable[..., Setup]) -> None:
    trials = setup(workers=workers, seeds=[0, 1])
    trials.run()
    assert trials.workers.most == workers


def test_a_failed_experiment_fails_its_trial_with_the_end_of_its_log_and_the_study_goes_on(
    setup: Callable[..., Setup], capsys: pytest.CaptureFixture[str]
) -> None:
    def act(running: list[Future]) -> None:
        succeed(running)
        for future in running:
            if future.job.name == "a-study-01-seed-0":
                future.found = Outcome(False, "one\ntwo\nthree\nfour\nfive\ntraining diverged", 1.0)

    trials = setup(act, seeds=[0])
    found = trials.run()
    assert list(found.failures) == [1]
    assert "two\n  three\n  four\n  five\n  training diverged" in capsys.readouterr().out
    assert (trials.folder / ".dvc/tmp/studies/a-study/a-study-01-seed-0.log").read_text().startswith("one\ntwo")
    assert len(found.sampling.finished) == 2

    again = setup(seeds=[0])  # the same study, run again
    assert again.run().failures == {}
    assert again.workers.names == ["a-study-01-seed-0"]


def test_a_trial_that_kills_its_workers_has_failed(setup: Callable[..., Setup]) -> None:
    from distributed import KilledWorker

    def act(running: list[Future]) -> None:
        succeed(running)
        for future in running:
            if future.job.name == "a-study-00-seed-0":
                future.status, future.error = "error", KilledWorker("task", None, 2)

    found = setup(act, seeds=[0]).run()
    assert found.failures == {0: "its worker died 3 times while it ran"}


def test_a_setting_that_is_not_valid_fails_without_an_experiment(setup: Callable[..., Setup]) -> None:
    trials = setup(
        seeds=[0], parameters={"model.latent_dim": [2, 10], "train.kl_warmup_epochs": [0, 5]}, fixed={"train.epochs": 3}
    )
    found = trials.run()
    assert len(found.failures) == 2
    assert all("train.kl_warmup_epochs: 5 must be below train.epochs=3" in reason for reason in found.failures.values())
    assert len(trials.workers.futures) == 2


def test_experiments_that_are_in_the_workspace_are_not_run_again(setup: Callable[..., Setup]) -> None:
    trials = setup(seeds=[0, 1])
    found = trials.run({"a-study-00-seed-0", "a-study-00-seed-1", "a-study-02-seed-1"})
    assert sorted(trials.workers.names) == ["a-study-01-seed-0", "a-study-01-seed-1", "a-study-02-seed-0"]
    assert len(found.sampling.finished) == 3


def test_after_a_lost_scheduler_what_was_running_is_submitted_again(
    setup: Callable[..., Setup], capsys: pytest.CaptureFixture[str]
) -> None:
    looks: list[list[str]] = []

    def act(running: list[Future]) -> None:
        looks.append([future.job.name for future in running])
        if len(looks) == 1:
            trials.workers.lost = 3
            trials.workers.cancel(running)
        else:
            succeed(running)

    trials = setup(act, seeds=[0])
    found = trials.run()
    assert looks[0] == looks[1] == ["a-study-00-seed-0", "a-study-01-seed-0"]
    assert len(found.sampling.finished) == 3
    assert "The scheduler is back; 2 experiments start again" in capsys.readouterr().out


def test_a_scheduler_that_does_not_come_back_ends_the_study_with_advice(
    setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(running: list[Future]) -> None:
        trials.workers.lost = 1000
        trials.workers.cancel(running)

    monkeypatch.setattr(runner, "SECONDS_TO_COME_BACK", 0.0)
    trials = setup(act, seeds=[0])
    with pytest.raises(SchedulerError, match="did not come back; start one and run make study again"):
        trials.run()


def test_a_trial_is_stopped_by_its_first_seed_and_the_other_seeds_wait_for_that(setup: Callable[..., Setup]) -> None:
    def act(running: list[Future]) -> None:
        for future in running:
            bad = "model.latent_dim=500" in future.job.options
            if future.job.watched:
                losses = [(epoch, 90.0 if bad else 30.0) for epoch in range(1, 11)]
                trials.workers.topics["study-a-study"]((0.0, {"name": future.job.name, "losses": losses}))
            if not bad:
                succeed([future])

    values = [*range(2, 12), 500]  # with this seed, 500 is the tenth
    trials = setup(act, workers=1, seeds=[0, 1], parameters={"model.latent_dim": values}, pruning=True, seed=2)
    found = trials.run()
    assert [trial.setting for trial in found.sampling.pruned] == [{"model.latent_dim": 500}]
    number = found.sampling.pruned[0].number
    assert [name for name in trials.workers.names if f"-{number:02d}-" in name] == [f"a-study-{number:02d}-seed-0"]
    assert len(found.sampling.finished) == len(values) - 1
    assert [future.job.watched for future in trials.workers.futures if "seed-1" in future.job.name] == [False] * 10


def test_no_trial_starts_after_the_limit_of_time(setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("search.runner.time.monotonic", lambda: now[0])

    def act(running: list[Future]) -> None:
        now[0] += 3600.0 if running else 0.0
        succeed(running)

    trials = setup(act, workers=1, seeds=[0], hours=1.5)
    found = trials.run()
    assert len(found.sampling.finished) == 2
    assert found.left == 1


def test_an_interrupted_study_cancels_what_is_running(setup: Callable[..., Setup]) -> None:
    def act(running: list[Future]) -> None:
        if running:
            raise KeyboardInterrupt

    trials = setup(act, seeds=[0])
    with pytest.raises(KeyboardInterrupt):
        trials.run()
    assert {future.status for future in trials.workers.futures} == {"cancelled"}
