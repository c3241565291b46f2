import re
import sys
from base64 import b64encode
from hashlib import sha256
from html import unescape
from pathlib import Path

from faults.project import ROOT, Project
from review.charts import vega_scripts
from review.plots_page import template


def test_the_template_has_one_placeholder_for_plots_and_none_for_scripts_of_dvc() -> None:
    page = template()
    assert page.count("{plot_divs}") == 1
    assert "{scripts}" not in page
    assert "{refresh_tag}" not in page


def test_the_plots_come_last_in_an_element_that_nothing_can_end() -> None:
    before, after = template().split("{plot_divs}")
    assert before.rstrip().endswith("<plaintext hidden>")
    assert after.strip() == ""


def test_the_page_may_run_the_scripts_of_the_template_only() -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', template())
    (sources,) = re.findall("script-src ([^;]*);", unescape(policy))
    scripts = re.findall(r"<script>(.*?)</script>", template(), re.DOTALL)
    assert len(scripts) == 3
    digests = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    assert sources.split() == [f"'sha256-{digest}'" for digest in digests]


def test_the_template_contains_vega_and_refers_to_no_other_file() -> None:
    page = template()
    assert vega_scripts() in page
    assert page.index(vega_scripts()) < page.index("{plot_divs}")
    markup = re.sub("<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'<(?:script|link|img)[^>]*(?:src|href)="(?!data:)', markup)


def test_the_command_writes_the_same_template_every_time(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "share/vae/plots.html"
    project.run(sys.executable, "-m", "review.plots_page", str(path), env={"PYTHONHASHSEED": "7"})
    assert path.read_text() == template()


def test_in_a_folder_with_letters_outside_ascii_dvc_uses_the_template_of_this_clone(tmp_path: Path) -> None:
    clone = Project(tmp_path / "ü é 中")
    (clone.folder / ".dvc").mkdir(parents=True)
    environment = {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    clone.run("git", "init", "--quiet")
    for _ in range(2):
        clone.run(sys.executable, "-m", "review.plots_page", ".venv/share/vae/plots.html", env=environment)
    assert clone.dvc("config", "--local", "plots.html_template") == "../.venv/share/vae/plots.html\n"
    assert (clone.folder / ".dvc/../.venv/share/vae/plots.html").read_text(encoding="utf-8") == template()


def test_a_damaged_configuration_of_dvc_is_named(tmp_path: Path) -> None:
    clone = Project(tmp_path)
    (clone.folder / ".dvc").mkdir()
    (clone.folder / ".dvc/config.local").write_text("[plots")
    printed = clone.run(
        sys.executable, "-m", "review.plots_page", "plots.html", env={"PYTHONPATH": str(ROOT)}, status=2
    )
    assert ".dvc/config.local: plots.html cannot be set as the template of plots" in printed


def test_the_command_names_a_file_that_it_cannot_write(project: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    printed = project.run(sys.executable, "-m", "review.plots_page", str(tmp_path / "file/plots.html"), status=2)
    assert "plots.html: cannot be written" in printed
