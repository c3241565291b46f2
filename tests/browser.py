"""Open pages in a headless Chromium without network access."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

WIDE, NARROW = (1400, 1000), (390, 844)  # a desktop's window and a phone's

# Disable DNS, send connections to a closed port, and disable the browser's own requests.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",
)


@dataclass
class OpenedPage:
    """An opened page, with its requests and its errors.

    Attributes:
        page: the page in Playwright.
        requests: addresses of all requests, except for files and data in the page itself.
        complaints: errors and warnings on the console, and uncaught exceptions.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def chromium() -> str | None:
    """The path of Chromium or Chrome on this machine, or None; the headless shell opens a page in half the time."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


needs_chromium = pytest.mark.skipif(chromium() is None, reason="needs Chromium or Chrome on PATH")


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start a browser, which takes about a second."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, path: Path, size: tuple[int, int] = WIDE, **settings: Any) -> Iterator[OpenedPage]:
    """Open a file offline in a window of the given size, and wait until it is loaded.

    Args:
        browser: to open it in.
        path: of the file.
        size: width and height of the window.
        settings: others of Playwright's browser context.
    """
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True, **settings)
    seen = OpenedPage(context.new_page())

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            seen.complaints.append(message.text)

    seen.page.on("console", note)
    seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    seen.page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:", "blob:")) else seen.requests.append(request.url)
        ),
    )
    try:
        seen.page.goto(path.resolve().as_uri(), wait_until="load")
        yield seen
    finally:
        context.close()


def accessibility_violations(page: Page) -> list[str]:
    """What axe-core objects to, with the elements concerned."""
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in found]
