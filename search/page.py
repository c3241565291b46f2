"""Write the result of a study: a table, and a single HTML page that works offline."""

from pathlib import Path

from review import pages
from review.compare import legend
from review.contact_sheets import contact_sheets, drawn
from review.folders import whole_folder
from review.revisions import Revision
from review.tables import as_csv
from search import charts
from search.progress import described
from search.result import Result
from vae.base import runtime
from vae.base.artifacts import as_png, write_bytes

TEMPLATES = Path(__file__).parent / "templates"
SETTINGS = 3  # the best and the worst that are shown by pictures


def write_page(result: Result, out: Path) -> None:
    """Write the page and the table of all experiments to a folder."""
    runtime.configure()
    with whole_folder(out) as folder:
        write_bytes(folder / "table.csv", as_csv(result.comparison.table()))
        write_bytes(folder / "index.html", html(result).encode())


def html(result: Result) -> str:
    """Write the result as one page that contains all charts, pictures, styles and scripts."""
    found, problems = pictures(result)
    return pages.rendered(
        TEMPLATES / "study.html",
        styles=[TEMPLATES / "study.css"],
        result=result,
        study=result.study,
        metric=result.metric,
        best=described(result.study, result.finished[0].trial),
        table=result.comparison.table(),
        pictures=found,
        problems=problems,
        parallel=charts.parallel_coordinates(result),
        against=charts.against_parameters(result),
        progress=charts.progress(result) if result.study.search != "grid" else None,
        cut=charts.is_cut(result),
        legend=legend(result.order),
    )


def pictures(result: Result) -> tuple[dict[str, bytes], list[str]]:
    """Contact sheets of the best and the worst settings, by title, and what is missing from them."""
    sheets = contact_sheets(best_and_worst(result))
    figures = {
        "Samples": drawn(
            sheets.samples, "Samples of each setting", "The same draws from the prior, decoded by each model."
        ),
        "Reconstructions": drawn(
            sheets.reconstructions,
            "Reconstructions by each setting",
            "Test images, and below them their reconstructions by each model.",
        ),
    }
    problems = [f"No pictures of {name}: {reason}." for name, reason in sheets.problems.items()]
    return {title: as_png(figure) for title, figure in figures.items() if figure is not None}, problems


def best_and_worst(result: Result) -> dict[str, Revision]:
    """An experiment of each of the best and of the worst settings, by rank and value."""
    count = len(result.finished)
    places = [place for place in range(count) if place < SETTINGS or place >= count - SETTINGS]
    found = {}
    for place in places:
        trial, value = result.finished[place]
        name = "best" if place == 0 else "worst" if place == count - 1 else f"rank {place + 1}"
        found[f"{name}: {value:.5g}, trial {trial.number:02d}"] = next(iter(result.runs[trial.number].values()))
    return found
