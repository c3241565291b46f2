"""The comment on a pull request, with a fake GitHub CLI that keeps comments in a file."""

import json
import os
import stat
from pathlib import Path

import pytest

from review.comment import LONGEST, CommentError, post

GH = r"""#!/usr/bin/env python3
import json, pathlib, sys
kept = pathlib.Path(__file__).with_name("comments.json")
comments = json.loads(kept.read_text())
arguments = sys.argv[1:]
assert arguments.pop(0) == "api"
if "--method" in arguments:
    method, where = arguments[arguments.index("--method") + 1 :][:2]
    body = json.load(sys.stdin)["body"]
    if method == "POST":
        assert where == "repos/{owner}/{repo}/issues/7/comments"
        comments.append({"id": len(comments) + 1, "body": body})
        number = len(comments)
    else:
        assert method == "PATCH"
        number = int(where.removeprefix("repos/{owner}/{repo}/issues/comments/"))
        comments[number - 1]["body"] = body
    kept.write_text(json.dumps(comments))
    print(json.dumps({"html_url": f"comment {number}"}))
elif where := [each for each in arguments if each.startswith("repos/")]:
    if where != ["repos/{owner}/{repo}/issues/7/comments"]:
        sys.exit("HTTP 404: Not Found")
    print(json.dumps([comments[:1], comments[1:]]))
"""


@pytest.fixture
def comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of comments of the fake CLI, with one comment by a person."""
    program = tmp_path / "gh"
    program.write_text(GH)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    kept = tmp_path / "comments.json"
    kept.write_text(json.dumps([{"id": 1, "body": "Looks good."}]))
    return kept


def bodies(kept: Path) -> list[str]:
    return [each["body"] for each in json.loads(kept.read_text())]


def test_a_later_report_replaces_the_comment_of_an_earlier_one(comments: Path) -> None:
    assert post("first", 7) == "comment 2"
    assert post("second", 7) == "comment 2"
    person, report = bodies(comments)
    assert person == "Looks good."
    assert report.endswith("\nsecond")


def test_a_report_too_long_for_a_comment_is_rejected_before_anything_is_sent(comments: Path) -> None:
    with pytest.raises(CommentError, match="compare fewer revisions"):
        post("x" * LONGEST, 7)
    assert bodies(comments) == ["Looks good."]


@pytest.mark.usefixtures("comments")
def test_an_error_from_github_is_passed_on() -> None:
    with pytest.raises(CommentError, match="404: Not Found"):
        post("report", 8)


def test_without_the_github_cli_the_error_says_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommentError, match="install the GitHub CLI"):
        post("report", 7)
