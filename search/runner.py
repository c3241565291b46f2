"""Run the trials of a study on Dask's workers, and bring their experiments home."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from statistics import fmean
from typing import Any

from distributed import KilledWorker

from search import settings, trial
from search.attempt import Attempt, Run, name_of
from search.home import STUDIES, Home
from search.sampling import Sampling, Trial
from search.study import Study
from search.workers import SchedulerError, as_task, connect
from vae.base.artifacts import write_bytes
from vae.base.errors import shortened

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_BETWEEN_COUNTS = 2.0  # of workers
SECONDS_TO_COME_BACK = 600.0  # for a scheduler that was lost
SECONDS_TO_STOP = 1.0  # in which workers notice that nobody wants their tasks
MOST_PULLS = 300  # of an experiment, with seconds between them
LAST_LINES = 5  # of a failed trial's log


class Runner:
    """Keeps every worker busy until all trials are done.

    Attributes:
        failures: why trials failed, by number. They count as unfinished, so the next run of the study tries them again.
    """

    def __init__(
        self,
        study: Study,
        base: Mapping[str, Any],
        home: Home,
        sampling: Sampling,
        value_of: Callable[[Trial, int], float | None],
        finished: Callable[["Runner", Trial], None],
    ) -> None:
        """Prepare.

        Args:
            study: the study.
            base: the parameters that all trials share.
            home: the workspace.
            sampling: which setting to try next.
            value_of: the metric of a trial and a seed whose experiment is in the workspace; None if it is not there.
            finished: called for each trial that has a value or was stopped.
        """
        self.study, self.base, self.home, self.sampling = study, base, home, sampling
        self.value_of, self.finished = value_of, finished
        self.failures: dict[int, str] = {}
        self.seconds: list[float] = []  # that experiments took
        self.workers = 0
        self._attempts: dict[int, Attempt] = {}
        self._runs: dict[Any, Run] = {}  # by future
        self._losses: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._numbers = itertools.count()
        self._pulls: Counter[str] = Counter()
        self._deadline = time.monotonic() + (study.hours or 1e9) * 3600
        self._next_count = 0.0
        self._waiting = False

    def run(self, address: str) -> None:
        """Run all trials that are left on the workers of a scheduler.

        Raises:
            SchedulerError: the scheduler was lost and did not come back.
            HomeError: an experiment of another study has the name of one of this study.
        """
        self._address = address
        self._connect()
        if link := self._client.dashboard_link:
            print(f"Dask's dashboard: {link}")
        try:
            while self._fill():
                time.sleep(SECONDS_BETWEEN_LOOKS)
                if self._client.status != "running" or any(future.cancelled() for future in self._runs):
                    self._reconnect()
                self._listen()
                self._collect()
        finally:
            self._stop()

    def _stop(self) -> None:
        """End what is running, as far as the scheduler can still be reached."""
        with suppress(Exception):
            if self._runs:
                self._client.cancel(list(self._runs), force=True)
                time.sleep(SECONDS_TO_STOP)
            self._client.close()

    @property
    def left(self) -> int:
        """How many trials are neither finished nor failed."""
        done = len(self.sampling.finished) + len(self.sampling.pruned) + len(self.failures)
        return settings.number_of_trials(self.study) - done

    def _connect(self) -> None:
        self._client = connect(self._address)
        topic = f"study-{self.study.name}"
        self._client.subscribe_topic(topic, lambda event: self._losses.put(event[1]))

    def _fill(self) -> bool:
        """Give work to workers that have none; whether anything is left to wait for."""
        self._count_workers()
        while len(self._runs) < self.workers and (run := self._next()):
            self._submit(run)
        return bool(self._attempts) or (not self.workers and self.left > 0 and time.monotonic() < self._deadline)

    def _count_workers(self) -> None:
        if time.monotonic() < self._next_count:
            return
        self._next_count = time.monotonic() + SECONDS_BETWEEN_COUNTS
        with suppress(OSError, AttributeError):  # the scheduler is lost, which the next look notices
            self.workers = sum(self._client.nthreads().values())
        if not self.workers and not self._waiting:
            print(f"No workers at {self._address} yet; start them with dask worker {self._address}")
        self._waiting = not self.workers

    def _submit(self, run: Run) -> None:
        key = f"{run.job.name}-{next(self._numbers)}"
        future = self._client.submit(as_task(run.job, f"study-{self.study.name}"), key=key, pure=False)
        self._runs[future] = run

    def _next(self) -> Run | None:
        """The next experiment: a waiting seed of a trial that has begun, else one of a new trial."""
        while True:
            for attempt in self._attempts.values():
                if attempt.waiting:
                    return self._run(attempt, attempt.waiting.pop(0))
            if time.monotonic() > self._deadline or (drawn := self.sampling.next()) is None:
                return None
            self._begin(drawn)

    def _run(self, attempt: Attempt, seed: int) -> Run:
        changes = settings.of_trial(self.study, attempt.trial.setting, seed, self.home.folder)
        name = name_of(self.study, attempt.trial, seed)
        watched = self.study.pruning and not attempt.values
        return Run(attempt, seed, self.home.job(name, settings.options(changes), watched=watched))

    def _begin(self, drawn: Trial) -> None:
        """Start a trial with the seeds whose experiments are not there already."""
        attempt = self._attempts[drawn.number] = Attempt(drawn)
        if problems := settings.problems(settings.changed(self.base, drawn.setting)):
            return self._fail(attempt, " ".join(problems.values()))
        for seed in self.study.seeds:
            value = self.value_of(drawn, seed)
            if value is not None:
                attempt.values[seed] = value
            elif self.study.pruning and attempt.waiting and not attempt.values:
                attempt.held.append(seed)
            else:
                attempt.waiting.append(seed)
        return self._finish_if_done(attempt)

    def _listen(self) -> None:
        """Record the losses that workers have sent, and stop trials that are not promising."""
        running = {run.job.name: (future, run) for future, run in self._runs.items()}
        while not self._losses.empty():
            message = self._losses.get()
            future, run = running.get(message["name"], (None, None))
            if future is None or run is None or future not in self._runs:
                continue
            number = run.attempt.trial.number
            if number in self._attempts and self.sampling.report(number, message["losses"]):
                del self._runs[future], self._attempts[number]
                self._client.cancel([future], force=True)
                self.sampling.prune(number)
                self.finished(self, run.attempt.trial)

    def _collect(self) -> None:
        """Take the experiments that have ended."""
        for future, run in list(self._runs.items()):
            if future.status == "finished":
                outcome = trial.Outcome(*future.result())
                if outcome.succeeded and (problem := self.home.pull(run.job.name)) and self._try_again(run, problem):
                    continue
                del self._runs[future]
                self.seconds.append(outcome.seconds)
                self._take(run, outcome)
            elif future.status == "error":
                del self._runs[future]
                self._fail(run.attempt, _reason(future.exception()))

    def _try_again(self, run: Run, problem: str) -> bool:
        """Whether to pull an experiment once more: another DVC command in the workspace may keep it from that."""
        self._pulls[run.job.name] += 1
        if self._pulls[run.job.name] == 1:
            print(f"{run.job.name} cannot be pulled yet: {problem}")
        time.sleep(SECONDS_BETWEEN_COUNTS)
        return self._pulls[run.job.name] < MOST_PULLS

    def _take(self, run: Run, outcome: trial.Outcome) -> None:
        attempt = run.attempt
        if not outcome.succeeded:
            log = STUDIES / self.study.name / f"{run.job.name}.log"
            write_bytes(self.home.folder / log, outcome.log.encode())
            end = "\n  ".join(outcome.log.splitlines()[-LAST_LINES:])
            return self._fail(attempt, f"{run.job.name} failed; {log} ends with\n  {end}")
        value = self.value_of(attempt.trial, run.seed)
        if value is None:
            return self._fail(attempt, f"{run.job.name} has not come home, or has no number as {self.study.metric}")
        attempt.values[run.seed] = value
        attempt.waiting += attempt.held
        attempt.held.clear()
        return self._finish_if_done(attempt)

    def _finish_if_done(self, attempt: Attempt) -> None:
        number = attempt.trial.number
        if number in self._attempts and len(attempt.values) == len(self.study.seeds):
            del self._attempts[number]
            self.sampling.finish(number, fmean(attempt.values.values()))
            self.finished(self, attempt.trial)

    def _fail(self, attempt: Attempt, reason: str) -> None:
        if self._attempts.pop(attempt.trial.number, None):
            self.failures[attempt.trial.number] = reason
            print(f"trial {attempt.trial.number:02d}  failed: {reason}")

    def _reconnect(self) -> None:
        """Wait for a scheduler that was lost, and submit again what was running."""
        print(f"Lost the scheduler at {self._address}; waiting for it to come back")
        self._client.close()
        deadline = time.monotonic() + SECONDS_TO_COME_BACK
        while True:
            try:
                self._connect()
                break
            except SchedulerError as error:
                if time.monotonic() > deadline:
                    raise SchedulerError(
                        f"{self._address}: the scheduler did not come back; start one and run make study again, which "
                        "keeps the trials that are done"
                    ) from error
        print(f"The scheduler is back; {len(self._runs)} experiments start again")
        runs = list(self._runs.values())
        self._runs.clear()
        for run in runs:
            self._submit(run)


def _reason(error: BaseException) -> str:
    if isinstance(error, KilledWorker):
        return f"its worker died {error.allowed_failures + 1} times while it ran"
    return shortened(error)
