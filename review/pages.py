"""Write a report as a single HTML page that works offline, and name the files of a report."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from review.changes import Direction
from review.charts import ABSENT, Chart, vega_scripts
from review.findings import ERRORS, Findings
from review.limits import LIMITS
from review.lines import MARKS
from review.pictures import Picture
from vae.base.pages import content_security_policy

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def html(findings: Findings) -> str:
    """Write the report as one page that contains all charts, pictures, styles and scripts."""
    return rendered(TEMPLATES / "report.html", findings=findings)


def rendered(template: Path, *, styles: Sequence[Path] = (), **values: object) -> str:
    """Write one page that contains all charts, pictures, styles and scripts, from a template that extends page.html.

    Args:
        template: of the page.
        styles: files of styles, besides those of all pages.
        values: of the template's variables.
    """
    from markupsafe import Markup

    found = environment(
        True, template.parent, breakable=breakable, data_url=data_url, script_data=as_script_data
    ).get_template(template.name)
    texts = [path.read_text(encoding="utf-8") for path in (TEMPLATES / "report.css", *styles)]
    return found.render(
        # Trusted: the project's own and Vega's.
        styles=Markup("\n".join(texts)),
        scripts=own_scripts("report.js"),
        **values,
    )


def own_scripts(*names: str) -> list[str]:
    """Vega, the script that draws charts with it, and scripts of TEMPLATES, as markup."""
    from markupsafe import Markup

    texts = [(TEMPLATES / name).read_text(encoding="utf-8") for name in ("charts.js", *names)]
    return [Markup(text) for text in (vega_scripts(), *texts)]


def chart_path(chart: Chart) -> str:
    """Path of a chart's PNG within the report: ``charts/train-losses.png``."""
    return f"charts/{_file_name(PurePosixPath(chart.path).with_suffix('').as_posix())}.png"


def picture_path(picture: Picture, place: int, revision: str) -> str:
    """Path of a revision's picture within the report: ``pictures/1-main/generate-samples.png``.

    The number keeps revisions apart whose names differ only in characters that are not safe in a file name.
    """
    return f"pictures/{place + 1}-{_safe(revision)}/{_file_name(picture.path)}"


def as_script_data(specification: Mapping[str, Any]) -> str:
    """Write JSON for a script element, escaped so that no text in it can end the element."""
    from markupsafe import Markup

    text = json.dumps(specification, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def breakable(key: str) -> str:
    """Allow line breaks after the dots and underscores of a key."""
    from markupsafe import Markup, escape

    return escape(key).replace(".", Markup(".<wbr>")).replace("_", Markup("_<wbr>"))


def data_url(content: bytes, media_type: str) -> str:
    """Write a file as a data URL."""
    return f"data:{media_type};base64,{b64encode(content).decode()}"


def environment(autoescape: bool, templates: Path = TEMPLATES, **functions: Callable[..., object]) -> "Environment":
    """The Jinja environment of the templates, also those of another folder; functions are also available as filters."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader([templates, TEMPLATES]),
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
        "ERRORS": ERRORS,
        "LIMITS": LIMITS,
        "MARKS": MARKS,
        "SAME": Direction.SAME,
        "chart_path": chart_path,
        "policy": content_security_policy,
        "picture_path": picture_path,
    }
    return found


def _file_name(path: str) -> str:
    return _safe(path.removeprefix("plots/").replace("/", "-"))


def _safe(name: str) -> str:
    """Replace characters that are not safe in file names and URLs."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)
