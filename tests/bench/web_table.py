"""The page with a large sheet: what each step takes, the server's memory, the cost of progress.

The server is a process of its own, and requests are sent as the page's script sends them. Its
account is ``fast_server.py``. The cost of progress is the server's processor time during a run at
the limit of 50 requests per second, with a reader of its events and without one, by turns; each
run has a server and a home folder of its own, so that no quota is left over.

Units: ``*_s`` seconds, ``*_bytes`` bytes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from processes import environment, our_command, serving
from rich.table import Table
from sheets import write_csv
from table_style import new_table

ROWS: Final = 100_000
ROUNDS: Final = 3
PROGRESS_ROWS: Final = 600
"""Of a run at 50 rows per second."""
_POLL_S: Final = 0.1
_INVALID_EVERY: Final = 50
_LATEST_S: Final = 900.0
Log = Callable[[str], None]


@dataclass(slots=True)
class Page:
    """A server of the page, and a session with it."""

    process: subprocess.Popen[str]
    port: int
    link_s: float = 0.0
    """From the start of the process to its link."""
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[bytes, Any]:
        """Send a request; return the body and the headers of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_LATEST_S)
        with contextlib.closing(connection):
            headers = {**self.headers, **({"Content-Type": kind} if kind else {})}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:500].decode()}")
        return content, answer.headers

    def post(self, path: str, **fields: str) -> bytes:
        """Send a form."""
        kind = "application/x-www-form-urlencoded"
        return self.send("POST", path, urlencode(fields).encode(), kind)[0]

    def wait(self, task: str) -> None:
        """Wait until the work of a task has ended; questions are answered with yes."""
        while (state := json.loads(self.send("GET", f"{task}/work")[0]))["state"] != "done":
            if state["state"] == "failed":
                raise RuntimeError(state["error"])
            if state["state"] == "asking":
                self.post(f"{task}/answer")
            time.sleep(_POLL_S)

    def upload(self, sheet: Path) -> str:
        """Drop a sheet; return the address of its task."""
        head = f'Content-Disposition: form-data; name="sheet"; filename="{sheet.name}"'
        body = b"--b0und\r\n%b\r\n\r\n%b\r\n--b0und--\r\n" % (head.encode(), sheet.read_bytes())
        _, headers = self.send("POST", "/sheets", body, "multipart/form-data; boundary=b0und")
        return str(headers["HX-Redirect"]).removesuffix("/columns")

    def cpu_s(self) -> float:
        """Return the processor time that the server has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_bytes(self) -> int:
        """Return the peak of its resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", text)
        return int(found[1]) * 1024 if found else 0


@contextlib.contextmanager
def page_server(folder: Path, url: str) -> Iterator[Page]:
    """Run a server of the page with a session until the block ends."""
    command = our_command("web", "--no-open", "--folder", folder / "web", "--base-url", url)
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment(str(folder)), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        link = urlsplit(process.stdout.readline().split()[-1])
        page = Page(process, link.port or 0, time.perf_counter() - begun)
        _, headers = page.send("GET", f"{link.path}?{link.query}")
        page.headers["Cookie"] = str(headers["Set-Cookie"]).partition(";")[0]
        text = page.send("GET", "/")[0].decode()
        name, token = re.findall(r'hx-headers=\'{"([^"]+)": "([^"]+)"}', text)[0]
        page.headers[name] = token
        yield page
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def tables(rows: int, rounds: int, log: Log) -> list[Table]:
    """Measure the steps of a sheet with this many rows, and the cost of progress."""
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        log(f"web: {rows:,} rows")
        steps = _steps(Path(folder), rows, server.url)
        progress_rows = min(PROGRESS_ROWS, rows)
        pairs = []
        for number in range(rounds):
            log(f"web: progress, pair {number + 1} of {rounds}")
            pairs.append([_run_cost(progress_rows, server.url, reads=reads) for reads in (0, 1)])
    return [steps, _progress(progress_rows, pairs)]


def _steps(folder: Path, rows: int, url: str) -> Table:
    table = new_table(
        f"The page, a sheet of {rows:,} rows",
        *("step", "s"),
        caption="One request each; the plan reads all current values at 50 requests per second.",
    )

    def step(name: str, do: Callable[[], Any]) -> Any:  # noqa: ANN401  (what it returns)
        begun = time.perf_counter()
        result = do()
        table.add_row(name, f"{time.perf_counter() - begun:.2f}")
        return result

    sheet = _with_errors(write_csv(folder / "large.csv", rows))
    with page_server(folder, url) as page:
        task = step("upload", lambda: page.upload(sheet))
        step("columns", lambda: page.send("GET", f"{task}/columns"))

        def check() -> bytes:
            page.post(f"{task}/columns", **{"column-0": "incident_id", "column-1": "title"})
            page.wait(task)
            return page.send("GET", f"{task}/errors")[0]

        text = step("check, first errors", check).decode()
        where = re.findall(r'href="(\?kind=[^"]+)"', text)[0].replace("&amp;", "&")
        step("errors of one kind", lambda: page.send("GET", f"{task}/errors{where}"))
        first = re.findall(r'id="row-(\d+)"', text)[0]
        cell = {"row": first, "position": "1", "text": "Renamed on the page"}
        step("edit a cell", lambda: page.post(f"{task}/cell", **cell))
        step("all rows, last page", lambda: page.send("GET", f"{task}/errors/rows?{_last(rows)}"))

        def plan() -> None:
            page.post(f"{task}/check", skip_invalid="1")
            page.wait(task)
            page.post(f"{task}/plan")
            page.wait(task)

        step("check again and plan", plan)
        step("plan, first page", lambda: page.send("GET", f"{task}/plan"))
        step("plan, last page", lambda: page.send("GET", f"{task}/plan/rows?after={rows - 2_100}"))
        step("plan, search a text", lambda: page.send("GET", f"{task}/plan?text=no-such-text"))
        step("deselect what is shown", lambda: page.post(f"{task}/select", text="1", selected="0"))
        table.add_row("memory of the server, MB", f"{page.peak_bytes() / 1e6:.0f}")
    return table


def _with_errors(sheet: Path) -> Path:
    """Make the title of each 50th row too short."""
    header, *lines = sheet.read_text(encoding="utf-8").splitlines()
    for at in range(0, len(lines), _INVALID_EVERY):
        lines[at] = f"{lines[at].partition(',')[0]},x"
    sheet.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return sheet


def _last(rows: int) -> str:
    return f"all=1&after={max(1, rows - 99)}"


@dataclass(frozen=True, slots=True)
class Cost:
    """The processor time of the server during a run."""

    cpu_s: float
    elapsed_s: float
    events: int

    @property
    def share(self) -> float:
        """Of one core."""
        return self.cpu_s / self.elapsed_s


def _run_cost(rows: int, url: str, *, reads: int) -> Cost:
    """Run a sheet on the page; ``reads`` is how many readers of its events there are."""
    with tempfile.TemporaryDirectory() as folder, page_server(Path(folder), url) as page:
        task = page.upload(write_csv(Path(folder) / "small.csv", rows))
        page.post(f"{task}/columns", **{"column-0": "incident_id", "column-1": "title"})
        page.wait(task)
        page.post(f"{task}/plan")
        page.wait(task)
        begun_s, cpu_s = time.perf_counter(), page.cpu_s()
        page.post(f"{task}/run", canary="0")
        events = _ended(page, task) if reads else _ended_unread(page, task)
        return Cost(page.cpu_s() - cpu_s, time.perf_counter() - begun_s, events)


def _ended(page: Page, task: str) -> int:
    """Read the events of a run to its end, as the page does; return how many there were."""
    content, _ = page.send("GET", f"{task}/events")
    return content.count(b"data: ")


def _ended_unread(page: Page, task: str) -> int:
    """Wait for the end of a run without asking the server: its file has the totals then."""
    path = next(Path(page.process.args[-3]).glob(f"{task.rpartition('/')[2]}/task.json"))  # type: ignore[index]
    while not json.loads(path.read_bytes())["totals"]:
        threading.Event().wait(_POLL_S)
    return 0


def _progress(rows: int, pairs: list[list[Cost]]) -> Table:
    table = new_table(
        f"Progress of {rows:,} rows at 50 requests per second",
        *("reader", "events", "CPU, s", "% of a core"),
        caption=f"Medians of {len(pairs)} pairs; the difference is the cost of one reader.",
    )
    for at, name in enumerate(("none", "one, server-sent events")):
        costs = [pair[at] for pair in pairs]
        table.add_row(
            name,
            f"{median(one.events for one in costs):.0f}",
            f"{median(one.cpu_s for one in costs):.2f}",
            f"{100 * median(one.share for one in costs):.1f}",
        )
    difference = median(with_one.share - without.share for without, with_one in pairs)
    table.add_row("difference", "", "", f"{100 * difference:.1f}")
    return table
