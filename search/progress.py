"""A line for each trial that ends."""

from statistics import fmean
from typing import TYPE_CHECKING

from review.changes import in_words
from review.limits import short_name
from search.study import Study

if TYPE_CHECKING:
    from search.runner import Runner
    from search.sampling import Trial


def line(runner: "Runner", trial: "Trial") -> str:
    """The value of a trial, its parameters, the best so far, and the time that is left."""
    finished = runner.sampling.finished
    values = {each.trial.number: each.value for each in finished}
    value = f"{values[trial.number]:.5g}" if trial.number in values else "stopped"
    best = f"best {finished[0].value:.5g} (trial {finished[0].trial.number:02d})" if finished else "none finished yet"
    left = runner.left
    parts = [f"trial {trial.number:02d}  {value:>8}", described(runner.study, trial), best, f"{left} left"]
    if left and runner.seconds and runner.workers:
        seconds = fmean(runner.seconds) * left * len(runner.study.seeds) / runner.workers
        parts.append(f"about {_duration(seconds)}")
    return "; ".join(parts)


def described(study: Study, trial: "Trial") -> str:
    """The values of the searched parameters: ``latent_dim 6, beta 0.5``."""
    known = dict.fromkeys(study.parameters)
    return ", ".join(f"{short_name(key, known)} {_in_words(value)}" for key, value in trial.setting.items())


def _in_words(value: object) -> str:
    return in_words(tuple(value) if isinstance(value, list) else value)  # type: ignore[arg-type]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
