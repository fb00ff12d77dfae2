"""What a report's page costs: to make, and in a browser, by the number of its rows.

Making is a whole process, with the start of Python and the imports. The browser is the system's
own, headless, which opens the file as a user would; each page is opened ``rounds`` times, each
time in a fresh process, and medians are shown.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from looks import new_table
from playwright.sync_api import Browser, sync_playwright
from processes import ours, spend
from reports import write_report
from rich.table import Table

ROWS: Final = 100_000
ROUNDS: Final = 3
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_FIRST_PAINT: Final = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
_FILTER: Final = """words => {
  const field = document.getElementById("words");
  field.value = words;
  const begun = performance.now();
  find();
  document.body.offsetHeight;  // laid out
  return performance.now() - begun;
}"""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at a page took: milliseconds, and bytes of its process at their peak."""

    paint_ms: float
    ready_ms: float
    rare_ms: float
    common_ms: float
    peak_bytes: float


def tables(rows: int, rounds: int, say: Say) -> list[Table]:
    """Make a page of so many rows and look at it; return the two tables."""
    with tempfile.TemporaryDirectory() as folder:
        say(f"page: {rows:,} rows, a report of them")
        report = write_report(Path(folder), rows)
        say(f"page: {rows:,} rows, making it")
        spent = spend(ours("report", report, "--html", "--quiet"), exit_code=1)
        page = report.with_name("nightly.report.html")
        made = new_table(
            "Making the page", "rows", "s", "MB of memory", "MB of files", "MB of page"
        )
        read = sum(path.stat().st_size for path in report.parent.iterdir() if path != page)
        made.add_row(
            f"{rows:,}",
            f"{spent.seconds:.2f}",
            f"{spent.peak_bytes / 1e6:.0f}",
            f"{read / 1e6:.1f}",
            f"{page.stat().st_size / 1e6:.2f}",
        )
        browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
        if browser is None:
            say("page: no browser on the PATH, so nobody looks at it")
            return [made]
        say(f"page: {rows:,} rows, looking at it")
        return [made, _looks(rows, [_look(browser, page) for _ in range(rounds)])]


def _look(browser: str, path: Path) -> Looked:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=browser,
            args=["--no-sandbox", "--disable-gpu"],
        )
        page = started.new_page(viewport={"width": 1280, "height": 900})
        begun = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("html[data-ready]", timeout=120_000)
        ready_ms = (time.perf_counter() - begun) * 1000
        looked = Looked(
            page.evaluate(_FIRST_PAINT),
            ready_ms,
            page.evaluate(_FILTER, "alarm 777"),
            page.evaluate(_FILTER, "orders"),
            _renderer_bytes(started),
        )
        started.close()
    return looked


def _renderer_bytes(browser: Browser) -> float:
    """Return the peak of resident memory of the process that holds the page; 0 if not known."""
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    peaks = [0.0]
    for process in found["processInfo"]:
        status = Path(f"/proc/{process['id']}/status")
        if process["type"] == "renderer" and status.exists():
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            peaks.append(float(lines["VmHWM"].split()[0]) * 1024)
    return max(peaks)


def _looks(rows: int, looks: list[Looked]) -> Table:
    table = new_table(
        "Looking at the page",
        *("rows", "first paint, ms", "all rows there, ms", "find few, ms", "find most, ms"),
        "memory, MB",
        caption=(
            f"Medians of {len(looks)}, headless; what is found is laid out. Memory is the peak of "
            "the page's process."
        ),
    )
    table.add_row(
        f"{rows:,}",
        f"{median(one.paint_ms for one in looks):.0f}",
        f"{median(one.ready_ms for one in looks):.0f}",
        f"{median(one.rare_ms for one in looks):.0f}",
        f"{median(one.common_ms for one in looks):.0f}",
        f"{median(one.peak_bytes for one in looks) / 1e6:.0f}",
    )
    return table
