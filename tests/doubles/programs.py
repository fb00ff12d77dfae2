"""The sandbox as a process, and the files that tests write and read."""

from __future__ import annotations

import atexit
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fork_server import Forked

STATE = tempfile.mkdtemp(prefix="bulk-reset-tests-")
"""The state folder of all commands in tests, instead of the one in the home folder."""
os.environ["XDG_STATE_HOME"] = STATE
atexit.register(shutil.rmtree, STATE, ignore_errors=True)
KEY = "sandbox-key"
QUICK = ("--per-second", "5000", "--per-minute", "300000", "--latency", "0")
"""Options of a sandbox that answers at once and practically never throttles."""
FAST = ("--per-second", "5000", "--per-minute", "300000")
ROOT = Path(__file__).parent.parent.parent
Begin = Callable[..., Forked]


def seed_id(number: int) -> str:
    """Return the id of the sandbox's n-th seeded incident."""
    return f"69da451e{number:016x}"


def clean_environment(**more: str) -> dict[str, str]:
    """Return an environment without a key and without a home folder."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    kept["XDG_STATE_HOME"] = STATE
    return {
        **kept,
        "HOME": "/nonexistent",
        "PYTHONUTF8": "1",
        "COLUMNS": "120",
        "TZ": "UTC",
        **more,
    }


@dataclass
class SandboxProcess:
    """A running sandbox."""

    url: str
    process: Forked

    def get(self, path: str) -> Any:  # noqa: ANN401  (JSON)
        """Return the JSON of one of its pages, for example ``/_stats``."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    def stop(self) -> None:
        """Stop it with SIGTERM."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)


def run_python(
    *arguments: str | Path, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a new interpreter and wait for its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def run_sandbox(*options: str) -> Iterator[SandboxProcess]:
    """Run a sandbox on a free port until the block ends."""
    process = Forked(["sandbox", "--port", "0", *options], Path.cwd(), clean_environment())
    found = None
    while found is None and (line := process.stdout.readline()):
        found = re.search(r"base URL\s+(http://\S+)", line)
    sandbox = SandboxProcess(found[1] if found else "", process)
    try:
        assert found is not None, process.stderr.read()
        yield sandbox
    finally:
        sandbox.stop()


def write_sheet(path: Path, rows: int, title: str = "Renamed service") -> Path:
    """Write a sheet of the first N seeded incidents, each with another title.

    It looks a minute old, so that jobs do not wait for it to settle.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["incident_id", "title"])
        writer.writerows([seed_id(n), f"{title} {n}"] for n in range(1, rows + 1))
    return settled(path)


def settled(path: Path) -> Path:
    """Let a file look a minute old, so that jobs do not wait for it to settle; return it."""
    settled_at = time.time() - 60
    os.utime(path, (settled_at, settled_at))
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV file with the csv module, as other programs do."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


BOOKS = ("updated_at", "manual_overrides", "applied")
"""Values of an incident that every update changes."""


def values(sandbox: SandboxProcess) -> dict[str, dict[str, Any]]:
    """Return every incident, without the values that every update changes."""
    incidents = sandbox.get("/_incidents")
    for incident in incidents.values():
        for name in BOOKS:
            del incident[name]
    return incidents


def write_rows(path: Path, header: list[str], *rows: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def statuses(path: Path) -> Counter[str]:
    return Counter(line["status"] for line in read_csv(path))
