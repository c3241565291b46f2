"""Write the HTML template of ``dvc plots show`` and ``dvc plots diff``, whose pages then work offline.

DVC's own template loads Vega from the web; this one contains it. DVC replaces ``{plot_divs}`` by the plots, in which
it escapes nothing: neither the names of branches and files nor the values of tables. This template reads the plots as
text, so that nothing in them can run (``templates/plots.js``). DVC's own template, which is used where
``plots.html_template`` is not set, has no such protection.
"""

import argparse
from pathlib import Path

from review import command
from review.charts import vega_scripts
from review.pages import TEMPLATES, environment
from vae.base.artifacts import write_bytes


def template() -> str:
    """The template, including scripts and styles."""
    from markupsafe import Markup

    return (
        environment(autoescape=True)
        .get_template("plots.html")
        .render(
            styles=Markup((TEMPLATES / "plots.css").read_text(encoding="utf-8")),
            scripts=[Markup(vega_scripts()), Markup((TEMPLATES / "plots.js").read_text(encoding="utf-8"))],
        )
    )


def main() -> int:
    """Write the template."""
    parser = argparse.ArgumentParser(prog="python -m review.plots_page", description=__doc__)
    parser.add_argument("file", type=Path, help="file to write, for dvc config plots.html_template")
    write_bytes(parser.parse_args().file, template().encode())
    return 0


if __name__ == "__main__":
    command.run(main)
