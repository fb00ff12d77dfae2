"""An account's lock and ledger: one run at a time, and the next one knows what was sent."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate, count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import clean_environment
from virtual_clock import Line, StrictFixed, StrictSliding, Trip, run_virtual

from bulk_reset.api.credentials import AppKey, Credentials
from bulk_reset.core.errors import ExitCode, InputError, LockedError
from bulk_reset.quota.account_ledger import AccountLedger, Holder, wait_for_account
from bulk_reset.quota.limiter import Limiter
from bulk_reset.quota.windows import Window

KEY = "k3y-0f-an-account"
SLOT_S = 0.01
KEPT_S = 82.0
UP_FOR_S = 1_000.005
"""How long the machine has been running when a test begins; in the middle of a slot."""
_numbers = count()


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, now: float = UP_FOR_S) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the seconds since the machine was started."""
        return self.now


def credentials(key: str = KEY, base_url: str = "https://api.example") -> Credentials:
    return Credentials(AppKey(key), base_url, "a test")


def fresh() -> Credentials:
    """Return the credentials of an account that no other test knows."""
    return credentials(base_url=f"https://api.example/{next(_numbers)}")


def hold_account(whose: Credentials, clock: Clock) -> AccountLedger:
    account = AccountLedger(whose, clock=clock)
    assert account.hold("a sheet")
    return account


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Another thread, for who else may hold the account."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


# --- Which account it is ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "are_one"),
    [
        ((KEY, "https://a", ""), (KEY, "https://a", ""), True),
        ((KEY, "https://a", ""), ("another-key", "https://a", ""), False),
        ((KEY, "https://a", ""), (KEY, "https://b", ""), False),
        ((KEY, "https://a", ""), (KEY, "https://a", "ours"), False),
        ((KEY, "https://a", "ours"), (KEY, "https://a", "theirs"), False),
        ((KEY, "https://a", "ours"), ("another-key", "https://a", "ours"), True),
        ((KEY, "https://a", "ours"), (KEY, "https://b", "ours"), False),
        ((KEY, "https://a", ""), ("another-key", "https://a", KEY), False),
        *(
            ((KEY, "https://api.example", ""), (KEY, spelling, ""), True)
            for spelling in (
                "HTTPS://api.example",
                "https://API.Example",
                "https://api.example.",
                "https://api.example/",
                "https://api.example:443",
                " https://api.example:0443// ",
            )
        ),
        *(
            ((KEY, "http://localhost:8080", ""), (KEY, spelling, ""), True)
            for spelling in (
                "http://LOCALHOST:8080",
                "http://localhost.:8080/",
                "http://127.0.0.1:8080",
                "http://[::1]:8080",
            )
        ),
        ((KEY, "http://localhost:8080", ""), (KEY, "http://localhost:8081", ""), False),
        ((KEY, "https://a/x", ""), (KEY, "https://a/y", ""), False),
        ((KEY, "https://a", ""), (f" {KEY}\n", "https://a", ""), True),
        ((KEY, "https://a", "our  team "), (KEY, "https://a", " our team"), True),
        ((KEY, "https://a", "Gr\u00f6\u00dfe"), (KEY, "https://a", "Gro\u0308\u00dfe"), True),
        ((KEY, "https://a", "ours"), (KEY, "https://a", "Ours"), False),
    ],
)
def test_an_account_is_known_by_its_address_and_its_name_or_else_its_key(
    first: tuple[str, str, str], second: tuple[str, str, str], *, are_one: bool
) -> None:
    """Runs share a quota exactly if they send to one account: one key, or one --account."""
    paths = []
    for key, base_url, name in (first, second):
        with AccountLedger(credentials(key, base_url), name) as account:
            paths.append(account.path)
    assert (paths[0] == paths[1]) is are_one


@pytest.mark.parametrize("name", ["", "our-account-by-name"])
def test_a_ledger_contains_neither_key_nor_name(name: str) -> None:
    """A reader of the state folder finds no key, and other users cannot read the folder."""
    whose = fresh()
    with AccountLedger(whose, name, Clock()) as account:
        account.hold("incidents.csv")
        account.start()
        account.answer()
        content = bytes(account.path) + account.path.read_bytes()
        modes = [path.stat().st_mode & 0o777 for path in (account.path, account.path.parent)]
    secrets = [KEY, "our-account-by-name", whose.base_url]
    assert [secret for secret in secrets if secret.encode() in content] == []
    assert modes == [0o600, 0o700]


def test_a_state_folder_that_cannot_be_made_is_replaced_by_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a home, as in many containers, runs of one user still share a quota."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with AccountLedger(credentials()) as first, AccountLedger(credentials()) as second:
        assert (first.path, first.path.parent) == (
            second.path,
            tmp_path / f"bulk-reset-{os.getuid()}",
        )
        assert (first.hold("one.csv"), second.hold("two.csv")) == (True, False)


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_has_a_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no folder called ~ wherever it was started."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with AccountLedger(credentials()) as account:
        assert account.path.parent == tmp_path / f"bulk-reset-{os.getuid()}"
    assert not (tmp_path / "~").exists()


def test_no_writable_folder_is_an_error_with_a_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent without a lock; the error names the variable to set."""
    file = tmp_path / "file"
    file.write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(file))
    monkeypatch.setattr(tempfile, "tempdir", str(file))
    with pytest.raises(InputError) as caught:
        AccountLedger(credentials())
    assert str(caught.value) == (
        f"{file}/bulk-reset/accounts: the account's lock cannot be created. "
        "Set XDG_STATE_HOME to a folder that this user can write."
    )


def test_a_ledger_that_cannot_be_opened_is_an_error_that_names_it() -> None:
    """A file of another user (after sudo) is reported as such, not as an internal error."""
    whose = fresh()
    with AccountLedger(whose) as account:
        path = account.path
    path.unlink()
    path.mkdir()  # root, too, cannot open it as a file
    with pytest.raises(InputError, match=rf"^{path}: "):
        AccountLedger(whose)


def test_a_full_disk_is_an_error_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the ledger is taken at the start: a store into it can never fail later."""

    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", no_room)
    with (
        AccountLedger(fresh()) as account,
        pytest.raises(InputError, match="No space left on device"),
    ):
        account.hold("incidents.csv")


# --- The lock --------------------------------------------------------------------------------


def test_a_lock_is_held_by_one_at_a_time_and_given_on_at_close() -> None:
    """Two runs never send at once; who held it once does not get it back unasked."""
    whose = fresh()
    with AccountLedger(whose) as first, AccountLedger(whose) as second:
        before = [first.hold("one.csv"), second.hold("two.csv"), first.hold("one.csv")]
        first.close()
        after = second.hold("two.csv")
    with AccountLedger(whose) as third:
        assert (before, after, third.hold("three.csv")) == ([True, False, True], True, True)


def test_a_holder_is_shown_with_process_sheet_and_time() -> None:
    """Who has to wait can find the run it waits for."""
    whose = fresh()
    before = datetime.now(UTC).replace(microsecond=0)
    with AccountLedger(whose) as account, AccountLedger(whose) as onlooker:
        no_holder = onlooker.holder()
        account.hold("incidents.csv")
        holder = onlooker.holder()
    assert no_holder is None
    assert holder is not None
    assert (holder.pid, holder.sheet, holder.is_this_thread) == (os.getpid(), "incidents.csv", True)
    since = datetime.strptime(holder.since, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert before <= since <= datetime.now(UTC)
    assert str(holder) == (
        f"process {os.getpid()} uses it for incidents.csv, since {holder.since} UTC"
    )


@pytest.mark.parametrize("sheet", ["x" * 5_000, "\U0001f525" * 5_000, "\udcff.csv", 'a"b\\c\0.csv'])
def test_a_holder_can_have_any_sheet_name(sheet: str) -> None:
    """A long or odd name is cut short at most, and never breaks the ledger behind it."""
    whose, clock = fresh(), Clock()
    with AccountLedger(whose, clock=clock) as account:
        account.hold(sheet)
        holder = account.holder()
        assert (holder and holder.sheet, account.ages_s()) == (sheet[:200], [])


BROKEN = [
    b"",
    b"{",
    b"[]",
    b"5",
    b"{}",
    b"\xff\xfe",
    b'{"pid": 1, "of a later version": 2}',
]


def write_holder(account: AccountLedger, text: bytes) -> None:
    """Replace the stored holder."""
    with account.path.open("r+b") as file:
        file.write(text.ljust(1_000, b"\0"))


@pytest.mark.parametrize("text", BROKEN)
def test_a_corrupt_holder_is_unknown(text: bytes) -> None:
    """A corrupt holder does not end a run that waits."""
    with AccountLedger(fresh()) as account:
        account.hold("incidents.csv")
        write_holder(account, text)
        assert account.holder() is None


# --- Waiting for it --------------------------------------------------------------------------


def in_use(holder: Holder | None) -> str:
    return f"the account is in use: {holder or 'by another run'}"


def test_a_free_account_is_not_waited_for() -> None:
    """The usual case: no other run, no message."""
    message: list[str] = []
    with AccountLedger(fresh()) as account:
        assert list(wait_for_account(account, "mine.csv", waits=True, notify=message.append)) == []
        holder = account.holder()
    assert (message, holder and holder.sheet) == ([], "mine.csv")


def test_waiting_reports_each_holder_once(
    elsewhere: ThreadPoolExecutor,
) -> None:
    """One line for each run that comes first, not one for each check."""
    whose, message, expected = fresh(), list[str](), list[str]()
    with AccountLedger(whose) as mine:
        waits = wait_for_account(mine, "mine.csv", waits=True, notify=message.append)
        for sheet in ("one.csv", "two.csv"):
            with AccountLedger(whose) as other:
                assert elsewhere.submit(other.hold, sheet).result()
                assert [next(waits) for _ in range(3)] == [0.5] * 3
                expected.append(f"{in_use(other.holder())}; waiting for that run to end")
        assert list(waits) == []
        holder = mine.holder()
    assert message == expected
    assert ["one.csv" in message[0], "two.csv" in message[1]] == [True, True]
    assert holder == Holder.current("mine.csv") or (holder and holder.is_this_thread)


def test_an_unknown_holder_is_reported_once(elsewhere: ThreadPoolExecutor) -> None:
    """A later version's lock is waited for as quietly as any."""
    whose, message = fresh(), list[str]()
    with AccountLedger(whose) as mine, AccountLedger(whose) as other:
        elsewhere.submit(other.hold, "other.csv").result()
        write_holder(other, BROKEN[-1])
        waits = wait_for_account(mine, "mine.csv", waits=True, notify=message.append)
        assert [next(waits) for _ in range(3)] == [0.5] * 3
    assert message == [f"{in_use(None)}; waiting for that run to end"]


def test_without_waiting_a_held_account_is_an_error_with_a_fix(
    elsewhere: ThreadPoolExecutor,
) -> None:
    """--no-wait ends at once, with a code of its own, and names who has the account."""
    whose = fresh()
    with AccountLedger(whose) as mine, AccountLedger(whose) as other:
        elsewhere.submit(other.hold, "other.csv").result()
        holder = other.holder()
        with pytest.raises(LockedError) as caught:
            next(wait_for_account(mine, "mine.csv", waits=False, notify=pytest.fail))
    assert (str(caught.value), caught.value.exit_code) == (
        f"{in_use(holder)}. Wait until that run has ended, or do not use waits=False.",
        ExitCode.LOCKED,
    )


@pytest.mark.parametrize("waits", [True, False])
def test_a_thread_does_not_wait_for_its_own_lock(*, waits: bool) -> None:
    """A second stream inside the first would hang for ever; it is an error instead."""
    whose = fresh()
    with AccountLedger(whose) as first, AccountLedger(whose) as second:
        first.hold("one.csv")
        with pytest.raises(LockedError) as caught:
            next(wait_for_account(second, "two.csv", waits=waits, notify=pytest.fail))
        holder = first.holder()
    assert str(caught.value) == f"{in_use(holder)}. This is the same thread. End that run first."


# --- The ledger ------------------------------------------------------------------------------


def test_a_new_account_has_nothing_to_remember() -> None:
    """The first run of all has the whole quota."""
    with hold_account(fresh(), Clock()) as account:
        assert account.ages_s() == []


def test_answers_are_remembered_to_a_slot_and_never_taken_for_older() -> None:
    """The next run waits up to 10 ms too long, never too short; many at once are all counted."""
    whose, clock = fresh(), Clock()
    with hold_account(whose, clock) as first:
        for after_s, answers in ((0.0, 1), (0.5, 1), (29.5, 40)):
            clock.now += after_s
            for _ in range(answers):
                first.start()
                first.answer()
    clock.now += 30.0
    with hold_account(whose, clock) as second:
        ages_s = sorted(second.ages_s(), reverse=True)
    assert ages_s == pytest.approx([59.995, 59.495, *[29.995] * 40])


def test_an_answer_in_the_current_slot_is_not_in_the_future() -> None:
    """An age is never below 0."""
    whose, clock = fresh(), Clock()
    with hold_account(whose, clock) as account:
        account.start()
        account.answer()
        assert account.ages_s() == [0.0]


def test_in_flight_requests_of_a_killed_run_count_as_now_and_only_once() -> None:
    """They may have just reached the server; the next run stores when that was."""
    whose, clock = fresh(), Clock()
    with hold_account(whose, clock) as killed:
        for _ in range(3):
            killed.start()
        killed.answer()
    ages_s = []
    for _ in range(3):
        clock.now += 1.0
        with hold_account(whose, clock) as following:
            ages_s.append(sorted(following.ages_s(), reverse=True))
    assert ages_s == [
        pytest.approx(expected)
        for expected in ([0.995, 0.0, 0.0], [1.995, 0.995, 0.995], [2.995, 1.995, 1.995])
    ]


def test_what_ends_after_the_lock_was_given_on_changes_nothing() -> None:
    """A straggler of a run that has ended does not write into the next one's book."""
    whose, clock = fresh(), Clock()
    first = hold_account(whose, clock)
    first.start()
    first.close()
    with hold_account(whose, clock) as second:
        assert second.ages_s() == [0.0]
        first.start()
        first.answer()
        clock.now += 1.0
        assert second.ages_s() == pytest.approx([0.995])


@pytest.mark.parametrize(("after_s", "kept"), [(60.0, 1), (81.8, 1), (82.0, 0), (500.0, 0)])
def test_requests_are_forgotten_after_82_seconds(after_s: float, kept: int) -> None:
    """Longer than any window, and then no more."""
    whose, clock = fresh(), Clock()
    with hold_account(whose, clock) as account:
        account.start()
        account.answer()
        clock.now += after_s
        assert len(account.ages_s()) == kept


def test_a_slot_that_is_used_again_starts_from_nothing() -> None:
    """The ledger is a ring: a count from 81.92 s ago is not added to."""
    whose, clock = fresh(), Clock()
    with hold_account(whose, clock) as account:
        for answers in (5, 1):
            for _ in range(answers):
                account.start()
                account.answer()
            clock.now += 8_192 * SLOT_S if answers > 1 else 1.0
        assert account.ages_s() == pytest.approx([0.995])


@pytest.mark.parametrize("up_for_s", [0.0, 10.005, UP_FOR_S - 1])
def test_slots_from_before_a_reboot_do_not_count(up_for_s: float) -> None:
    """A restarted clock delays no run longer than necessary."""
    whose, clock = fresh(), Clock()
    with hold_account(whose, clock) as before:
        before.start()
        before.answer()
    clock.now = up_for_s
    with hold_account(whose, clock) as after:
        remembered = after.ages_s()
        after.start()
        after.answer()
        clock.now += 0.015
        assert [remembered, after.ages_s()] == [[], pytest.approx([0.01], abs=0.0051)]


waits_s = st.one_of(st.floats(0.0, 0.05), st.floats(0.0, 5.0), st.floats(70.0, 100.0))


@settings(max_examples=150)
@given(
    up_for_s=st.floats(0.0, 1e7),
    steps=st.lists(st.tuples(waits_s, st.integers(1, 5), st.booleans()), max_size=30),
)
def test_whenever_answers_come_they_are_remembered_and_never_too_old(
    up_for_s: float, steps: list[tuple[float, int, bool]]
) -> None:
    """For any times and handovers: none lost, none invented, each at most a slot too young."""
    whose, clock = fresh(), Clock(up_for_s)
    account = hold_account(whose, clock)
    for wait_s, answers, is_handed_over in steps:
        clock.now += wait_s
        if is_handed_over:
            account.close()
            account = hold_account(whose, clock)
        for _ in range(answers):
            account.start()
            account.answer()
    ages_s = sorted(account.ages_s())
    account.close()
    account.path.unlink()

    times = accumulate((wait_s for wait_s, _, _ in steps), initial=up_for_s)
    next(times)
    true_s = sorted(
        clock.now - at for at, step in zip(times, steps, strict=True) for _ in range(step[1])
    )
    sure = sum(age_s < KEPT_S - 10 * SLOT_S for age_s in true_s)
    possible = sum(age_s < KEPT_S for age_s in true_s)
    assert sure <= len(ages_s) <= possible
    off_s = [true - age for true, age in zip(true_s, ages_s, strict=False)]
    assert all(-1e-7 <= s <= SLOT_S + 1e-7 for s in off_s), off_s


# --- Killed processes ------------------------------------------------------------------------

SENDER = """
import signal
from bulk_reset.quota.account_ledger import AccountLedger
from bulk_reset.api.credentials import AppKey, Credentials
account = AccountLedger(Credentials(AppKey({key!r}), {url!r}, "a test"), clock=lambda: {now!r})
assert account.hold("killed.csv")
for _ in range(5):
    account.start()
for _ in range(3):
    account.answer()
print("ready", flush=True)
signal.pause()
"""

KILLS = """
import os, signal
from bulk_reset.quota.account_ledger import AccountLedger
from bulk_reset.api.credentials import AppKey, Credentials
credentials, clock = Credentials(AppKey({key!r}), {url!r}, "a test"), lambda: now
now, most = 1000.005, 0
for number in range(150):
    now += 1.0
    if not (pid := os.fork()):
        with AccountLedger(credentials, clock=clock) as account:
            account.hold("killed.csv")
            while True:
                account.start()
                account.answer()
    with AccountLedger(credentials, clock=clock) as account:
        while not (holder := account.holder()) or holder.pid != pid:
            os.sched_yield()
        for _ in range(20_000 + 71 * number):
            pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        now += 1.0
        assert account.hold("next.csv")
        most = max(most, account.ages_s().count(0.0))
print(most)
"""


def test_a_ledger_outlives_kill_9() -> None:
    """What a killed process did is known to the next, and it gets the lock at once."""
    whose, clock = fresh(), Clock()
    process = subprocess.Popen(
        [sys.executable, "-c", SENDER.format(key=KEY, url=whose.base_url, now=clock.now)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with AccountLedger(whose, clock=clock) as account:
            was_free, holder = account.hold("next.csv"), account.holder()
            process.kill()
            process.communicate(timeout=30)
            clock.now += 2.0
            assert (was_free, holder and (holder.pid, holder.sheet), account.hold("next.csv")) == (
                False,
                (process.pid, "killed.csv"),
                True,
            )
            ages_s = sorted(account.ages_s(), reverse=True)
    finally:
        process.kill()
        process.communicate(timeout=30)
    assert ages_s == pytest.approx([1.995] * 3 + [0.0] * 2)


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_up_to_one_extra_in_flight_request() -> None:
    """However a process that has one request at a time dies, no more than one is in doubt."""
    whose = fresh()
    done = subprocess.run(
        [sys.executable, "-c", KILLS.format(key=KEY, url=whose.base_url)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stderr, done.stdout) in {("", "0\n"), ("", "1\n")}


# --- With the quota --------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One of several runs of an account, and how it comes and goes."""

    gap_s: float
    """How long after the one before."""
    bursts: tuple[tuple[float, int], ...]
    """Idle seconds, then so many requests at once."""
    ends_after_s: float
    share: float
    """How much of the limits it uses."""
    is_killed: bool
    """Whether nothing is written any more when it ends."""


async def go(
    run: Run,
    windows: tuple[Window, ...],
    whose: Credentials,
    line: Line,
    *,
    takes_credit: bool = False,
) -> int:
    """Send as one run does, to its end; return how many requests it started."""
    loop = asyncio.get_running_loop()
    with AccountLedger(whose, clock=loop.time) as account:
        assert account.hold("a sheet")
        own = tuple(replace(w, limit=max(1, int(w.limit * run.share))) for w in windows)
        quota = Limiter(own, ledger=account, takes_credit=takes_credit)
        quota.remember(account.ages_s())

        async def send() -> None:
            async with quota.permit():
                await line.send()

        async with asyncio.TaskGroup() as group:
            tasks = []
            try:
                async with asyncio.timeout(run.ends_after_s):
                    for idle_s, requests in run.bursts:
                        await asyncio.sleep(idle_s)
                        tasks += [group.create_task(send()) for _ in range(requests)]
                    await asyncio.wait(tasks)
            except TimeoutError:
                if run.is_killed:
                    account.close()
                for task in tasks:
                    task.cancel()
    return quota.requests


runs = st.builds(
    Run,
    gap_s=st.one_of(st.just(0.0), st.floats(0.0, 12.0)),
    bursts=st.lists(st.tuples(st.floats(0.0, 6.0), st.integers(1, 60)), min_size=1, max_size=3).map(
        tuple
    ),
    ends_after_s=st.floats(0.01, 15.0),
    share=st.sampled_from([1.0, 1.0, 0.5, 0.1]),
    is_killed=st.booleans(),
)
limits = st.builds(
    lambda per_second, per_10_s: (Window(per_second, 1.0), Window(per_10_s, 10.0)),
    st.integers(1, 40),
    st.integers(1, 100),
)


@pytest.mark.slow
@settings(max_examples=80)
@given(
    windows=limits,
    ways_s=st.lists(
        st.tuples(st.floats(0.001, 1.5), st.floats(0.001, 1.5)), min_size=1, max_size=20
    ),
    each=st.lists(runs, min_size=1, max_size=6),
)
def test_runs_that_follow_each_other_never_exceed_the_quota_together(
    windows: tuple[Window, ...], ways_s: list[tuple[float, float]], each: list[Run]
) -> None:
    """Ended, interrupted or killed at any time: the server counts up to n in any T in total."""
    judges: list[StrictSliding | StrictFixed] = [
        StrictSliding(window.limit, window.window_s) for window in windows
    ]
    line = Line(judges, lambda number: Trip(*ways_s[number % len(ways_s)]), timeout_s=30.0)
    whose = fresh()

    async def main() -> int:
        started = 0
        for run in each:
            await asyncio.sleep(run.gap_s)
            started += await go(run, windows, whose, line)
        return started

    started = run_virtual(main())
    with AccountLedger(whose) as account:
        account.path.unlink()
    assert (line.over, line.arrived) == (0, started)


@pytest.mark.parametrize("takes_credit", [False, True])
def test_in_flight_requests_of_a_killed_run_give_no_credit(*, takes_credit: bool) -> None:
    """Such a request may arrive after the kill: its permit comes back a whole window later."""
    windows = (Window(23, 1.0), Window(115, 10.0))
    judges: list[StrictSliding | StrictFixed] = [
        StrictSliding(w.limit, w.window_s) for w in windows
    ]
    line = Line(judges, lambda _: Trip(0.1, 0.9), timeout_s=30.0, is_late=True)
    whose = fresh()

    async def main() -> None:
        for bursts, ends_after_s in ((((0.0, 20),), 0.5), (((0.0, 101),), 30.0)):
            run = Run(0.0, bursts, ends_after_s, share=1.0, is_killed=True)
            await go(run, windows, whose, line, takes_credit=takes_credit)

    run_virtual(main())
    assert line.over == 0
