"""The pages in a real browser: charts, filters, diffs, CSV; and they make no requests."""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from browser import Watched, chromium
from playwright.async_api import Browser, Page
from programs import seed_id
from report_samples import HOSTILE, OUTCOMES, digest, previous_values, write_small
from test_plan_file import write as write_plan

from bulk_reset import write_page
from bulk_reset.core.outcome import Status
from bulk_reset.core.safe_text import guard_formula
from bulk_reset.records.previous_values import PreviousValues, PreviousValuesFile
from bulk_reset.records.report_file import Report
from bulk_reset.reports import html_page, row_list
from bulk_reset.reports.plan_page import PlanPage
from bulk_reset.reports.row_list import FieldChange

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all of these tests."""
    async with chromium() as started:
        yield started


class Opened(Watched):
    """A page that was opened from a file."""

    def __init__(self, page: Page) -> None:
        super().__init__(page, "file:")

    async def go(self, path: Path) -> None:
        """Open a page, and wait until its rows are there."""
        await self.page.goto(path.as_uri())
        await self.page.wait_for_selector("html[data-ready]")

    async def range(self) -> str:
        """Return the line that counts the rows shown."""
        return await self.page.inner_text("#range")

    async def rows(self) -> list[str]:
        """Return the rows shown, by their numbers."""
        return await self.page.locator("#list article h3 span").all_inner_texts()


@pytest_asyncio.fixture(loop_scope="module")
async def opened(browser: Browser) -> AsyncIterator[Opened]:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    yield Opened(await context.new_page())
    await context.close()


def write_many(folder: Path) -> Path:
    """Write a report of 450 rows, of which every tenth failed."""
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
                    error_message="no such incident" * is_bad,
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


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


async def test_rows_are_found_by_status_error_field_and_words(
    tmp_path: Path, opened: Opened
) -> None:
    """Each filter narrows the list, all of them together narrow it more; the line counts rows."""
    await opened.go(write_page(write_many(tmp_path)))
    page = opened.page
    assert await opened.range() == "450 rows; showing 1 to 200."
    await page.uncheck("#filters input[value=updated]")
    assert await opened.range() == "45 of 450 rows match; showing 1 to 45."
    await page.select_option("#group", label="TooLong (failed, 22)")
    assert await opened.range() == "22 of 450 rows match; showing 1 to 22."
    await page.fill("#words", "STRASSE-20")
    await page.fill("#words", "straße-20")
    await page.wait_for_function("() => document.querySelectorAll('#list article').length === 2")
    assert await opened.rows() == ["Row 20", "Row 200"]
    await page.fill("#words", "[no such row")
    await page.wait_for_function("() => document.querySelectorAll('#list article').length === 0")
    assert await opened.range() == "0 of 450 rows match."
    await page.fill("#words", "")
    await page.uncheck("#filters input[value=failed]")
    await page.click("button.pick[value='0']")
    assert await opened.range() == "23 of 450 rows match; showing 1 to 23."
    assert opened.troubles == []


async def test_rows_are_found_by_field(tmp_path: Path, opened: Opened) -> None:
    """A field lists the rows that change it, and no others."""
    await opened.go(write_page(write_small(tmp_path)))
    await opened.page.select_option("#field", "impact")
    assert await opened.rows() == ["Row 5"]
    await opened.page.select_option("#field", "title")
    assert await opened.rows() == [f"Row {number}" for number in range(2, 7)]
    await opened.page.select_option("#field", "")
    assert await opened.range() == "7 rows; showing 1 to 7."
    assert opened.troubles == []


async def test_pages_of_rows_are_turned(tmp_path: Path, opened: Opened) -> None:
    """Forwards and backwards, to the ends and no further, with the chosen number of rows."""
    await opened.go(write_page(write_many(tmp_path)))
    page = opened.page
    assert await page.is_disabled("button.back >> nth=0")
    await page.click("button.next >> nth=0")
    await page.click("button.next >> nth=1")
    assert await opened.range() == "450 rows; showing 401 to 450."
    assert (await opened.rows())[-1] == "Row 451"
    assert await page.is_disabled("button.next >> nth=0")
    await page.select_option("#size", "50")
    await page.click("button.next >> nth=0")
    assert await opened.range() == "450 rows; showing 51 to 100."
    await page.click("button.back >> nth=0")
    assert len(await opened.rows()) == 50
    await page.select_option("#size", "1000")
    assert await page.is_hidden("button.next >> nth=0")
    assert opened.troubles == []


async def test_a_diff_is_inline_or_side_by_side(tmp_path: Path, opened: Opened) -> None:
    """Side by side, the old text is on the left, the new one on the right."""
    await opened.go(write_page(write_small(tmp_path)))
    page = opened.page
    first = page.locator("#list dd >> nth=0")
    assert await first.inner_html() == (
        "<p>CPU <del>usage high</del><ins>saturated</ins> on db-1</p>"
    )
    assert await page.is_hidden("#sides")
    await page.select_option("#layout", "side")
    assert await first.inner_html() == (
        '<div class="pair"><p>CPU <del>usage high</del> on db-1</p>'
        "<p>CPU <ins>saturated</ins> on db-1</p></div>"
    )
    assert await page.inner_text("#sides") == "Left: previous value. Right: new value."
    left, right = [await part.bounding_box() for part in await first.locator("p").all()]
    assert left
    assert right
    assert (left["y"], left["x"] < right["x"]) == (right["y"], True)
    assert opened.troubles == []


async def test_the_matching_rows_are_saved_as_csv(tmp_path: Path, opened: Opened) -> None:
    """Only rows that match, one line a field; a spreadsheet runs no text as a formula."""
    texts = (
        "=1+1",
        "'=1",
        " -2",
        "a;=b",
        "\t=c",
        "line\n@d",
        '"quoted", x',
        "\uff1de",
        "plain - f",
    )
    report = tmp_path / "many.report.csv"
    with Report(report) as lines, PreviousValuesFile(tmp_path / "many.before.csv") as before:
        for row, text in enumerate(texts, 2):
            lines.write(OUTCOMES[1]._replace(row_number=row, digest=digest(row)))
            before.append([previous_values(row, text, f"new {row}")])
        lines.write(OUTCOMES[3]._replace(row_number=90, digest=digest(90)))
    await opened.go(write_page(report))
    await opened.page.uncheck("#filters input[value=failed]")
    async with opened.page.expect_download() as started:
        await opened.page.click("#download")
    download = await started.value
    found = lines_of(await download.path())

    assert download.suggested_filename == "many.report.rows.csv"
    assert [line["old"] for line in found] == [guard_formula(text) for text in texts]
    assert found[1] == {
        "row": "3",
        "incident_id": seed_id(2),
        "status": "updated",
        "error_code": "",
        "error_message": "",
        "request_id": "req-2",
        "field": "title",
        "old": "''=1",
        "new": "new 3",
    }
    assert opened.troubles == []


async def test_the_plan_lists_rejected_rows_and_conflicts_as_the_template_does(
    tmp_path: Path, browser: Browser, opened: Opened
) -> None:
    """The script and the template create the same rows; unchanged ones are hidden at first."""
    path = write_plan(PlanPage(tmp_path / "plan.html"))
    plain = await browser.new_context(java_script_enabled=False)
    bare = await plain.new_page()
    await bare.goto(path.as_uri())
    outer = "nodes => nodes.map(node => node.outerHTML)"
    by_template = await bare.locator("#list article").evaluate_all(outer)
    await plain.close()
    await opened.go(path)
    assert await opened.rows() == ["Row 2", "Row 3", "Row 4", "Row 6"]
    await opened.page.check("#filters input[value=unchanged]")
    assert await opened.page.locator("#list article").evaluate_all(outer) == by_template
    await opened.page.select_option("#layout", "side")
    assert await opened.page.locator("#list .conflict dd").inner_html() == (
        "<p><b>pulled</b> Disk is full</p>"
        '<div class="pair"><p>Disk <del>is full now</del></p><p>Disk <ins>was full</ins></p></div>'
    )
    assert opened.troubles == []


async def test_charts_are_drawn_in_light_and_dark_and_on_paper(
    tmp_path: Path, opened: Opened
) -> None:
    """None is blank, arrow keys move from point to point, and paper is always light."""
    await opened.go(write_page(write_small(tmp_path)))
    page = opened.page
    await page.click("nav a[href='#performance']")
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


async def test_the_script_creates_rows_as_the_template_does(
    tmp_path: Path, browser: Browser, opened: Opened
) -> None:
    """Hostile texts too: a reader without scripts sees the same rows."""
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


async def test_the_script_compares_words_as_the_template_does(
    tmp_path: Path, opened: Opened
) -> None:
    """Words, Chinese, marks, emoji and long texts: the same parts, also of unrelated texts."""
    chance = random.Random(20)  # noqa: S311  (texts to compare)
    words = [
        *[
            "a",
            "b",
            "c",
            "磁盘",
            "已满",
            "ガ",
            "é",
            "👍🏽",
            "👩\u200d🔧",
            "🇨🇳",
            "x_1",
            ".",
            ",",
            "-",
            "(",
            "𠀀",
            "é",
        ],
        " ",
        "\n",
        "\t",
        "  ",
    ]
    texts = [
        "".join(chance.choice(words) + " " * (chance.random() < 0.4) for _ in range(length))
        for length in (0, 1, 2, 5, 12, 40, 300)
        for _ in range(12)
    ]
    pairs = [("", ""), *itertools.combinations(texts, 2)][::3]
    pairs += [(text, text.replace("b", "b b", 1).replace("磁", "", 2)) for text in texts]
    await opened.go(write_page(write_small(tmp_path)))
    script = "pairs => pairs.map(([old, now]) => changeParts(old, now))"
    by_script = await opened.page.evaluate(script, pairs)
    for (old, new), parts in zip(pairs, by_script, strict=True):
        assert [(kind, text) for kind, text in parts] == FieldChange("title", old, new).parts
    assert opened.troubles == []


async def open_many(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, *, block_rows: int
) -> None:
    for module in (row_list, html_page):
        monkeypatch.setattr(module, "BLOCK_ROWS", block_rows)
    await opened.go(write_page(write_many(folder)))


async def test_a_search_unpacks_the_blocks_it_needs(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of blocks that were not shown are found, turned to and saved; a new search ends one."""
    await open_many(tmp_path, opened, monkeypatch, block_rows=64)
    page = opened.page
    assert await page.evaluate("[...unpackedBlocks.keys()]") == [0, 1, 2, 3]
    await page.evaluate("[words.value = 'Straße-1', find(), words.value = 'ße-44', find()].at(-1)")
    assert await opened.rows() == ["Row 44", *(f"Row {number}" for number in range(440, 450))]
    await page.evaluate("(unpackedBlocks.clear(), words.value = '', find())")
    await page.click("button.next >> nth=0")
    await page.wait_for_function("() => range.textContent.includes('201 to 400')")
    async with page.expect_download() as started:
        await page.click("#download")
    found = lines_of(await (await started.value).path())
    assert [line["row"] for line in found] == [str(number) for number in range(2, ROWS + 2)]
    assert opened.troubles == []


async def test_blocks_unpacked_at_the_same_time_are_not_mixed(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that begins while another one unpacks a block gets its own rows."""
    await open_many(tmp_path, opened, monkeypatch, block_rows=128)
    one_by_one = await opened.page.evaluate("""async () => {
      const texts = [];
      for (const block of blocks) texts.push(await unpackedText(block));
      return texts;
    }""")
    at_once = await opened.page.evaluate("Promise.all([...blocks, ...blocks].map(unpackedText))")
    assert at_once == 2 * one_by_one
    assert sum(text.count(row_list.ROW_END) for text in one_by_one) == ROWS
    assert opened.troubles == []


async def test_the_page_fits_a_telephone(tmp_path: Path, opened: Opened) -> None:
    """Nothing is wider than 390 pixels, except what scrolls by itself."""
    await opened.page.set_viewport_size({"width": 390, "height": 844})
    await opened.go(write_page(write_small(tmp_path)))
    assert await opened.page.evaluate("document.documentElement.scrollWidth") == 390
    await opened.page.select_option("#layout", "side")
    await opened.page.click("nav a[href='#performance']")
    assert await opened.page.evaluate("document.documentElement.scrollWidth") == 390
    assert opened.troubles == []
