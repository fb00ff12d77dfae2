"""Several runs of one account on one machine: real processes, and a sandbox that counts."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from programs import (
    FAST,
    KEY,
    STATE,
    Begin,
    SandboxProcess,
    read_csv,
    seed_id,
    write_sheet,
)
from waiting import wait_until

from bulk_reset import Callbacks, Options, Status, run, run_frame, stream
from bulk_reset.api.credentials import DEFAULT_BASE_URL, KEY_VARIABLE, AppKey, Credentials
from bulk_reset.core.errors import LockedError
from bulk_reset.quota.account_ledger import AccountLedger

Command = Callable[..., "subprocess.CompletedProcess[str]"]
StartSandbox = Callable[..., SandboxProcess]
QUICK = ("--per-second", "5000", "--per-minute", "300000", "--latency", "0")


def account_of(url: str, key: str = KEY, name: str = "") -> AccountLedger:
    """Return the account that a run with this key would use, to hold it or to read its state."""
    return AccountLedger(Credentials(AppKey(key), url, "a test"), name)


def sheet_of(path: Path, numbers: range) -> Path:
    """Write a sheet of these seeded incidents."""
    frame = pd.DataFrame(
        {"incident_id": map(seed_id, numbers), "title": [f"Renamed {n}" for n in numbers]}
    )
    frame.to_csv(path, index=False)
    return path


def lines_of(report: Path) -> int:
    return report.read_bytes().count(b"\n") if report.exists() else 0


def next_line(process: subprocess.Popen[str], word: str) -> str:
    """Return the next line of a run's standard error that has the word."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if word in line:
            return line.strip()
    raise AssertionError("".join(seen))


def statuses(report: Path) -> list[str]:
    return sorted(line["status"] for line in read_csv(report))


# --- One after the other ---------------------------------------------------------------------


@pytest.mark.slow
def test_two_exclusive_runs_started_together_go_one_after_the_other(
    begin: Begin, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """With --exclusive, the second waits and prints which run it waits for."""
    sandbox = start_sandbox("--seed-incidents", "600", *QUICK[:4], "--latency", "0.4")
    sheets = {"one.csv": range(1, 301), "two.csv": range(301, 601)}
    processes = {}
    for name, numbers in sheets.items():
        sheet_of(tmp_path / name, numbers)
        options = ("--exclusive", "--base-url", sandbox.url, "--no-before", *FAST)
        processes[name] = begin("run", name, *options)
    results = {name: process.communicate(timeout=60)[1] for name, process in processes.items()}
    (waited,) = (name for name, text in results.items() if "in use" in text)
    (first,) = sheets.keys() - {waited}
    lines = [line for line in results[waited].splitlines() if "in use" in line]

    assert [processes[name].returncode for name in sheets] == [0, 0], results
    assert len(lines) == 1
    assert (
        f"the account is in use: process {processes[first].pid} uses it for {first}, " in lines[0]
    )
    assert lines[0].endswith("UTC; waiting for that run to end")
    assert [statuses(tmp_path / f"{name[:3]}.report.csv") for name in sheets] == [
        ["updated"] * 300
    ] * 2
    stats = sandbox.get("/_stats")
    assert (stats["requests"], stats["incidents_updated"], stats["throttled"]) == (600, 600, 0)


def test_no_wait_exits_at_once_with_nothing_sent(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """A scheduled job can stop instead: exit code 4, how to fix it, and no file is changed."""
    sandbox = start_sandbox("--seed-incidents", "20", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 20)
    arguments = ("run", "incidents.csv", "--base-url", sandbox.url, "--no-before", *FAST)
    with account_of(sandbox.url) as other:
        assert other.hold("other.csv")
        holder = other.holder()
        refused = command(*arguments, "--no-wait")
    assert (refused.returncode, refused.stdout, sandbox.get("/_stats")["requests"]) == (4, "", 0)
    message = (
        f"the account is in use: {holder}. Wait until that run has ended, or do not use --no-wait."
    )
    assert message in " ".join(refused.stderr.split())
    report = tmp_path / "incidents.report.csv"
    assert not report.exists() or read_csv(report) == []

    done = command(*arguments, "--no-wait")
    assert (done.returncode, statuses(report)) == (0, ["updated"] * 20), done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_waiting_run_can_be_stopped(
    number: signal.Signals, code: int, begin: Begin, tmp_path: Path
) -> None:
    """Ctrl-C while another run has the account: nothing was sent, and there is no traceback."""
    write_sheet(tmp_path / "incidents.csv", 5)
    url = "http://127.0.0.1:9"
    with account_of(url) as other:
        assert other.hold("other.csv")
        waiting = begin("run", "incidents.csv", "--exclusive", "--base-url", url)
        next_line(waiting, "in use")
        waiting.send_signal(number)
        results = waiting.communicate(timeout=30)[1]
    ended_by = {code, -number}  # the shell shows the second as the first
    assert waiting.returncode in ended_by, results
    assert "Traceback" not in results
    assert "internal error" not in results


# --- Which runs wait -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours", "code"),
    [
        (("another-key", ""), (), 0),
        (("another-key", "production"), ("--account", "production"), 4),
        ((KEY, ""), ("--account", "production"), 0),
    ],
)
def test_only_runs_of_one_account_wait_for_each_other(
    theirs: tuple[str, str],
    ours: tuple[str, ...],
    code: int,
    command: Command,
    start_sandbox: StartSandbox,
    tmp_path: Path,
) -> None:
    """Another key is another account, unless both were given one name."""
    sandbox = start_sandbox("--seed-incidents", "3", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 3)
    with account_of(sandbox.url, *theirs) as other:
        assert other.hold("other.csv")
        done = command(
            "run",
            "incidents.csv",
            "--base-url",
            sandbox.url,
            "--no-wait",
            *ours,
            "--no-before",
            *FAST,
        )
    sent = 0 if code else 3
    assert (done.returncode, sandbox.get("/_stats")["requests"]) == (code, sent), done.stderr


@pytest.mark.parametrize("rehearsal", ["--dry-run", "--sandbox"])
def test_a_sandbox_run_never_waits(rehearsal: str, command: Command, tmp_path: Path) -> None:
    """A run that sends nothing to the account can be tried during another run."""
    write_sheet(tmp_path / "incidents.csv", 3)
    with account_of(DEFAULT_BASE_URL) as other:
        assert other.hold("other.csv")
        done = command("run", "incidents.csv", rehearsal, "--no-wait", "--no-before", *FAST)
    assert (done.returncode, "in use" in done.stderr) == (0, False), done.stderr


# --- After a kill ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_after_a_killed_one_is_never_rejected(
    begin: Begin, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """After kill -9 the next one starts at once, with up to 30 requests per second."""
    limits = ("--per-second", "30", "--per-minute", "100000")
    sandbox = start_sandbox("--seed-incidents", "500", *limits, "--latency", "0.2")
    for name, numbers in (("one", range(1, 401)), ("two", range(401, 441))):
        sheet_of(tmp_path / f"{name}.csv", numbers)
    options = ("--exclusive", "--base-url", sandbox.url, "--no-before", *limits)
    killed = begin("run", "one.csv", *options)
    wait_until(lambda: lines_of(tmp_path / "one.report.csv") > 1)
    following = begin("run", "two.csv", *options)
    assert f"process {killed.pid} uses it for one.csv" in next_line(following, "in use")
    wait_until(lambda: lines_of(tmp_path / "one.report.csv") > 30)
    killed.kill()
    killed.communicate(timeout=30)
    _, results = following.communicate(timeout=60)

    assert following.returncode == 0, results
    assert statuses(tmp_path / "two.report.csv") == ["updated"] * 40
    stats = sandbox.get("/_stats")
    assert (stats["throttled"], stats["requests"]) == (0, stats["applied"])
    assert stats["peak_1s"] <= 30


@pytest.mark.slow
def test_a_killed_runs_requests_count_for_a_whole_minute(
    begin: Begin, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """A quota that a killed run has used up is waited for, not found out by rejections."""
    limits = ("--per-second", "1000", "--per-minute", "100")
    sandbox = start_sandbox("--seed-incidents", "500", *limits)
    for name, numbers in (("one", range(1, 102)), ("two", range(401, 451))):
        sheet_of(tmp_path / f"{name}.csv", numbers)
    killed = begin("run", "one.csv", "--base-url", sandbox.url, "--no-before", *limits)
    wait_until(lambda: lines_of(tmp_path / "one.report.csv") > 100)
    killed.kill()
    killed.communicate(timeout=30)
    following = begin("run", "two.csv", "--base-url", sandbox.url, "--no-before", *limits)
    line = next_line(following, "rows, ")
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=30)

    assert "0 of 50 rows" in line
    assert "waiting for minute window: " in line
    stats = sandbox.get("/_stats")
    assert (stats["requests"], stats["throttled"]) == (100, 0)
    assert (following.returncode, read_csv(tmp_path / "two.report.csv")) == (130, [])


def test_the_state_folder_never_has_the_key(
    command: Command, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    """The folder, and a backup of it, has no key and no name of an account."""
    sandbox = start_sandbox("--seed-incidents", "3", *QUICK)
    write_sheet(tmp_path / "incidents.csv", 3)
    done = command(
        "run", "incidents.csv", "--base-url", sandbox.url, "--account", "our-production", *FAST
    )
    assert done.returncode == 0, done.stderr
    with account_of(sandbox.url, name="our-production") as account:
        path = account.path
    found = [file for file in Path(STATE).rglob("*") if file.is_file()]
    assert path in found
    for secret in (KEY, "our-production"):
        assert [f for f in found if secret in str(f) or secret.encode() in f.read_bytes()] == []


# --- From Python -----------------------------------------------------------------------------


def rows_of(number: int) -> list[dict[str, object]]:
    return [{"incident_id": seed_id(n), "title": f"Title {n}"} for n in range(1, number + 1)]


@pytest.fixture
def connection(start_sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> SandboxProcess:
    """A sandbox in a process of its own, with the key in this one's environment."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return start_sandbox("--seed-incidents", "50", *QUICK)


def options_for(sandbox: SandboxProcess, *, waits: bool = True) -> Options:
    """Return the options of a run that sends alone."""
    limits = {"per_second": 5_000, "per_minute": 300_000}
    return Options(base_url=sandbox.url, exclusive=True, waits=waits, **limits)


def test_run_frame_holds_the_account_while_it_sends(connection: SandboxProcess) -> None:
    """A notebook and a scheduled job do not send at once."""
    seen = set()
    with account_of(connection.url) as onlooker:

        def on_progress(_: object) -> None:
            holder = onlooker.holder()
            seen.add((onlooker.hold("onlooker"), holder and holder.pid))

        result = run_frame(
            pd.DataFrame(rows_of(50)), options_for(connection), Callbacks(on_progress=on_progress)
        )
        assert (seen, onlooker.hold("onlooker")) == ({(False, os.getpid())}, True)
    assert list(result["status"]) == ["updated"] * 50


def test_a_run_with_nothing_to_send_needs_no_account(
    connection: SandboxProcess, tmp_path: Path
) -> None:
    """The same sheet again sends nothing, so it does not wait."""
    sheet, options = (
        write_sheet(tmp_path / "incidents.csv", 3),
        options_for(connection, waits=False),
    )
    run(sheet, options)
    with account_of(connection.url) as other:
        assert other.hold("other.csv")
        again = run(sheet, options)
    assert (again.counts[Status.UPDATED], again.requests) == (3, 0)


def test_rows_that_need_no_request_need_no_account(connection: SandboxProcess) -> None:
    """A sheet of which nothing can be sent only gets its report."""
    options = replace(options_for(connection, waits=False), skip_invalid=True)
    with account_of(connection.url) as other:
        assert other.hold("other.csv")
        result = run_frame(pd.DataFrame([{"incident_id": "oops", "title": "A title"}]), options)
    assert list(result["status"]) == ["rejected"]


async def test_a_stream_holds_the_account_until_it_is_closed(connection: SandboxProcess) -> None:
    """The account is free again as soon as the last outcome was handed out."""
    seen, outcomes = set(), []
    with account_of(connection.url) as onlooker:
        async for outcome in stream(rows_of(50), options_for(connection)):
            holder = onlooker.holder()
            seen.add((onlooker.hold("onlooker"), holder and (holder.pid, holder.sheet)))
            outcomes.append(outcome.status)
        assert (seen, onlooker.hold("onlooker")) == ({(False, (os.getpid(), "a stream"))}, True)
    assert outcomes == [Status.UPDATED] * 50


async def test_a_closed_stream_releases_the_account(connection: SandboxProcess) -> None:
    """Two streams after each other in one program do not lock each other out."""
    async with aclosing(stream(rows_of(50), options_for(connection))) as outcomes:  # type: ignore[type-var]
        await anext(outcomes)
    following = [o.status async for o in stream(rows_of(5), options_for(connection, waits=False))]
    assert following == [Status.UPDATED] * 5


async def test_a_stream_waits_for_another_run_and_logs_which(connection: SandboxProcess) -> None:
    """The event loop is not blocked, and the stream begins when the other run has ended."""
    log, logged = logging.getLogger("bulk_reset.workflows.stream"), []
    with ThreadPoolExecutor(1) as elsewhere, account_of(connection.url) as other:
        elsewhere.submit(other.hold, "other.csv").result()
        holder = other.holder()

        def release(record: logging.LogRecord) -> bool:
            logged.append(record.getMessage())
            asyncio.get_running_loop().call_soon(other.close)
            return False

        log.addFilter(release)
        try:
            outcomes = [o.status async for o in stream(rows_of(5), options_for(connection))]
        finally:
            log.removeFilter(release)
    assert outcomes == [Status.UPDATED] * 5
    assert logged == [f"the account is in use: {holder}; waiting for that run to end"]


async def test_a_python_program_need_not_wait(connection: SandboxProcess) -> None:
    """``waits=False`` is an error at once, with nothing sent."""
    options = options_for(connection, waits=False)
    with ThreadPoolExecutor(1) as elsewhere, account_of(connection.url) as other:
        elsewhere.submit(other.hold, "other.csv").result()
        with pytest.raises(LockedError, match=r"uses it for other\.csv"):
            await anext(stream(rows_of(5), options))
        with pytest.raises(LockedError, match=r"uses it for other\.csv"):
            run_frame(pd.DataFrame(rows_of(5)), options)
    assert connection.get("/_stats")["requests"] == 0
