"""Write the result of a study: a table, and a single HTML page that works offline."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from review import pages
from review.charts import vega_scripts
from review.contact_sheets import contact_sheets, drawn
from review.folders import whole_folder
from review.revisions import Revision
from search import charts
from search.progress import described
from search.result import Result
from vae.base import runtime
from vae.base.artifacts import inert, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent / "templates"
SETTINGS = 3  # the best and the worst that are shown by pictures


def write_page(result: Result, out: Path) -> None:
    """Write the page and the table of all experiments to a folder."""
    runtime.configure()
    table = result.comparison.table()
    cells = table.map(lambda cell: inert(cell) if isinstance(cell, str) else cell).rename(columns=inert)
    with whole_folder(out) as folder:
        write_bytes(folder / "table.csv", cells.to_csv(index=False, lineterminator="\n").encode())
        write_bytes(folder / "index.html", html(result).encode())


def html(result: Result) -> str:
    """Write the result as one page that contains all charts, pictures, styles and scripts."""
    from markupsafe import Markup

    template = pages.environment(
        True, TEMPLATES, breakable=pages.breakable, data_url=pages.data_url, script_data=pages.as_script_data
    ).get_template("study.html")
    styles = [pages.TEMPLATES / "report.css", TEMPLATES / "study.css"]
    found, problems = pictures(result)
    return template.render(
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
        # Trusted: the project's own and Vega's.
        styles=Markup("\n".join(path.read_text(encoding="utf-8") for path in styles)),
        scripts=[Markup(vega_scripts()), Markup((pages.TEMPLATES / "report.js").read_text(encoding="utf-8"))],
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
    return {title: _as_png(figure) for title, figure in figures.items() if figure is not None}, problems


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


def _as_png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
