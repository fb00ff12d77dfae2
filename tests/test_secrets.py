"""The key is shown nowhere, whatever fails, and whatever repeats it."""

from __future__ import annotations

import asyncio
import html
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pandas as pd
import pytest
import rich.console
import rich.traceback
from programs import FAST, clean_environment, read_csv, run_python, seed_id

from bulk_reset import Options, run, run_frame, stream
from bulk_reset.api.client import open_client
from bulk_reset.api.credentials import KEY_VARIABLE, TOKEN_VARIABLE, AppKey, Credentials
from bulk_reset.core.errors import CredentialsError, RequestError, StoppedError

SECRET = "k3y/S3CRET+0123456789&'=="  # noqa: S105  (with what URLs, JSON and HTML escape)
PROXY_USER, PROXY_WORD = "proxy-user-17", "proxy-w0rd-17"


def forms(text: str) -> list[str]:
    """Return a text as programs write it when they repeat it."""
    percent = quote(text, safe="")
    lower = re.sub("%..", lambda found: found[0].lower(), percent)
    return [
        *(text, percent, lower, quote(percent, safe=""), quote(quote(lower, safe=""), safe="")),
        "".join(f"%{byte:02X}" for byte in text.encode()),
        "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in text),
        "".join(f"\\u{ord(c):04X}" for c in text),
        "".join(f"\\\\x{ord(c):02x}" for c in text),
        text.replace("/", r"\/").replace("'", r"\'"),
        *(html.escape(text), html.escape(html.escape(text))),
        "".join(c if c.isalnum() else f"&#{ord(c)};" for c in text),
        "".join(f"&#x{ord(c):X};" for c in text),
        text.replace("+", "&plus;").replace("/", "&sol;").replace("=", "&equals;"),
    ]


TRACES = (*forms(SECRET), "S3CRET", PROXY_USER, PROXY_WORD)


def traces_in(text: str) -> list[str]:
    return [trace for trace in TRACES if trace in text]


# --- A server that repeats what it gets ------------------------------------------------------


class Repeating(BaseHTTPRequestHandler):
    """Repeats the address, and the key in it, in all that an answer has room for."""

    protocol_version = "HTTP/1.1"
    connects: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    """The queries of the requests with an access token."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_CONNECT(self) -> None:
        """Refuse the tunnel."""
        Repeating.connects = (*Repeating.connects, self.requestline)
        self._send(407, b"no", ("Proxy-Authenticate", "Basic"))

    def do_POST(self) -> None:
        """Answer as the path or the incident asks for."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        parts = urlsplit(self.path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        [key] = [token] if token else parse_qs(parts.query)["app_key"]
        if token:
            Repeating.queries = (*Repeating.queries, parts.query)
        echo = " ".join([*forms(key), *forms(self.path)])
        kind = parts.path.split("/")[1]
        if kind != "rows":
            self._answer(kind, echo, echo)
        elif "incident_id" in body:
            self._answer(ROWS[int(body["incident_id"][-2:], 16) - 1], echo, echo)
        else:
            items = [{"incident_id": one, "title": echo} for one in body["incident_ids"]]
            self._send(200, as_json(request_id=echo, data={"items": items}))

    def _answer(self, kind: str, echo: str, header: str) -> None:
        cookie = ("Set-Cookie", f"app_key={header}")
        if kind == "success":
            self._send(200, as_json(request_id=echo, data={"echo": echo}), cookie)
        elif kind in {"message", "code", "id"}:
            error = {"code": "InvalidParameter", "message": "no"}
            error.update({kind: echo} if kind != "id" else {})
            found = {"request_id": echo} if kind == "id" else {}
            self._send(400, as_json(**found, error=error), ("Flashcat-Request-Id", header))
        elif kind == "page":
            self._send(500, f"<html>{echo}</html>".encode(), ("Server", header))
        elif kind == "redirect":
            self._send(307, b"", ("Location", self.path))
        elif kind == "cut":
            self.close_connection = True
        elif kind == "nonsense":
            self.wfile.write(f"HTTP/1.1 {header}\r\n{header}\r\n\r\n".encode())
            self.close_connection = True
        else:
            code, status = ("BadRequest", 200) if kind == "odd" else ("Unauthorized", 401)
            self._send(status, as_json(error={"code": code, "message": echo}))

    def _send(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def as_json(**values: object) -> bytes:
    return json.dumps(values).encode()


ROWS = ("success", "message", "code", "id", "odd", "page", "cut", "nonsense")
"""The ways of answering that end no run, one a row. Only the first is a success."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Serve until the last test of this file has ended; the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Repeating) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


# --- The command -----------------------------------------------------------------------------

CRASH = (
    "import bulk_reset.api.client as c, aiohttp, logging\n"
    "def read_answer(*_):\n"
    "    logging.getLogger('asyncio').error('never retrieved: ?app_key=%s', KEY)\n"
    "    raise {}('https://api/incident/reset?app_key=' + KEY + chr(27) + ']52;c;')\n"
    "c.read_answer = read_answer\n"
)
ENDINGS = {
    "rows": (1, ""),
    "unauthorized": (3, ""),
    "redirect": (3, ""),
    "proxy": (3, ""),
    "crash": (70, CRASH.format("RuntimeError")),
    "aiohttp-crash": (70, CRASH.format("aiohttp.InvalidURL")),
}
PLACES = {
    "environment": {"PYTHONASYNCIODEBUG": "1"},
    "file": {"PYTHONDEVMODE": "1"},
    "configuration": {},
    "token": {"PYTHONASYNCIODEBUG": "1"},
    "token file": {},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "place"),
    [
        *(("rows", place) for place in PLACES),
        ("unauthorized", "environment"),
        ("redirect", "configuration"),
        ("proxy", "file"),
        ("crash", "file"),
        ("crash", "configuration"),
        ("aiohttp-crash", "environment"),
        ("unauthorized", "token"),
        ("redirect", "token"),
        ("proxy", "token file"),
        ("crash", "token"),
        ("aiohttp-crash", "token"),
    ],
)
def test_the_key_is_in_no_output_and_no_file(
    ending: str, place: str, server: str, tmp_path: Path
) -> None:
    """Verbose, debugged, crashed or refused: no output and no file has it, however escaped."""
    code, patch = ENDINGS[ending]
    work, home, state = (tmp_path / name for name in ("work", "home", "state"))
    for folder in (work, home / ".flashduty", state):
        folder.mkdir(parents=True)
    lines = [f"{seed_id(n)},Renamed {n}" for n in range(1, len(ROWS) + 1)]
    (work / "incidents.csv").write_text("\n".join(["id,title", *lines]))
    address = "https://api.flashcat.invalid" if ending == "proxy" else f"{server}/{ending}"
    more = {**PLACES[place], "HOME": str(home), "XDG_STATE_HOME": str(state), "NO_PROXY": ""}
    for name in ("https_proxy", "HTTPS_PROXY"):
        more[name] = server.replace("//", f"//{PROXY_USER}:{PROXY_WORD}@")
    arguments = ["run", "incidents.csv", "-v", "--attempts", "1", "--patience", "0", *FAST]
    arguments += ["--log-file", "run.log", "--metrics-file", "run.prom"]
    arguments += ["--base-url", address] if place != "configuration" else []
    if place == "environment":
        more[KEY_VARIABLE] = SECRET
    elif place == "token":
        # It is preferred, so the key is not even sent.
        more |= {TOKEN_VARIABLE: SECRET, KEY_VARIABLE: "another-key"}
    elif place == "token file":
        (tmp_path / "token").write_text(SECRET + "\n")
        arguments += ["--access-token-file", str(tmp_path / "token")]
    elif place == "file":
        (tmp_path / "key").write_text(SECRET + "\n")
        arguments += ["--app-key-file", str(tmp_path / "key")]
    else:
        config = json.dumps({"app_key": SECRET, "base_url": address})  # which is YAML, too
        (home / ".flashduty" / "config.yaml").write_text(config)
    program = (
        f"import sys\n{patch.replace('KEY', repr(SECRET))}\n"
        "from bulk_reset.cli import main\nmain()\n"
    )
    done = run_python("-c", program, *arguments, folder=work, **more)
    assert done.returncode == code, done.stderr
    written = {"output": done.stdout, "errors": done.stderr}
    for path in (path for folder in (work, state) for path in folder.rglob("*")):
        content = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
        written[path.name] = f"{path.relative_to(tmp_path)}\n{content}"
    assert [(name, trace) for name in written for trace in traces_in(written[name])] == []
    assert "\x1b" not in done.stderr  # and no terminal obeys what an exception quotes
    assert json.loads(written["run.log"].splitlines()[-1])["exit_code"] == code
    assert f"bulk_reset_exit_code {code:.1f}" in written["run.prom"]
    report = read_csv(work / "incidents.report.csv")
    if ending == "rows":
        assert {line["incident_id"]: line["status"] for line in report} == {
            seed_id(n): "failed" if n > 1 else "updated" for n in range(1, len(ROWS) + 1)
        }
        assert "****" in done.stderr
    assert set(Repeating.queries) <= {""}
    if ending == "proxy":
        assert set(Repeating.connects) == {"CONNECT api.flashcat.invalid:443 HTTP/1.1"}


def test_no_option_takes_a_key() -> None:
    """Other users of the machine can read a command line, so it must not contain a key."""
    done = run_python("-m", "bulk_reset", "run", "--help")
    options = {word for word in done.stdout.split() if "key" in word and word.startswith("--")}
    assert options == {"--app-key-file", "--hmac-key-file"}


@pytest.mark.parametrize("signal_number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_crash_of_the_interpreter_leaves_no_memory_behind(
    signal_number: int, tmp_path: Path
) -> None:
    """A core file would have the key in it, so none is written, whatever the shell allows."""
    program = (
        "import os, resource, bulk_reset.cli\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        f"bulk_reset.cli.app = lambda **_: os.kill(os.getpid(), {int(signal_number)})\n"
        "bulk_reset.cli.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=clean_environment()
    )
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -os.WTERMSIG(status)
    assert (process.returncode, os.WCOREDUMP(status)) == (-signal_number, False)
    assert list(tmp_path.iterdir()) == []


# --- From Python -----------------------------------------------------------------------------


def shown_with_variables(error: BaseException) -> str:
    """Return an error as tools print it that show the variables of every frame.

    All but the test's own.
    """
    assert error.__traceback__ is not None
    error = error.with_traceback(error.__traceback__.tb_next)
    plain = traceback.TracebackException.from_exception(error, capture_locals=True)
    file = io.StringIO()
    limits = {"locals_max_length": None, "locals_max_string": None}
    pretty = rich.traceback.Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, max_frames=1_000, **limits
    )
    rich.console.Console(file=file, width=10_000).print(pretty)
    return "".join(plain.format()) + file.getvalue()


@pytest.mark.parametrize("kind", [*ROWS, "unauthorized", "redirect"])
async def test_an_error_of_a_request_has_no_key_in_its_variables(kind: str, server: str) -> None:
    """Even a traceback that shows every frame's variables can be shared."""
    credentials = Credentials(AppKey(SECRET), f"{server}/{kind}", "a test")
    async with open_client(credentials, connections=1, timeout_s=20) as client:
        requests = [client.list_by_ids([])]
        if kind != "success":  # which is no list
            requests.append(client.reset(json.dumps({"incident_id": seed_id(1)}).encode()))
        for request in requests:
            with pytest.raises(RequestError) as caught:
                await request
            shown = shown_with_variables(caught.value)
            assert "query" in shown or "body" in shown
            assert traces_in(shown) == []


def options(server: str, kind: str, **more: Path) -> Options:
    return Options(base_url=f"{server}/{kind}", patience_s=0, attempts=1, **more)


@pytest.mark.parametrize("kind", ["unauthorized", "redirect"])
async def test_what_ends_a_run_has_no_key_in_its_variables(
    kind: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for a program that calls it, in a loop of its own or not."""
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    change = {"incident_id": seed_id(1), "title": "Renamed"}
    with pytest.raises(StoppedError) as streamed:
        [outcome async for outcome in stream([change], options(server, kind))]
    with pytest.raises(StoppedError) as framed:
        run_frame(pd.DataFrame([change]), options(server, kind))
    for error in (streamed.value, framed.value):
        shown = shown_with_variables(error)
        assert "in run_frame" in shown or "in stream" in shown
        assert traces_in(shown) == []


@pytest.mark.parametrize("content", [f"{SECRET}\n{SECRET}", f"{SECRET} x", f"app_key: [{SECRET}"])
@pytest.mark.parametrize("place", ["file", "configuration"])
def test_a_key_that_is_not_taken_is_in_no_variable(
    content: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the one in the environment when the file that was named is gone or wrong."""
    (tmp_path / ".flashduty").mkdir()
    for path in (tmp_path / "key", tmp_path / ".flashduty" / "config.yaml"):
        path.write_text(content)
    (tmp_path / "incidents.csv").write_text("id,title\n1,Renamed\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    named = {"app_key_file": tmp_path / "key"} if place == "file" else {}
    monkeypatch.setenv(KEY_VARIABLE, SECRET if named else "")
    with pytest.raises(CredentialsError) as caught:
        run(tmp_path / "incidents.csv", Options(**named))
    assert traces_in(shown_with_variables(caught.value)) == []


async def test_no_log_has_the_key(
    server: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A complete log, also in asyncio's debug mode, can be shared."""
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    asyncio.get_running_loop().set_debug(True)
    caplog.set_level(logging.DEBUG)
    changes = [{"incident_id": seed_id(n), "title": "Renamed"} for n in range(1, len(ROWS) + 1)]
    outcomes = [outcome async for outcome in stream(changes, options(server, "rows"))]
    run_frame(pd.DataFrame(changes), options(server, "rows"))
    assert len(outcomes) == len(ROWS)
    assert "InvalidParameter" in caplog.text
    assert traces_in(caplog.text + repr(outcomes)) == []
