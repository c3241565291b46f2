"""Conduct a study: check it, run the trials that are left, and show what they say."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from review.comparability import must_be_equal
from review.limits import resolve
from review.revisions import BASELINE, Revision, flattened, is_number, load_revision
from search import settings
from search.attempt import name_of
from search.home import STUDIES, Home, HomeError, open_home
from search.page import write_page
from search.progress import line
from search.result import Result, ResultError
from search.runner import Runner
from search.sampling import Sampling, Trial
from search.study import Study, StudyError
from search.workers import connect, default_devices, local_scheduler

PROJECT = Path()
VALIDATION = ("prepare.validation_fraction", "prepare.seed")  # on which a validation loss depends, besides its meaning


def conduct(study: Study, scheduler: str | None, workers: int | None, out: Path) -> int:
    """Run the trials that are left, print each as it ends, and write the page; the exit status.

    Args:
        study: the study, as its file says.
        scheduler: the address of a Dask scheduler; None to start workers on this machine.
        workers: how many to start; None for as many as the machine can run.
        out: the folder of the page.

    Raises:
        VAEError: the study, the workspace or the scheduler is not as it has to be; or no trial has finished.
    """
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # show lines as they come, also in a log
    home = open_home(PROJECT, other_machines=scheduler is not None)
    base = settings.base_of(study)
    study = checked(study, base, load_revision(BASELINE))
    if scheduler:
        connect(scheduler).close()
    with _alone(study):
        sampling = Sampling(study, STUDIES / study.name / f"{home.commit[:12]}.db")
        results = Results(study, base, home)
        runner = Runner(study, base, home, sampling, results.value_of, lambda runner, trial: print(line(runner, trial)))
        print(_about(study, runner.left, home))
        if runner.left:
            with nullcontext(scheduler) if scheduler else local_workers(study, base, workers) as address:
                runner.run(address)
        print(_about_the_rest(runner), end="")
        try:
            result = Result.of(study, sampling, results.revision, len(runner.failures))
        except ResultError as error:
            if not runner.failures:
                raise
            print(error, file=sys.stderr)
            return 1
    print("", result.text(), sep="\n")
    write_page(result, out)
    print(f"\nWritten: {out}/index.html and table.csv")
    return 1 if runner.failures else 0


def _about_the_rest(runner: Runner) -> str:
    """Which trials have failed, and how many the limit of time left."""
    numbers = ", ".join(f"{number:02d}" for number in sorted(runner.failures))
    failed = f"Failed: {numbers}; the reasons are above. The same command tries them again.\n" if numbers else ""
    left = f"The time is over with {runner.left} trials left; the same command goes on with them.\n"
    return failed + (left if runner.left else "")


def checked(study: Study, base: Mapping[str, Any], head: Revision) -> Study:
    """The study with the whole key of its metric.

    Raises:
        StudyError: a parameter is unknown, a value is invalid, or values of the metric would mean different things.
        LimitsError: there is no such metric.
    """
    study = study.model_copy(update={"metric": resolve(study.metric, head.metrics)})
    settings.require_valid(study, base)
    for key in must_be_equal(study.metric):
        if key in study.parameters:
            raise StudyError(
                f"metric: {study.metric} of different {key} cannot be compared; fix {key}, or choose another metric"
            )
    if study.pruning:
        for key in (*must_be_equal("evaluate.test.negative_elbo"), *VALIDATION):
            if key in study.parameters:
                raise StudyError(
                    f"pruning: validation losses of different {key} cannot be compared; set pruning: false"
                )
        if not base["prepare"]["validation_fraction"]:
            raise StudyError(
                "pruning: there are no validation images; set prepare.validation_fraction in fixed, or pruning: false"
            )
    return study


class Results:
    """The experiments of a study in the workspace."""

    def __init__(self, study: Study, base: Mapping[str, Any], home: Home) -> None:
        self.study, self.base, self.home = study, base, home
        self._loaded: dict[str, Revision] = {}

    def revision(self, trial: Trial, seed: int) -> Revision | None:
        """The experiment of a trial and a seed, or None if it is not in the workspace.

        Raises:
            HomeError: an experiment of this name has other parameters.
        """
        name = name_of(self.study, trial, seed)
        if name not in self._loaded:
            commit = self.home.experiment(name)
            if commit is None:
                return None
            found = replace(load_revision(commit, self.home.folder), name=name)
            wanted = settings.changed(self.base, settings.of_trial(self.study, trial.setting, seed))
            if dict(flattened(wanted)) != dict(found.parameters):
                raise HomeError(
                    f"{name}: an experiment of this name has other parameters; give the study another name, or remove "
                    f"the experiment by dvc exp remove {name}"
                )
            self._loaded[name] = found
        return self._loaded[name]

    def value_of(self, trial: Trial, seed: int) -> float | None:
        """The metric of a trial and a seed, or None if there is no such experiment or no such number."""
        found = self.revision(trial, seed)
        value = found.metrics.get(self.study.metric) if found else None
        return float(value) if is_number(value) else None  # type: ignore[arg-type]


def local_workers(study: Study, base: Mapping[str, Any], number: int | None) -> AbstractContextManager[str]:
    """A scheduler with a number of workers on this machine; they take turns to get its devices."""
    devices = default_devices(study, base)
    number = number or len(devices)
    return local_scheduler(list(islice(cycle(devices), number)), STUDIES / "workers")


@contextmanager
def _alone(study: Study) -> Iterator[None]:
    """Keep a second command from running the same study."""
    folder = PROJECT / STUDIES / study.name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout as error:
        raise HomeError(f"{study.name}: this study is running already") from error


def _about(study: Study, left: int, home: Home) -> str:
    total = settings.number_of_trials(study)
    kind = {"grid": "a grid", "random": "random draws", "tpe": "TPE"}[study.search]
    seeds = f"{len(study.seeds)} seed{'s' * (len(study.seeds) > 1)} each"
    return f"{study.name}: {left} of {total} trials left, {seeds}, by {kind}, at commit {home.commit[:7]}"
