"""Post the report as one comment on a pull request, which later reports replace."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

from review import command
from vae.base.errors import VAEError

MARK = "<!-- report of review.comment -->"  # invisible; identifies the comment
LONGEST = 65_536  # GitHub's limit on the characters of a comment


class CommentError(VAEError):
    """The comment cannot be posted."""


def post(report: str, pull_request: int) -> str:
    """Post the comment, or replace an earlier report; return its address.

    Raises:
        CommentError: the GitHub CLI is missing, not signed in, or fails; or the report is too long.
    """
    body = f"{MARK}\n{report}"
    if len(body) > LONGEST:
        raise CommentError(f"the report has {len(body)} characters, GitHub allows {LONGEST}; compare fewer revisions")
    comments = f"repos/{{owner}}/{{repo}}/issues/{pull_request}/comments"
    pages = json.loads(github("--paginate", "--slurp", comments))
    earlier = [each["id"] for page in pages for each in page if str(each["body"]).startswith(MARK)]
    if earlier:
        where, method = f"repos/{{owner}}/{{repo}}/issues/comments/{earlier[0]}", "PATCH"
    else:
        where, method = comments, "POST"
    answer = json.loads(github("--method", method, where, "--input", "-", content=json.dumps({"body": body})))
    return str(answer["html_url"])


def github(*arguments: str, content: str = "") -> str:
    """Call GitHub's API through ``gh``, which knows repository and user; return the response."""
    if shutil.which("gh") is None:
        raise CommentError("gh is not on PATH; install the GitHub CLI and sign in (gh auth login or GH_TOKEN)")
    result = subprocess.run(["gh", "api", *arguments], input=content, capture_output=True, encoding="utf-8")
    if result.returncode:
        raise CommentError(f"gh api {' '.join(arguments)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


def main() -> int:
    """Post the report on a pull request."""
    parser = argparse.ArgumentParser(prog="python -m review.comment", description=__doc__)
    parser.add_argument("pull_request", type=int, help="number of the pull request")
    parser.add_argument(
        "--report", type=Path, default=Path("report/report.md"), help="file to post (default: %(default)s)"
    )
    arguments = parser.parse_args()
    try:
        report = arguments.report.read_text(encoding="utf-8")
    except OSError as error:
        raise CommentError(f"{arguments.report}: cannot be read: {error.strerror}; run make report first") from error
    print(post(report, arguments.pull_request))
    return 0


if __name__ == "__main__":
    command.run(main)
