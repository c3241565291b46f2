"""A report for a review: what changed between revisions, as Markdown and as a page."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from review import command
from review.charts import as_png, load_plots
from review.findings import Findings
from review.folders import whole_folder
from review.limits import LIMITS, load_limits
from review.markdown import markdown
from review.outcome import sentence
from review.pages import chart_path, html, picture_path
from review.revisions import WORKSPACE, RevisionError, load_revision
from vae.base.artifacts import write_bytes


def load_findings(base: str, heads: Sequence[str]) -> Findings:
    """Read revisions by their names, the first of which the others are held against.

    Raises:
        RevisionError: there is no such revision, or one is named twice.
    """
    names = [base, *heads]
    for name in names:
        if names.count(name) > 1:
            raise RevisionError(f"{name}: named twice; name revisions that may differ, e.g. HEAD~1 and {WORKSPACE}")
    revisions = [load_revision(name) for name in names]
    return Findings(revisions, load_limits() if LIMITS.exists() else None, load_plots(revisions))


def write_report(folder: Path, findings: Findings, image_root: str = "") -> None:
    """Write ``report.md`` with its images, and ``index.html``."""
    for chart in findings.charts:
        if not chart.is_table:
            write_bytes(folder / chart_path(chart), as_png(chart))
    for picture in findings.pictures:
        for place, (name, content) in enumerate(zip(findings.names, picture.contents, strict=True)):
            if content is not None:
                write_bytes(folder / picture_path(picture, place, name), content)
    write_bytes(folder / "report.md", markdown(findings, image_root).encode())
    write_bytes(folder / "index.html", html(findings).encode())


def main() -> int:
    """Write the report, and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m review.report", description=__doc__)
    parser.add_argument("base", help="the revision to compare with")
    parser.add_argument("heads", nargs="*", metavar="head", help="revisions or experiments; the workspace by default")
    parser.add_argument("--out", type=Path, default=Path("report"), help="the folder to write")
    parser.add_argument("--image-root", default="", help="the address of that folder, for images in a comment")
    arguments = parser.parse_args()

    findings = load_findings(arguments.base, arguments.heads or [WORKSPACE])
    with whole_folder(arguments.out) as folder:
        write_report(folder, findings, arguments.image_root)
    for place, name in enumerate(findings.names[1:]):
        print(f"{name} against {arguments.base}: {sentence(findings, place)}.")
    print(f"{arguments.out}/report.md for a pull request, {arguments.out}/index.html for a browser")
    return 0


if __name__ == "__main__":
    command.run(main)
