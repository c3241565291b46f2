"""The page of scored images."""

from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, expect

from scoring import gallery
from scoring.gallery import SHOWN, histogram
from scoring.run import score
from scoring.scores import Scores
from tests.browser import NARROW, WIDE, needs_chromium, opened
from tests.review.test_pages_in_browser import CLIPPED, OVERFLOW
from tests.scoring.material import write_files
from tests.vae.data.picture_files import numbered, write_pictures

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page of images with a hostile name, and of a broken file."""
    files, pictures = write_files(tmp_path), tmp_path / "pictures"
    write_pictures(pictures, *numbered("a/#.png", 10), *numbered("b/#.png", 10), f"b/{HOSTILE}.png", size=20)
    (pictures / f"a/{HOSTILE}.png").write_bytes(b"")
    return score(pictures, files.model, files.train, tmp_path / "scores", 0).page


def test_the_page_shows_the_oddest_images_by_each_score_and_the_most_typical_ones(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count('<li class="card">') == SHOWN * (len(gallery.SCORES) + 1)  # and no duplicates
    assert all(title in text for title in gallery.SCORES.values())
    assert "No image has pixels that differ" in text
    assert HOSTILE not in text


def test_every_score_of_an_image_has_a_group_on_the_page() -> None:
    assert set(gallery.SCORES) == {*Scores.__dataclass_fields__} - {"standard_error"}


def test_the_histogram_counts_every_image_once_also_those_beyond_the_scale() -> None:
    training, scored = torch.linspace(0, 10, 50), torch.tensor([5.0, 6.0, 1e6])
    rows = histogram(training, scored)["data"]["values"]
    for name in ("training images", "scored images"):
        assert sum(row["share"] for row in rows if row["images"] == name) == pytest.approx(1)
    constant = histogram(torch.ones(3), torch.ones(2))["data"]["values"]
    assert [row["share"] for row in constant] == [1.0, 1.0]


@needs_chromium
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_draws_everything_offline_and_fits_the_window(
    browser: Browser, page: Path, size: tuple[int, int]
) -> None:
    with opened(browser, page, size) as seen:
        expect(seen.page.locator(".vega-embed svg.marks")).to_have_count(1)
        seen.page.wait_for_function("() => [...document.images].every((image) => image.complete)")
        assert seen.page.evaluate(OVERFLOW) == 0
        assert seen.page.evaluate(CLIPPED) == []
        assert seen.requests == []
        assert seen.complaints == []
        assert seen.page.get_by_text(HOSTILE).count() > 0
