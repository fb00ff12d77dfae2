"""Several processes that share one quota, and a strict server that counts their requests.

A process is this file run as a program: a limiter with a share of the permits, as in a run, whose
requests are single lines. The server rejects a request beyond a window, counted to the microsecond
when it arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from redis_process import RedisProcess

from bulk_reset.core.defaults import Priority
from bulk_reset.core.outcome import Stop
from bulk_reset.engine.store_watch import StoreWatch
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.local_store import LocalStore
from bulk_reset.quota.permit_share import PermitShare
from bulk_reset.quota.permit_store import Store
from bulk_reset.quota.redis_store import RedisStore
from bulk_reset.quota.windows import Window

CONNECTIONS: Final = 8
_LONG_AGO_US: Final = 200_000_000
_TICK_S: Final = 0.1
LOST: Final = "the quota store does not know what was sent in the last minute; waiting "


class StrictServer:
    """Counts requests in sliding windows, in a thread of its own; a context manager.

    Attributes:
        counted: how many it has accepted.
        rejected: how many were beyond a window.
    """

    def __init__(self, windows: tuple[Window, ...]) -> None:
        self._windows = [(one, deque[float]()) for one in windows]
        self.port = self.counted = self.rejected = 0
        self.first_at = self.last_at = 0.0
        self._is_ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(30)
        self._loop.close()

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await self._ended.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.readline():
                writer.write(b"yes\n" if self._admit(time.perf_counter()) else b"no\n")
        writer.close()

    def _admit(self, now: float) -> bool:
        for window, seen in self._windows:
            while seen and seen[0] <= now - window.window_s:
                seen.popleft()
            if len(seen) >= window.limit:
                self.rejected += 1
                return False
        for _, seen in self._windows:
            seen.append(now)
        self.first_at = self.first_at or now
        self.last_at = now
        self.counted += 1
        return True


@dataclass
class Sender:
    """One process, and what it has printed.

    Attributes:
        notices: what it reported.
        facts: its last line: requests, calls of the store, seconds.
    """

    process: subprocess.Popen[str]
    notices: list[str] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)

    def finish(self, timeout_s: float) -> Self:
        """Wait for its end."""
        out, _ = self.process.communicate(timeout=timeout_s)
        lines = out.splitlines()
        if self.process.returncode == 0:
            self.facts = json.loads(lines.pop())
        self.notices = [line.partition(" ")[2] for line in lines]
        return self


def start_sender(
    server: StrictServer,
    store: str,
    windows: tuple[Window, ...],
    requests: int,
    *,
    priority: Priority = Priority.NORMAL,
    timeout_s: float = 1.0,
    patience_s: float = 120.0,
) -> Sender:
    """Start a process that sends; ``store`` is the path or the address of its ledger."""
    plan = {
        "port": server.port,
        "store": store,
        "windows": [[one.limit, one.window_s] for one in windows],
        "requests": requests,
        "priority": priority.value,
        "timeout_s": timeout_s,
        "patience_s": patience_s,
    }
    return Sender(
        subprocess.Popen(
            [sys.executable, __file__, json.dumps(plan)], stdout=subprocess.PIPE, text=True
        )
    )


class StoreDouble:
    """A store of this test, and what can happen to it."""

    def __init__(self, address: str, server: RedisProcess | None) -> None:
        self.address, self._server = address, server

    def lose_memory(self) -> None:
        """Forget everything."""
        if self._server is not None:
            self._server.client.flushall()
        else:
            Path(self.address).unlink()

    def suspend(self, sender: Sender) -> None:
        """Suspend a process, though not in the middle of a call, which would lock the file."""
        while True:
            sender.process.send_signal(signal.SIGSTOP)
            with contextlib.suppress(sqlite3.OperationalError):
                if self._server is None:
                    with contextlib.closing(sqlite3.connect(self.address, timeout=2)) as locker:
                        locker.execute("BEGIN IMMEDIATE")
                return
            sender.process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def unreachable(self) -> Iterator[None]:
        """Answer nothing during the block."""
        if self._server is not None:
            self._server.suspend()
            yield
            self._server.resume()
            return
        with contextlib.closing(sqlite3.connect(self.address, isolation_level=None)) as locker:
            locker.execute("PRAGMA busy_timeout = 10000")
            locker.execute("BEGIN EXCLUSIVE")
            yield


@contextlib.contextmanager
def ended(senders: list[Sender]) -> Iterator[None]:
    """End every process of a list after the block."""
    try:
        yield
    finally:
        for one in senders:
            one.process.kill()
            one.process.communicate()


def open_account(store: str, windows: tuple[Window, ...], timeout_s: float = 1.0) -> None:
    """Make the account known to a server long ago, so that nothing is waited for."""
    if "://" not in store:
        return
    remote = RedisStore(store, "account")
    remote._clock = lambda: time.time_ns() // 1_000 - _LONG_AGO_US  # noqa: SLF001
    PermitShare(remote, windows, timeout_s=timeout_s).exchange(0)
    remote.close()


# --- The process -----------------------------------------------------------------------------


async def _send(  # the arguments of a process
    port: int, limiter: Limiter, left: list[int], done: list[int]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while left:
        left.pop()
        async with limiter.permit():
            writer.write(b"x\n")
            answer = await reader.readline()
        if answer == b"no\n":
            left.append(1)
            limiter.pause(1.0)
        else:
            done.append(1)
    writer.close()


async def _watch(watch: StoreWatch, stop: Callable[[Stop], None]) -> None:
    while True:
        watch.check(stop)
        await asyncio.sleep(_TICK_S)


def _print(text: str) -> None:
    sys.stdout.write(f"{time.time():.3f} {text}\n")
    sys.stdout.flush()


async def _main(plan: dict[str, object]) -> int:
    windows = tuple(Window(limit, window_s) for limit, window_s in plan["windows"])  # type: ignore[attr-defined]
    address, timeout_s = str(plan["store"]), float(str(plan["timeout_s"]))
    store: Store
    store = RedisStore(address, "account") if "://" in address else LocalStore(Path(address))
    share = PermitShare(
        store, windows, priority=Priority(str(plan["priority"])), timeout_s=timeout_s
    )
    share.expected = int(str(plan["requests"]))
    limiter = Limiter(windows, share=share)
    left, done = [1] * share.expected, list[int]()
    stops: list[Stop] = []
    began_at = time.perf_counter()
    watch = StoreWatch(share, float(str(plan["patience_s"])), _print)
    sending = asyncio.gather(
        *(_send(int(str(plan["port"])), limiter, left, done) for _ in range(CONNECTIONS))
    )

    def stop(why: Stop) -> None:
        stops.append(why)
        sending.cancel()

    watching = asyncio.create_task(_watch(watch, stop))
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    watching.cancel()
    share.close()
    if stops:
        _print(f"stopped: {stops[0].message}")
        return 3
    facts = {"requests": len(done), "calls": share.calls, "seconds": time.perf_counter() - began_at}
    sys.stdout.write(f"{json.dumps(facts)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(json.loads(sys.argv[1]))))
