"""The cost of a report's HTML page, by its rows: to write it, and to open it in a browser.

Writing is measured as a whole process, with the start of Python and the imports. The browser is
the system's, headless; the page is opened ``rounds`` times, each time in a new process, and
medians are shown.
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

from playwright.sync_api import Browser, sync_playwright
from processes import measure, our_command
from reports import write_report
from rich.table import Table
from table_style import new_table

ROWS: Final = 100_000
ROUNDS: Final = 3
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_FIRST_PAINT: Final = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
_FILTER: Final = """async words => {
  const field = document.getElementById("words");
  field.value = words;
  const begun = performance.now();
  await find();
  document.body.offsetHeight;  // laid out
  return performance.now() - begun;
}"""
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening of a page: milliseconds, and the peak memory of its process in bytes."""

    paint_ms: float
    ready_ms: float
    rare_ms: float
    common_ms: float
    peak_bytes: float


def tables(rows: int, rounds: int, log: Log) -> list[Table]:
    """Write a page of this many rows and open it; return two tables."""
    with tempfile.TemporaryDirectory() as folder:
        log(f"page: {rows:,} rows, writing the report")
        report = write_report(Path(folder), rows)
        log(f"page: {rows:,} rows, writing the page")
        measured = measure(our_command("report", report, "--html", "--quiet"), exit_code=1)
        page = report.with_name("nightly.report.html")
        made = new_table(
            "Writing the page", "rows", "s", "MB of memory", "MB of files", "MB of page"
        )
        read = sum(path.stat().st_size for path in report.parent.iterdir() if path != page)
        made.add_row(
            f"{rows:,}",
            f"{measured.seconds:.2f}",
            f"{measured.peak_bytes / 1e6:.0f}",
            f"{read / 1e6:.1f}",
            f"{page.stat().st_size / 1e6:.2f}",
        )
        browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
        if browser is None:
            log("page: no browser on the PATH, so the page is not opened")
            return [made]
        log(f"page: {rows:,} rows, opening the page")
        return [made, _openings(rows, [_open(browser, page) for _ in range(rounds)])]


def _open(browser: str, path: Path) -> Opening:
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
        opening = Opening(
            page.evaluate(_FIRST_PAINT),
            ready_ms,
            page.evaluate(_FILTER, "alarm 777"),
            page.evaluate(_FILTER, "orders"),
            _renderer_bytes(started),
        )
        started.close()
    return opening


def _renderer_bytes(browser: Browser) -> float:
    """Return the peak resident memory of the process of the page; 0 if unknown."""
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    peaks = [0.0]
    for process in found["processInfo"]:
        status = Path(f"/proc/{process['id']}/status")
        if process["type"] == "renderer" and status.exists():
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            peaks.append(float(lines["VmHWM"].split()[0]) * 1024)
    return max(peaks)


def _openings(rows: int, openings: list[Opening]) -> Table:
    table = new_table(
        "Opening the page",
        *("rows", "first paint, ms", "all rows loaded, ms", "find few, ms", "find most, ms"),
        "memory, MB",
        caption=(
            f"Medians of {len(openings)}, headless; find includes the layout. Memory is the "
            "peak of the page's process."
        ),
    )
    table.add_row(
        f"{rows:,}",
        f"{median(one.paint_ms for one in openings):.0f}",
        f"{median(one.ready_ms for one in openings):.0f}",
        f"{median(one.rare_ms for one in openings):.0f}",
        f"{median(one.common_ms for one in openings):.0f}",
        f"{median(one.peak_bytes for one in openings) / 1e6:.0f}",
    )
    return table
