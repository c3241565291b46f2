import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from faults.project import Project
from review.changes import Direction
from review.charts import ABSENT, Chart, Plots
from review.decision import Outcome
from review.findings import Findings
from review.limits import Limit
from review.markdown import LONGEST_COMMENT, as_code, markdown
from review.pages import html, picture_path
from review.pictures import Picture
from review.report import load_findings, main, write_report
from review.revisions import Judgement, Revision, Value
from review.tables import as_plain
from tests import in_process
from tests.review.changed import changed_clone, edit, record, with_verdict
from tests.review.revisions import NoFiles, revision, with_groups

HEADLINE = "Fails the gate: 1 metric worse than the limit"
HOSTILE = "a|b `c` <script>alert(1)</script> \\| *d* [e](f) @g #1"


def findings(
    *metrics: Mapping[str, Value],
    parameters: Mapping[str, Value] | None = None,
    verdicts: Mapping[str, str] | None = None,
    plots: Plots | None = None,
    limits: Mapping[str, Limit] | None = None,
) -> Findings:
    """Findings for the given metrics of each revision, and the given parameters and verdicts of the last revision."""
    revisions = [
        Revision(
            f"revision-{place}",
            (parameters or {}) if place == len(metrics) - 1 else dict.fromkeys(parameters or {}, "before"),
            values,
            {
                key: Judgement(
                    level if place == len(metrics) - 1 else "healthy", f"finding of {level}", "criterion", "advice"
                )
                for key, level in (verdicts or {}).items()
            },
            NoFiles(),
        )
        for place, values in enumerate(metrics)
    ]
    return Findings(revisions, limits, plots or Plots([], []))


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text, as cells in lines."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.split("|")[1:-1]])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def row(text: str, key: str) -> list[str]:
    """The line of a Markdown table that begins with a key."""
    (found,) = (line for table in tables(text) for line in table if line[0] == f"`{key}`")
    return found


class Page(HTMLParser):
    """A parsed HTML page: its scripts, its other text, and its images."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.images: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        if tag == "script":
            self.scripts.append("")
        if tag == "img":
            self.images.append(dict(attrs).get("src") or "")

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def changed(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone with changed results. Tests must not change anything but its reports."""
    return changed_clone(reproduced, tmp_path_factory.mktemp("report") / "changed")


def report(project: Project, *arguments: str, status: int = 0) -> str:
    """Run the command in the process of the test, and return its output."""
    return in_process.run(project, main, *arguments, status=status)


@pytest.fixture(scope="module")
def two(changed: Project) -> str:
    """The output of the command that writes a report on two commits to the folder ``two``."""
    return report(changed, "HEAD~1", "HEAD", "--out", "two")


def test_two_commits_are_compared_in_a_clone_with_an_empty_cache(changed: Project, two: str) -> None:
    assert f"HEAD compared with HEAD~1. {HEADLINE}.\n  Worse: mse (250 × limit)\n  Verdicts: posterior collapse " in two
    text = changed.read("two/report.md").decode()
    assert text.startswith(
        f"## ✗ {HEADLINE}\n\n`HEAD` compared with `HEAD~1`\n\n- **Worse**: mse &#40;250 × limit&#41;\n"
    )
    assert "- **Verdicts**: posterior collapse ● healthy → ■ failure\n" in text
    assert "better" not in text[: text.index("### Causes")]
    assert row(text, "train.beta") == ["`train.beta`", "1.0", "0.5"]
    assert "- **posterior collapse**: ● healthy → ■ failure ✗ worse\n" in text
    # The cache has no means over groups of images, so the errors are those of independent estimates.
    for metric, change in (
        ("mse` ↓", r"\*\*\+0\.250* ± 0\.\d+ ✗ worse \(250 × limit\)\*\*"),
        ("negative_elbo` ↓", r"\*\*−2\.00? ± 0\.\d+ ✓ better \(4\.0 × limit\)\*\*"),
        ("kl` ↓", r"\+0\.1[23]5?0* ± 0\.\d+ ≈ \(0\.[23] × limit\)"),
        ("negative_iwae_bound`", r"−1\.00? ± 0\.\d+"),
    ):
        (found,) = (line[-1] for table in tables(text) for line in table if line[0] == f"`evaluate.test.{metric}")
        assert re.fullmatch(change, found), found
    headings = ["### Causes", "### Verdicts", "### Metrics", "### Charts", "### Pictures"]
    assert [line for line in text.splitlines() if line.startswith("### ")] == headings
    assert "Samples from the prior" in text
    assert "silhouette_se" not in text + changed.read("two/index.html").decode()
    assert "Unchanged: Reconstruction error by class" in text
    assert not list((changed.folder / ".dvc/cache").glob("files/**/*"))


def test_the_folder_contains_exactly_the_images_that_the_report_shows(changed: Project, two: str) -> None:
    assert "two/report.md" in two
    folder = changed.folder / "two"
    images = Page((folder / "report.md").read_text()).images
    assert set(images) == {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert set(images) == {
        "charts/train-losses.png",
        "pictures/1-HEAD-1/generate-samples.png",
        "pictures/2-HEAD/generate-samples.png",
    }
    assert (folder / "pictures/2-HEAD/generate-samples.png").read_bytes() == changed.read("plots/generate/samples.png")


def test_two_reports_on_the_same_revisions_are_identical(changed: Project, two: str) -> None:
    command = (sys.executable, "-m", "review.report", "HEAD~1", "HEAD", "--out", "again")
    again = changed.run(*command, env={"PYTHONHASHSEED": "7"})
    assert again == two.replace("two/", "again/")
    first, second = (
        {name.partition("/")[2]: content for name, content in changed.files(folder).items()}
        for folder in ("two", "again")
    )
    assert first == second
    assert str(changed.folder) not in first["index.html"].decode()


def test_a_report_on_an_unchanged_workspace_says_that_nothing_changed(changed: Project) -> None:
    assert "workspace compared with HEAD. Nothing changed." in report(changed, "HEAD", "--out", "same")
    text, page = (changed.read(f"same/{name}").decode() for name in ("report.md", "index.html"))
    same = "parameters, metrics, verdicts, charts and pictures are the same."
    assert text == f"## Nothing changed\n\n`this change` compared with `HEAD`: {same}\n"
    assert "✓ Nothing changed this change compared with HEAD : parameters, metrics" in Page(page).text
    assert not tables(text)
    assert [path.name for path in (changed.folder / "same").iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing: no such revision or experiment"),
        (["HEAD", "HEAD"], "HEAD: named twice"),
        (["workspace"], "workspace: named twice"),
    ],
)
def test_an_error_in_the_arguments_is_explained_and_leaves_the_last_report_unchanged(
    changed: Project, arguments: list[str], message: str
) -> None:
    folder = changed.folder / "mistaken"
    folder.mkdir(exist_ok=True)
    (folder / ".written-by-review").touch()
    (folder / "report.md").write_text("the last report")
    assert message in report(changed, *arguments, "--out", "mistaken", status=2)
    assert (folder / "report.md").read_text() == "the last report"


def test_the_report_outside_a_git_repository_fails_with_one_line(changed: Project, tmp_path: Path) -> None:
    for name in ("review", "stages", "vae"):
        (tmp_path / name).symlink_to(changed.folder / name)
    assert report(Project(tmp_path), "main", status=2).count("\n") == 1


def test_a_report_can_compare_three_revisions_including_an_experiment(
    workspace: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(workspace, "plots/evaluate/verdicts.csv", lambda text: with_verdict(text, "overfitting", "failure"))
    (workspace.folder / "limits.yaml").unlink(missing_ok=True)
    workspace.commit("Changed")
    workspace.set({"embed.method": "pca"})
    (workspace.folder / "plots/generate/samples.png").write_bytes(workspace.read("plots/prepare/examples.png"))
    record(workspace)
    workspace.dvc("exp", "save", "--name", "flat")
    monkeypatch.chdir(workspace.folder)
    found = load_findings("HEAD~1", ["HEAD", "flat"])
    write_report(workspace.folder, found)
    text = workspace.read("report.md").decode()
    assert text.startswith("## ◆ Not judged: there is no limits.yaml\n\n`HEAD` compared with `HEAD~1`\n")
    assert "\n`flat` compared with `HEAD~1`\n" in text
    assert row(text, "embed.method") == ["`embed.method`", "`tsne`", "`tsne`", "`pca`"]
    assert "- **overfitting**: ● healthy → ■ failure → ■ failure ✗ worse ✗ worse\n" in text
    assert "There is no `limits.yaml`" in text
    assert "better**" not in text
    images = Page(text).images
    assert images == [f"pictures/{place}/generate-samples.png" for place in ("1-HEAD-1", "2-HEAD", "3-flat")]


def test_results_that_a_revision_lacks_are_marked_as_absent(
    reproduced: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = changed_clone(reproduced, tmp_path / "clone")
    project.run("git", "rm", "--quiet", "metrics/embed.json", "plots/train/losses.csv", "plots/generate/samples.png")
    project.run("git", "rm", "--quiet", "plots/embed/measures.csv", "plots/embed/verdicts.csv")
    project.commit("Without a stage's results and without plots")
    monkeypatch.chdir(project.folder)
    found = load_findings("HEAD", ["HEAD~1"])
    text = markdown(found)
    assert row(text, "embed.neighbour_accuracy")[1] == f"`{ABSENT}`"
    assert f"- **representation**: {ABSENT} → ● healthy" in text
    assert f"`HEAD`: {ABSENT}." in text
    assert [ABSENT, '<img src="pictures/2-HEAD-1/generate-samples.png"'] in [
        [cell.partition(" alt")[0] for cell in line] for table in tables(text) for line in table
    ]
    page = Page(html(found))
    assert page.text.count(ABSENT) >= 5
    # Each picture once: one exists at one revision only, the others are unchanged, and none is enlarged yet.
    assert len(list(filter(None, page.images))) == len(found.plots.pictures)


def test_values_have_their_standard_errors_and_changes_have_their_own() -> None:
    elbo, recall, kl = "evaluate.test.negative_elbo", "generate.recall", "evaluate.test.kl"
    limits = {elbo: Limit(better="lower", max_worse=0.1), recall: Limit(better="higher", max_worse=0.05)}
    base = with_groups("main", {elbo: 24.0, recall: 0.5, kl: 5.0, "evaluate.active_units": 5}, [20.0, 30.0, 25.0, 21.0])
    head = with_groups(
        "topic", {elbo: 23.8, recall: 0.4, kl: 5.0, "evaluate.active_units": 6}, [19.9, 29.7, 24.9, 20.7]
    )
    errors = {elbo: 0.31, recall: 0.04}
    found = Findings([replace(each, errors=errors) for each in (base, head)], limits, Plots([], []))
    text = markdown(found)
    rows = {line[0]: line[1:] for table in tables(text) for line in table}
    better = "**−0.200 ± 0.058 ✓ better (2.0 × limit)**"
    uncertain = "−0.100 ± 0.057 not significant (2.0 × limit)"
    assert rows[f"`{elbo}` ↓"] == ["24.00 ± 0.31", "23.80 ± 0.31", better]
    assert rows[f"`{recall}` ↑"] == ["0.500 ± 0.040", "0.400 ± 0.040", uncertain]
    assert rows["`evaluate.active_units`"] == ["5", "6", "+1"]
    (decision,) = found.decisions
    assert decision.headline == "Passes the gate: 2 metrics checked, none significantly worse than its limit"
    assert decision.reasons == [
        ("Worse by more than the limit, but within two standard errors", ["recall (2.0 × limit)"]),
        ("Better", ["negative_elbo (2.0 × limit)"]),
    ]
    page = Page(html(found)).text
    for shown in (text, page):
        assert "± is one standard error" in shown
        assert "A change beyond it is not significant if" in " ".join(shown.split())
    assert "0.400 ± 0.040" in page
    assert "−0.100 ± 0.057 not significant" in page


def test_a_report_without_standard_errors_does_not_explain_them() -> None:
    text = markdown(findings({"a": 1.0}, {"a": 2.0}, limits={"a": Limit(better="lower", max_worse=0.5)}))
    assert "±" not in text


def test_markup_in_names_and_values_is_escaped() -> None:
    chart = Chart(
        "plots/a.csv", "train", HOSTILE, {"data": {"values": [{"rev": HOSTILE}]}}, {HOSTILE: HOSTILE}, {"b": 1.0}
    )
    picture = Picture("plots/a.png", HOSTILE, HOSTILE, (b"1", b"2"))
    found = findings(
        {HOSTILE: 1.0, "metric": HOSTILE},
        {HOSTILE: 2.0, "metric": "x"},
        parameters={HOSTILE: HOSTILE, "list": (HOSTILE, None)},
        verdicts={HOSTILE: HOSTILE},
        plots=Plots([chart], [picture]),
    )
    text = markdown(found)
    for table in tables(text):
        assert len({len(line) for line in table}) == 1
    assert "<script" not in re.sub(r"`[^`]+`", "", text)
    page = html(found)
    parsed = Page(page)
    assert parsed.text.count("alert(1)") > 5
    # Three scripts of the page, and the chart's data, which the text did not end.
    assert len(parsed.scripts) == 4
    assert sum("\\u003c/script\\u003e" in script for script in parsed.scripts) == 1
    assert "<script>alert" not in page


@pytest.mark.parametrize("text", ["a", "`", "``a`", "a|b", "a\nb", "\\|", "<b> & *c* [d](e) _f_", HOSTILE])
def test_text_as_markdown_code_is_shown_unchanged(text: str) -> None:
    code = as_code(text)
    assert "|" not in code
    plain = re.fullmatch(r"`([^`]+)`", code)
    shown = plain[1] if plain else unescape(code.removeprefix("<code>").removesuffix("</code>"))
    assert shown == " ".join(text.split())


def test_text_as_plain_markdown_has_no_markup() -> None:
    plain = as_plain("a|b *c* [d](e) <f>\n`g` @h")
    assert unescape(plain) == "a|b *c* [d](e) <f> `g` @h"
    assert not set(plain) & set("|*[]()<>`@")


@pytest.mark.parametrize("count", [10, 2000, 6000])
def test_a_long_report_is_shortened_to_fit_in_a_comment_and_says_so(count: int) -> None:
    pictures = [Picture(f"plots/{place}.png", "train", "picture", (b"1", b"2")) for place in range(count // 10)]
    keys = [f"a.metric_with_quite_a_long_name_{place}" for place in range(count)]
    found = findings(dict.fromkeys(keys, 1.0), dict.fromkeys(keys, 2.0), plots=Plots([], pictures))
    text = markdown(found)
    assert len(text.encode()) <= LONGEST_COMMENT
    assert ("Shortened" in text) == (count > 100)
    assert text.startswith("## ◆ Not judged: there is no limits.yaml")


def test_every_image_address_begins_with_the_image_root(changed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(changed.folder)
    found = load_findings("HEAD~1", ["HEAD"])
    relative = Page(markdown(found)).images
    for root in ("https://example.org/a", "https://example.org/a/"):
        assert Page(markdown(found, root)).images == [f"https://example.org/a/{path}" for path in relative]


def test_revisions_whose_names_differ_only_in_punctuation_have_separate_pictures() -> None:
    picture = Picture("plots/a/b.png", "a", "b", (b"1", b"2"))
    assert picture_path(picture, 0, "x/y") == "pictures/1-x-y/a-b.png"
    assert picture_path(picture, 1, "x-y") == "pictures/2-x-y/a-b.png"


def test_each_head_has_a_decision_of_its_own_and_metrics_that_fail_at_any_head_come_first() -> None:
    limits = {"x.a": Limit(better="lower", max_worse=0.5), "x.b": Limit(better="higher", max_worse=0.5)}
    values = [
        {"x.a": 1.0, "x.b": 1.0, "x.c": 1},
        {"x.a": 2.0, "x.b": -1.0, "x.c": 1},
        {"x.a": 0.0, "x.b": 1.25, "x.c": 2},
    ]
    found = findings(*values, limits=limits)
    fails, passes = found.decisions
    assert (fails.outcome, passes.outcome) == (Outcome.FAILS, Outcome.PASSES)
    assert fails.headline == "Fails the gate: 2 metrics worse than the limit"
    assert fails.reasons == [("Worse", ["b (4.0 × limit)", "a (2.0 × limit)"])]
    assert passes.reasons == [("Better", ["a (2.0 × limit)"])]
    assert [line.key for line in found.metrics] == ["x.b", "x.a"]
    assert [line.key for line in found.other_measures] == ["x.c"]


@pytest.mark.parametrize(
    ("before", "after", "directions"),
    [
        ("healthy", "warning", [Direction.WORSE]),
        ("failure", "warning", [Direction.BETTER]),
        ("warning", "not judged", [Direction.CHANGED]),
        ("not judged", "healthy", [Direction.CHANGED]),
    ],
)
def test_a_change_of_a_verdict_is_better_or_worse_by_its_level(
    before: str, after: str, directions: list[Direction]
) -> None:
    found = Findings([revision(verdicts={"a.b_c": level}) for level in (before, after)], None, Plots([], []))
    (line,) = found.verdicts
    assert (line.stage, line.subject, line.directions) == ("a", "b c", directions)
    assert [cell.judgement.level for cell in line.cells] == [before, after]
    assert not found.lasting_verdicts


def test_unchanged_verdicts_that_are_not_healthy_are_listed() -> None:
    levels = {"a.b": "failure", "a.c": "healthy", "a.d": "warning"}
    found = Findings([revision(name, verdicts=levels) for name in "xy"], None, Plots([], []))
    assert [(line.subject, line.levels) for line in found.lasting_verdicts] == [
        ("b", "■ failure → ■ failure"),
        ("d", "▲ warning → ▲ warning"),
    ]


def test_a_verdict_that_changed_is_explained_in_words_before_and_after() -> None:
    found = findings({}, {}, verdicts={"evaluate.overfitting": "failure"})
    for text in (markdown(found), Page(html(found)).text):
        assert text.count("finding of failure") == 2  # before and after
        assert "criterion" in text
        assert "advice" in text


def test_a_report_without_images_says_where_they_are(changed: Project) -> None:
    report(changed, "HEAD~1", "HEAD", "--out", "words", "--no-images")
    text = changed.read("words/report.md").decode()
    assert Page(text).images == []
    assert "Charts and pictures are in `index.html`." in text
    assert [path.name for path in (changed.folder / "words").iterdir() if path.is_dir()] == []
    assert len(Page(changed.read("words/index.html").decode()).images) > 2


def test_a_number_without_an_error_has_as_many_digits_as_tell_it_from_the_other() -> None:
    found = findings({"x.a": 1.23422, "x.b": 1.23456}, {"x.a": 1.23411, "x.b": 2.0})
    texts = {line.key: (line.base.text, line.heads[0].text) for line in found.other_measures}
    assert texts == {"x.a": ("1.2342", "1.2341"), "x.b": ("1.235", "2")}
