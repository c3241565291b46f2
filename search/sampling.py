"""Which setting to try next, by Optuna, and a file that remembers what came of each."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from search.settings import number_of_trials
from search.study import Range, Study
from vae.base.errors import VAEError, shortened

DEFINITION = "definition"  # the key of what a study's results depend on
DIGITS = 4  # significant digits of a number from a range that is not whole
STARTUP_TRIALS = 8  # trials before TPE and pruning rely on earlier ones
STARTUP_EPOCHS = 5  # epochs before a trial may be pruned


class StorageError(VAEError):
    """The file of a study belongs to another one of the same name, or cannot be read."""


class Trial(NamedTuple):
    """A setting to try.

    Attributes:
        number: of the trial, from 0.
        setting: the values of the searched parameters, by dotted key.
    """

    number: int
    setting: Mapping[str, Any]


class Finished(NamedTuple):
    """A trial with its value."""

    trial: Trial
    value: float


class Sampling:
    """A study of Optuna. It is kept in a file, from which an interrupted study goes on."""

    def __init__(self, study: Study, path: Path) -> None:
        self.study = study
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path.parent.mkdir(parents=True, exist_ok=True)
        direction = {"lowest": "minimize", "highest": "maximize"}[study.direction]
        try:
            self._optuna = optuna.create_study(
                storage=f"sqlite:///{path}",
                study_name=study.name,
                direction=direction,
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(STARTUP_TRIALS, n_warmup_steps=STARTUP_EPOCHS),
            )
        except Exception as error:  # SQLAlchemy has many kinds
            raise StorageError(
                f"{path}: cannot be used: {shortened(error)}; delete it to begin the study anew"
            ) from error
        self._require_same(path)
        self._trials = {each.number: self._resumed(each) for each in self._optuna.trials}
        self._reported = {each.number: set(each.intermediate_values) for each in self._optuna.trials}
        self._unfinished = [number for number, each in enumerate(self._optuna.trials) if not each.state.is_finished()]

    def next(self) -> Trial | None:
        """The next setting to try: first those that were running when the study was interrupted; None at the end."""
        space = {key: _distribution(values) for key, values in self.study.parameters.items()}
        number = self._unfinished.pop(0) if self._unfinished else len(self._trials)
        if number not in self._trials and number >= number_of_trials(self.study):
            return None
        with _experimental_features():
            self._optuna.sampler = self._sampler(number)
            trial = self._trials.get(number) or self._optuna.ask()
            for key, distribution in space.items():
                trial._suggest(key, distribution)  # what was drawn before the study was interrupted, or a new draw
            self._optuna.sampler = optuna.samplers.RandomSampler()  # GridSampler would end a loop that is not there
        self._trials[number] = trial
        return Trial(number, self._setting(trial.params))

    def report(self, number: int, losses: Sequence[tuple[int, float]]) -> bool:
        """Record validation losses of a running trial, by epoch; whether the trial should stop."""
        trial, known = self._trials[number], self._reported.setdefault(number, set())
        for epoch, loss in losses:
            if epoch not in known:  # it is, if the trial runs again
                trial.report(loss, epoch)
                known.add(epoch)
        return bool(trial.should_prune())

    def finish(self, number: int, value: float) -> None:
        """Record the value of a trial."""
        self._optuna.tell(number, value)

    def prune(self, number: int) -> None:
        """Record that a trial was stopped."""
        self._optuna.tell(number, state=optuna.trial.TrialState.PRUNED)

    @property
    def finished(self) -> list[Finished]:
        """All trials with a value, the best first."""
        found = [
            Finished(Trial(each.number, self._setting(each.params)), each.value)
            for each in self._optuna.trials
            if each.state == optuna.trial.TrialState.COMPLETE
        ]
        return sorted(found, key=lambda each: each.value, reverse=self.study.direction == "highest")

    @property
    def pruned(self) -> list[Trial]:
        """All trials that were stopped."""
        return [
            Trial(each.number, self._setting(each.params))
            for each in self._optuna.trials
            if each.state == optuna.trial.TrialState.PRUNED
        ]

    def importance(self) -> dict[str, float]:
        """The share of the variance between settings that each parameter explains, by fANOVA; the largest first.

        It is empty if there are too few trials, or all have the same value.

        Source: Hutter, Hoos & Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance, 2014.
        """
        if len({each.value for each in self.finished}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.study.seed)
        return dict(optuna.importance.get_param_importances(self._optuna, evaluator=evaluator))

    def _require_same(self, path: Path) -> None:
        """Refuse a file with trials that were drawn, or whose values were computed, in another way."""
        now = self.study.model_dump(mode="json", exclude={"trials", "hours", "pruning"})
        before = json.loads(self._optuna.user_attrs.get(DEFINITION, "null"))
        if before is None:
            self._optuna.set_user_attr(DEFINITION, json.dumps(now))
        elif differing := [key for key in now if before.get(key) != now[key]]:
            raise StorageError(
                f"{self.study.name}: a study of this name was begun at this commit with other values of "
                f"{', '.join(differing)}; choose another name, or delete {path} and its experiments"
            )

    def _resumed(self, trial: Any) -> Any:
        return trial if trial.state.is_finished() else optuna.trial.Trial(self._optuna, trial._trial_id)

    def _sampler(self, number: int) -> Any:
        """A sampler that draws the same for a trial of this number, however often the study was interrupted."""
        seed = self.study.seed + number
        match self.study.search:
            case "grid":
                lists = {key: [_stored(value) for value in values] for key, values in self.study.parameters.items()}
                return optuna.samplers.GridSampler(lists, seed=self.study.seed)
            case "random":
                return optuna.samplers.RandomSampler(seed=seed)
            case _:
                return optuna.samplers.TPESampler(
                    seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True
                )

    def _setting(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The values of parameters from what Optuna has drawn."""
        return {key: _value(values, drawn[key]) for key, values in self.study.parameters.items()}


def _distribution(values: tuple[Any, ...] | Range) -> Any:
    if not isinstance(values, Range):
        return optuna.distributions.CategoricalDistribution([_stored(value) for value in values])
    low, high = values.ends
    if values.whole:
        return optuna.distributions.IntDistribution(low, high, log=values.log)
    return optuna.distributions.FloatDistribution(low, high, log=values.log)


def _stored(value: Any) -> Any:
    """A value of a list as Optuna can store it."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _value(values: tuple[Any, ...] | Range, drawn: Any) -> Any:
    """The value that a parameter gets: one of the list, or a number with few digits."""
    if not isinstance(values, Range):
        return next(value for value in values if _stored(value) == drawn and type(_stored(value)) is type(drawn))
    if values.whole:
        return drawn
    return min(max(float(f"{drawn:.{DIGITS}g}"), values.low), values.high)


@contextmanager
def _experimental_features() -> Iterator[None]:
    """Do not warn that constructor arguments of Optuna may change: its version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
