"""Write a report for code review: what changed between revisions, as Markdown and as an HTML page."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from review import command
from review.changes import Direction
from review.charts import as_png, load_plots
from review.decision import Decision
from review.findings import Findings
from review.folders import whole_folder
from review.limits import LIMITS, load_limits
from review.markdown import markdown
from review.pages import chart_path, html, picture_path
from review.recorded import RevisionError
from review.revisions import WORKSPACE, load_revision
from vae.base.artifacts import write_bytes


def load_findings(base: str, heads: Sequence[str]) -> Findings:
    """Load the base and the heads that are compared with it.

    Raises:
        RevisionError: there is no such revision, or a revision is named twice.
    """
    names = [base, *heads]
    for name in names:
        if names.count(name) > 1:
            raise RevisionError(f"{name}: named twice; compare different revisions, e.g. HEAD~1 and {WORKSPACE}")
    revisions = [load_revision(name) for name in names]
    return Findings(revisions, load_limits() if LIMITS.exists() else None, load_plots(revisions))


def write_report(folder: Path, findings: Findings, image_root: str = "", *, images: bool = True) -> None:
    """Write ``report.md`` with its images, and ``index.html``, to a folder."""
    for chart in findings.charts if images else []:
        write_bytes(folder / chart_path(chart), as_png(chart))
    for picture in findings.pictures if images else []:
        for place, (name, content) in enumerate(zip(findings.names, picture.contents, strict=True)):
            if content is not None:
                write_bytes(folder / picture_path(picture, place, name), content)
    write_bytes(folder / "report.md", markdown(findings, image_root, images=images).encode())
    write_bytes(folder / "index.html", html(findings).encode())


def summary(findings: Findings, decision: Decision, place: int) -> str:
    """The decision on the head at a place among the revisions, in one line or a few."""
    if findings.nothing_changed:
        return "Nothing changed."
    reasons = [f"  {words}: {', '.join(metrics)}" for words, metrics in decision.reasons]
    changed = [line for line in findings.verdicts if line.cells[place].direction != Direction.SAME]
    if changed:
        words = [f"{each.subject} {each.cells[0].lit} → {each.cells[place].lit}" for each in changed]
        reasons.append(f"  Verdicts: {'; '.join(words)}")
    return "\n".join([f"{decision.headline}.", *reasons])


def main() -> int:
    """Write the report, and print a summary."""
    parser = argparse.ArgumentParser(prog="python -m review.report", description=__doc__)
    parser.add_argument("base", help="revision to compare with")
    parser.add_argument("heads", nargs="*", metavar="head", help="revisions or experiments (default: the workspace)")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: %(default)s)")
    parser.add_argument("--image-root", default="", help="URL of that folder, for images in a comment")
    parser.add_argument("--no-images", action="store_true", help="leave the images out of report.md")
    arguments = parser.parse_args()

    findings = load_findings(arguments.base, arguments.heads or [WORKSPACE])
    with whole_folder(arguments.out) as folder:
        write_report(folder, findings, arguments.image_root, images=not arguments.no_images)
    for place, (name, decision) in enumerate(zip(findings.full_names[1:], findings.decisions, strict=True), start=1):
        print(f"{name} compared with {arguments.base}. {summary(findings, decision, place)}")
    print(f"Written: {arguments.out}/report.md for a pull request, {arguments.out}/index.html for a browser")
    return 0


if __name__ == "__main__":
    command.run(main)
