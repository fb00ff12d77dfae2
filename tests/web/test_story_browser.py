"""The whole story in a real browser: from a messy workbook to undo, through a killed server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from accessibility import findings
from browser import Watched, chromium
from fork_server import Forked
from messy_workbook import SHORT, fixed, title_of, write_messy
from playwright.async_api import BrowserContext, Page, expect
from programs import Begin, SandboxProcess, values

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROWS = 40
STEPS = ("columns", "errors", "plan", "run", "result")


@pytest_asyncio.fixture
async def context() -> AsyncIterator[BrowserContext]:
    async with chromium() as browser:
        yield await browser.new_context(viewport={"width": 1280, "height": 900})


class Story:
    """A user at the page: the server as a process, and one tab or more."""

    def __init__(
        self, folder: Path, begin: Begin, context: BrowserContext, account: SandboxProcess
    ) -> None:
        self._begin, self._context, self._account = begin, context, account
        self.folder = folder / "七月 updates"
        self.server: Forked | None = None
        self.tabs: list[Watched] = []

    async def open(self) -> Page:
        """Start the server, and open its link in a new tab."""
        words = ("--no-open", "--folder", str(self.folder), "--base-url", self._account.url)
        self.server = self._begin("web", *words)
        found = None
        while found is None and (line := self.server.stdout.readline()):
            found = re.search(r"(http://\S+)", line)
        assert found, self.server.communicate(timeout=30)
        page = await self.tab(found[1])
        assert "token" not in page.url
        return page

    async def tab(self, address: str) -> Page:
        """Open an address in a new tab, which is watched."""
        page = await self._context.new_page()
        parts = urlsplit(address)
        self.tabs.append(Watched(page, f"{parts.scheme}://{parts.netloc}/"))
        await page.goto(address)
        return page

    def values(self) -> dict[str, dict[str, object]]:
        """Return the incidents of the account, without what every update changes."""
        return values(self._account)


async def click(page: Page, name: str, step: str) -> None:
    """Click a button that leads to a step, wait for the step's end, and load its page again."""
    async with page.expect_navigation(url=f"**/{step}"):
        await page.get_by_role("button", name=name, exact=True).click()
    await expect(page.locator("#work")).to_have_count(0)
    await page.wait_for_load_state()
    await page.reload()


async def replace_all(page: Page, old: str, new: str) -> None:
    form = page.locator("form.value", has_text=f"{old} (")
    await form.locator("select").select_option(new)
    await form.get_by_role("button").click()
    await expect(form).to_have_count(0)


async def fix_cells(page: Page) -> None:
    """Replace the user's own words by severities, and write the titles that are too short."""
    await replace_all(page, "P1", "Critical")
    await replace_all(page, "严重", "Critical")
    for row in SHORT:
        await page.get_by_label(f"标题, row {row}").fill(title_of(row - 4))
        await page.keyboard.press("Tab")
        await expect(page.locator(f"#row-{row} .invalid")).to_have_count(0)


async def test_a_messy_workbook_is_fixed_run_and_undone(
    tmp_path: Path,
    begin: Begin,
    context: BrowserContext,
    start_sandbox: Callable[..., SandboxProcess],
) -> None:
    """Every incident is as before at the end, and the browser reported nothing.

    Every page is loaded again, two tabs are open, and the server is killed during the run.
    """
    story = Story(tmp_path, begin, context, start_sandbox("--seed-incidents", "50"))
    before = story.values()
    page = await story.open()
    await page.set_input_files("#sheet", write_messy(tmp_path, ROWS))
    await click(page, "Open the sheet", "columns")
    await an_older_tab_changes_nothing(story, page)
    assert await findings(page) == []
    await page.set_viewport_size({"width": 1280, "height": 900})
    await fix_cells(page)
    await click(page, "Check again", "errors")
    await click(page, "Make the plan", "plan")
    await deselect_in_another_tab(story, page)
    await click(page, "Continue to the run", "run")
    await page.get_by_role("button", name="Send to the real account").click()
    await expect(page.locator("#question")).to_be_visible()
    assert await findings(page) == []
    await page.reload()
    await expect(page.locator("#question")).to_be_visible()
    address = urlsplit(page.url).path
    assert story.server
    story.server.kill()
    story.server.wait(30)
    assert 0 < sum(one != before[key] for key, one in story.values().items()) < ROWS
    troubles = [one for tab in story.tabs for one in tab.troubles if "ERR_" not in one]
    story.tabs.clear()
    page = await story.open()
    await page.goto(urlsplit(page.url)._replace(path=address).geturl())
    await page.get_by_role("button", name="Resume").click()
    await page.locator("#question button").or_(page.get_by_text("The run has ended")).click()
    await page.get_by_role("link", name="To the result").click()
    after = {key: (one["title"], one["incident_severity"]) for key, one in story.values().items()}
    assert {key: after[key] for key in fixed(ROWS)} == fixed(ROWS)
    await click(page, "Verify", "result")
    await expect(page.get_by_text("all verified").first).to_be_visible()
    await page.get_by_role("button", name="Undo", exact=True).click()
    await page.locator("#question button").click()
    await expect(page.get_by_text("Undone: the previous values are restored.")).to_be_visible()
    assert story.values() == before
    problems = {step: await findings_of(page, step) for step in STEPS}
    problems |= {name: await findings_of(page, f"/{name}") for name in ("", "history", "jobs")}
    problems |= await findings_in_chinese(page)
    assert {step: found for step, found in problems.items() if found} == {}
    assert troubles + [one for tab in story.tabs for one in tab.troubles] == []


async def deselect_in_another_tab(story: Story, page: Page) -> None:
    """A row that is deselected in one tab is deselected in the other, and selected again there."""
    selected = await page.inner_text("#selected")
    other = await story.tab(page.url)
    await other.get_by_label("Send row 6", exact=True).uncheck()
    await expect(other.locator("#selected")).not_to_have_text(selected)
    await page.reload()
    await expect(page.get_by_label("Send row 6", exact=True)).not_to_be_checked()
    await page.get_by_label("Send row 6", exact=True).check()
    await expect(page.locator("#selected")).to_have_text(selected)


async def an_older_tab_changes_nothing(story: Story, page: Page) -> None:
    """Check the sheet in one tab; the same form of a tab that was open before is refused."""
    older = await story.tab(page.url)
    watched = story.tabs.pop()
    await click(page, "Check the sheet", "errors")
    await older.get_by_role("button", name="Check the sheet").click()
    text = "This sheet was changed in another tab. Reload the page, then try again."
    await expect(older.get_by_role("alert")).to_have_text(text)
    assert [one for one in watched.troubles if " 409 " not in one] == []
    await older.close()


async def findings_in_chinese(page: Page) -> dict[str, list[str]]:
    """Return what axe-core finds on two steps in Chinese."""
    await page.get_by_label("Language").select_option("zh_CN")
    await expect(page.get_by_role("link", name="历史")).to_be_visible()
    return {f"zh_CN {step}": await findings_of(page, step) for step in ("errors", "result")}


async def findings_of(page: Page, step: str) -> list[str]:
    """Return what axe-core finds on a step of the task."""
    parts = urlsplit(page.url)
    path = step if step.startswith("/") else f"{parts.path.rpartition('/')[0]}/{step}"
    if not step.startswith("/"):
        await page.goto(parts._replace(path=path).geturl())
        return await findings(page)
    other = await page.context.new_page()
    await other.goto(parts._replace(path=path).geturl())
    found = await findings(other)
    await other.close()
    return found
