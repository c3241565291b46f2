"""Which metrics of two runs can be compared, and which cannot because their parameters give them another meaning."""

from collections.abc import Sequence
from fnmatch import fnmatch

from review.revisions import Revision

# Metrics by pattern, and the parameters that have to be equal for their values to mean the same. All patterns that
# match a metric apply.
SAME: Sequence[tuple[Sequence[str], Sequence[str]]] = (
    (("*",), ("prepare.dataset",)),
    (("prepare.entropy_floor", "train.*", "evaluate.*", "generate.*"), ("prepare.binarize",)),
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
        tuple(f"generate.*{name}" for name in ("precision", "recall", "density", "coverage")),
        ("generate.samples", "generate.neighbours"),
    ),
    (("embed.neighbour_accuracy",), ("embed.neighbours",)),
    (("embed.trustworthiness",), ("embed.neighbours", "embed.points", "embed.method")),
)


def why_not_comparable(metric: str, base: Revision, head: Revision) -> str:
    """The parameters that keep a metric of two runs from being compared: ``another model.likelihood``; empty if none.

    Losses depend on the data set, the kind of pixels and the likelihood, and the trained loss also on its weights, such
    as β. A parameter that only one of the runs has is ignored.
    """
    wanted = dict.fromkeys(
        parameter
        for patterns, parameters in SAME
        if any(fnmatch(metric, pattern) for pattern in patterns)
        for parameter in parameters
    )
    differing = [
        parameter
        for parameter in wanted
        if parameter in base.parameters
        and parameter in head.parameters
        and base.parameters[parameter] != head.parameters[parameter]
    ]
    return f"another {' and '.join(differing)}" if differing else ""
