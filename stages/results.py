"""Write the results of a stage: a few metrics to compare experiments by, all other measures, and verdicts."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stages import paths
from vae.base.artifacts import write_csv, write_json, write_png
from vae.base.precision import group_means, standard_error
from vae.diagnostics.densities import densities
from vae.diagnostics.verdict import Verdict, summary, table
from vae.figures.verdicts import verdict_table

log = logging.getLogger(__name__)

NOTHING: Mapping[str, Any] = MappingProxyType({})


def write_results(
    stage: str,
    title: str,
    measures: Mapping[str, Any],
    metrics: Sequence[str],
    verdicts: Sequence[Verdict],
    *,
    per_image: Mapping[str, Tensor] | None = None,
    errors: Mapping[str, float] = NOTHING,
) -> None:
    """Write the measures and verdicts of a stage, and log the verdicts.

    Args:
        stage: name of the stage.
        title: title of the picture of its verdicts.
        measures: values or mappings of values, by name.
        metrics: names of the measures to compare experiments by. They go into ``metrics/STAGE.json``, with a summary of
            the verdicts. All other measures go into ``plots/STAGE/measures.csv``.
        verdicts: written to ``plots/STAGE/verdicts.csv``, and drawn in ``verdicts.png``.
        per_image: the values (N,) of all test images, in their order, for measures that are means over them; by the
            dotted key of the measure. Their standard errors are written as measures named ``KEY_se``, and their means
            over groups of images to ``data/group_means/STAGE.csv``: a table without rows if there are no such measures,
            and no table if None.
        errors: the standard errors of other measures, by dotted key; written as measures in the same way.
    """
    compared = {name: measures[name] for name in metrics}
    write_json(paths.METRICS / f"{stage}.json", {**compared, f"{stage}_verdict": summary(verdicts)})
    others = {name: value for name, value in measures.items() if name not in metrics}
    errors = {**{name: standard_error(values) for name, values in (per_image or NOTHING).items()}, **errors}
    rows = flattened({**others, **named_errors(errors)})
    write_csv(paths.PLOTS / stage / "measures.csv", ["measure", "value"], rows)
    if per_image is not None:
        write_group_means(paths.GROUP_MEANS / f"{stage}.csv", per_image)
    texts = ((each.name, each.level, each.finding, each.criterion, each.advice) for each in verdicts)
    write_csv(paths.PLOTS / stage / "verdicts.csv", ["verdict", "level", "finding", "criterion", "advice"], texts)
    write_png(paths.PLOTS / stage / "verdicts.png", verdict_table(verdicts, title))
    log.info(table(verdicts))


def density_rows(panel: str, groups: Mapping[str, NDArray[np.float64]]) -> list[tuple[str, str, float, float]]:
    """The densities of groups of values, as rows of a table of curves: panel, curve, x and y."""
    found = densities(groups)
    if found is None:
        return []
    return [
        (panel, name, float(x), float(y))
        for name, heights in found.heights.items()
        for x, y in zip(found.centres, heights, strict=True)
    ]


def write_curves(path: Path, rows: Iterable[tuple[str, str, float, float]]) -> None:
    """Write a table of curves: each row is a point (x, y) of a curve in a panel."""
    write_csv(path, ["panel", "curve", "x", "y"], rows)


def named_errors(errors: Mapping[str, float]) -> dict[str, float | None]:
    """Standard errors by their names as measures, ``KEY_se``; None where there are too few images for one."""
    return {f"{name}_se": known(error) for name, error in errors.items()}


def known(value: float) -> float | None:
    """The value, or None if it is NaN, for a table or a file of metrics."""
    return None if isnan(value) else value


def write_group_means(path: Path, per_image: Mapping[str, Tensor]) -> None:
    """Write the mean of each measure over the same groups of test images: a row for each group."""
    grouped = {name: group_means(values) for name, values in per_image.items()}
    images = next(iter(grouped.values())).images.tolist() if grouped else []
    columns = [each.means.tolist() for each in grouped.values()]
    write_csv(path, ["group", "images", *grouped], zip(range(len(images)), images, *columns, strict=True))


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings with dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
