"""What one row's answer says about the account or about a hundred ids, on a virtual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest
from virtual_clock import run_virtual

from bulk_reset.api.answers import Answer
from bulk_reset.api.client import CommentPage
from bulk_reset.core.change import Change
from bulk_reset.core.errors import PermanentError
from bulk_reset.core.outcome import Outcome, Stop, StopReason
from bulk_reset.engine.retry_policy import RetryPolicy
from bulk_reset.engine.worker_pool import WorkerPool
from bulk_reset.quota.limiter import Limiter, Window

ROOMY = (Window(10_000, 1.0), Window(600_000, 60.0))
not_found = PermanentError("not found", code="ResourceNotFound", http_status=400)
invalid = PermanentError("bad id", code="InvalidParameter", http_status=400)


class Account:
    """Updates of some rows are not found; some ids are rejected where they are read."""

    def __init__(
        self, missing: set[int], rejected: set[str] | None = None, most: int = 100
    ) -> None:
        self.missing, self.rejected, self.most = missing, rejected or set(), most
        self.updated: list[int] = []
        self.sizes: list[int] = []

    async def reset(self, body: bytes) -> Answer:
        """Update an incident, or answer that there is none."""
        number = int(json.loads(body)["incident_id"], 16)
        await asyncio.sleep(0.01)
        if number in self.missing:
            raise not_found
        self.updated.append(number)
        return Answer(200, "r", None)

    reset_field = comment = reset

    async def list_by_ids(self, incident_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the incidents, or reject all because of one."""
        self.sizes.append(len(incident_ids))
        if len(incident_ids) > self.most or self.rejected.intersection(incident_ids):
            raise invalid
        return {one: {"incident_id": one} for one in incident_ids}

    async def comment_page(self, incident_id: str, page: int) -> CommentPage:
        """Not read by these tests."""
        raise AssertionError(incident_id, page)


def pool_of(account: Account, found: list[Outcome], workers: int, *, is_read: bool) -> WorkerPool:
    return WorkerPool(
        account,
        Limiter(ROOMY),
        found.append,
        policy=RetryPolicy(attempts=2, jitter_s=0),
        workers=workers,
        is_read=is_read,
    )


def send(
    missing: set[int], *, is_read: bool = True, workers: int = 1
) -> tuple[Stop | None, dict[int, str], list[int]]:
    """Send 20 rows; return why it stopped, the status of each row, and the updated rows."""
    account, found = Account(missing), list[Outcome]()
    rows = [Change.of(n, f"{n:024x}", {"title": "Renamed"}) for n in range(1, 21)]

    async def batches() -> AsyncIterator[list[Change]]:
        yield rows

    async def main() -> Stop | None:
        return await pool_of(account, found, workers, is_read=is_read).run(batches())

    stop = run_virtual(main())
    return stop, {one.row_number: one.status.value for one in found}, account.updated


@pytest.mark.parametrize("workers", [1, 8])
def test_several_not_found_after_a_read_stop_the_run_and_stay_pending(workers: int) -> None:
    """The account does not have the operation: no row has failed, and all can be resumed."""
    stop, statuses, updated = send(set(range(1, 21)), workers=workers)
    assert stop is not None
    assert (stop.reason, statuses, updated) == (StopReason.FATAL, {}, [])
    assert stop.message == (
        "ResourceNotFound: 5 rows in a row, whose incidents had just been read. The account may "
        "not have this operation or custom field, or the key may not update these incidents "
        "(not found)"
    )


@pytest.mark.parametrize("missing", [{1, 2, 3, 4}, {17, 18, 19, 20}, {1, 2, 3, 4, 6, 7, 8, 9, 20}])
def test_rows_that_are_gone_fail_where_others_succeed(missing: set[int]) -> None:
    """Fewer than five in a row, at the start, at the end or in between."""
    stop, statuses, updated = send(missing)
    assert (stop, set(updated)) == (None, set(range(1, 21)) - missing)
    assert statuses == {n: "failed" if n in missing else "updated" for n in range(1, 21)}


def test_without_a_read_rows_that_are_not_found_fail() -> None:
    """Then the ids may be wrong, and each row has its result."""
    stop, statuses, _ = send(set(range(1, 21)), is_read=False)
    assert (stop, statuses) == (None, dict.fromkeys(range(1, 21), "failed"))


def read(account: Account, count: int) -> set[int]:
    """Read incidents by their ids; return the numbers of those that were found."""

    async def main() -> set[int]:
        pool = pool_of(account, [], 1, is_read=True)
        return {int(one, 16) for one in await pool.incidents([f"{n:024x}" for n in range(count)])}

    return run_virtual(main())


@pytest.mark.parametrize("bad", [{0}, {57}, {99}, {0, 1}, {3, 98}])
def test_an_id_that_is_rejected_costs_no_other_incident(bad: set[int]) -> None:
    """A read is halved down to the id that the API rejects."""
    account = Account(set(), {f"{n:024x}" for n in bad})
    assert read(account, 100) == set(range(100)) - bad
    assert len(account.sizes) <= 1 + 14 * len(bad)


def test_a_smaller_maximum_of_the_api_is_met() -> None:
    """How many ids it takes is not published."""
    account = Account(set(), most=40)
    assert (read(account, 100), account.sizes) == (set(range(100)), [100, 50, 25, 25, 50, 25, 25])


def test_where_every_id_is_rejected_the_read_has_failed() -> None:
    """Nothing is taken for a missing incident."""
    with pytest.raises(PermanentError, match="bad id"):
        read(Account(set(), {f"{n:024x}" for n in range(8)}), 8)
