"""Experiments compared: a table, hyperparameters against metrics, and contact sheets."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from review import command
from review.comparison import Setting, ranked, rows, settings
from review.comparison_figures import hyperparameters
from review.contact_sheets import contact_sheets, drawn
from review.folders import whole_folder
from review.limits import LimitsError, load_limits, resolve
from review.revisions import WORKSPACE, Revision, experiments, load_revision
from vae import runtime
from vae.artifacts import write_bytes, write_csv, write_png

METRICS = (
    "evaluate.test.negative_elbo",
    "evaluate.test.kl",
    "evaluate.active_units",
    "generate.recall",
    "embed.neighbour_accuracy",
)


def measured(names: Sequence[str], metric: str) -> list[Revision]:
    """Revisions by their names, or the workspace and all experiments of the current commit; those with the metric.

    Raises:
        LimitsError: none of them has it.
    """
    runs = [load_revision(name) for name in names or [WORKSPACE, *experiments()]]
    found = [run for run in runs if run.metrics.get(metric) is not None]
    if not found:
        raise LimitsError(f"{metric}: none of {', '.join(run.name for run in runs)} has it; run dvc repro")
    return found


def main() -> int:
    """Print the table, and write it with its pictures to a folder."""
    parser = argparse.ArgumentParser(prog="python -m review.compare", description=__doc__)
    parser.add_argument("experiments", nargs="*", help="by name, or other revisions; all of this commit by default")
    parser.add_argument("--metrics", nargs="+", default=METRICS, help="the first one sorts the table")
    parser.add_argument("--highest-first", action="store_true", help="of a first metric that is not in limits.yaml")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="the folder to write")
    arguments = parser.parse_args()

    runtime.configure()
    known = dict.fromkeys(key for name in arguments.experiments or [WORKSPACE] for key in load_revision(name).metrics)
    metrics = [resolve(metric, known) for metric in arguments.metrics]
    limit = load_limits().get(metrics[0])
    highest_first = limit.better == "higher" if limit else arguments.highest_first
    compared = ranked(settings(measured(arguments.experiments, metrics[0])), metrics[0], highest_first=highest_first)
    order = f"Sorted by {metrics[0]}, the {'highest' if highest_first else 'lowest'} first."
    with whole_folder(arguments.out) as folder:
        print(write_comparison(folder, compared, metrics, order))
    print(f"\n{arguments.out}/: comparison.md, table.csv, and the pictures that it shows")
    return 0


def write_comparison(folder: Path, compared: Sequence[Setting], metrics: Sequence[str], order: str) -> str:
    """Write table and pictures to a folder, and return the table as text, with a sentence on its order."""
    from tabulate import tabulate

    head, body = rows(compared, metrics)
    write_csv(folder / "table.csv", head, body)
    write_png(folder / "hyperparameters.png", hyperparameters(compared, metrics))
    sheets = contact_sheets(compared)
    pictures = {
        "reconstructions": drawn(
            sheets.reconstructions,
            "Reconstructions by each experiment",
            "Test images, and below them what each model makes of their codes.",
        ),
        "samples": drawn(
            sheets.samples, "Samples of each experiment", "Decoded draws from the prior. Healthy: real images."
        ),
    }
    names = ["hyperparameters"]
    for name, figure in pictures.items():
        if figure is not None:
            write_png(folder / f"{name}.png", figure)
            names.append(name)
    counted = sum(len(setting.runs) for setting in compared)
    legend = f"{order} Over several seeds: mean ± standard deviation."
    problems = [f"No pictures of {name}: {reason}." for name, reason in sheets.problems.items()]
    parts = [
        f"# Comparison of {counted} runs",
        legend,
        tabulate(body, head, tablefmt="github", disable_numparse=True),
        *(f"![{name}]({name}.png)" for name in names),
        *problems,
    ]
    write_bytes(folder / "comparison.md", ("\n\n".join(parts) + "\n").encode())
    return "\n".join([tabulate(body, head, disable_numparse=True), "", legend, *problems])


if __name__ == "__main__":
    command.run(main)
