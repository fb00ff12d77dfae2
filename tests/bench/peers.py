"""Other clients that send a sheet, for comparison; each is written as usual for its library.

``python tests/bench/peers.py NAME URL SHEET ROWS`` sends the first ROWS rows of a CSV sheet and
prints one JSON line, ``{"seconds": ..., "cpu_s": ...}``. Only the sending is measured, not the
imports and the reading of the sheet. None of them checks rows, keeps to a quota, retries or writes
a report, and all of them stop at the first answer that is not a success. ``bare-reading`` also
reads the incidents, a hundred with a request, and compares nothing.
"""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import requests
from yarl import URL

PATH: Final = "/incident/reset"
READ_PATH: Final = "/incident/list-by-ids"
HUNDRED: Final = 100
PARAMS: Final = {"app_key": "bench-key"}
WORKERS: Final = 64
THREADS: Final = 16
PER_MINUTE: Final = 6_000_000
Row = dict[str, str]
Send = Callable[[], None]


def _check(status: int, answer: dict[str, Any]) -> None:
    if status != HTTPStatus.OK or "error" in answer:
        raise RuntimeError(f"HTTP {status}: {answer}")


def bare(url: str, rows: Sequence[Row]) -> Send:
    """64 workers over one iterator, as in a good script."""
    left = iter(rows)

    async def work(session: aiohttp.ClientSession) -> None:
        for row in left:
            async with session.post(url, params=PARAMS, json=row) as response:
                _check(response.status, await response.json())

    return lambda: asyncio.run(_with_workers(work))


def bare_reading(url: str, rows: Sequence[Row]) -> Send:
    """The same workers; each reads the incidents of a hundred rows before it sends them."""
    left = iter(rows)
    read_url = url.replace(PATH, READ_PATH)

    async def work(session: aiohttp.ClientSession) -> None:
        while some := list(itertools.islice(left, HUNDRED)):
            asked = {"incident_ids": [row["incident_id"] for row in some]}
            async with session.post(read_url, params=PARAMS, json=asked) as response:
                answer = await response.json()
                _check(response.status, answer)
            for row in some:
                async with session.post(url, params=PARAMS, json=row) as response:
                    _check(response.status, await response.json())

    return lambda: asyncio.run(_with_workers(work))


def bare_lean(url: str, rows: Sequence[Row]) -> Send:
    """The same with everything prepared before: the lower limit with a session of aiohttp."""
    address = URL(url).with_query(PARAMS)
    bodies = iter([json.dumps(row, ensure_ascii=False).encode() for row in rows])
    headers = {"Content-Type": "application/json"}

    async def work(session: aiohttp.ClientSession) -> None:
        for body in bodies:
            async with session.post(address, data=body, headers=headers) as response:
                await response.read()
                _check(response.status, {})

    return lambda: asyncio.run(_with_workers(work))


async def _with_workers(
    work: Callable[[aiohttp.ClientSession], Coroutine[Any, Any, None]],
) -> None:
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work(session))


def with_requests(url: str, rows: Sequence[Row]) -> Send:
    """16 threads, each with a session."""
    local = threading.local()

    def open_session() -> None:
        local.session = requests.Session()

    def send(row: Row) -> None:
        answer = local.session.post(url, params=PARAMS, json=row, timeout=30)
        _check(answer.status_code, answer.json())

    def send_all() -> None:
        with ThreadPoolExecutor(THREADS, initializer=open_session) as executor:
            for _ in executor.map(send, rows):
                pass

    return send_all


def cookbook(url: str, rows: Sequence[Row]) -> Send:
    """One task per row, started by a loop that fills a bucket and sleeps 1 ms each time.

    Source: the pattern of ``api_request_parallel_processor.py`` in the OpenAI cookbook, which
    states that this allows up to 1,000 starts per second.
    """

    async def call(session: aiohttp.ClientSession, row: Row) -> None:
        async with session.post(url, params=PARAMS, json=row) as response:
            _check(response.status, await response.json())

    async def send_all() -> None:
        capacity, filled_at = float(PER_MINUTE), time.monotonic()
        left = list(reversed(rows))
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            while left:
                now = time.monotonic()
                refill = PER_MINUTE * (now - filled_at) / 60
                capacity, filled_at = min(capacity + refill, PER_MINUTE), now
                if capacity >= 1:
                    capacity -= 1
                    group.create_task(call(session, left.pop()))
                await asyncio.sleep(0.001)

    return lambda: asyncio.run(send_all())


PEERS: Final[dict[str, Callable[[str, Sequence[Row]], Send]]] = {
    "bare": bare,
    "bare-reading": bare_reading,
    "bare-lean": bare_lean,
    "requests": with_requests,
    "cookbook": cookbook,
}


def main() -> None:
    """Send as one of the clients, and print what it took."""
    name, url, sheet, count = sys.argv[1:]
    with Path(sheet).open(encoding="utf-8", newline="") as file:
        rows = list(itertools.islice(csv.DictReader(file), int(count)))
    send = PEERS[name](url + PATH, rows)
    started_s, cpu_s = time.perf_counter(), time.process_time()
    send()
    facts = {"seconds": time.perf_counter() - started_s, "cpu_s": time.process_time() - cpu_s}
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
