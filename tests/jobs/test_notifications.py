"""Notifications contain the result of a run but never the app key; a failure is only reported."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.job_runs.run_record import ENDED, MISSED, RunRecord
from bulk_reset.jobs.notify import notify_limit
from bulk_reset.jobs.notify.notifications import (
    notification_of,
    ping_end,
    ping_start,
    send_notification,
)
from bulk_reset.jobs.notify.notify_limit import NotifyLimit, stopped_by_signals
from bulk_reset.jobs.notify.notify_payload import EXAMPLE

KEY = "k3y-of-no-one-0123456789"
NIGHT = 1_795_833_000.0
RECORD = RunRecord(
    "20261128T023000Z-nightly",
    "nightly",
    "/jobs/nightly.toml",
    NIGHT,
    ENDED,
    started_at=NIGHT + 1,
    ended_at=NIGHT + 61,
    exit_code=1,
    words="2 of 3 rows done; «née»",
    rows=3,
    counts={"updated": 2, "failed": 1},
    sheet="in.csv",
    report="in.report.csv",
)
PYTHON = json.dumps(sys.executable)


def job(folder: Path, *lines: str) -> Job:
    """Return a job with notifications."""
    file = folder / "nightly.toml"
    file.write_text("\n".join(['[source]\nsheet = "in.csv"\n[notify]', *lines]))
    return read_job(file)


def program(folder: Path, text: str, *lines: str) -> Job:
    """Return a job that notifies a Python program."""
    (folder / "told.py").write_text(text)
    return job(folder, f'command = [{PYTHON}, "told.py", "an argument"]', *lines)


# --- What a notification has ------------------------------------------------------------------


def test_the_summary_can_be_read_by_people_and_programs(tmp_path: Path) -> None:
    """Times as texts, absolute paths, and a sentence for chat services."""
    told = notification_of(RECORD, tmp_path)
    assert told["text"] == "nightly: 2 of 3 rows done; «née» (exit code 1)"
    assert (told["due_at"], told["ended_at"]) == (
        "2026-11-28T02:30:00+00:00",
        "2026-11-28T02:31:01+00:00",
    )
    assert (told["deadline_at"], told["last_due_at"], told["page"]) == (None, None, "")
    assert (told["sheet"], told["report"]) == (
        str(tmp_path / "in.csv"),
        str(tmp_path / "in.report.csv"),
    )
    assert (told["rows"], told["counts"]) == (3, {"updated": 2, "failed": 1})
    assert json.loads(json.dumps(told)) == told


def test_a_job_without_notify_sends_no_notification(tmp_path: Path) -> None:
    """That is no failure."""
    (tmp_path / "nightly.toml").write_text('[source]\nsheet = "in.csv"\n')
    assert send_notification(read_job(tmp_path / "nightly.toml"), RECORD, tmp_path) == ""


# --- A command -------------------------------------------------------------------------------

REPEAT = """
import json, os, sys
told = {"arguments": sys.argv[1:], "input": json.load(sys.stdin), "environment": dict(os.environ)}
with open("told.json", "w") as file:
    json.dump(told, file)
print("x" * 1_000_000)
"""


def test_a_command_gets_it_on_its_input_and_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the job's own folder, with its arguments as they are, and without the key."""
    monkeypatch.setenv("FLASHDUTY_APP_KEY", KEY)
    monkeypatch.setenv("OTHER", "stays")
    folder = tmp_path / "run"
    assert send_notification(program(tmp_path, REPEAT), RECORD, folder) == sys.executable
    text = (tmp_path / "told.json").read_text()
    told = json.loads(text)
    assert told["arguments"] == ["an argument"]
    assert told["input"] == notification_of(RECORD, folder)
    environment = told["environment"]
    assert {one: environment[one] for one in environment if one.startswith("BULK_RESET_")} == {
        "BULK_RESET_JOB": "nightly",
        "BULK_RESET_RUN": RECORD.id,
        "BULK_RESET_EXIT_CODE": "1",
        "BULK_RESET_TEXT": "nightly: 2 of 3 rows done; «née» (exit code 1)",
    }
    assert environment["OTHER"] == "stays"
    assert KEY not in text


def test_missed_runs_have_no_exit_code(tmp_path: Path) -> None:
    """What did not run did not end."""
    missed = RunRecord("x", "nightly", "x", NIGHT, MISSED, words="too late", missed=3)
    assert send_notification(program(tmp_path, REPEAT), missed, tmp_path) == sys.executable
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["input"]["text"] == "nightly: 3 runs missed: too late"
    assert told["environment"]["BULK_RESET_EXIT_CODE"] == ""


def test_half_a_surrogate_pair_does_not_prevent_a_notification(tmp_path: Path) -> None:
    """A name from a broken sheet, or of a file that is not UTF-8."""
    odd = RunRecord("x", "nightly", "x", NIGHT, ENDED, words="\ud800 and \udcff", exit_code=0)
    assert send_notification(program(tmp_path, REPEAT), odd, tmp_path) == sys.executable
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["input"]["words"] == "\ud800 and \udcff"


FAIL = r"""
import sys
sys.stderr.buffer.write(b"x" * 500 + b"\n\x1b[31mno \xff mail\n")
sys.exit(5)
"""


def test_a_failing_command_is_reported_with_its_last_output(tmp_path: Path) -> None:
    """On one line, its end rather than its beginning, and nothing in it that acts."""
    said = send_notification(program(tmp_path, FAIL), RECORD, tmp_path)
    assert said.startswith(f"failed: {sys.executable}: exit code 5: xxx")
    assert said.endswith("x \N{REPLACEMENT CHARACTER}[31mno \N{REPLACEMENT CHARACTER} mail")
    assert len(said) < 200 + 100


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ('["no-such-program"]', "failed: no-such-program: No such file or directory"),
        ('["./told.txt"]', "failed: ./told.txt: Permission denied"),
        (r'["sh", "-c", "a\u0000b"]', "failed: sh: embedded null byte"),
    ],
)
def test_a_command_that_cannot_start_is_reported(command: str, says: str, tmp_path: Path) -> None:
    """In the words of the system."""
    (tmp_path / "told.txt").write_text("x")
    assert send_notification(job(tmp_path, f"command = {command}"), RECORD, tmp_path) == says


HANG = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
with open("child.tmp", "w") as file:
    file.write(str(child.pid))
os.rename("child.tmp", "child")
child.wait()
"""


def test_a_command_that_hangs_is_ended_with_all_that_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that waits forever for a mail server does not block the run."""
    monkeypatch.setattr("bulk_reset.jobs.notify.notify_command._TIMEOUT_S", 0)
    told = program(tmp_path, HANG)

    def communicate(self: Any, *_: object, timeout: float) -> None:  # noqa: ANN401
        while not (tmp_path / "child").exists():
            assert self.poll() is None
        raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)
    assert (
        send_notification(told, RECORD, tmp_path)
        == f"failed: {sys.executable}: timed out after 0 s"
    )
    assert is_gone(int((tmp_path / "child").read_text()))


def is_gone(process_id: int) -> bool:
    """Return whether a process has ended."""
    for _ in range(100_000):
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
    os.kill(process_id, signal.SIGKILL)
    return False


def test_a_command_that_leaves_something_behind_is_not_waited_for(tmp_path: Path) -> None:
    """What it started in the background keeps its output open, and that is its own affair."""
    told = job(tmp_path, "command = ['sh', '-c', 'tail -f /dev/null & echo $! > child']")
    assert send_notification(told, RECORD, tmp_path) == "sh"
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_a_command_that_ignores_its_input_succeeds(tmp_path: Path) -> None:
    """A command that needs only the environment need not read its input."""
    assert send_notification(job(tmp_path, 'command = ["true"]'), RECORD, tmp_path) == "true"


# --- A webhook -------------------------------------------------------------------------------


@dataclass
class Chat:
    """A chat service that answers as scripted and records what it receives."""

    statuses: list[int]
    got: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)
    says: str = "S3CRET"
    elsewhere: int = 0
    waits_s: list[float] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Record what was received."""
        self.got.append({"query": request.query_string, "body": await request.json()})
        self.headers.append(dict(request.headers))
        status = self.statuses.pop(0)
        return web.Response(status=status, headers={"Location": "/elsewhere"}, text=self.says)

    async def pinged(self, request: web.Request) -> web.Response:
        """Record a ping."""
        self.pings.append(request.path)
        return web.Response(status=self.statuses.pop(0))

    async def redirected(self, _: web.Request) -> web.Response:
        """Record a request that must not happen."""
        self.elsewhere += 1
        return web.Response()

    async def sleep(self, seconds: float) -> None:
        """Note how long would have been waited."""
        self.waits_s.append(seconds)


Tell = Callable[[], Awaitable[str]]


@asynccontextmanager
async def chat(folder: Path, *statuses: int, more: str = "") -> AsyncIterator[tuple[Chat, Tell]]:
    """Run a chat service, and return a job that notifies it."""
    told = Chat(list(statuses))
    app = web.Application()
    app.router.add_post("/hooks/S3CRET", told.answer)
    app.router.add_route("*", "/elsewhere", told.redirected)
    async with TestServer(app) as server:
        address = str(server.make_url("/hooks/S3CRET?token=S3CRET"))
        of_it = job(folder, f'webhook = "{address}"', more)
        yield (
            told,
            lambda: asyncio.to_thread(send_notification, of_it, RECORD, folder, sleep=told.sleep),
        )


async def test_an_address_gets_it_as_json(tmp_path: Path) -> None:
    """One POST; only the host of the address is shown."""
    async with chat(tmp_path, 200) as (service, notify):
        assert await notify() == "127.0.0.1"
    assert service.got == [{"query": "token=S3CRET", "body": notification_of(RECORD, tmp_path)}]
    assert service.waits_s == []


@pytest.mark.parametrize(
    ("statuses", "says", "waits_s"),
    [
        ((204,), "127.0.0.1", []),
        ((500, 200), "127.0.0.1", [1.0]),
        ((503, 429, 200), "127.0.0.1", [1.0, 2.0]),
        ((500, 500, 502), "failed: 127.0.0.1: HTTP 502", [1.0, 2.0]),
        ((500, 404), "failed: 127.0.0.1: HTTP 404", [1.0]),
        ((404,), "failed: 127.0.0.1: HTTP 404", []),
        ((302,), "failed: 127.0.0.1: HTTP 302", []),
        ((308,), "failed: 127.0.0.1: HTTP 308", []),
    ],
)
async def test_a_webhook_is_retried_after_an_outage_but_not_after_a_rejection(
    statuses: tuple[int, ...], says: str, waits_s: list[float], tmp_path: Path
) -> None:
    """Up to three attempts; redirects are not followed."""
    async with chat(tmp_path, *statuses) as (service, notify):
        assert await notify() == says
    assert len(service.got) == len(statuses)
    assert (service.waits_s, service.elsewhere) == (waits_s, 0)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("ok", "127.0.0.1"),
        ('{"code": 0, "msg": "success"}', "127.0.0.1"),
        ('{"StatusCode": 0, "code": 0}', "127.0.0.1"),
        ('{"errcode": 0, "errmsg": "ok"}', "127.0.0.1"),
        ('{"code": 200}', "127.0.0.1"),
        ('{"code": "x"}', "127.0.0.1"),
        ("[1]", "127.0.0.1"),
        ("[" * 100_000, "127.0.0.1"),
        ('{"code": 19024, "msg": "Key Words Not Found"}', "failed: 127.0.0.1: rejected with code "),
        ('{"errcode": 310000, "errmsg": "x"}', "failed: 127.0.0.1: rejected with code 310000"),
        ('{"errcode": 93000, "errmsg": "x"}', "failed: 127.0.0.1: rejected with code 93000"),
    ],
)
async def test_a_rejection_in_an_answer_with_http_200_is_a_failure(
    answer: str, says: str, tmp_path: Path
) -> None:
    """Chat services answer so; nothing else in an answer is read."""
    async with chat(tmp_path, 200) as (service, notify):
        service.says = answer
        assert (await notify()).startswith(says)
    assert len(service.got) == 1


async def test_headers_and_payload_are_those_of_the_job(tmp_path: Path) -> None:
    """A text with quotes, line breaks and angle brackets stays JSON."""
    more = (
        'headers = { "X-Token" = "S3CRET", "content-type" = "application/x-json" }\n'
        'payload = \'{"text": {{ text | tojson }}, "rows": {{ rows }},'
        ' "failed": {{ counts.get("failed", 0) }} }\'\n'
    )
    async with chat(tmp_path, 200, more=more) as (service, notify):
        assert await notify() == "127.0.0.1"
    assert service.got[0]["body"] == {
        "text": "nightly: 2 of 3 rows done; «née» (exit code 1)",
        "rows": 3,
        "failed": 1,
    }
    assert service.headers[0]["X-Token"] == "S3CRET"


async def test_a_payload_that_fails_for_a_run_is_reported(tmp_path: Path) -> None:
    """The example of the check has more counts than this run."""
    more = "payload = '{{ counts.failed }}'\n"
    async with chat(tmp_path, more=more) as (service, _):
        told = read_job(tmp_path / "nightly.toml")
        clean = dataclasses.replace(RECORD, counts={})
        said = await asyncio.to_thread(send_notification, told, clean, tmp_path)
    assert (
        said == "failed: notify.payload: 'dict object' has no attribute 'failed'. Fix the template."
    )
    assert service.got == []


async def test_a_webhook_gets_no_password_of_the_users_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is meant for other programs."""
    (tmp_path / "netrc").write_text("default login me password S3CRET\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with chat(tmp_path, 200) as (service, notify):
        await notify()
    assert "Authorization" not in service.headers[0]


# --- Pings -----------------------------------------------------------------------------------


async def test_start_success_and_failure_are_pinged(tmp_path: Path) -> None:
    """One GET each; a failed ping is reported without its address."""
    service = Chat([200, 200, 200, 200, 404])
    app = web.Application()
    app.router.add_get("/S3CRET/{what}", service.pinged)
    async with TestServer(app) as server:
        lines = [
            f'ping_{what} = "{server.make_url(f"/S3CRET/{what}")}"'
            for what in ("start", "success", "failure")
        ]
        told, limit = job(tmp_path, *lines), NotifyLimit()
        done = dataclasses.replace(RECORD, exit_code=0)
        missed = dataclasses.replace(RECORD, state=MISSED, exit_code=None)
        failed = [
            await asyncio.to_thread(ping, *arguments, limit)
            for ping, *arguments in [
                (ping_start, told),
                (ping_end, told, done),
                (ping_end, told, RECORD),
                (ping_end, told, missed),
                (ping_end, told, done),
            ]
        ]
    names = ["start", "success", "failure", "failure", "success"]
    assert service.pings == [f"/S3CRET/{name}" for name in names]
    assert failed == ["", "", "", "", "127.0.0.1: HTTP 404"]
    assert await asyncio.to_thread(send_notification, told, RECORD, tmp_path) == ""


# --- A stop ----------------------------------------------------------------------------------


def test_a_stop_ends_commands_and_webhooks_that_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they get the grace period once."""
    monkeypatch.setattr(notify_limit, "STOP_GRACE_S", 0.0)
    limit = NotifyLimit()
    limit.stop.set()
    with socket.create_server(("127.0.0.1", 0)) as server:  # which accepts, and never answers
        port = server.getsockname()[1]
        told = job(
            tmp_path,
            f"command = [{PYTHON}, '-c', 'import signal; signal.pause()']",
            f'webhook = "http://127.0.0.1:{port}/S3CRET"',
        )
        said = send_notification(told, RECORD, tmp_path, limit=limit)
    assert said == f"failed: {sys.executable}: stopped by a signal, 127.0.0.1: stopped by a signal"


def test_a_command_that_takes_longer_than_a_moment_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is checked on many times, and gets its whole input once."""
    monkeypatch.setattr("bulk_reset.jobs.notify.notify_command.POLL_S", 0.001)
    assert send_notification(program(tmp_path, REPEAT), RECORD, tmp_path) == sys.executable
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["input"] == notification_of(RECORD, tmp_path)


def test_the_example_that_payloads_are_checked_with_is_a_notification(tmp_path: Path) -> None:
    """The same keys, each of the same kind."""
    told = notification_of(RECORD, tmp_path)
    assert {name: type(value) for name, value in EXAMPLE.items() if value is not None} == {
        name: type(value) for name, value in told.items() if EXAMPLE[name] is not None
    }


def test_a_signal_begins_the_grace_period_and_a_second_one_ends_the_process() -> None:
    """Then the usual handlers are back."""
    limit, before = NotifyLimit(), signal.getsignal(signal.SIGTERM)
    with stopped_by_signals(limit):
        signal.raise_signal(signal.SIGTERM)
        assert limit.stop.is_set()
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


async def test_an_unreachable_webhook_is_reported_without_its_address(tmp_path: Path) -> None:
    """The request is retried, then reported as failed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told, waits_s = job(tmp_path, f'webhook = "http://127.0.0.1:{port}/hooks/S3CRET"'), []

    async def sleep(seconds: float) -> None:
        waits_s.append(seconds)

    said = await asyncio.to_thread(send_notification, told, RECORD, tmp_path, sleep=sleep)
    assert said == "failed: 127.0.0.1: ClientConnectorError"
    assert waits_s == [1.0, 2.0]


async def test_an_invalid_answer_is_reported_without_the_address(tmp_path: Path) -> None:
    """The other side may not speak HTTP."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 S3CRET\r\n\r\n")
        await writer.drain()
        writer.close()

    async def sleep(_: float) -> None:
        pass

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        told = job(tmp_path, f'webhook = "http://127.0.0.1:{port}/hooks/S3CRET"')
        said = await asyncio.to_thread(send_notification, told, RECORD, tmp_path, sleep=sleep)
    assert said.startswith("failed: 127.0.0.1: ")
    assert "S3CRET" not in said


async def test_one_of_two_that_fails_keeps_the_other_from_nothing(tmp_path: Path) -> None:
    """Both are attempted, and both are reported."""
    async with chat(tmp_path, 200) as (service, _):
        of_both = job(
            tmp_path,
            'command = ["no-such-program"]',
            (tmp_path / "nightly.toml").read_text().splitlines()[-1],
        )
        said = await asyncio.to_thread(send_notification, of_both, RECORD, tmp_path)
    assert said == "127.0.0.1; failed: no-such-program: No such file or directory"
    assert len(service.got) == 1


async def test_a_running_loop_does_not_mind(tmp_path: Path) -> None:
    """The scheduler sends notifications from within a running loop."""
    dead = job(tmp_path, 'webhook = "http://127.0.0.1:1/"')

    async def sleep(_: float) -> None:
        pass

    assert (
        send_notification(dead, RECORD, tmp_path, sleep=sleep)
        == "failed: 127.0.0.1: ClientConnectorError"
    )
