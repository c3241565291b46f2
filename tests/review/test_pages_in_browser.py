"""Pages in Chromium without a network: everything is drawn, without requests and without errors."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from faults.project import Project
from review import plots_page
from review.charts import load_plots
from review.findings import Findings
from review.limits import load_limits
from review.pages import html
from review.revisions import load_revision
from tests.browser import NARROW, WIDE, OpenedPage, accessibility_violations, needs_chromium, opened
from tests.review.changed import changed_clone, edit

pytestmark = needs_chromium

CHARTS, PICTURES = 8, 8  # of a report, which shows each thing once
TABLES, TWINS = 6, 11  # that only the page of dvc plots shows: measures and verdicts, pictures of charts and verdicts
HOSTILE = "</script><img src=x onerror=alert(1)>"
BREAKS_OUT = f"sample_blur_{HOSTILE},1\n"
BRANCH = "x'\"</p></script><img/src=x/onerror=alert(1)>#%41"  # Git allows it

# The size of each chart, and the number of its visible marks.
DRAWN = """() => [...document.querySelectorAll(".vega-embed svg.marks")]
    .map((chart) => {
        const marks = [...chart.querySelectorAll("[class*='role-mark'] path, [class*='role-mark'] text")];
        const { width, height } = chart.getBoundingClientRect();
        return { width, height, marks: marks.filter((mark) => mark.getBoundingClientRect().width > 0).length };
    })"""
WIDTHS = "() => [...document.images].filter((image) => image.getAttribute('src')).map((image) => image.naturalWidth)"
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
CLIPPED = """() => [...document.querySelectorAll("th, td, h1, h2, h3, p, figcaption, nav a")]
    .filter((element) => element.checkVisibility() && !element.classList.contains("spoken"))
    .filter((element) => element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0)
    .map((element) => element.textContent)"""


@pytest.fixture(scope="module")
def changed(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return changed_clone(reproduced, tmp_path_factory.mktemp("pages") / "changed")


@pytest.fixture(scope="module")
def report(changed: Project) -> Path:
    """A report on three revisions. Texts of the workspace contain hostile markup."""
    edit(changed, "plots/generate/measures.csv", lambda text: text + BREAKS_OUT)
    edit(changed, "params.yaml", lambda text: text.replace("dataset: digits", f"dataset: '{HOSTILE}'"))
    edit(changed, "dvc.yaml", lambda text: text.replace("title: Losses", f"title: '{HOSTILE}' # Losses"))
    (changed.folder / "plots/generate/traversals.png").unlink()
    revisions = [load_revision(name, changed.folder) for name in ("HEAD~1", "HEAD", "workspace")]
    limits = load_limits(changed.folder / "limits.yaml")
    page = html(Findings(revisions, limits, load_plots(revisions, changed.folder)))
    changed.run("git", "checkout", "--quiet", ".")
    path = changed.folder / "report.html"
    path.write_text(page)
    return path


@pytest.fixture(scope="module")
def dvc_page(changed: Project, report: Path) -> Path:
    """The page of ``dvc plots diff``, with our template."""
    assert report.exists()  # must be written first, since it changes the workspace temporarily
    template = changed.folder.parent / "plots.html"
    template.write_text(plots_page.template())
    changed.dvc("config", "--local", "plots.html_template", str(template))
    changed.dvc("plots", "diff", "HEAD~1", "HEAD")
    return changed.folder / "dvc_plots/index.html"


@pytest.fixture(scope="module", params=["diff", "show"])
def hostile_dvc_page(changed: Project, dvc_page: Path, request: pytest.FixtureRequest) -> Path:
    """A page of DVC on a branch, tables, a title and a file that contain hostile markup."""
    assert dvc_page.exists()  # must be written first, since DVC deletes it
    changed.run("git", "switch", "--quiet", "--create", f"{BRANCH}{request.param}")
    edit(changed, "plots/generate/measures.csv", lambda text: text + BREAKS_OUT)
    edit(changed, "plots/embed/projection.csv", lambda text: text.replace(",0,", f",{HOSTILE},"))
    edit(changed, "dvc.yaml", lambda text: text.replace("title: Losses", f"title: '{HOSTILE}' # Losses"))
    picture = changed.folder / "plots" / f"{HOSTILE.replace('/', '')}.png"
    picture.write_bytes(changed.read("plots/generate/samples.png"))
    edit(changed, "dvc.yaml", lambda text: f"{text}\nplots:\n- '{picture.relative_to(changed.folder)}':\n")
    changed.commit("Hostile")
    revisions = {"diff": ["HEAD~1", f"{BRANCH}{request.param}"], "show": []}[request.param]
    changed.dvc("plots", request.param, *revisions, "--out", f"hostile_{request.param}")
    changed.run("git", "switch", "--quiet", "main")
    return changed.folder / f"hostile_{request.param}/index.html"


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def opened_report(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[OpenedPage]:
    with opened(browser, report, request.param) as seen:
        for summary in seen.page.locator("main > section > details > summary").all():
            summary.click()
        yield seen


def assert_everything_is_drawn(page: Page, charts: int, pictures: int) -> None:
    expect(page.locator(".vega-embed svg.marks")).to_have_count(charts)
    for chart in page.evaluate(DRAWN):
        assert chart["width"] > 150
        assert chart["height"] > 50  # a table of one verdict
        assert chart["marks"] > 0
    page.wait_for_function("() => [...document.images].every((image) => image.complete)")
    widths = page.evaluate(WIDTHS)
    assert len(widths) == pictures
    assert min(widths) > 0


def test_the_report_draws_every_chart_and_picture_without_a_request_to_the_network(opened_report: OpenedPage) -> None:
    alerts: list[str] = []
    opened_report.page.on("dialog", lambda dialog: alerts.append(dialog.message))
    # The samples at three revisions, and the traversals at the two revisions that have them.
    assert_everything_is_drawn(opened_report.page, CHARTS, PICTURES - 2 + 3 + 2)
    assert opened_report.requests == []
    assert opened_report.complaints == []
    assert alerts == []
    assert opened_report.page.get_by_text(HOSTILE).count() > 0


def test_the_report_fits_the_window_and_no_text_is_clipped(opened_report: OpenedPage) -> None:
    assert opened_report.page.evaluate(OVERFLOW) == 0
    assert opened_report.page.evaluate(CLIPPED) == []


def test_a_click_enlarges_a_picture_and_arrow_keys_switch_between_its_revisions(opened_report: OpenedPage) -> None:
    page = opened_report.page
    page.get_by_role("button", name="Enlarge: Samples from the prior, HEAD~1").click()
    viewer, enlarged = page.locator("dialog"), page.locator("dialog img")
    expect(viewer).to_be_visible()
    sources = []
    for name in ("HEAD~1", "HEAD", "workspace"):
        expect(viewer.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-pressed", "true")
        expect(enlarged).to_have_attribute("alt", f"Samples from the prior, {name}")
        sources.append(enlarged.get_attribute("src"))
        expect(viewer.get_by_role("status")).to_have_text(name)
        page.keyboard.press("ArrowRight")
    assert sources[0] != sources[1] == sources[2]
    expect(enlarged).to_have_attribute("alt", "Samples from the prior, HEAD~1")
    viewer.get_by_role("button", name="HEAD", exact=True).click()
    assert enlarged.get_attribute("src") == sources[1]
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    assert opened_report.complaints == []


def test_links_in_the_navigation_lead_to_every_section_and_the_navigation_stays_visible(
    opened_report: OpenedPage,
) -> None:
    page = opened_report.page
    for name in ("Causes", "Verdicts", "Metrics", "Charts", "Pictures"):
        page.locator("nav").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_in_viewport()
        expect(page.locator("nav")).to_be_in_viewport(ratio=1)
        below = page.locator("nav").evaluate("(nav) => nav.getBoundingClientRect().bottom")
        box = page.get_by_role("heading", name=name, exact=True).bounding_box()
        assert box is not None
        assert box["y"] >= below - 1


def test_axe_finds_no_violation_in_the_report_in_light_and_dark(opened_report: OpenedPage) -> None:
    page = opened_report.page
    expect(page.locator(".vega-embed svg.marks")).to_have_count(CHARTS)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert accessibility_violations(page) == []


def test_the_report_opens_with_the_decision_at_each_head(opened_report: OpenedPage) -> None:
    """The workspace names another data set, so that nothing can be compared."""
    failed, not_judged = opened_report.page.locator("header .decision").all_inner_texts()
    assert failed.startswith("✗ Fails the gate: 1 metric worse than the limit")
    assert "mse (250 × limit)" in failed
    assert "better" not in failed.casefold()
    assert "posterior collapse: ● healthy → ■ failure" in failed.replace("\xa0", " ")
    assert not_judged.startswith("◆ Not judged: no metric can be compared")


def test_printed_the_report_has_tables_and_changed_pictures_and_no_controls(browser: Browser, report: Path) -> None:
    with opened(browser, report) as seen:
        seen.page.emulate_media(media="print")
        for hidden in ("nav", ".vega-embed summary", "#pictures details article"):
            assert not seen.page.locator(hidden).first.is_visible()
        for shown in (".decision", "#metrics table", "#pictures img"):
            assert seen.page.locator(shown).first.is_visible()


def test_a_chart_can_be_saved_without_the_network(browser: Browser, report: Path, tmp_path: Path) -> None:
    with opened(browser, report) as seen:
        menu = seen.page.locator(".vega-embed").first
        expect(menu.locator("summary")).to_be_visible()
        menu.locator("summary").click()
        assert menu.locator("a").all_text_contents() == ["Save as SVG", "Save as PNG"]
        names = [link.get_attribute("aria-label") for link in seen.page.locator(".vega-actions a").all()]
        assert len(set(names)) == len(names) == 2 * CHARTS
        with seen.page.expect_download() as download:
            menu.get_by_text("Save as PNG").click()
        download.value.save_as(tmp_path / "chart.png")
        assert seen.requests == []
        assert seen.complaints == []
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_a_click_in_the_legend_of_the_projection_fades_all_other_classes(browser: Browser, report: Path) -> None:
    with opened(browser, report) as seen:
        seen.page.locator("#charts summary", has_text="unchanged").click()
        chart = seen.page.locator(".vega-embed", has_text="Latent codes of test images")
        expect(chart.locator("svg.marks")).to_be_visible()
        pale = chart.locator(".role-mark path[opacity='0.08']")
        assert pale.count() == 0
        chart.locator(".role-legend-symbol path").first.click()
        expect(pale.first).to_be_attached()
        assert seen.complaints == []


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_of_dvc_plots_diff_works_without_the_network(
    browser: Browser, dvc_page: Path, size: tuple[int, int]
) -> None:
    with opened(browser, dvc_page, size) as seen:
        assert_everything_is_drawn(seen.page, CHARTS + TABLES, 2 * (PICTURES + TWINS))
        assert seen.requests == []
        assert seen.complaints == []
        assert seen.page.evaluate(OVERFLOW) == 0
        assert accessibility_violations(seen.page) == []
        seen.page.locator("img").first.click()
        expect(seen.page).to_have_url(re.compile(r"/static/HEAD~1_plots_.*\.png$"))


def test_no_name_or_value_in_the_page_of_dvc_plots_runs_as_a_script_or_changes_the_page(
    browser: Browser, hostile_dvc_page: Path
) -> None:
    alerts: list[str] = []
    with opened(browser, hostile_dvc_page) as seen:
        seen.page.on("dialog", lambda dialog: alerts.append(dialog.message))
        compared = "diff" in hostile_dvc_page.parent.name
        assert_everything_is_drawn(seen.page, CHARTS + TABLES, (2 if compared else 1) * (PICTURES + TWINS) + 1)
        assert seen.requests == []
        assert seen.complaints == []
        assert seen.page.locator("script").count() == 3
        assert seen.page.locator("img[onerror], img[src=x]").count() == 0
        assert seen.page.locator("main svg").get_by_text(HOSTILE[:20]).count() > 0  # a long label is cut
        assert (seen.page.locator("figure").get_by_text(BRANCH).count() > 0) == compared
    assert alerts == []
