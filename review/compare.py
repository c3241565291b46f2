"""Experiments compared: a table, hyperparameters against metrics, and contact sheets."""

import argparse
from pathlib import Path

from review import command
from review.comparison import METRICS, Comparison, Order, choose_order, compare, load_runs, short_names, with_metric
from review.comparison_figures import hyperparameters
from review.contact_sheets import contact_sheets, drawn
from review.folders import whole_folder
from review.tables import as_markdown, as_narrow_text
from vae.base import runtime
from vae.base.artifacts import write_bytes, write_png


def main() -> int:
    """Print the table, and write it with its pictures to a folder."""
    parser = argparse.ArgumentParser(prog="python -m review.compare", description=__doc__)
    parser.add_argument("experiments", nargs="*", help="by name, or other revisions; all of this commit by default")
    parser.add_argument("--metrics", nargs="+", default=METRICS, help="the first one sorts the table")
    parser.add_argument("--highest-first", action="store_true", help="of a first metric that is not in limits.yaml")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="the folder to write")
    arguments = parser.parse_args()

    runtime.configure()
    runs = load_runs(arguments.experiments)
    order = choose_order(runs, arguments.metrics, highest_first=arguments.highest_first)
    comparison = compare(with_metric(runs, order.metrics[0]), order)
    without = [run.name for run in runs if run.metrics.get(order.metrics[0]) is None]
    with whole_folder(arguments.out) as folder:
        problems = write_comparison(folder, comparison, order)
    print(terminal_table(comparison), legend(order), *problems, sep="\n\n")
    if without:
        print(f"\nNot in the table, since {order.metrics[0]} is missing: {', '.join(without)}")
    print(f"\n{arguments.out}/: comparison.md, table.csv, and the pictures that it shows")
    return 0


def write_comparison(folder: Path, comparison: Comparison, order: Order) -> list[str]:
    """Write table and pictures to a folder, and return what is missing from the pictures."""
    table = comparison.table()
    write_bytes(folder / "table.csv", table.to_csv(index=False, lineterminator="\n").encode())
    write_png(folder / "hyperparameters.png", hyperparameters(comparison))
    sheets = contact_sheets(comparison.examples)
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
    problems = [f"No pictures of {name}: {reason}." for name, reason in sheets.problems.items()]
    parts = [
        f"# Comparison of {len(comparison.runs)} runs",
        legend(order),
        as_markdown(table),
        *(f"![{name}]({name}.png)" for name in names),
        *problems,
    ]
    write_bytes(folder / "comparison.md", ("\n\n".join(parts) + "\n").encode())
    return problems


def legend(order: Order) -> str:
    """How to read the table."""
    return f"{order} Over several seeds: mean ± standard deviation."


def terminal_table(comparison: Comparison) -> str:
    """The table with short names, and only the first experiment of each setting."""
    table = comparison.table()
    differing, metrics = short_names(
        comparison.runs.values(), comparison.parameters.columns, comparison.metrics.columns
    )
    table["experiments"] = table["experiments"].map(_first_of)
    return as_narrow_text(table.set_axis(["experiments", *differing, "seeds", *metrics], axis="columns"), len(metrics))


def _first_of(names: str) -> str:
    """The first name and the number of others: ``limpy-gamy +2``."""
    first, *others = names.split(", ")
    return f"{first} +{len(others)}" if others else first


if __name__ == "__main__":
    command.run(main)
