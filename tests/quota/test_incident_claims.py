"""Claims of incidents, in both stores: one run at a time works on an incident."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis_process import RedisProcess

from bulk_reset.quota.incident_claims import CLAIM_S, ClaimStore, IncidentClaims
from bulk_reset.quota.local_store import LocalStore
from bulk_reset.quota.permit_share import PermitShare
from bulk_reset.quota.redis_store import RedisStore
from bulk_reset.quota.windows import Window


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClaimStore]:
    if request.param == "local":
        local = LocalStore(tmp_path / "account.permits")
        yield local
        local.close()
        return
    with RedisProcess(tmp_path) as server:
        remote = RedisStore(server.url, "account")
        yield remote
        remote.close()


def test_a_batch_is_claimed_whole_or_not_at_all(store: ClaimStore) -> None:
    """A run never holds half of a batch, so two runs never wait for each other."""
    first, second = IncidentClaims(store, "first"), IncidentClaims(store, "second")

    assert first.claim(["a", "b", "事件"])
    assert not second.claim(["c", "事件"])
    assert IncidentClaims(store, "third").claim(["c"])


def test_an_incident_is_free_when_each_of_its_rows_is_done(store: ClaimStore) -> None:
    """An incident on two rows stays claimed until the second row has an outcome."""
    first, second = IncidentClaims(store, "first"), IncidentClaims(store, "second")
    assert first.claim(["a", "a"])
    found = []
    for _ in range(2):
        first.done("a")
        first.renew()
        found.append(second.claim(["a"]))

    assert found == [False, True]


def test_a_run_that_ends_releases_everything(store: ClaimStore) -> None:
    """Rows that were not processed do not block the next run."""
    first, second = IncidentClaims(store, "first"), IncidentClaims(store, "second")
    assert first.claim(["a", "b"])
    first.close()

    assert second.claim(["a", "b"])


def test_a_resumed_run_has_the_claims_of_the_killed_one(store: ClaimStore) -> None:
    """It need not wait until they end; other runs do."""
    killed, other = IncidentClaims(store, "report"), IncidentClaims(store, "other")
    assert killed.claim(["a", "b"])
    resumed = IncidentClaims(store, "report")

    assert resumed.claim(["a"])
    assert not other.claim(["b"])


def test_threads_of_one_run_use_the_store_at_the_same_time(tmp_path: Path) -> None:
    """Claims are renewed in a thread while the event loop asks for permits."""
    store = LocalStore(tmp_path / "account.permits")
    claims, window = IncidentClaims(store, "run"), Window(100_000, 1.0)
    permits = PermitShare(store, [window])
    assert claims.claim(map(str, range(100)))
    with ThreadPoolExecutor(1) as elsewhere:
        renewing = elsewhere.submit(lambda: [claims.renew() for _ in range(100)])
        answers = [permits.exchange(1) for _ in range(100)]
        renewing.result()
    store.close()

    assert [answer is not None and answer.sequence for answer in answers] == list(range(1, 101))


def test_the_claims_of_a_dead_run_end_by_themselves(tmp_path: Path) -> None:
    """A killed run blocks its incidents for half a minute, not for ever."""
    now = [1_000_000]
    store = LocalStore(tmp_path / "account.permits", clock=lambda: now[0])
    first, second = IncidentClaims(store, "first"), IncidentClaims(store, "second")
    assert first.claim(["a"])
    found = []
    for step_us in (int(CLAIM_S * 1_000_000) - 1, 1):
        now[0] += step_us
        found.append(second.claim(["a"]))
    store.close()

    assert found == [False, True]
