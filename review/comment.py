"""The report as a comment on a pull request: one, which later reports replace."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

from review import command
from vae.base.errors import VAEError

MARK = "<!-- report of review.comment -->"  # invisible; by it the comment is found again
LONGEST = 65_536  # characters that GitHub takes in a comment


class CommentError(VAEError):
    """The comment cannot be written."""


def post(report: str, pull_request: int) -> str:
    """Write the comment, or put the report in the place of an earlier one; return its address.

    Raises:
        CommentError: the GitHub CLI is missing, not signed in, or refuses; or the report is too long.
    """
    body = f"{MARK}\n{report}"
    if len(body) > LONGEST:
        raise CommentError(f"the report has {len(body)} characters, a comment takes {LONGEST}; compare fewer revisions")
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
    """What GitHub's API answers, by way of ``gh``, which knows the repository and who is asking."""
    if shutil.which("gh") is None:
        raise CommentError("gh is not on PATH; install the GitHub CLI, and sign in by gh auth login or GH_TOKEN")
    result = subprocess.run(["gh", "api", *arguments], input=content, capture_output=True, encoding="utf-8")
    if result.returncode:
        raise CommentError(f"gh api {' '.join(arguments)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


def main() -> int:
    """Comment on a pull request."""
    parser = argparse.ArgumentParser(prog="python -m review.comment", description=__doc__)
    parser.add_argument("pull_request", type=int, help="its number")
    parser.add_argument("--report", type=Path, default=Path("report/report.md"), help="the file to post")
    arguments = parser.parse_args()
    try:
        report = arguments.report.read_text(encoding="utf-8")
    except OSError as error:
        raise CommentError(f"{arguments.report}: cannot be read: {error.strerror}; run make report first") from error
    print(post(report, arguments.pull_request))
    return 0


if __name__ == "__main__":
    command.run(main)
