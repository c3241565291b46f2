"""Write the results of a stage: a few metrics to compare experiments by, all other measures, and verdicts."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages import paths
from vae.base.artifacts import write_csv, write_json, write_png
from vae.diagnostics.verdict import Verdict, levels, summary, table
from vae.figures.verdicts import verdict_table

log = logging.getLogger(__name__)


def write_results(
    stage: str, title: str, measures: Mapping[str, Any], metrics: Sequence[str], verdicts: Sequence[Verdict]
) -> None:
    """Write the measures and verdicts of a stage, and log the verdicts.

    Args:
        stage: name of the stage.
        title: title of the picture of its verdicts.
        measures: values or mappings of values, by name.
        metrics: names of the measures to compare experiments by. They go into ``metrics/STAGE.json``, with a summary of
            the verdicts. All other measures go into ``plots/STAGE/measures.csv``, with the level of each verdict.
        verdicts: drawn in ``plots/STAGE/verdicts.png``.
    """
    compared = {name: measures[name] for name in metrics}
    write_json(paths.METRICS / f"{stage}.json", {**compared, f"{stage}_verdict": summary(verdicts)})
    others = {name: value for name, value in measures.items() if name not in metrics}
    rows = flattened({**others, "verdict": levels(verdicts)})
    write_csv(paths.PLOTS / stage / "measures.csv", ["measure", "value"], rows)
    write_png(paths.PLOTS / stage / "verdicts.png", verdict_table(verdicts, title))
    log.info(table(verdicts))


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings with dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
