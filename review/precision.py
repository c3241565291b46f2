"""Standard errors of metrics, and of the difference between two runs.

A metric is an estimate: other test images of the same kind, or other samples, would give another value. The stages
write its standard error s beside it. That of a difference between two runs depends on what they share.

*Unpaired.* With separate images or samples, the errors of the two values are independent:

    SE = √(s₁² + s₂²)

*Paired.* Two runs on the same test images find the same images hard, and most of both errors is the same number, which
cancels in the difference. On MNIST, the negative ELBO of one model has a standard error of 0.25 to 0.27 nats; the
difference of two models has 0.37 nats by the formula above, and 0.07 if paired. The paired error follows from the
differences d_g = b_g - a_g of the means of G groups of n_g images, which ``data/group_means/STAGE.csv`` contains:

    SE = s/√N,    s² = 1/(G - 1) · Σ_g n_g (d_g - d)²,    d = Σ_g n_g d_g / N,    N = Σ_g n_g

where s estimates the standard deviation of a single image's difference. With groups of one size this is the standard
deviation of the d_g over √G. With G = 50 it is itself known to a tenth of its value.

Neither contains the spread over training seeds, which the limits of ``limits.yaml`` measure.
"""

import csv
import io
from collections.abc import Sequence
from functools import cache
from math import hypot, isfinite, sqrt
from pathlib import Path
from typing import NamedTuple

from review.recorded import RevisionError, recorded_hash
from review.revisions import Revision
from stages import paths
from vae.base.errors import shortened
from vae.base.yaml12 import YAMLError

SIGNIFICANT = 2.0  # standard errors; chance alone goes that far in one direction in one of 44 comparisons


class Groups(NamedTuple):
    """Means over fixed groups of test images.

    Attributes:
        group: name of each group.
        images: number of images in each group.
        means: a mean for each group, by metric without its stage, e.g. ``test.negative_elbo``; without metrics that
            were not measured.
    """

    group: tuple[str, ...]
    images: tuple[int, ...]
    means: dict[str, tuple[float, ...]]


def standard_error(revision: Revision, metric: str) -> float | None:
    """The standard error of a metric, in its unit, or None if the stage does not estimate it."""
    return revision.errors.get(metric)


def error_of_difference(metric: str, base: Revision, head: Revision) -> float | None:
    """The standard error of a metric's difference between two revisions, in its unit.

    It is paired if both have means of the same groups of the same test images, else that of independent estimates.
    Samples are compared with the same test images, so theirs is somewhat too large, and a difference is called
    significant too rarely rather than too often.

    Returns:
        The standard error, or None if they have neither such means nor both a standard error. The validation loss has
        none if the validation images are the same: it has no such means, and the error of independent estimates would
        be several times too large.

    Raises:
        RevisionError: a file with group means is damaged.
    """
    stage, _, name = metric.partition(".")
    before, after = (group_means(revision, stage) for revision in (base, head))
    same_groups = before and after and before[:2] == after[:2] and same_output(base, head, paths.TEST_IMAGES)
    if before and after and same_groups and name in before.means and name in after.means:
        return paired_error(before.means[name], after.means[name], before.images)
    if metric == "train.validation_loss" and same_output(base, head, paths.VALIDATION_IMAGES):
        return None
    errors = [standard_error(revision, metric) for revision in (base, head)]
    return None if errors[0] is None or errors[1] is None else hypot(errors[0], errors[1])


def paired_error(before: Sequence[float], after: Sequence[float], images: Sequence[int]) -> float | None:
    """The standard error of the mean difference, from means over the same groups: see the equation above.

    Args:
        before: mean of each of G groups.
        after: mean of each of these groups at the other revision.
        images: number of images in each group.

    Returns:
        The standard error, or None for fewer than two groups.
    """
    if len(images) < 2:
        return None
    differences = [second - first for first, second in zip(before, after, strict=True)]
    total = sum(images)
    mean = sum(count * each for count, each in zip(images, differences, strict=True)) / total
    squares = sum(count * (each - mean) ** 2 for count, each in zip(images, differences, strict=True))
    return sqrt(squares / (len(images) - 1) / total)


def is_significant(difference: float, error: float | None) -> bool:
    """Whether a difference is larger than two of its standard errors. One without an error counts as significant."""
    return error is None or abs(difference) > SIGNIFICANT * error


def group_means(revision: Revision, stage: str) -> Groups | None:
    """The means over groups of test images that a stage wrote, or None if it wrote none.

    Raises:
        RevisionError: the file is damaged.
    """
    path = (paths.GROUP_MEANS / f"{stage}.csv").as_posix()
    content = revision.read(path)
    if content is None:
        return None
    try:
        return _groups(content)
    except (ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        reason = shortened(error)
        raise RevisionError(f"{path} at {revision.name}: cannot be read ({reason}); run dvc repro there") from error


def same_output(base: Revision, head: Revision, path: Path) -> bool:
    """Whether both revisions have the same file, by its hashes in ``dvc.lock``."""
    before, after = (_hash_at(revision, path.as_posix()) for revision in (base, head))
    return before is not None and before == after


def _hash_at(revision: Revision, path: str) -> str | None:
    try:
        return recorded_hash(revision.read("dvc.lock") or b"", path)
    except YAMLError as error:
        raise RevisionError(f"dvc.lock at {revision.name}: {error}; run dvc repro there") from error


@cache  # each metric asks again
def _groups(content: bytes) -> Groups:
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    if any(int(row["images"]) < 1 for row in rows):
        raise ValueError("a group has no images")
    names = [name for name in (rows[0] if rows else {}) if name not in {"group", "images"}]
    means = {name: tuple(float(row[name] or "nan") for row in rows) for name in names}
    return Groups(
        tuple(row["group"] for row in rows),
        tuple(int(row["images"]) for row in rows),
        {name: values for name, values in means.items() if all(map(isfinite, values))},
    )
