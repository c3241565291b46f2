"""What a study says: which parameters matter, by how much, and which setting is best."""

import shlex
import textwrap
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import fmean, median, variance
from typing import Any, NamedTuple

import pandas as pd

from review.compare import footnotes, legend, terminal_table
from review.comparison import METRICS, Comparison, Order, compare
from review.limits import short_name
from review.revisions import Revision
from review.tables import WIDTH, as_text
from search import settings
from search.progress import described
from search.sampling import Finished, Sampling, Trial
from search.study import SEED, Range, Study
from vae.base.errors import VAEError

PARTS = 3  # into which the trials are split by the values of a range


class ResultError(VAEError):
    """No trial of a study has finished."""


class Group(NamedTuple):
    """Trials with similar values of a parameter: the values in words, how many trials, and the mean of the metric."""

    values: str
    trials: int
    mean: float


class Effect(NamedTuple):
    """How much a parameter matters.

    Attributes:
        parameter: its key.
        importance: the share of the variance between settings that it explains by itself, from 0 to 1.
        best: the trials with its best values.
        worst: those with its worst values.
    """

    parameter: str
    importance: float
    best: Group
    worst: Group

    @property
    def difference(self) -> float:
        """By how much the mean of the metric differs between its best and its worst values."""
        return abs(self.worst.mean - self.best.mean)


@dataclass(frozen=True)
class Result:
    """The trials of a study that have a value, the best first.

    Attributes:
        study: the study.
        finished: the trials.
        runs: the experiments of each trial, by seed.
        importance: of each parameter.
        pruned: how many trials were stopped early.
        failed: how many failed.
    """

    study: Study
    finished: Sequence[Finished]
    runs: Mapping[int, Mapping[int, Revision]]
    importance: Mapping[str, float]
    pruned: int
    failed: int

    @classmethod
    def of(
        cls, study: Study, sampling: Sampling, revision: Callable[[Trial, int], Revision | None], failed: int
    ) -> "Result":
        """Read the experiments of all finished trials.

        Raises:
            ResultError: there are none.
        """
        finished = sampling.finished
        if not finished:
            raise ResultError(f"{study.name}: no trial has finished ({failed} failed), so there is nothing to show")
        found = {
            trial.number: {seed: run for seed in study.seeds if (run := revision(trial, seed))} for trial, _ in finished
        }
        return cls(study, finished, found, sampling.importance(), len(sampling.pruned), failed)

    @cached_property
    def comparison(self) -> Comparison:
        """The table of all experiments, with seeds grouped."""
        return compare([run for trial, _ in self.finished for run in self.runs[trial.number].values()], self.order)

    @property
    def order(self) -> Order:
        """The metric of the study first."""
        others = [metric for metric in METRICS if metric != self.study.metric]
        return Order([self.study.metric, *others], self.study.direction == "highest")

    @cached_property
    def metric(self) -> str:
        """The short name of the study's metric."""
        first = next(iter(next(iter(self.runs.values())).values()))
        return short_name(self.study.metric, first.metrics)

    @cached_property
    def effects(self) -> list[Effect]:
        """How much each parameter matters, the most important first."""
        effects = []
        for key, values in self.study.parameters.items():
            groups = sorted(_groups(key, values, self.finished), key=lambda group: group.mean)
            best, worst = (groups[-1], groups[0]) if self.study.direction == "highest" else (groups[0], groups[-1])
            effects.append(Effect(key, self.importance.get(key, 0.0), best, worst))
        return sorted(effects, key=lambda effect: -effect.importance)

    @cached_property
    def spread(self) -> float | None:
        """The standard deviation over seeds, pooled over settings; None if there is one seed."""
        values = [
            [float(run.metrics[self.study.metric]) for run in runs.values()]  # type: ignore[arg-type]
            for runs in self.runs.values()
            if len(runs) > 1
        ]
        return fmean(map(variance, values)) ** 0.5 if values else None

    @property
    def best_command(self) -> str:
        """The command that runs the best setting with the first seed."""
        own = {**self.study.fixed, **self.finished[0].trial.setting, SEED: self.study.seeds[0]}
        recipe = f"$(cat recipes/{self.study.recipe}) " if self.study.recipe else ""
        return f"dvc exp run --name {self.study.name}-best {recipe}{shlex.join(settings.options(own))}"

    @property
    def best_experiment(self) -> str:
        """The name of the best setting's experiment, with the first seed."""
        return next(iter(self.runs[self.finished[0].trial.number].values())).name

    def text(self) -> str:
        """The table, the importance of parameters, and the best setting, for a terminal."""
        best = self.finished[0]
        notes = footnotes(self.comparison, []) if len(self.finished) < 2 else []
        parts = [
            terminal_table(self.comparison),
            *(textwrap.fill(text, WIDTH) for text in (legend(self.order), *notes)),
        ]
        if self.importance:
            parts += [as_text(self.effects_table()), textwrap.fill(self.about_effects(), WIDTH)]
        parts.append(
            f"Best: trial {best.trial.number:02d}, {self.study.metric} {best.value:.5g}: "
            f"{described(self.study, best.trial)}\n  dvc exp apply {self.best_experiment}\n"
            f"or, the same from the start:\n  {self.best_command}"
        )
        return "\n\n".join(parts)

    def effects_table(self) -> pd.DataFrame:
        """A row for each parameter."""
        rows = [
            [
                effect.parameter,
                f"{effect.importance:.0%}",
                *(text for group in (effect.best, effect.worst) for text in (group.values, f"{group.mean:.5g}")),
                f"{effect.difference:.3g}",
            ]
            for effect in self.effects
        ]
        return pd.DataFrame(
            rows,
            columns=[
                "parameter",
                "importance",
                "best values",
                f"mean {self.metric}",
                "worst values",
                "mean",
                "difference",
            ],
            dtype=object,
        )

    def about_effects(self) -> str:
        """How to read the importance of parameters, and which differences may be chance."""
        parts = [
            "Importance is the share of the variance between settings that a parameter explains, by fANOVA. Means are "
            "over the trials with a value of a list, or over the lowest, middle and highest third of the trials by the "
            "value from a range."
        ]
        errors = [
            run.errors[self.study.metric]
            for runs in self.runs.values()
            for run in runs.values()
            if self.study.metric in run.errors
        ]
        if self.spread is not None:
            parts.append(f"The standard deviation over seeds is {self.spread:.2g}.")
        elif errors:
            parts.append(f"The standard error of a run is {median(errors):.2g}, without the spread over seeds.")
        if self.study.search == "tpe":
            parts.append("TPE tries good values more often than others, so the means are of what it tried.")
        return " ".join(parts)


def _groups(key: str, values: tuple[Any, ...] | Range, finished: Sequence[Finished]) -> list[Group]:
    """The trials by the value of a parameter: each value of a list, or thirds of the trials by a number."""
    drawn = sorted(((each.trial.setting[key], each.value) for each in finished), key=lambda pair: str(pair[0]))
    if not isinstance(values, Range):
        split = [(_text(value), [found for each, found in drawn if each == value]) for value in values]
        return [Group(text, len(found), fmean(found)) for text, found in split if found]
    drawn.sort()
    count = len(drawn)
    # The same number, such as a whole one, is never in two parts.
    starts = [bisect_left(drawn, drawn[count * part // PARTS][0], key=lambda pair: pair[0]) for part in range(PARTS)]
    edges = sorted({*starts, count})
    parts = [drawn[start:end] for start, end in pairwise(edges)]
    return [
        Group(
            f"{part[0][0]:.3g} to {part[-1][0]:.3g}" if part[0][0] != part[-1][0] else f"{part[0][0]:.3g}",
            len(part),
            fmean(found for _, found in part),
        )
        for part in parts
    ]


def _text(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)
