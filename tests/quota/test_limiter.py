"""The quota: never more than n in T at the server, and hardly slower than that allows."""

from __future__ import annotations

import asyncio

import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_clock import (
    FarServer,
    counters,
    lognormal,
    run_virtual,
    send_rows,
)

from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.totals import Peak
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.windows import Window, ideal_s, windows_of

ACCOUNT = windows_of()


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@pytest.mark.parametrize(
    ("rows", "round_trip_s", "sigma", "over_ideal"),
    [
        (1_000, 0.02, 0.3, 1.03),
        (5_000, 0.02, 0.3, 1.005),
        (1_000, 0.2, 0.3, 1.16),
        (5_000, 0.2, 0.3, 1.02),
    ],
)
def test_many_rows_take_hardly_longer_than_the_quota_and_are_never_rejected(
    kind: str, rows: int, round_trip_s: float, sigma: float, over_ideal: float, seed: int
) -> None:
    """The quota is used to the full and never exceeded, near the API and far from it."""
    server = FarServer(counters(kind, ACCOUNT), lognormal(round_trip_s, sigma, seed))

    async def main() -> float:
        took_s, _ = await send_rows(server, Limiter(ACCOUNT), rows)
        return took_s

    took_s = run_virtual(main())
    assert (server.admitted, server.rejected) == (rows, 0)
    assert took_s <= over_ideal * ideal_s(rows, ACCOUNT)


latencies = st.one_of(
    st.floats(0.0005, 2.0).map(lambda s: lambda: s),
    st.builds(lognormal, st.floats(0.001, 1.0), st.floats(0.0, 1.2), st.integers(0, 999)),
)


@settings(max_examples=60)
@given(
    limits=st.tuples(st.integers(1, 40), st.integers(1, 120)),
    kind=st.sampled_from(["sliding", "fixed"]),
    one_way_s=latencies,
    workers=st.integers(1, 80),
    rows=st.integers(1, 150),
)
def test_without_credit_no_server_ever_counts_too_many(
    limits: tuple[int, int], kind: str, one_way_s: object, workers: int, rows: int
) -> None:
    """Permits alone keep every window, whatever the latency is: this is proven, not luck."""
    windows = (Window(limits[0], 1.0), Window(limits[1], 10.0))
    server = FarServer(counters(kind, windows), one_way_s)  # type: ignore[arg-type]

    async def main() -> None:
        quota = Limiter(windows, takes_credit=False)
        await send_rows(server, quota, rows, workers)

    run_virtual(main())
    assert (server.admitted, server.rejected) == (rows, 0)


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_the_naive_pair_of_limiters_is_rejected_by_the_same_judge(kind: str) -> None:
    """The judge can see: two leaky buckets let through far more than the limits."""
    server = FarServer(counters(kind, ACCOUNT), lognormal(0.02, 0.3, 1))

    async def send(limiters: list[AsyncLimiter]) -> None:
        for limiter in limiters:
            await limiter.acquire()
        try:
            await server.reset(b"")
        except Exception:  # noqa: BLE001  (counted by the server)
            return

    async def main() -> None:
        limiters = [AsyncLimiter(w.limit, w.window_s) for w in ACCOUNT]
        await asyncio.gather(*(send(limiters) for _ in range(3_000)))

    run_virtual(main())
    assert server.rejected > 300


def test_a_failed_and_a_cancelled_request_give_their_permits_back_late_and_once() -> None:
    """A request that broke may have been counted, so its permit stays away a whole window."""

    async def main() -> list[float]:
        quota = Limiter((Window(2, 10.0),))
        starts = []

        async def use(ending: str) -> None:
            async with quota.permit():
                starts.append(round(asyncio.get_running_loop().time(), 3))
                await asyncio.sleep(1)
                if ending == "fails":
                    raise ValueError

        failing = asyncio.create_task(use("fails"))
        cancelled = asyncio.create_task(use("is cancelled"))
        await asyncio.sleep(0.5)
        cancelled.cancel()
        await asyncio.gather(failing, cancelled, return_exceptions=True)
        await asyncio.gather(*(use("ends well") for _ in range(4)))
        return starts

    first, second, *later = run_virtual(main())
    assert [first, second] == [0.0, 0.0]
    # Cancelled at 0.5, failed at 1; then both again after a window and the second they take.
    assert later == [10.5, 11.0, 21.5, 22.0]


def test_a_pause_holds_everybody_back() -> None:
    """When the API asks for a pause, nothing starts before it is over."""

    async def main() -> float:
        quota = Limiter(ACCOUNT)
        quota.pause(7)
        async with quota.permit():
            return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(7, abs=1e-3)


def test_what_an_earlier_run_sent_counts() -> None:
    """A run right after another one does not start with a fresh minute."""

    async def main() -> list[float]:
        quota = Limiter((Window(3, 60.0),))
        quota.remember([70.0, 50.0, 20.0])
        starts = []
        for _ in range(3):
            async with quota.permit():
                starts.append(round(asyncio.get_running_loop().time(), 3))
        return starts

    assert run_virtual(main()) == [0.0, 10.0, 40.0]


def test_peaks_are_the_most_starts_within_any_window() -> None:
    """Every run can prove what it did to the quota."""

    async def main() -> tuple[Peak, ...]:
        quota = Limiter(ACCOUNT)
        server = FarServer(counters("sliding", ACCOUNT), lambda: 0.01)
        await send_rows(server, quota, 1_200)
        return quota.peaks()

    assert run_virtual(main()) == (Peak(1.0, 50, 50), Peak(60.0, 1000, 1000))


@pytest.mark.parametrize(
    ("requests", "seconds"),
    [(0, 0), (1, 0), (51, 1), (1_000, 19.98), (1_001, 60), (1_300, 65.98), (5_000, 259.98)],
)
def test_the_ideal_time_is_that_of_the_windows(requests: int, seconds: float) -> None:
    """The time needed is known before the start."""
    assert ideal_s(requests, ACCOUNT) == pytest.approx(seconds)


def test_the_ideal_time_with_a_slow_second_never_undercuts_it() -> None:
    """Where the limit a second is the tighter one, the minute does not matter."""
    assert ideal_s(2_001, windows_of(per_second=10)) == pytest.approx(200)


def test_the_time_left_agrees_with_what_then_happens() -> None:
    """The time left that the progress shows comes true, to within some two seconds."""

    async def main() -> tuple[float, float]:
        quota = Limiter(ACCOUNT)
        server = FarServer(counters("sliding", ACCOUNT), lambda: 0.01)
        await send_rows(server, quota, 700)
        estimated_s = quota.left_s(2_400)
        took_s, _ = await send_rows(server, quota, 2_400)
        return estimated_s, took_s

    estimated_s, took_s = run_virtual(main())
    assert estimated_s == pytest.approx(took_s, abs=2)


def test_a_share_leaves_the_rest_of_the_quota_alone() -> None:
    """With a share of 0.3, others keep 70 % of both limits."""
    assert windows_of(share=0.3) == (Window(15, 1.0), Window(300, 60.0))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"share": 0.0}, "share 0: out of range. Use more than 0 and up to 1."),
        ({"share": 1.5}, "share 1.5: out of range. Use more than 0 and up to 1."),
        ({"per_second": 0}, "per_second, per_minute: too small. Use 1 or more."),
    ],
)
def test_invalid_limits_are_rejected(arguments: dict[str, float], text: str) -> None:
    """The error names the option."""
    with pytest.raises(InputError) as caught:
        windows_of(**arguments)  # type: ignore[arg-type]
    assert str(caught.value) == text


def test_more_rows_than_the_quota_are_all_updated() -> None:
    """Outcomes are one a row, however long the windows made them wait."""

    async def main() -> list[Outcome]:
        server = FarServer(counters("sliding", ACCOUNT), lambda: 0.01)
        return (await send_rows(server, Limiter(ACCOUNT), 1_100))[1]

    outcomes = run_virtual(main())
    assert sorted(o.row_number for o in outcomes) == list(range(2, 1_102))
    assert {o.status for o in outcomes} == {Status.UPDATED}


def test_a_pause_that_comes_while_a_request_waits_holds_it_too() -> None:
    """A waiting request checks again before it starts, so a late Retry-After is honoured."""

    async def main() -> float:
        quota = Limiter(ACCOUNT)

        async def use() -> float:
            return await quota.acquire(lambda now: max(0.0, 2 - now))

        waiting = asyncio.create_task(use())
        await asyncio.sleep(1)
        quota.pause(40)
        return await waiting

    assert run_virtual(main()) == pytest.approx(41, abs=1e-2)


def test_a_pause_ends_the_credit_permanently() -> None:
    """After a 429 the estimate of the latency is not trusted again in this run."""

    async def main() -> list[str]:
        quota = Limiter(ACCOUNT)
        server = FarServer(counters("sliding", ACCOUNT), lambda: 0.1)
        shown = []
        for _ in range(2):
            await send_rows(server, quota, 100)
            shown.append(repr(quota).rsplit("after ", 1)[1])
            quota.pause(1)
        return shown

    assert run_virtual(main()) == ["0.8501 s>", "1.0000 s>"]


# --- Numbers at their edges ------------------------------------------------------------------


def test_a_window_is_named_by_how_people_call_it() -> None:
    """The cause of a wait has a plain name."""
    windows = (Window(50, 1.0), Window(9, 0.5), Window(1000, 60.0), Window(5, 10.0))
    assert [str(window) for window in windows] == [
        "the pace",
        "the pace",
        "minute window",
        "10 s window",
    ]


def test_the_smallest_quotas_are_quotas() -> None:
    """One request a minute is valid, and a share of a small limit is at least 1."""
    assert windows_of(1, 1) == windows_of(50, 1000, 0.0001) == (Window(1, 1.0), Window(1, 60.0))
    for wrong in (lambda: windows_of(1, 0), lambda: windows_of(0, 1), lambda: Window(1, 0.0)):
        with pytest.raises(InputError):
            wrong()


async def used(quota: Limiter, times: int, *, apart_s: float = 0.0) -> None:
    """Use the quota so many times, each answered at once."""
    for _ in range(times):
        started_at = await quota.acquire()
        quota.release(started_at, is_answered=True)
        await asyncio.sleep(apart_s)


def test_the_time_left_is_that_of_the_permit_that_is_needed() -> None:
    """Each further request waits for the next permit to come back, round after round."""

    async def main() -> list[float]:
        quota = Limiter((Window(3, 10.0),))
        assert quota.left_s(3) == pytest.approx(20 / 3)  # the pace
        await used(quota, 3)
        now = asyncio.get_running_loop().time()
        assert now == pytest.approx(0, abs=0.01)
        return [quota.left_s(n) for n in (1, 2, 3, 4, 7)]

    assert run_virtual(main()) == pytest.approx([10, 10, 10, 20, 30], abs=0.01)


def test_after_a_rejection_only_the_rest_of_the_permits_counts() -> None:
    """Three tenths are left to others, in the time that is left too."""

    async def main() -> list[float]:
        quota = Limiter((Window(10, 60.0),))
        assert quota.left_s(10) == 54.0
        quota.pause(5.0)
        return [quota.left_s(n) for n in (7, 8, 14, 15)]

    assert run_virtual(main()) == pytest.approx([5 + 36, 5 + 60, 5 + 78, 5 + 120], abs=0.01)


def test_credit_is_taken_only_after_a_hundred_answers() -> None:
    """Sixty answers from a second away are too few to count on."""

    async def main() -> float:
        quota = Limiter((Window(60, 60.0),))
        starts = []
        for _ in range(61):
            starts.append(await quota.acquire())
            await asyncio.sleep(1.0)
            quota.release(starts[-1], is_answered=True)
        return starts[60] - starts[0]

    assert run_virtual(main()) == pytest.approx(61.0, abs=0.01)


@pytest.mark.parametrize(
    ("windows", "ages_s", "message"),
    [
        ((Window(1, 60.0), Window(1, 1.0)), [0.0], "minute window: 60 s"),
        ((Window(1, 1.0), Window(1, 60.0)), [0.0], "minute window: 60 s"),
        ((Window(3, 60.0),), [1.0, 2.0, 3.0, 4.0], "minute window: 57 s"),
        ((Window(1, 60.0),), [-5.0], "minute window: 60 s"),
        ((Window(1, 60.0),), [58.5], "minute window: 2 s"),
        ((Window(1, 60.0),), [59.0], ""),
        ((Window(1, 60.0),), [59.5], ""),
        ((Window(1, 60.0),), [61.0], ""),
    ],
)
def test_waiting_for_shows_the_longest_wait_over_a_second(
    windows: tuple[Window, ...], ages_s: list[float], message: str
) -> None:
    """The user learns what delays the run, without short waits."""

    async def main() -> str:
        quota = Limiter(windows)
        quota.remember(ages_s)
        return quota.waiting_for()

    assert run_virtual(main()) == message
