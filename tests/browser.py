"""A headless Chromium that reaches no network, to open pages in."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

WIDE, NARROW = (1400, 1000), (390, 844)  # a desktop's window and a phone's

# Names are not looked up, connections go to a port where nobody listens, and the browser asks for nothing by itself.
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
    """A page of a file, with what it has asked for and complained of.

    Attributes:
        page: to look at, and to act on.
        requests: addresses of everything that was asked for, but files and what lies in the page itself.
        complaints: errors and warnings of the console, and exceptions that nobody caught.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def chromium() -> str | None:
    """The path of a Chromium or Chrome on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


needs_chromium = pytest.mark.skipif(chromium() is None, reason="needs Chromium or Chrome on PATH")


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser of one's own; starting it takes a second."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, path: Path, size: tuple[int, int] = WIDE) -> Iterator[OpenedPage]:
    """Open a file in a window of a size, offline, and wait until it is loaded."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
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
