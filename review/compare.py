"""Compare experiments: a table, metrics against hyperparameters, and contact sheets."""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from review import command
from review.comparability import incomparable_columns
from review.comparison import (
    METRICS,
    Comparison,
    Order,
    about_names,
    choose_order,
    compare,
    headings,
    load_runs,
    short_names,
    with_metric,
)
from review.comparison_figures import hyperparameters
from review.contact_sheets import contact_sheets, drawn
from review.folders import whole_folder
from review.revisions import Revision
from review.tables import WIDTH, as_cell, as_csv, as_markdown, as_narrow_text, as_plain
from vae.base import runtime
from vae.base.artifacts import write_bytes, write_png


def main() -> int:
    """Print the table, and write it to a folder, with pictures."""
    parser = argparse.ArgumentParser(prog="python -m review.compare", description=__doc__)
    parser.add_argument(
        "experiments", nargs="*", help="experiments or other revisions (default: this commit and all its experiments)"
    )
    parser.add_argument("--metrics", nargs="+", default=METRICS, help="metrics to show; the first one sorts the table")
    parser.add_argument(
        "--highest-first",
        action="store_true",
        help="sort in descending order if limits.yaml does not have the first metric",
    )
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="folder to write (default: %(default)s)")
    arguments = parser.parse_args()

    runtime.configure()
    runs = load_runs(arguments.experiments)
    order = choose_order(runs, arguments.metrics, highest_first=arguments.highest_first)
    comparison = compare(with_metric(runs, order.metrics[0]), order)
    with whole_folder(arguments.out) as folder:
        problems = write_comparison(folder, comparison, order)
    notes = "\n".join(footnotes(comparison, runs))
    print(terminal_table(comparison), textwrap.fill(legend(order), WIDTH), notes, *problems, sep="\n\n")
    print(f"\nWritten: {arguments.out}/comparison.md and table.csv, with pictures")
    return 0


def write_comparison(folder: Path, comparison: Comparison, order: Order) -> list[str]:
    """Write the table and the pictures to a folder, and return what is missing from the pictures."""
    table = comparison.table()
    write_bytes(folder / "table.csv", as_csv(table))
    write_png(folder / "hyperparameters.png", hyperparameters(comparison))
    sheets = contact_sheets(comparison.examples)
    pictures = {
        "reconstructions": drawn(
            sheets.reconstructions,
            "Reconstructions by each experiment",
            "Test images, and below them their reconstructions by each model.",
        ),
        "samples": drawn(
            sheets.samples,
            "Samples of each experiment",
            "Decoded draws from the prior. Healthy: each could be a real image.",
        ),
    }
    names = ["hyperparameters"]
    for name, figure in pictures.items():
        if figure is not None:
            write_png(folder / f"{name}.png", figure)
            names.append(name)
    problems = [f"No reconstructions or samples of {name}: {reason}." for name, reason in sheets.problems.items()]
    parts = [
        f"# Comparison of {len(comparison.runs)} runs",
        legend(order),
        as_markdown(table.astype(str).map(as_cell).rename(columns=as_cell)),
        *(f"![{name}]({name}.png)" for name in names),
        *map(as_plain, problems),
    ]
    write_bytes(folder / "comparison.md", ("\n\n".join(parts) + "\n").encode())
    return problems


def legend(order: Order) -> str:
    """How to read the table."""
    return (
        f"{order} One seed: value ± standard error, for the finite number of test images and samples. "
        "Several seeds: mean ± standard deviation over the seeds."
    )


def terminal_table(comparison: Comparison) -> str:
    """Format the table with short names of columns, and only the first experiment of each setting."""
    differing, metrics = short_names(
        comparison.runs.values(), comparison.parameters.columns, comparison.metrics.columns
    )
    columns = ["experiments", *differing, "seeds", *metrics]
    tables = []
    for errors in (True, False):
        table = comparison.table(errors=errors)
        table["experiments"] = table["experiments"].map(_first_of)
        tables.append(table.iloc[:, : len(columns)].set_axis(columns, axis="columns"))
    reasons = comparison.apart[~comparison.setting.duplicated()]
    return as_narrow_text(tables[0], len(metrics), shorter=tables[1], headings=headings(reasons))


def footnotes(comparison: Comparison, runs: Sequence[Revision]) -> list[str]:
    """Notes below the table: the names behind ``+2``, how to use names, and which runs the table leaves out."""
    notes = [f"{_first_of(names)}: {names}" for names in comparison.table()["experiments"] if ", " in names]
    notes.append(about_names(comparison.runs))
    notes += incomparable_columns(list(comparison.runs.values()), list(comparison.metrics.columns))
    metric = comparison.metrics.columns[0]
    reasons = {
        f"{metric} is missing": [run.name for run in runs if run.metrics.get(metric) is None],
        "a run above has the same parameters": [
            run.name for run in runs if run.name not in comparison.runs and run.metrics.get(metric) is not None
        ],
    }
    notes += [f"Not in the table, since {why}: {', '.join(left)}" for why, left in reasons.items() if left]
    return [textwrap.fill(note, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for note in notes]


def _first_of(names: str) -> str:
    """The first name and the number of others: ``limpy-gamy +2``."""
    first, *others = names.split(", ")
    return f"{first} +{len(others)}" if others else first


if __name__ == "__main__":
    command.run(main)
