"""Make report-page.png: a picture of the page that a run leaves, for the README.

    python samples/make_report_picture.py

It pulls incidents of the sandbox into a sheet, edits some titles, runs the sheet with --verify and
--html, and takes a picture of the page. It needs bulk-reset and Chromium on this machine; nothing
leaves it, and the temporary folder is deleted.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURE = Path(__file__).with_name("report-page.png")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SANDBOX = ("--sandbox-state", "sandbox.json")


def run(folder: Path, *arguments: str, expected: int = 0) -> None:
    """Run a command of bulk-reset in the folder; print it, as a user would type it."""
    print("$ bulk-reset", *arguments)
    done = subprocess.run(  # noqa: S603  (this project's own command)
        [sys.executable, "-m", "bulk_reset", *arguments],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != expected:
        sys.exit(done.stdout + done.stderr)


def edit(sheet: Path) -> None:
    """Change titles and impacts of a pulled sheet, as a user would in a spreadsheet program."""
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    title, impact = rows[0].index("Title"), rows[0].index("Impact")
    for number, row in enumerate(rows[1:], 2):
        row[title] = f"[payments] {row[title]}"
        if number % 3 == 0:
            row[impact] = "Checkout was slow for some customers"
        if number in {5, 9}:
            row[title] = "x" * 300  # longer than the API accepts
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)


def take_picture(page: Path, picture: Path) -> None:
    """Take a picture of the top of a page with the system's Chromium."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"No browser found. Install one of {', '.join(BROWSERS)}.")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(  # noqa: S603  (the system's browser)
            [
                browser,
                *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--disable-quic", "--virtual-time-budget=5000"),
                *(f"--user-data-dir={profile}", "--window-size=1280,900"),
                *(f"--screenshot={picture}", page.as_uri()),
            ],
            check=True,
            capture_output=True,
        )


def main() -> None:
    """Pull, edit, run, take the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, "pull", "nightly.csv", "--since", "2d", *SANDBOX)
        edit(folder / "nightly.csv")
        options = ("--skip-invalid", "--verify", "--html", "--yes", *SANDBOX)
        run(folder, "run", "nightly.csv", *options, expected=1)  # some rows are invalid
        take_picture(next(folder.glob("*.report.html")), PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
