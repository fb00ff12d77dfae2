"""The system's Chromium, and what a page did in it that it must not do."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, f"no browser on the PATH: install one of {', '.join(NAMES)}, or -m 'not browser'"
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a browser until the block ends."""
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]
        started = await playwright.chromium.launch(executable_path=find_browser(), args=arguments)
        yield started
        await started.close()


class Watched:
    """A page whose ``troubles`` are its console messages, errors, and requests elsewhere.

    Args:
        own: beginnings of the addresses that it may request.
    """

    def __init__(self, page: Page, *own: str) -> None:
        self.page = page
        self.troubles: list[str] = []
        self._own = own
        page.on("console", lambda message: self.troubles.append(message.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self._requested(request.url))

    def _requested(self, url: str) -> None:
        if not url.startswith((*self._own, "data:", "blob:")):
            self.troubles.append(url)
