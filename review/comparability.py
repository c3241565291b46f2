"""Which metrics of two runs can be compared, and which cannot because their parameters give them another meaning."""

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import NamedTuple

from review.changes import in_words
from review.revisions import Revision

# Measures of samples, also of those from another density (mixture.recall) and of training images in their place
# (real.recall). All are taken in the features of a classifier, which the prepare stage trains on the training images.
_BY_NEIGHBOURS = ("precision", "recall", "density", "coverage")
_BY_CLASSIFIER = (*_BY_NEIGHBOURS, "frechet_distance", "unclear_share", "class_balance", "realism")

# Metrics by pattern, and the parameters that have to be equal for their values to mean the same. All patterns that
# match a metric apply.
SAME: Sequence[tuple[Sequence[str], Sequence[str]]] = (
    (("*",), ("prepare.dataset",)),
    (
        ("prepare.entropy_floor", "prepare.classifier_accuracy", "train.*", "evaluate.*", "generate.*"),
        ("prepare.binarize",),
    ),
    (
        (
            "train.train_loss",
            "train.validation_loss",
            "evaluate.test.negative_elbo",
            "evaluate.test.reconstruction",
            "evaluate.test.negative_iwae_bound",
            "evaluate.train_negative_elbo",
            "evaluate.reconstruction_above_floor",
        ),
        ("model.likelihood",),
    ),
    (("evaluate.test.negative_iwae_bound",), ("evaluate.importance_samples",)),
    (
        ("train.train_loss", "train.validation_loss"),
        ("train.beta", "train.free_bits", "train.importance_samples"),
    ),
    (("train.validation_loss",), ("prepare.validation_fraction", "prepare.seed")),
    (
        (*(f"generate.*{name}" for name in _BY_CLASSIFIER), "generate.interpolation_dip*"),
        ("prepare.train_images", "prepare.validation_fraction", "prepare.seed"),
    ),
    (tuple(f"generate.*{name}" for name in _BY_CLASSIFIER), ("generate.samples",)),
    (
        (*(f"generate.*{name}" for name in (*_BY_NEIGHBOURS, "realism")), "generate.interpolation_dip*"),
        ("generate.neighbours",),
    ),
    (("embed.neighbour_accuracy",), ("embed.neighbours",)),
    (("embed.trustworthiness",), ("embed.neighbours", "embed.points", "embed.method")),
)


def why_not_comparable(metric: str, base: Revision, head: Revision) -> str:
    """The parameters that keep a metric of two runs from being compared: ``another model.likelihood``; empty if none.

    Losses depend on the data set, the kind of pixels and the likelihood, and the trained loss also on its weights, such
    as β. Measures of samples depend on the classifier in whose features they are taken, and so on its training images.
    A parameter that only one of the runs has is ignored.
    """
    return _another(_differing(metric, base, head))


def must_be_equal(metric: str) -> list[str]:
    """The parameters that have to be equal for a metric of two runs to be compared."""
    return list(
        dict.fromkeys(
            parameter
            for patterns, parameters in SAME
            if any(fnmatch(metric, pattern) for pattern in patterns)
            for parameter in parameters
        )
    )


def _differing(metric: str, base: Revision, head: Revision) -> list[str]:
    return [
        parameter
        for parameter in must_be_equal(metric)
        if parameter in base.parameters
        and parameter in head.parameters
        and base.parameters[parameter] != head.parameters[parameter]
    ]


def _another(differing: Sequence[str]) -> str:
    return f"another {' and '.join(differing)}" if differing else ""


class Group(NamedTuple):
    """Runs whose values of a metric can be compared with one another.

    Attributes:
        runs: the runs.
        reason: why they cannot be compared with the runs of the first group: ``another model.likelihood (gaussian)``;
            empty for that group.
    """

    runs: list[Revision]
    reason: str


def comparable_groups(metric: str, runs: Sequence[Revision]) -> list[Group]:
    """Split runs into groups within which a metric can be compared, and ranked.

    Each run joins the first group with whose first run it can be compared. The groups are in the order of their first
    runs.
    """
    groups: list[Group] = []
    for run in runs:
        for group in groups:
            if not why_not_comparable(metric, group.runs[0], run):
                group.runs.append(run)
                break
        else:
            differing = _differing(metric, groups[0].runs[0], run) if groups else []
            groups.append(Group([run], _another([f"{key} ({in_words(run.parameters[key])})" for key in differing])))
    return groups


def incomparable_columns(runs: Sequence[Revision], metrics: Sequence[str]) -> list[str]:
    """A sentence for each metric, other than the first, whose values cannot all be compared."""
    notes = []
    for metric in metrics[1:]:
        _, *others = comparable_groups(metric, runs)
        for reason in dict.fromkeys(group.reason for group in others):
            names = [run.name for group in others if group.reason == reason for run in group.runs]
            notes.append(f"{metric} of {', '.join(names)} is not comparable with {runs[0].name}: {reason}.")
    return notes
