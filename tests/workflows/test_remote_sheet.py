"""Sheets at an address: copied with a record, never sent unplanned, no secret shown."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hostile_server import PEM
from ods_files import row, table, write_ods
from programs import seed_id
from web_files import WebFiles, web_files

from bulk_reset.core.errors import InputError
from bulk_reset.core.file_hash import hash_file
from bulk_reset.sheets.open_sheet import open_sheet
from bulk_reset.sheets.remote import download as downloading
from bulk_reset.sheets.remote.address import RemoteAddress
from bulk_reset.workflows.remote_sheet import PLAN, RUN, fetch, source_of

Command = Callable[..., subprocess.CompletedProcess[str]]
ROWS = f"id,title\n{seed_id(1)},磁盘已满\n".encode()
OTHER = f"id,title\n{seed_id(1)},Queue full\n".encode()
SECRET = "s3cr3t"  # noqa: S105  (a value to search for)


@pytest.fixture
def web() -> Iterator[WebFiles]:
    with web_files() as files:
        yield files


def refusal(address: str, folder: Path, read_for: str = RUN) -> str:
    with pytest.raises(InputError) as caught:
        fetch(address, folder, read_for)
    assert SECRET not in str(caught.value)
    return str(caught.value)


# --- Addresses -------------------------------------------------------------------------------

EXPORT = "https://docs.google.com/spreadsheets/d/1aB-c_d2345678/export?format=csv"


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        (
            f"https://u:{SECRET}@x.example/a/b.csv?sig={SECRET}#{SECRET}",
            f"https://u:{SECRET}@x.example/a/b.csv?sig={SECRET}#{SECRET}",
            "https://x.example/a/b.csv",
        ),
        ("http://localhost:8080/a.csv", "http://localhost:8080/a.csv", None),
        ("s3://bucket/故障/a.xlsx", None, "s3://bucket/故障/a.xlsx"),
        (
            "https://docs.google.com/spreadsheets/d/1aB-c_d2345678/edit?usp=sharing#gid=42",
            f"{EXPORT}&gid=42",
            "https://docs.google.com/spreadsheets/d/1aB-c_d2345678/export",
        ),
        (
            "https://docs.google.com/spreadsheets/u/0/d/1aB-c_d2345678/edit?gid=7#gid=7",
            *(f"{EXPORT}&gid=7", None),
        ),
        ("https://docs.google.com/spreadsheets/d/1aB-c_d2345678/", EXPORT, None),
    ],
)
def test_address_is_read_completely_and_shown_without_its_secrets(
    text: str, url: str | None, shown: str | None
) -> None:
    """A user, a query and a fragment are used, and shown nowhere."""
    address = RemoteAddress.of(text)

    assert url in {None, address.url}
    assert shown in {None, address.shown}
    assert SECRET not in repr(address)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "http://x.example/a.csv?k=s3cr3t",
            "http://x.example/a.csv: is read unencrypted. Use https://.",
        ),
        (
            "ftp://u:s3cr3t@x.example/a.csv",
            "ftp: sheets are not read from such an address. Use https://, s3:// or a file.",
        ),
        (
            "file:///etc/passwd",
            "file: sheets are not read from such an address. Use https://, s3:// or a file.",
        ),
        (
            "https://",
            "https://: not an address. Use for example https://example.com/incidents.csv.",
        ),
        (
            "https://x.example/a b?s3cr3t",
            "https://: not an address. Use for example https://example.com/incidents.csv.",
        ),
    ],
)
def test_address_that_is_not_read_is_a_clear_error(text: str, error: str, tmp_path: Path) -> None:
    """No other type of address, and nothing unencrypted."""
    assert refusal(text, tmp_path) == error


# --- Reading ---------------------------------------------------------------------------------


def test_sheet_is_copied_with_a_record_of_its_origin(web: WebFiles, tmp_path: Path) -> None:
    """The copy has the bytes of the address; its record has no secret."""
    web.put("/七月/incidents.csv", b"", status=302, Location="/real/x?n=1")
    web.put("/%E4%B8%83%E6%9C%88/incidents.csv", b"", status=302, Location="/real/x?n=1")
    web.put("/real/x", ROWS)
    host = web.url.removeprefix("http://")
    notices: list[str] = []
    address = f"http://me:{SECRET}@{host}/七月/incidents.csv?sig={SECRET}"
    copy = fetch(address, tmp_path, RUN, notices.append)
    record = json.loads((tmp_path / "incidents.remote.csv.source.json").read_text())

    assert (copy, copy.read_bytes()) == (tmp_path / "incidents.remote.csv", ROWS)
    shown, sha256 = f"http://{host}/七月/incidents.csv", hash_file(copy).sha256
    assert record.pop("read_at").endswith("+00:00")
    assert record == {
        "address": shown,
        "sha256": sha256,
        "size_bytes": len(ROWS),
        "read_for": "run",
    }
    assert notices == [f"{shown}: {len(ROWS)} bytes, SHA-256 {sha256[:16]}…, kept as {copy}"]
    assert web.asked[0][1].startswith("Basic ")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("incidents.remote.csv", "incidents.remote.csv.source.json")
    }
    assert copy.stat().st_mode & 0o077 == 0


def test_ending_is_that_of_the_content(web: WebFiles, tmp_path: Path) -> None:
    """A download link has no name of a file."""
    ods = write_ods(tmp_path / "x", table(row("id", "title"))).read_bytes()

    found = [
        fetch(web.put(path, content), tmp_path, RUN).name
        for path, content in (("/download", ROWS), ("/a.tsv", b"id\ttitle\n"), ("/b.csv", ods))
    ]
    assert found == ["download.remote.csv", "a.remote.tsv", "b.remote.ods"]


FIX = "Use a link that needs no sign-in, or download the sheet and use the file."
ITSELF = "Use the address of the file itself."
LATER = "Try again later, or download the sheet and use the file."
PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"


@pytest.mark.parametrize(
    ("status", "headers", "content", "error"),
    [
        (404, {}, b"", "not found (HTTP 404). Check the address."),
        (
            403,
            {},
            b"",
            f"access denied (HTTP 403). {FIX}",
        ),
        (500, {}, b"", "cannot be read (HTTP 500). Try again later."),
        (200, {}, b"", "the file is empty. Check the address."),
        (
            200,
            {},
            PAGE,
            f"the answer is a web page, not a sheet. It may be a page that asks to sign in. {FIX}",
        ),
        (
            200,
            {},
            b"%PDF-1.7\n",
            "the file is a PDF, not a sheet. Export the table as .xlsx or .csv.",
        ),
        (
            302,
            {"Location": f"http://x.example/y?{SECRET}"},
            b"",
            f"redirects to http://x.example/y, which is not encrypted. {ITSELF}",
        ),
        (
            302,
            {"Location": "/a.csv"},
            b"",
            f"redirects too often. {ITSELF}",
        ),
    ],
)
def test_answer_that_is_no_sheet_is_a_clear_error(
    web: WebFiles,
    tmp_path: Path,
    status: int,
    headers: dict[str, str],
    content: bytes,
    error: str,
) -> None:
    """Nothing is left behind, and no part of the query is shown."""
    address = web.put("/a.csv", content, status, **headers)
    found = refusal(f"{address}?sig={SECRET}", tmp_path)

    assert found == f"{address}: {error}"
    assert list(tmp_path.iterdir()) == []


def test_page_in_place_of_a_google_sheet_says_how_to_share_it(tmp_path: Path) -> None:
    """Google answers with a page to sign in, and HTTP 200."""
    (tmp_path / "x").write_bytes(PAGE)
    address = RemoteAddress.of("https://docs.google.com/spreadsheets/d/1aB-c_d2345678/edit")

    with pytest.raises(InputError) as caught:
        downloading.ending_of(address, tmp_path / "x")
    assert str(caught.value) == (
        "https://docs.google.com/spreadsheets/d/1aB-c_d2345678/export: the answer is a web page, "
        "not a sheet. It may be a page that asks to sign in. Share the sheet with "
        '"Anyone with the link", or download it and use the file.'
    )


def test_a_server_that_is_down_is_said(tmp_path: Path) -> None:
    """With the system's reason, and without the query."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens there
        address = f"https://127.0.0.1:{taken.getsockname()[1]}/a.csv"
        found = refusal(f"{address}?sig={SECRET}", tmp_path)
    assert found.startswith(f"{address}: cannot be read (Connect call failed")
    assert found.endswith(". Check the address and the network.")


def test_download_beyond_a_limit_ends(
    web: WebFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and time are limited, whatever the server sends."""
    address = web.put("/a.csv", ROWS)
    monkeypatch.setattr(downloading, "TIMEOUT_S", 0.0)
    monkeypatch.setattr(downloading, "MAX_BYTES", 5)
    large = refusal(address, tmp_path)
    monkeypatch.setattr(downloading, "MAX_BYTES", 500)
    monkeypatch.setattr(downloading, "TIMEOUT_S", -1.0)
    slow = refusal(address, tmp_path)

    assert [large, slow] == [
        f"{address}: larger than 0 MB. Download the sheet and use the file.",
        f"{address}: no complete answer in time. {LATER}",
    ]


def test_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that no one vouches for is not read; one that is trusted is."""
    (tmp_path / "pem").write_text(PEM)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "pem")
    with web_files(tls) as files:
        address = files.put("/a.csv", ROWS)
        assert refusal(address, tmp_path).startswith(
            f"{address}: its certificate cannot be verified. Set SSL_CERT_FILE"
        )
        trusting = ssl.create_default_context(cafile=str(tmp_path / "pem"))
        trusting.check_hostname = False
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
        assert fetch(address, tmp_path, RUN).read_bytes() == ROWS
        files.put("/b.csv", b"", 302, Location="http://127.0.0.1:1/a.csv")
        assert "which is not encrypted" in refusal(f"{files.url}/b.csv", tmp_path)


def test_store_is_read_by_fsspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """s3:// needs an extra; errors of its library show no text of theirs."""

    class Store(MemoryFileSystem):
        protocol = "s3"
        store: dict[str, object] = {}  # noqa: RUF012  (the library's own)

    monkeypatch.setitem(vars(sys.modules["fsspec.registry"])["_registry"], "s3", Store)
    with Store().open("s3://bucket/a.csv", "wb") as file:
        file.write(ROWS)

    assert fetch("s3://bucket/a.csv", tmp_path, RUN).read_bytes() == ROWS
    assert refusal("s3://bucket/b.csv", tmp_path) == (
        "s3://bucket/b.csv: not found. Check bucket and name."
    )
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert refusal("s3://bucket/a.csv", tmp_path) == (
        "s3://bucket/a.csv: needs the extra 'remote'. Install it: pip install 'bulk-reset[remote]'."
    )


# --- Changes ---------------------------------------------------------------------------------


def test_sheet_that_changed_since_it_was_planned_is_not_sent(web: WebFiles, tmp_path: Path) -> None:
    """What was planned is what is sent; a new plan accepts the change."""
    address = web.put("/a.csv", ROWS)
    copy = fetch(address, tmp_path, PLAN)
    planned = source_of(copy)
    web.put("/a.csv", OTHER)
    assert planned is not None
    assert refusal(address, tmp_path) == (
        f"{address}: changed since it was planned ({planned.read_at}); nothing was sent. Plan it "
        f"again, or run {copy}, which is what was planned."
    )
    assert (copy.read_bytes(), source_of(copy)) == (ROWS, planned)
    notices: list[str] = []
    for read_for in (PLAN, RUN):
        fetch(address, tmp_path, read_for, notices.append)
    assert copy.read_bytes() == OTHER
    assert notices[0] == f"{address}: changed since it was read ({planned.read_at})"
    assert len(notices) == 3


def test_other_file_of_the_name_is_not_replaced(web: WebFiles, tmp_path: Path) -> None:
    """Edits in the copy, and files of the user, are never lost."""
    address = web.put("/a.csv", ROWS)
    copy = fetch(address, tmp_path, RUN)
    copy.write_bytes(OTHER)
    assert refusal(address, tmp_path) == (
        f"{copy}: edited since it was read from {address}. Run {copy} itself to send the edits, or "
        "rename it to read the address again."
    )
    assert source_of(copy) is None
    other = web.put("/b/a.csv", ROWS)
    assert refusal(other, tmp_path) == (
        f"{copy}: already exists and is of {address}. Move or rename it; the copy needs that name."
    )
    copy.with_name(f"{copy.name}.source.json").write_text("[]")
    assert refusal(address, tmp_path) == (
        f"{copy}: already exists and was not read from this address. Move or rename it; the copy "
        "needs that name."
    )
    assert copy.read_bytes() == OTHER


# --- Commands and jobs -----------------------------------------------------------------------


def test_commands_read_plan_send_and_resume_an_address(
    command: Command, web: WebFiles, tmp_path: Path
) -> None:
    """check, plan and run; the same run again sends nothing; a change after a plan is noticed."""
    shown = web.put("/july.csv", ROWS)
    address = f"{shown}?sig={SECRET}"
    state = ("--sandbox-state", "s.json")
    check = command("check", address)
    planned = command("plan", address, *state)
    assert (check.returncode, planned.returncode) == (0, 0), planned.stderr
    assert planned.stdout.endswith("Next: bulk-reset run july.remote.csv --sandbox-state s.json\n")
    web.put("/july.csv", OTHER)
    refused = command("run", address, "--yes", *state)
    assert (refused.returncode, "changed since it was planned" in refused.stderr) == (2, True)
    web.put("/july.csv", ROWS)
    first = command("run", address, "--yes", "--log-file", "log.jsonl", *state)
    again = command("run", address, "--yes", *state)
    audit = (tmp_path / "july.remote.sandbox.audit.jsonl").read_text()
    line = json.loads(audit.splitlines()[1])

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert "resumed; 1 of 1 row already done" in again.stderr
    assert line["source"]["address"] == shown
    texts = [one.stdout + one.stderr for one in (check, planned, refused, first, again)]
    files = [path.read_text("utf-8") for path in tmp_path.iterdir() if path.is_file()]
    assert SECRET not in "".join(texts + files)


def test_address_in_place_of_a_file_shows_no_secret() -> None:
    """What takes files alone says so, without the query."""
    with pytest.raises(InputError) as caught, open_sheet(f"https://x.example/a.csv?{SECRET}"):
        pass
    assert str(caught.value) == (
        "https://x.example/a.csv: an address, not a file. Copy the sheet first: "
        "bulk_reset.workflows.remote_sheet.fetch, or use run, plan or check."
    )


def test_address_that_a_pull_would_write_is_refused(command: Command) -> None:
    """A pull writes a file."""
    refused = command(
        "run", "https://x.example/a.csv", "--from-pull", "--since 1d", "--set", "title=x"
    )

    assert (refused.returncode, refused.stderr.splitlines()[0]) == (
        2,
        "error: --from-pull: writes the sheet, which is an address. Use a file name.",
    )


def test_job_sends_the_sheet_of_an_address(command: Command, web: WebFiles, tmp_path: Path) -> None:
    """The copy is in the run's folder; what is shown and recorded has no secret."""
    shown = web.put("/july.csv", ROWS)
    job = tmp_path / "nightly.toml"
    job.write_text(
        f'[source]\nsheet = "{shown}?sig={SECRET}"\n[api]\nsandbox_state = "{tmp_path}/s.json"\n'
    )
    check = command("job", "check", "nightly.toml")
    run = command("job", "run", "nightly.toml", "--state-dir", "state")

    assert (check.returncode, run.returncode) == (0, 0), check.stderr + run.stderr
    assert f"sheet {shown}" in check.stdout
    (record,) = (tmp_path / "state").rglob("run.json")
    assert json.loads(record.read_text())["source"] == shown
    assert (record.parent / "july.remote.csv").read_bytes() == ROWS
    assert SECRET not in check.stdout + run.stdout + run.stderr + record.read_text()
    job.write_text(job.read_text().replace("[api]", 'afterwards = "done"\n[api]'))
    wrong = command("job", "check", "nightly.toml")
    assert (wrong.returncode, "the sheet is an address" in wrong.stderr) == (2, True)
