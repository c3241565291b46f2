"""A trial on its way: its seeds, and the experiments that run for it."""

from dataclasses import dataclass, field

from search import trial
from search.sampling import Trial
from search.study import Study


@dataclass
class Attempt:
    """A trial whose seeds are not all done.

    Attributes:
        trial: the trial.
        waiting: the seeds that no worker has yet.
        held: the seeds that wait until it is known whether the first one is stopped.
        values: the values of the seeds that are done.
    """

    trial: Trial
    waiting: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    values: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """An experiment on its way: a seed of a trial, and what the worker was told."""

    attempt: Attempt
    seed: int
    job: trial.Job


def name_of(study: Study, trial: Trial, seed: int) -> str:
    """The name of an experiment: ``latent-by-beta-07-seed-1``."""
    return f"{study.name}-{trial.number:02d}-seed-{seed}"
