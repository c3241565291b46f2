"""A report's page for a browser without a network, and where a report's images lie."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from review.charts import ABSENT, Chart, Picture, vega_scripts
from review.findings import MARKS, Findings
from review.limits import LIMITS
from review.outcome import outcome

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def html(findings: Findings) -> str:
    """The report as one page with everything in it."""
    from markupsafe import Markup

    template = environment(
        autoescape=True, outcome=outcome, breakable=breakable, data_url=data_url, script_data=as_script_data
    ).get_template("report.html")
    return template.render(
        findings=findings,
        # They are the project's own and Vega's; escaped they would be no scripts.
        styles=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        scripts=[Markup(vega_scripts()), Markup((TEMPLATES / "report.js").read_text(encoding="utf-8"))],
    )


def chart_path(chart: Chart) -> str:
    """Where a chart's PNG lies in the report: ``charts/train-losses.png``."""
    return f"charts/{_file_name(PurePosixPath(chart.path).with_suffix('').as_posix())}.png"


def picture_path(picture: Picture, place: int, revision: str) -> str:
    """Where a picture of a revision lies in the report: ``pictures/1-main/generate-samples.png``.

    The place tells revisions apart whose names differ in characters that do not go into a file's name.
    """
    return f"pictures/{place + 1}-{_safe(revision)}/{_file_name(picture.path)}"


def as_script_data(specification: Mapping[str, Any]) -> str:
    """JSON that no text in it can end the script element around."""
    from markupsafe import Markup

    text = json.dumps(specification, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def breakable(key: str) -> str:
    """A dotted key that a narrow window may break after dots and underscores."""
    from markupsafe import Markup, escape

    return escape(key).replace(".", Markup(".<wbr>")).replace("_", Markup("_<wbr>"))


def data_url(content: bytes, media_type: str) -> str:
    """A file as an address that holds all of it."""
    return f"data:{media_type};base64,{b64encode(content).decode()}"


def environment(autoescape: bool, **functions: Callable[..., object]) -> "Environment":
    """The templates, with functions that are also filters."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= functions
    found.globals |= functions
    found.globals |= {
        "ABSENT": ABSENT,
        "LIMITS": LIMITS,
        "MARKS": MARKS,
        "chart_path": chart_path,
        "picture_path": picture_path,
    }
    return found


def _file_name(path: str) -> str:
    return _safe(path.removeprefix("plots/").replace("/", "-"))


def _safe(name: str) -> str:
    """A name in which every character may stand in a file's name and in an address."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)
