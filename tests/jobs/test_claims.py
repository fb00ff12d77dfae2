"""Claims: two schedulers, and no due time is lost or run twice."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from pathlib import Path
from typing import Any

import apscheduler.schedulers.base
import fakeredis
import pytest
from fakeredis import FakeRedis
from hypothesis import given, settings
from hypothesis import strategies as st
from two_schedulers import TwoSchedulers
from virtual_clock import run_virtual
from virtual_schedule import datetime_of

from bulk_reset.core.errors import InputError
from bulk_reset.jobs.job_runs.state_folder import StateFolder
from bulk_reset.jobs.schedule.claim_stores import (
    ClaimStoreError,
    LocalClaims,
    RedisClaims,
    claim_store,
)
from bulk_reset.jobs.schedule.claims import LEASE_S, Answer, Claims, Taken
from bulk_reset.observability.run_log import new_run_log
from bulk_reset.quota.permit_store import StoreUnreachableError

NOON = dt.datetime(2027, 1, 12, 12, tzinfo=dt.UTC).timestamp()

# --- Both stores are one algorithm -----------------------------------------------------------

CALLS = st.lists(
    st.tuples(
        st.sampled_from(["take", "renew", "release", "forget"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 3),  # the epoch
        st.sampled_from([0.0, 1e9, 1_800_000_600.0]),  # handled_at
        st.sampled_from([0.0, 1.0, 59.0, 60.0, 61.0]),  # seconds that pass before
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(CALLS)
def test_both_stores_give_the_same_answers(calls: list[tuple[Any, ...]]) -> None:
    """Also after a store has lost its memory, with real times, whose digits Lua would lose."""
    import tempfile  # noqa: PLC0415

    now_s = [1_800_000_000.0]

    async def drive(store: LocalClaims | RedisClaims, forget: Any) -> list[Answer]:  # noqa: ANN401
        answers = []
        now_s[0] = 1_800_000_000.0
        for call, holder, epoch, handled_at, wait_s in calls:
            now_s[0] += wait_s
            if call == "forget":
                await forget()
            elif call == "take":
                answers.append(await store.take("job", holder, LEASE_S))
            elif call == "renew":
                answers.append(await store.renew("job", holder, epoch, LEASE_S))
            else:
                answers.append(await store.release("job", holder, epoch, handled_at))
        return answers

    async def both() -> None:
        with tempfile.TemporaryDirectory() as folder:

            async def remove() -> None:
                (Path(folder) / "job.claim").unlink(missing_ok=True)

            local = await drive(LocalClaims(Path(folder), lambda: now_s[0]), remove)
        client = FakeRedis(decode_responses=True, server=fakeredis.FakeServer())

        async def flush() -> None:
            client.flushall()

        redis = await drive(RedisClaims(client, "redis://fake"), flush)
        client.close()
        assert local == redis

    server = sys.modules["fakeredis.commands_mixins.server_mixin"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "time", type("Clock", (), {"time": staticmethod(lambda: now_s[0])}))
        asyncio.run(both())


# --- A holder --------------------------------------------------------------------------------


class Store(LocalClaims):
    """A store that can be unreachable."""

    is_down = False

    def _change(self, *arguments: Any) -> Answer:  # noqa: ANN401
        if self.is_down:
            raise ClaimStoreError("the store does not respond")
        return super()._change(*arguments)


def test_a_claim_is_granted_to_one_and_taken_over_after_its_deadline(tmp_path: Path) -> None:
    """A new store grants nothing for one lease; the settled due times are handed over."""

    async def pass_by() -> list[Taken]:
        clock = asyncio.get_running_loop().time
        store, log = LocalClaims(tmp_path, clock), new_run_log()
        a, b = (Claims(store, log, lambda _: None, clock, holder) for holder in "ab")
        seen = [await a.take("job")]
        await asyncio.sleep(LEASE_S)
        seen += [await a.take("job"), await b.take("job")]
        await asyncio.sleep(LEASE_S)  # and a, which does not renew, is dead
        seen.append(await b.take("job"))
        await a.release("job", 5.0)  # fenced: it is no more its own
        await b.release("job", 7.0)
        seen.append(await a.take("job"))
        return [one._replace(wait_s=round(one.wait_s)) for one in seen]

    assert run_virtual(pass_by()) == [
        Taken(60),
        Taken(0, is_new=True),
        Taken(60),
        Taken(0, is_new=True),
        Taken(0, is_new=True, handled_at=7.0),
    ]


def test_a_run_is_stopped_before_its_claim_ends(tmp_path: Path) -> None:
    """The store does not respond for 35 s: 25 s are left to stop. Then it is taken again."""

    async def pass_by() -> tuple[list[float], Taken]:
        clock = asyncio.get_running_loop().time
        store = Store(tmp_path, clock)
        lost: list[float] = []
        claims = Claims(store, new_run_log(), lambda _: lost.append(round(clock())), clock)
        await claims.take("job")
        await asyncio.sleep(LEASE_S)
        await claims.take("job")
        renewing = asyncio.create_task(claims.keep_renewing())
        await asyncio.sleep(15)
        store.is_down = True
        await asyncio.sleep(100)
        assert await claims.take("job") == Taken(10.0)
        store.is_down = False
        taken = await claims.take("job")
        renewing.cancel()
        return lost, taken

    # Taken at 60, renewed at 70 until 130, and 105 is 25 s before that; tried every 10 s.
    assert run_virtual(pass_by()) == ([110], Taken(0.0, is_new=True))


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("redis://user:s3cret@host/0", "claims: the address contains a password"),
        ("http://host", "claims: not an address of Redis"),
        ("redis://host:port/0", "not an address"),
    ],
)
def test_an_unusable_address_is_refused(address: str, why: str, tmp_path: Path) -> None:
    """And a password in it is not repeated."""
    with pytest.raises(InputError, match=why) as caught:
        claim_store(address, StateFolder(tmp_path))
    assert "s3cret" not in str(caught.value)


async def test_a_store_that_does_not_respond_is_named(tmp_path: Path, unused_tcp_port: int) -> None:
    """By host and port; nothing is started."""
    address = f"redis://127.0.0.1:{unused_tcp_port}/0"
    store = claim_store(address, StateFolder(tmp_path))
    with pytest.raises(StoreUnreachableError, match=rf"claims {address}: no usable answer"):
        await store.take("job", "a", 1.0)
    await store.close()


def test_a_damaged_file_is_a_store_without_memory(tmp_path: Path) -> None:
    """Nothing is granted for one lease."""
    (tmp_path / "job.claim").write_text('{"boot": 1')
    store = LocalClaims(tmp_path, lambda: 5.0)
    answer = asyncio.run(store.take("job", "a", 60.0))
    assert answer == Answer(is_ours=False, epoch=0, wait_s=60.0, handled_at=0.0)


# --- Two schedulers --------------------------------------------------------------------------


def run_two(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    due_times: int,
    **more: Any,  # noqa: ANN401
) -> TwoSchedulers:
    """Let two schedulers work for this many due times."""
    two = TwoSchedulers(folder, NOON, **more)
    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", datetime_of(two.clock))
    two.pass_time(due_times)
    return two


@pytest.mark.parametrize("is_shared", [True, False])
def test_two_schedulers_run_each_due_time_once(
    is_shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a shared state folder, too."""
    two = run_two(tmp_path, monkeypatch, 10, is_shared=is_shared, kills=False)
    assert (len(two.done), set(two.done.values()), two.together) == (11, {1}, 1)
    assert all(len(machines) == 1 for machines in two.begun.values())
    assert max(two.late_s.values()) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("is_shared", [True, False])
def test_whichever_is_killed_each_of_100_due_times_is_done_once(
    is_shared: bool, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was interrupted is resumed in its folder, or run again from the sheet."""
    two = run_two(tmp_path, monkeypatch, 100, is_shared=is_shared, seed=seed)
    table = two.table()
    assert (table["lost"], table["done twice"], table["most runs at the same time"]) == (0, 0, 1)
    assert table["due times"] == table["done once"] == 100
    assert table["kills"] > 20
    assert table["on another machine"] > 0
