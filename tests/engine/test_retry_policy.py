"""Retrying: who gets another attempt, and how long everybody waits after a 429."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stamina.instrumentation import get_on_retry_hooks, set_on_retry_hooks

from bulk_reset.core.errors import (
    BulkResetError,
    ConnectError,
    FatalError,
    InputError,
    PermanentError,
    RequestError,
    ThrottledError,
    TransientError,
    UnknownOutcomeError,
)
from bulk_reset.engine.attempts import _choose_retry_hook
from bulk_reset.engine.retry_policy import RetryPolicy, is_worth_retrying


@pytest.mark.parametrize(
    ("retry_after_s", "times_in_a_row", "jitter", "expected_s"),
    [
        (None, 1, 0.0, 1.0),
        (None, 1, 0.5, 1.5),
        (None, 2, 0.0, 2.0),
        (None, 3, 1.0, 5.0),
        (None, 5, 0.0, 16.0),
        (None, 6, 0.0, 30.0),
        (None, 5_000, 1.0, 30.0),
        (0.0, 4, 1.0, 9.0),
        (7.0, 1, 1.0, 7.0),
        (0.5, 1, 1.0, 0.5),
        (59.5, 9, 0.0, 59.5),
        (86_400.0, 1, 0.0, 300.0),
        (float("inf"), 1, 0.0, 300.0),
        (-5.0, 1, 0.0, 1.0),
    ],
)
def test_a_429_pauses_as_long_as_the_server_asks_or_longer_each_time(
    retry_after_s: float | None, times_in_a_row: int, jitter: float, expected_s: float
) -> None:
    """Retry-After is honoured, up to a limit; without it, the pause doubles."""
    error = ThrottledError("wait", code="C", retry_after_s=retry_after_s)
    assert RetryPolicy().pause_s(error, times_in_a_row, jitter) == expected_s


@pytest.mark.parametrize(
    ("kind", "retry_after_s", "expected"),
    [
        (RequestError, None, False),
        (PermanentError, None, False),
        (PermanentError, 3.0, False),
        (FatalError, None, False),
        (FatalError, 3.0, False),
        (TransientError, None, True),
        (TransientError, 3.0, 3.0),
        (TransientError, 0.0, True),
        (TransientError, -3.0, True),
        (TransientError, 86_400.0, 300.0),
        (ConnectError, None, True),
        (ThrottledError, 2.0, 2.0),
        (UnknownOutcomeError, None, True),
        (UnknownOutcomeError, 9.0, 9.0),
    ],
)
def test_only_temporary_errors_are_retried(
    kind: type[RequestError], retry_after_s: float | None, *, expected: bool | float
) -> None:
    """A rejection is final; a server error is retried after the wait that it asks for."""
    answer = is_worth_retrying(kind("no", code="C", retry_after_s=retry_after_s))
    assert (answer, type(answer)) == (expected, type(expected))


@pytest.mark.parametrize("error", [ValueError("x"), TimeoutError(), BulkResetError("x")])
def test_an_error_of_another_kind_is_never_retried(error: Exception) -> None:
    """A bug in the program is not hidden by retries."""
    assert is_worth_retrying(error) is False


def test_a_policy_sets_the_back_off() -> None:
    """Waits grow from the first to the longest, over so many attempts and no total time."""
    policy = RetryPolicy(attempts=3, first_wait_s=0.5, longest_wait_s=8.0, jitter_s=0.25)
    assert policy.back_off() == {
        "attempts": 3,
        "timeout": None,
        "wait_initial": 0.5,
        "wait_max": 8.0,
        "wait_jitter": 0.25,
    }


def test_a_custom_policy_is_used_for_pauses_too() -> None:
    """Doubling ends after ten times, whatever the cap; the jitter is as configured."""
    policy = RetryPolicy(first_wait_s=0.5, longest_wait_s=1e9, jitter_s=3.0)
    slow = ThrottledError("wait", code="C")
    assert [policy.pause_s(slow, times, 0.5) for times in (1, 2, 11, 12)] == [
        2.0,
        2.5,
        513.5,
        513.5,
    ]


def test_by_default_a_row_is_tried_five_times_within_half_a_minute() -> None:
    """The back-off that the provider recommends: from a second, doubled, up to half a minute."""
    assert RetryPolicy() == RetryPolicy(
        attempts=5, first_wait_s=1.0, longest_wait_s=30.0, jitter_s=1.0
    )
    assert RetryPolicy(attempts=1).back_off()["attempts"] == 1


@pytest.mark.parametrize("attempts", [0, -1])
def test_a_policy_without_an_attempt_is_refused(attempts: int) -> None:
    """A run that cannot send anything does not start."""
    with pytest.raises(InputError) as caught:
        RetryPolicy(attempts=attempts)
    assert str(caught.value) == f"attempts={attempts}: must be 1 or more."


@pytest.fixture
def _unchosen() -> Iterator[None]:
    """Reset the retry hooks before the test and after it."""
    set_on_retry_hooks(None)
    yield
    set_on_retry_hooks(None)


@pytest.mark.usefixtures("_unchosen")
def test_retry_hooks_of_the_program_are_kept() -> None:
    """The program's hooks are not changed; without any, nothing is printed to standard output."""
    _choose_retry_hook()
    chosen = [hook.__module__ for hook in get_on_retry_hooks()]
    heard: list[object] = []
    set_on_retry_hooks([heard.append])
    _choose_retry_hook()
    assert get_on_retry_hooks() == (heard.append,)
    assert chosen == ["stamina.instrumentation._logging"]
