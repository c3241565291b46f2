"""Write the HTML template of ``dvc plots show`` and ``dvc plots diff``, whose pages then work offline.

DVC's own template loads Vega from the web; this one contains it. DVC replaces ``{plot_divs}`` by the plots, in which
it escapes nothing: neither the names of branches and files nor the values of tables. This template reads the plots as
text, so that nothing in them can run (``templates/plots.js``). DVC's own template, which is used where
``plots.html_template`` is not set, has no such protection.

In a DVC project, the template is set for this clone.
"""

import argparse
import os
from pathlib import Path

from review import command
from review.pages import TEMPLATES, environment, own_scripts
from vae.base.artifacts import write_bytes
from vae.base.errors import VAEError

DVC = Path(".dvc")


class TemplateError(VAEError):
    """DVC cannot be told to use the template."""


def template() -> str:
    """The template, including scripts and styles."""
    from markupsafe import Markup

    return (
        environment(autoescape=True)
        .get_template("plots.html")
        .render(
            styles=Markup((TEMPLATES / "plots.css").read_text(encoding="utf-8")),
            scripts=own_scripts("plots.js"),
        )
    )


def use(file: Path) -> None:
    """Make DVC use a template in this clone.

    The path is stored relative to .dvc/, because DVC cannot store letters outside ASCII, which a home folder may have.

    Raises:
        TemplateError: DVC's configuration is damaged, or cannot be written.
    """
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        with Config(str(DVC), validate=False).edit("local") as config:
            config["plots"]["html_template"] = Path(os.path.relpath(file, DVC)).as_posix()
    except (DvcException, OSError, ValueError) as error:
        raise TemplateError(f"{DVC}/config.local: {file} cannot be set as the template of plots: {error}") from error


def main() -> int:
    """Write the template, and make DVC use it."""
    parser = argparse.ArgumentParser(prog="python -m review.plots_page", description=__doc__)
    parser.add_argument("file", type=Path, help="file to write, for dvc config plots.html_template")
    file = parser.parse_args().file
    write_bytes(file, template().encode())
    if DVC.is_dir():
        use(file)
    return 0


if __name__ == "__main__":
    command.run(main)
