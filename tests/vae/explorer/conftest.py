"""An explorer's page in a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import WIDE, opened
from tests.vae.explorer.digits import digits, page_of, trained, write_page
from tests.vae.explorer.opened_explorer import Explorer, Open
from vae.data.images import LabelledImages
from vae.model.vae import VAE


@pytest.fixture
def explore(browser: Browser, tmp_path: Path) -> Open:
    """Open an explorer's page; check at the end that it has made no requests and logged no errors."""

    @contextmanager
    def open_page(model: VAE, data: LabelledImages, size: tuple[int, int] = WIDE, **changes: Any) -> Iterator[Explorer]:
        settings = {name: changes.pop(name) for name in ("has_touch", "color_scheme") if name in changes}
        with opened(browser, write_page(tmp_path, page_of(model, data, **changes)), size, **settings) as seen:
            expect(seen.page.locator("#source-caption")).to_contain_text("Test image")
            yield Explorer(seen.page, model, data)
            assert seen.requests == []
            assert seen.complaints == []

    return open_page


@pytest.fixture(scope="module")
def model() -> VAE:
    return trained(digits())


@pytest.fixture(scope="module")
def any_page(browser: Browser, model: VAE, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page whose scripts decode any description."""
    with opened(browser, write_page(tmp_path_factory.mktemp("page"), page_of(model, digits()))) as seen:
        yield seen.page
