"""Several processes on one quota: rejections and time, with a strict server that counts.

Every case has the API's windows. The time is from the first to the last request that the server
accepted, over the shortest possible time for as many.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from processes import environment, our_command
from rich.table import Table
from sheets import write_csv
from table_style import new_table

sys.path.insert(0, str(Path(__file__).parents[1] / "doubles"))

from programs import KEY, run_sandbox
from redis_process import RedisProcess
from shared_quota import (
    LOST,
    Sender,
    StoreDouble,
    StrictServer,
    ended,
    open_account,
    start_sender,
)
from waiting import wait_until

from bulk_reset.quota.windows import ideal_s, windows_of

_EACH: Final = 325
_COUNT: Final = 4
_AWAY_S: Final = 20.0
_TIMEOUT_S: Final = 5.0
_LONG_ROWS, _URGENT_ROWS = 5_000, 10
_BEFORE_URGENT_S: Final = 15.0
_LIMIT_S: Final = 600.0
_Disturb = Callable[[StoreDouble, StrictServer, list[Sender]], None]


@dataclass(frozen=True, slots=True)
class Case:
    """What one case has shown."""

    accepted: int
    rejected: int
    seconds: float
    calls: float
    notices: str


def tables(log: Callable[[str], None]) -> list[Table]:
    """Run every case on both stores, and urgent rows beside a long run."""
    log(f"quota-shared: {_COUNT} processes, {_COUNT * _EACH:,} requests, four cases, two stores")
    table = new_table(
        f"{_COUNT} processes share 50 a second and 1,000 a minute",
        *("store", "", "accepted", "rejected", "of ideal", "calls/request", "reported"),
    )
    for is_remote in (False, True):
        with ThreadPoolExecutor() as pool:
            cases = {
                name: pool.submit(_case, disturb, is_remote=is_remote)
                for name, disturb in _CASES.items()
            }
        for name, case in cases.items():
            found = case.result()
            ideal = ideal_s(found.accepted, windows_of())
            table.add_row(
                "redis-server" if is_remote else "this machine",
                name,
                f"{found.accepted:,}",
                f"{found.rejected:,}",
                f"{found.seconds:.1f} s, {found.seconds / ideal:.2f}",
                f"{found.calls:.2f}",
                found.notices,
            )
    log(f"quota-shared: {_URGENT_ROWS} urgent rows beside {_LONG_ROWS:,}")
    return [table, _urgent_table()]


def _nothing(_store: StoreDouble, _server: StrictServer, _senders: list[Sender]) -> None:
    """Leave everything as it is."""


def _kill(_store: StoreDouble, _server: StrictServer, senders: list[Sender]) -> None:
    senders[0].process.kill()


def _lose(store: StoreDouble, _server: StrictServer, _senders: list[Sender]) -> None:
    store.lose_memory()


def _away(store: StoreDouble, _server: StrictServer, _senders: list[Sender]) -> None:
    with store.unreachable():
        time.sleep(_AWAY_S)


_CASES: Final[dict[str, _Disturb]] = {
    "undisturbed": _nothing,
    "one killed": _kill,
    "memory lost": _lose,
    f"no answer for {_AWAY_S:.0f} s": _away,
}


def _case(disturb: _Disturb, *, is_remote: bool) -> Case:
    with tempfile.TemporaryDirectory() as name:
        if not is_remote:
            return _measure(StoreDouble(f"{name}/account.permits", None), disturb)
        with RedisProcess(Path(name)) as server:
            open_account(server.url, windows_of(), _TIMEOUT_S)
            return _measure(StoreDouble(server.url, server), disturb)


def _measure(store: StoreDouble, disturb: _Disturb) -> Case:
    windows = windows_of()
    with StrictServer(windows) as server:
        start = partial(start_sender, server, store.address, windows, _EACH, timeout_s=_TIMEOUT_S)
        senders = [start() for _ in range(_COUNT)]
        with ended(senders):
            wait_until(lambda: server.counted >= _EACH, _LIMIT_S)
            disturb(store, server, senders)
            done = [one.finish(_LIMIT_S) for one in senders]
        facts = [one.facts for one in done if one.facts]
        calls = sum(one["calls"] for one in facts) / sum(one["requests"] for one in facts)
        texts = {text for one in done for text in one.notices}
        words = {
            "lost": any(text.startswith(LOST) for text in texts),
            "no answer": any("; waiting up to" in text for text in texts),
            "back": any("answers again" in text for text in texts),
        }
        said = ", ".join(word for word, is_said in words.items() if is_said)
        seconds = server.last_at - server.first_at
        return Case(server.counted, server.rejected, seconds, calls, said)


# --- Urgent rows beside a long run ------------------------------------------------------------


def _urgent_table() -> Table:
    table = new_table(
        f"{_URGENT_ROWS} rows with --priority high beside a run of {_LONG_ROWS:,} rows",
        *("", "whole command, s", "sending, s"),
    )
    with tempfile.TemporaryDirectory() as name, run_sandbox("--any-id") as sandbox:
        folder = Path(name)
        long = _start(folder, "long", _LONG_ROWS, sandbox.url)
        began_at = time.perf_counter()
        time.sleep(_BEFORE_URGENT_S)
        urgent_at = time.perf_counter()
        urgent = _start(
            folder, "urgent", _URGENT_ROWS, sandbox.url, "--priority", "high", first=_LONG_ROWS
        )
        sent, _ = urgent.communicate(timeout=_LIMIT_S)
        urgent_s = time.perf_counter() - urgent_at
        whole, _ = long.communicate(timeout=_LIMIT_S)
        long_s = time.perf_counter() - began_at
        rejected = sandbox.get("/_stats")["throttled"]
    ideal = ideal_s(_LONG_ROWS + _URGENT_ROWS, windows_of())
    table.add_row("urgent run", f"{urgent_s:.1f}", f"{_sending_s(sent):.1f}")
    table.add_row("long run", f"{long_s:.1f}", f"{_sending_s(whole):.1f}")
    table.add_row("ideal of both", "", f"{ideal:.1f}")
    table.add_row("rejected requests", f"{rejected}", "")
    return table


def _start(
    folder: Path, name: str, rows: int, url: str, *more: str, first: int = 0
) -> subprocess.Popen[bytes]:
    sheet = write_csv(folder / f"{name}.csv", first + rows)
    lines = sheet.read_text("utf-8").splitlines(keepends=True)
    sheet.write_text("".join([lines[0], *lines[-rows:]]), "utf-8")
    command = our_command("run", sheet, "--base-url", url, "--no-before", "--json", *more)
    own = {**environment(str(folder)), "FLASHDUTY_APP_KEY": KEY}
    return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _sending_s(stdout: bytes) -> float:
    return float(json.loads(stdout)["elapsed_s"])
