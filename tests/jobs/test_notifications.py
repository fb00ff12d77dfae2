"""Notifications contain the result of a run but never the app key; a failure is only reported."""

from __future__ import annotations

import asyncio
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

from bulk_reset.jobs.job import Job
from bulk_reset.jobs.job_file import read_job
from bulk_reset.jobs.notifications import notification_of, send_notification
from bulk_reset.jobs.run_record import ENDED, MISSED, RunRecord

KEY = "k3y-of-nobody-0123456789"
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


# --- What is told ----------------------------------------------------------------------------


def test_the_summary_can_be_read_by_people_and_programs(tmp_path: Path) -> None:
    """Times as texts, absolute paths, and a sentence for chat services."""
    payload = notification_of(RECORD, tmp_path)
    assert payload["text"] == "nightly: 2 of 3 rows done; «née» (exit code 1)"
    assert (payload["due_at"], payload["ended_at"]) == (
        "2026-11-28T02:30:00+00:00",
        "2026-11-28T02:31:01+00:00",
    )
    assert (payload["deadline_at"], payload["last_due_at"], payload["page"]) == (None, None, "")
    assert (payload["sheet"], payload["report"]) == (
        str(tmp_path / "in.csv"),
        str(tmp_path / "in.report.csv"),
    )
    assert (payload["rows"], payload["counts"]) == (3, {"updated": 2, "failed": 1})
    assert json.loads(json.dumps(payload)) == payload


def test_a_job_without_notify_sends_no_notification(tmp_path: Path) -> None:
    """That is no failure."""
    (tmp_path / "nightly.toml").write_text('[source]\nsheet = "in.csv"\n')
    assert send_notification(read_job(tmp_path / "nightly.toml"), RECORD, tmp_path) == ""


# --- A command -------------------------------------------------------------------------------

REPEAT = """
import json, os, sys
told = {"arguments": sys.argv[1:], "input": json.load(sys.stdin), "environment": dict(os.environ)}
with open("received.json", "w") as file:
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
    text = (tmp_path / "received.json").read_text()
    payload = json.loads(text)
    assert payload["arguments"] == ["an argument"]
    assert payload["input"] == notification_of(RECORD, folder)
    environment = payload["environment"]
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
    payload = json.loads((tmp_path / "received.json").read_text())
    assert payload["input"]["text"] == "nightly: 3 runs missed: too late"
    assert payload["environment"]["BULK_RESET_EXIT_CODE"] == ""


def test_half_a_surrogate_pair_does_not_prevent_a_notification(tmp_path: Path) -> None:
    """A name from a broken sheet, or of a file that is not UTF-8."""
    odd = RunRecord("x", "nightly", "x", NIGHT, ENDED, words="\ud800 and \udcff", exit_code=0)
    assert send_notification(program(tmp_path, REPEAT), odd, tmp_path) == sys.executable
    payload = json.loads((tmp_path / "received.json").read_text())
    assert payload["input"]["words"] == "\ud800 and \udcff"


FAIL = r"""
import sys
sys.stderr.buffer.write(b"x" * 500 + b"\n\x1b[31mno \xff mail\n")
sys.exit(5)
"""


def test_a_failing_command_is_reported_with_its_last_output(tmp_path: Path) -> None:
    """On one line, its end rather than its beginning, and nothing in it that acts."""
    message = send_notification(program(tmp_path, FAIL), RECORD, tmp_path)
    assert message.startswith(f"failed: {sys.executable}: exit code 5: xxx")
    assert message.endswith("x \N{REPLACEMENT CHARACTER}[31mno \N{REPLACEMENT CHARACTER} mail")
    assert len(message) < 200 + 100


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ('["no-such-program"]', "failed: no-such-program: No such file or directory"),
        ('["./sent.txt"]', "failed: ./sent.txt: Permission denied"),
        (r'["sh", "-c", "a\u0000b"]', "failed: sh: embedded null byte"),
    ],
)
def test_a_command_that_cannot_start_is_reported(
    command: str, expected: str, tmp_path: Path
) -> None:
    """In the words of the system."""
    (tmp_path / "sent.txt").write_text("x")
    assert send_notification(job(tmp_path, f"command = {command}"), RECORD, tmp_path) == expected


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
    monkeypatch.setattr("bulk_reset.jobs.notifications._TIMEOUT_S", 0)
    payload = program(tmp_path, HANG)

    def communicate(self: Any, *_: object, timeout: float) -> None:  # noqa: ANN401
        while not (tmp_path / "child").exists():
            assert self.poll() is None
        raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)
    assert (
        send_notification(payload, RECORD, tmp_path)
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
    payload = job(tmp_path, "command = ['sh', '-c', 'tail -f /dev/null & echo $! > child']")
    assert send_notification(payload, RECORD, tmp_path) == "sh"
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
    elsewhere: int = 0
    waits_s: list[float] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Record what was received."""
        self.got.append({"query": request.query_string, "body": await request.json()})
        status = self.statuses.pop(0)
        return web.Response(status=status, headers={"Location": "/elsewhere"}, text="S3CRET")

    async def redirected(self, _: web.Request) -> web.Response:
        """Record a request that must not happen."""
        self.elsewhere += 1
        return web.Response()

    async def sleep(self, seconds: float) -> None:
        """Note how long would have been waited."""
        self.waits_s.append(seconds)


Tell = Callable[[], Awaitable[str]]


@asynccontextmanager
async def chat(folder: Path, *statuses: int) -> AsyncIterator[tuple[Chat, Tell]]:
    """Run a chat service, and return a job that notifies it."""
    payload = Chat(list(statuses))
    app = web.Application()
    app.router.add_post("/hooks/S3CRET", payload.answer)
    app.router.add_route("*", "/elsewhere", payload.redirected)
    async with TestServer(app) as server:
        address = str(server.make_url("/hooks/S3CRET?token=S3CRET"))
        of_it = job(folder, f'webhook = "{address}"')
        yield (
            payload,
            lambda: asyncio.to_thread(
                send_notification, of_it, RECORD, folder, sleep=payload.sleep
            ),
        )


async def test_an_address_gets_it_as_json(tmp_path: Path) -> None:
    """One POST; only the host of the address is shown."""
    async with chat(tmp_path, 200) as (service, notify):
        assert await notify() == "127.0.0.1"
    assert service.got == [{"query": "token=S3CRET", "body": notification_of(RECORD, tmp_path)}]
    assert service.waits_s == []


@pytest.mark.parametrize(
    ("statuses", "expected", "waits_s"),
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
    statuses: tuple[int, ...], expected: str, waits_s: list[float], tmp_path: Path
) -> None:
    """Up to three attempts; redirects are not followed."""
    async with chat(tmp_path, *statuses) as (service, notify):
        assert await notify() == expected
    assert len(service.got) == len(statuses)
    assert (service.waits_s, service.elsewhere) == (waits_s, 0)


async def test_an_unreachable_webhook_is_reported_without_its_address(tmp_path: Path) -> None:
    """The request is retried, then reported as failed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    payload, waits_s = job(tmp_path, f'webhook = "http://127.0.0.1:{port}/hooks/S3CRET"'), []

    async def sleep(seconds: float) -> None:
        waits_s.append(seconds)

    message = await asyncio.to_thread(send_notification, payload, RECORD, tmp_path, sleep=sleep)
    assert message == "failed: 127.0.0.1: ClientConnectorError"
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
        payload = job(tmp_path, f'webhook = "http://127.0.0.1:{port}/hooks/S3CRET"')
        message = await asyncio.to_thread(send_notification, payload, RECORD, tmp_path, sleep=sleep)
    assert message.startswith("failed: 127.0.0.1: ")
    assert "S3CRET" not in message


async def test_one_of_two_that_fails_keeps_the_other_from_nothing(tmp_path: Path) -> None:
    """Both are attempted, and both are reported."""
    async with chat(tmp_path, 200) as (service, _):
        of_both = job(
            tmp_path,
            'command = ["no-such-program"]',
            (tmp_path / "nightly.toml").read_text().splitlines()[-1],
        )
        message = await asyncio.to_thread(send_notification, of_both, RECORD, tmp_path)
    assert message == "127.0.0.1; failed: no-such-program: No such file or directory"
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
