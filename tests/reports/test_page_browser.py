"""The page of a report in a real browser: it draws, filters, turns pages, and asks nobody."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright
from report_samples import HOSTILE, OUTCOMES, write_small

from bulk_reset import write_page
from bulk_reset.core.outcome import Status
from bulk_reset.records.previous_values import PreviousValues, PreviousValuesFile
from bulk_reset.records.report_file import Report

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
NAMES = ("chromium", "chromium-browser", "google-chrome")
ROWS = 450
INK = """name => {
  const canvas = document.querySelector(`#chart-${name} canvas`);
  const dots = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let n = 0; n < dots.length; n += 4)
    if (dots[n + 3]) colours.add(dots.slice(n, n + 3).join());
  return colours.size;
}"""
MARKER = "#chart-finished .u-series:last-child .u-marker"
COLOUR = f"document.querySelector('{MARKER}').style.borderColor"


def find_browser() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, f"no browser on the PATH: install one of {', '.join(NAMES)}, or -m 'not browser'"
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all of these tests."""
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]
        started = await playwright.chromium.launch(executable_path=find_browser(), args=arguments)
        yield started
        await started.close()


class Opened:
    """A page that was opened, and what it complained of or asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.troubles: list[str] = []
        page.on("console", lambda message: self.troubles.append(message.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self.troubles.append(url)

    async def go(self, path: Path) -> None:
        """Open a page, and wait until its rows are there."""
        await self.page.goto(path.as_uri())
        await self.page.wait_for_selector("html[data-ready]")

    async def range(self) -> str:
        """Return what it says of the rows in sight."""
        return await self.page.inner_text("#range")

    async def rows(self) -> list[str]:
        """Return the rows in sight, by their numbers."""
        return await self.page.locator("#list article h3 span").all_inner_texts()


@pytest_asyncio.fixture(loop_scope="module")
async def opened(browser: Browser) -> AsyncIterator[Opened]:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    yield Opened(await context.new_page())
    await context.close()


def write_many(folder: Path) -> Path:
    """Write a report of so many rows, of which every tenth failed."""
    report = folder / "many.report.csv"
    with Report(report) as lines, PreviousValuesFile(folder / "many.before.csv") as before:
        for row in range(2, ROWS + 2):
            digest = f"b{row:023x}"
            is_bad = row % 10 == 0
            lines.write(
                OUTCOMES[1]._replace(
                    row_number=row,
                    digest=digest,
                    status=Status.FAILED if is_bad else Status.UPDATED,
                    error_code=("NotThere" if row % 20 else "TooLong") * is_bad,
                    error_message="said no" * is_bad,
                    request_id=f"req-{row:05}",
                    started_at=OUTCOMES[1].started_at + row / 50,
                    finished_at=OUTCOMES[1].started_at + row / 50 + 0.1,
                )
            )
            before.append(
                [
                    PreviousValues(
                        *(row, digest, OUTCOMES[1].incident_id, "https://console.example/"),
                        {"title": f"Disk full on Straße-{row}"},
                        {"title": f"Disk 满了 on Straße-{row}"},
                    )
                ]
            )
    return report


async def test_rows_are_found_by_status_error_and_words(tmp_path: Path, opened: Opened) -> None:
    """Each filter narrows the list, together they narrow it more, and what is shown is told."""
    await opened.go(write_page(write_many(tmp_path)))
    page = opened.page
    assert await opened.range() == "Rows 1 to 200 of 450 found; the report has 450."
    await page.uncheck("#filters input[value=updated]")
    assert await opened.range() == "Rows 1 to 45 of 45 found; the report has 450."
    await page.select_option("#group", label="TooLong (failed, 22)")
    assert await opened.range() == "Rows 1 to 22 of 22 found; the report has 450."
    await page.fill("#words", "STRASSE-20")
    await page.fill("#words", "straße-20")
    await page.wait_for_function("() => document.querySelectorAll('#list article').length === 2")
    assert await opened.rows() == ["Row 20", "Row 200"]
    await page.fill("#words", "[no such row")
    await page.wait_for_function("() => document.querySelectorAll('#list article').length === 0")
    assert await opened.range() == "No such row; the report has 450."
    await page.fill("#words", "")
    await page.uncheck("#filters input[value=failed]")
    await page.click("button.pick[value='0']")
    assert await opened.range() == "Rows 1 to 23 of 23 found; the report has 450."
    assert opened.troubles == []


async def test_pages_are_turned(tmp_path: Path, opened: Opened) -> None:
    """On and back, to the ends and no further, so many at once as one likes."""
    await opened.go(write_page(write_many(tmp_path)))
    page = opened.page
    assert await page.is_disabled("button.back >> nth=0")
    await page.click("button.next >> nth=0")
    await page.click("button.next >> nth=1")
    assert await opened.range() == "Rows 401 to 450 of 450 found; the report has 450."
    assert (await opened.rows())[-1] == "Row 451"
    assert await page.is_disabled("button.next >> nth=0")
    await page.select_option("#size", "50")
    await page.click("button.next >> nth=0")
    assert await opened.range() == "Rows 51 to 100 of 450 found; the report has 450."
    await page.click("button.back >> nth=0")
    assert len(await opened.rows()) == 50
    assert opened.troubles == []


async def test_charts_are_drawn_in_light_and_dark_and_on_paper(
    tmp_path: Path, opened: Opened
) -> None:
    """None is blank, keys move from point to point, and paper is light whatever the screen is."""
    await opened.go(write_page(write_small(tmp_path)))
    page = opened.page
    for name in ("second", "minute", "finished", "latency"):
        assert await page.evaluate(INK, name) > 3, name
    await page.focus("#chart-finished")
    await page.keyboard.press("ArrowRight")
    assert "02:00:00" in await page.inner_text("#chart-finished .u-legend")
    light = await page.evaluate(COLOUR)
    await page.emulate_media(color_scheme="dark")
    await page.wait_for_function(f"light => {COLOUR} !== light", arg=light)
    dark = await page.evaluate(COLOUR)
    await page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert await page.evaluate(COLOUR) == light
    await page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert await page.evaluate(COLOUR) == dark
    assert opened.troubles == []


async def test_the_script_draws_rows_as_they_were_drawn_without_it(
    tmp_path: Path, browser: Browser, opened: Opened
) -> None:
    """Hostile texts too: what a reader without scripts sees is what the script makes."""
    path = write_page(write_small(tmp_path))
    plain = await browser.new_context(java_script_enabled=False)
    bare = await plain.new_page()
    await bare.goto(path.as_uri())
    articles = "nodes => nodes.map(node => node.outerHTML)"
    drawn = await bare.locator("#list article").evaluate_all(articles)
    assert await bare.locator("noscript").inner_text()
    await plain.close()
    await opened.go(path)
    assert await opened.page.locator("#list article").evaluate_all(articles) == drawn
    assert "<img" in await opened.page.inner_text("#list"), HOSTILE
    await opened.page.check("#entire")
    assert "…" not in await opened.page.inner_text("#list dl >> nth=4")
    assert opened.troubles == []


async def test_a_telephone_shows_all_of_it(tmp_path: Path, opened: Opened) -> None:
    """Nothing is wider than 390 pixels but what scrolls by itself."""
    await opened.page.set_viewport_size({"width": 390, "height": 844})
    await opened.go(write_page(write_small(tmp_path)))
    assert await opened.page.evaluate("document.documentElement.scrollWidth") == 390
    assert opened.troubles == []
