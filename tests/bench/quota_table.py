"""The limiter compared with the ideal, the risk of its credit, and another client beside it.

Everything runs on a virtual clock: hours of requests take 2 minutes of one core.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from aiolimiter import AsyncLimiter
from rich.console import Console
from rich.table import Table

# tests/ is not a package: pytest adds it to the path, a program has to do that itself.
sys.path.insert(0, str(Path(__file__).parent.parent / "doubles"))

from virtual_clock import (
    FarServer,
    OtherClient,
    counters,
    lognormal,
    run_virtual,
    send_rows,
)

from bulk_reset.core.errors import ThrottledError
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.windows import ideal_s, windows_of

ACCOUNT: Final = windows_of()
WORKERS: Final = 64
KINDS: Final = ("sliding", "fixed")
_CREDIT_ROWS: Final = 1_100
Ways = tuple[Callable[[], float], Callable[[], float]]
NAIVE: Final = {
    "AsyncLimiter(50, 1) + (1000, 60)": ((50.0, 1.0), (1000.0, 60.0)),
    "AsyncLimiter(1, 0.06)": ((1.0, 0.06),),
}


class Result(NamedTuple):
    """The result of one client."""

    over_ideal: float
    rejected: int


def tables() -> list[Table]:
    """Measure and return the three tables."""
    return [make() for make in MAKERS]


def main() -> None:
    """Print each table as soon as it is measured."""
    console = Console(width=120)
    for make in MAKERS:
        console.print(make())


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def makespan() -> Table:
    """Compare bulk-reset and two simple limiters with the shortest possible time."""
    table = _table(
        "Time over ideal, and rejections (bulk-reset: median and worst of 5 seeds)",
        *("limiter", "rows", "round trip", "counter", "time over ideal", "rejections"),
    )
    for rows, trip_s, kind in itertools.product((1_000, 5_000), (0.02, 0.2), KINDS):
        results = [_bulk_reset(rows, trip_s, kind, seed) for seed in range(5)]
        over = [result.over_ideal for result in results]
        place = (f"{rows:,}", f"{1000 * trip_s:.0f} ms", kind)
        times = f"{statistics.median(over):.4f}, worst {max(over):.4f}"
        table.add_row("bulk-reset", *place, times, f"{sum(r.rejected for r in results):,}")
        for way, limits in NAIVE.items():
            result = _naive(rows, trip_s, kind, limits)
            table.add_row(way, *place, f"{result.over_ideal:.4f}", f"{result.rejected:,}")
        table.add_section()
    return table


def _bulk_reset(rows: int, trip_s: float, kind: str, seed: int) -> Result:
    server = FarServer(counters(kind, ACCOUNT), lognormal(trip_s, 0.3, seed))

    async def run() -> float:
        return (await send_rows(server, Limiter(ACCOUNT), rows, WORKERS))[0]

    return Result(run_virtual(run()) / ideal_s(rows, ACCOUNT), server.rejected)


def _naive(rows: int, trip_s: float, kind: str, limits: tuple[tuple[float, float], ...]) -> Result:
    """Send as a simple script: one limiter per window, a sleep of 1 s after a 429."""
    server = FarServer(counters(kind, ACCOUNT), lognormal(trip_s, 0.3, 0))

    async def run() -> float:
        limiters = [AsyncLimiter(*limit) for limit in limits]
        places = asyncio.Semaphore(WORKERS)

        async def send() -> None:
            async with places:
                while True:
                    for limiter in limiters:
                        await limiter.acquire()
                    try:
                        await server.reset(b"")
                    except ThrottledError:
                        await asyncio.sleep(1)
                    else:
                        return

        await asyncio.gather(*(send() for _ in range(rows)))
        return asyncio.get_running_loop().time()

    return Result(run_virtual(run()) / ideal_s(rows, ACCOUNT), server.rejected)


def credit() -> Table:
    """Search for latencies with which the credit, an estimate, exceeds the limit."""
    table = _table(
        "Credit: requests over a strict sliding limit; the credit is kept after a rejection",
        *("latency", "requests", "rejected", "per million", "worst"),
    )
    families: dict[str, list[tuple[int, str]]] = {}
    for (family, pattern, ways), seed in itertools.product(_patterns(), range(2)):
        families.setdefault(family, []).append((_on_credit(ways(seed)), pattern))
    for family, found in families.items():
        sent, rejected = len(found) * _CREDIT_ROWS, sum(most for most, _ in found)
        most, pattern = max(found)
        worst = f"{pattern}: {most} of {_CREDIT_ROWS:,}" if most else "-"
        table.add_row(family, f"{sent:,}", f"{rejected:,}", f"{1e6 * rejected / sent:,.0f}", worst)
    return table


def _on_credit(ways: Ways) -> int:
    """Return the number of rejected requests."""
    server = FarServer(counters("sliding", ACCOUNT), ways[0], return_s=ways[1])

    async def run() -> None:
        quota, places = Limiter(ACCOUNT), asyncio.Semaphore(WORKERS)

        async def send() -> None:
            # The limiter does not see rejections, so that one does not prevent the next.
            async with places, quota.permit():
                with suppress(ThrottledError):
                    await server.reset(b"")

        await asyncio.gather(*(send() for _ in range(_CREDIT_ROWS)))

    run_virtual(run())
    return server.rejected


def _patterns() -> Iterator[tuple[str, str, Callable[[int], Ways]]]:
    """Yield family, pattern, and a function from a seed to the latencies out and back."""
    for trip_s in (0.005, 0.02, 0.1, 0.2, 0.6, 1.2):
        name = f"{1000 * trip_s:.0f} ms"
        yield "constant", name, partial(_jittery, trip_s, 0.5, 0.0)
        yield "spikes of seconds", name, partial(_spiky, trip_s)
        yield "64 new connections", name, partial(_connecting, trip_s)
        for part, sigma in itertools.product((0.1, 0.5, 0.9), (0.1, 0.3, 0.6, 0.9, 1.2)):
            more = f"{name}, {part:.0%} of it out, sigma {sigma}"
            yield "lognormal", more, partial(_jittery, trip_s, part, sigma)
        for fall_s in (1.0, 10.0, 60.0):
            more = f"from {name}, within {fall_s:.0f} s"
            yield "falls to a tenth", more, partial(_falling, trip_s, fall_s)


def _jittery(trip_s: float, part: float, sigma: float, seed: int) -> Ways:
    out_s, back_s = 2 * trip_s * part, 2 * trip_s * (1 - part)
    return lognormal(out_s, sigma, seed), lognormal(back_s, sigma, seed + 1_000)


def _spiky(trip_s: float, seed: int) -> Ways:
    chance, usual_s = random.Random(seed), lognormal(trip_s, 0.2, seed)  # noqa: S311  (repeatable)

    def way_s() -> float:
        return usual_s() + (chance.uniform(1, 3) if chance.random() < 0.02 else 0.0)

    return way_s, way_s


def _connecting(trip_s: float, seed: int) -> Ways:
    usual_s, asked = lognormal(trip_s, 0.1, seed), itertools.count()
    # Before the first request of a connection: DNS, TCP and TLS.
    return lambda: usual_s() + (3 * trip_s if next(asked) < WORKERS else 0), usual_s


def _falling(trip_s: float, fall_s: float, seed: int) -> Ways:
    usual_s = lognormal(trip_s, 0.1, seed)

    def way_s() -> float:
        # From 5 s on: then the credit is used and the window of one second is full.
        gone_s = asyncio.get_running_loop().time() - 5
        return usual_s() * (1 - 0.9 * min(1.0, max(0.0, gone_s / fall_s)))

    return way_s, way_s


def other_client(rows: int = 2_000) -> Table:
    """Measure a run beside another client that uses a share and ignores the quota."""
    table = _table(
        f"Beside another client, {rows:,} rows, 50 ms (worst of 2 seeds)",
        *("other client", "its share", "counter", "rejections", "time over ideal of the rest"),
    )
    for share, (manner, kind) in itertools.product(
        (0.1, 0.3, 0.5, 0.7), itertools.product(("steady", "25 at once", "20 s a minute"), KINDS)
    ):
        results = [_beside(rows, share, manner, kind, seed) for seed in range(2)]
        rejected = max(result.rejected for result in results) / rows
        over = max(result.over_ideal for result in results)
        table.add_row(manner, f"{share:.0%}", kind, f"{rejected:.2%}", f"{over:.2f}")
    return table


def _beside(rows: int, share: float, manner: str, kind: str, seed: int) -> Result:
    # The waits after a 429 have jitter; the results should be repeatable.
    random.seed(seed)
    server = FarServer(counters(kind, ACCOUNT), lognormal(0.05, 0.3, seed))
    other = {
        "steady": OtherClient(server, 1000 / 60 * share),
        "25 at once": OtherClient(server, 1000 / 60 * share, burst=25),
        "20 s a minute": OtherClient(server, 50 * share, works_s=20.0),
    }[manner]

    async def run() -> float:
        task = asyncio.create_task(other.run())
        took_s, _ = await send_rows(server, Limiter(ACCOUNT), rows, WORKERS)
        task.cancel()
        return took_s

    took_s = run_virtual(run())
    return Result(took_s / ideal_s(rows, windows_of(share=1 - share)), server.rejected)


MAKERS: Final = (makespan, credit, other_client)

if __name__ == "__main__":
    main()
