"""Experiments by what differs between them, and repeats of one setting with other seeds together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from statistics import mean, stdev

from review.changes import in_words, is_number
from review.revisions import Revision, Value, Values


@dataclass(frozen=True)
class Setting:
    """What some runs have in common: all parameters but seeds.

    Attributes:
        differing: the parameters in which the compared settings differ, with their values here.
        runs: a run a seed.
    """

    differing: Values
    runs: tuple[Revision, ...]

    @property
    def name(self) -> str:
        """What differs, in words: ``latent_dim 2, beta 0.5``; the run's own name where nothing does."""
        words = [f"{key.rpartition('.')[2]} {in_words(value)}" for key, value in self.differing.items()]
        return ", ".join(words) or self.runs[0].name

    def values(self, metric: str) -> list[float]:
        """The metric of every run that has it."""
        return [float(value) for run in self.runs if is_number(value := run.metrics.get(metric))]  # type: ignore[arg-type]

    def summary(self, metric: str) -> str:
        """The metric in words: its value, or over several seeds mean ± standard deviation."""
        values = self.values(metric)
        if len(values) > 1:
            return _with_spread(mean(values), stdev(values))
        return f"{values[0]:.5g}" if values else in_words(self.runs[0].metrics.get(metric))


def _with_spread(middle: float, spread: float) -> str:
    """Both with as many decimals as show two digits of the spread."""
    decimals = max(0, 1 - floor(log10(spread))) if spread > 0 else 5
    return f"{middle:.{decimals}f} ± {spread:.{decimals}f}" if spread > 0 else f"{middle:.5g} ± 0"


def is_seed(parameter: str) -> bool:
    """Whether a parameter is the seed of a stage."""
    return parameter.endswith(".seed")


def without_seeds(parameters: Values) -> dict[str, Value]:
    """The parameters but for the seeds of the stages."""
    return {key: value for key, value in parameters.items() if not is_seed(key)}


def settings(runs: Sequence[Revision]) -> list[Setting]:
    """Runs put together that differ in nothing but seeds, in the order of the first of each.

    Runs that are the same in all parameters, seeds too, count once: a commit and the experiment it was made from.
    """
    keys = dict.fromkeys(key for run in runs for key in run.parameters)
    differing = [key for key in keys if not is_seed(key) and len({run.parameters.get(key) for run in runs}) > 1]
    groups: dict[tuple[Value, ...], dict[tuple[object, ...], Revision]] = {}
    for run in runs:
        group = groups.setdefault(tuple(run.parameters.get(key) for key in differing), {})
        group.setdefault(tuple(sorted(run.parameters.items())), run)
    return [
        Setting(dict(zip(differing, values, strict=True)), tuple(group.values())) for values, group in groups.items()
    ]


def ranked(compared: Sequence[Setting], metric: str, *, highest_first: bool) -> list[Setting]:
    """Settings by the mean of a metric, those without it last."""
    sign = -1 if highest_first else 1

    def rank(setting: Setting) -> tuple[bool, float]:
        values = setting.values(metric)
        return not values, sign * mean(values) if values else 0.0

    return sorted(compared, key=rank)


def rows(compared: Sequence[Setting], metrics: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table: what differs, how many seeds, each metric."""
    differing: Mapping[str, Value] = compared[0].differing if compared else {}
    head = [*differing, "seeds", *metrics] if differing else ["run", "seeds", *metrics]
    body = [
        [
            *(map(in_words, setting.differing.values()) if differing else [setting.name]),
            str(len(setting.runs)),
            *(setting.summary(metric) for metric in metrics),
        ]
        for setting in compared
    ]
    return head, body
