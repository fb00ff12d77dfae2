"""The breaker: when the API counts as sick, how it is probed, and when to give up."""

from __future__ import annotations

import pytest

from bulk_reset.engine.circuit_breaker import CircuitBreaker


def opened(**patience: float) -> CircuitBreaker:
    """Return a breaker that opened at 100 seconds."""
    breaker = CircuitBreaker(**patience)
    breaker.failure(100.0, 2, "down", is_certain=True)
    return breaker


def fail_rows(breaker: CircuitBreaker, *row_numbers: int) -> None:
    for row_number in row_numbers:
        breaker.failure(100.0, row_number, "down", is_certain=False)


TEN = tuple(range(2, 12))


@pytest.mark.parametrize(
    ("row_numbers", "is_open"),
    [((), False), (TEN[:-1], False), (TEN, True), ((2,) * 50, False), ((*TEN[:-1], 2, 3), False)],
)
def test_ten_different_rows_without_a_success_open_it(
    row_numbers: tuple[int, ...], *, is_open: bool
) -> None:
    """One bad row that is retried repeatedly is not an outage."""
    breaker = CircuitBreaker()
    fail_rows(breaker, *row_numbers)
    assert breaker.is_open is is_open


def test_a_success_in_between_resets_the_count() -> None:
    """An API that answers some requests is not down."""
    breaker = CircuitBreaker()
    fail_rows(breaker, *TEN[:-1])
    breaker.success()
    fail_rows(breaker, *TEN[:-1])
    assert (breaker.is_open, breaker.start(100.0)) == (False, 0.0)


def test_an_api_that_cannot_be_reached_opens_it_at_once() -> None:
    """One failed connection is enough."""
    breaker = opened()
    assert (breaker.is_open, breaker.last_error) == (True, "down")


def test_while_closed_all_requests_start() -> None:
    """A working API causes no wait."""
    breaker = CircuitBreaker()
    assert [breaker.start(now) for now in (0.0, 0.0, 100.0)] == [0.0, 0.0, 0.0]


def test_while_open_one_probe_at_a_time_starts() -> None:
    """During an outage the API gets one request, not 64."""
    breaker = opened()
    assert [breaker.start(now) for now in (100.0, 100.25, 101.0, 101.0, 150.0)] == [
        1.0,
        0.75,
        0.0,
        30.0,
        30.0,
    ]


def test_a_probe_may_start_later_than_it_is_due() -> None:
    """A request that asks too early gets a wait; one that asks late may start."""
    breaker = CircuitBreaker()
    breaker.failure(0.0, 2, "down", is_certain=True)
    assert (breaker.start(0.25), breaker.start(150.0)) == (0.75, 0.0)


def test_the_waits_between_probes_grow_to_half_a_minute() -> None:
    """A long outage gets few probes, and its end is still noticed within half a minute."""
    breaker, now, waits = opened(), 100.0, []
    for _ in range(8):
        waits.append(breaker.start(now))
        now += waits[-1]
        assert breaker.start(now) == 0.0
        breaker.failure(now, 2, "still down", is_certain=False, is_probe=True)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_rows_that_fail_for_the_first_time_do_not_make_the_waits_grow() -> None:
    """Where only first attempts fail, a row that was tried before is probed soon."""
    breaker, now, waits = opened(), 100.0, []
    for row_number in (3, 4, 5, 3, 4):
        waits.append(breaker.start(now))
        now += waits[-1]
        assert breaker.start(now) == 0.0
        breaker.failure(now, row_number, "down", is_certain=False, is_probe=True)
    assert waits == [1.0, 1.0, 1.0, 1.0, 2.0]


def test_late_failures_of_earlier_requests_change_no_wait() -> None:
    """Requests that were in flight when it opened add nothing."""
    breaker = opened()
    fail_rows(breaker, *range(50, 100))
    assert breaker.start(100.0) == 1.0


def test_a_late_failure_of_an_earlier_request_does_not_end_the_probe() -> None:
    """While a probe is in flight, no second one starts, whatever other requests end."""
    breaker = opened()
    assert breaker.start(101.0) == 0.0
    breaker.failure(101.1, 50, "down", is_certain=False)
    assert breaker.start(103.2) == 30.0


def test_after_an_abandoned_probe_another_one_starts() -> None:
    """A probe that was cancelled or throttled does not block the others."""
    breaker = opened()
    assert breaker.start(101.0) == 0.0
    breaker.abandon_probe()
    assert breaker.start(101.0) == 0.0


def test_a_success_closes_it_and_resets_the_waits() -> None:
    """After an outage, sending continues at full speed."""
    breaker = opened()
    breaker.start(101.0)
    breaker.failure(101.0, 2, "down", is_certain=False, is_probe=True)
    breaker.start(103.0)
    breaker.success()
    assert (breaker.is_open, breaker.start(103.0)) == (False, 0.0)
    breaker.failure(200.0, 3, "down again", is_certain=True)
    assert (breaker.start(200.0), breaker.last_error) == (1.0, "down again")


@pytest.mark.parametrize(
    ("patience", "has_succeeded", "hopeless_after_s"),
    [
        ({}, False, 30.0),
        ({}, True, 900.0),
        ({"patience_s": 10.0}, False, 10.0),
        ({"patience_s": 10.0}, True, 10.0),
        ({"patience_s": 900.0, "patience_at_start_s": 5.0}, False, 5.0),
        ({"patience_s": 0.0}, True, 0.0),
    ],
)
def test_it_is_hopeless_after_the_patience(
    patience: dict[str, float], hopeless_after_s: float, *, has_succeeded: bool
) -> None:
    """An outage is waited out; an API that never answered is probably a wrong address."""
    breaker = CircuitBreaker(**patience)
    if has_succeeded:
        breaker.success()
    breaker.failure(100.0, 2, "down", is_certain=True)
    just_before = 100.0 + hopeless_after_s - 0.001
    at = 100.0 + hopeless_after_s
    results = [breaker.is_hopeless(now) for now in (just_before, at, at + 1_000)]
    assert results == [False, True, True]


def test_a_closed_breaker_is_never_hopeless() -> None:
    """Time alone does not stop a run."""
    breaker = opened()
    breaker.success()
    assert [CircuitBreaker().is_hopeless(1e9), breaker.is_hopeless(1e9)] == [False, False]
