"""The history: runs of the command line, with verify and undo as for those of the page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from programs import seed_id, write_rows
from task_requests import ended, planned, post
from web_requests import Client
from web_server import WebServer, web_server

from bulk_reset.engine.options import Options
from bulk_reset.web.pages import Settings
from bulk_reset.workflows.run import run

NAME = "七月 updates"


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WebServer]:
    monkeypatch.delenv("FLASHDUTY_APP_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings(Options(), tmp_path / "page.json", state_dir=tmp_path / "state")
    async with web_server(tmp_path / "folder", settings) as started:
        yield started


@pytest_asyncio.fixture
async def client(server: WebServer) -> Client:
    return await server.login()


def run_sheet(folder: Path, state: Path) -> Path:
    """Run a sheet in a folder as the command line does; return its report."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[seed_id(n), f"Renamed {n}"] for n in (1, 2)]
    sheet = write_rows(folder / f"{NAME}.csv", ["id", "title"], *rows)
    totals = run(sheet, Options(sandbox_state=state, note="CHG-7"))
    assert totals.report
    return Path(totals.report)


async def opened_run(client: Client, address: str) -> str:
    """Open a run of the history; return the address of the task that shows it."""
    answer = await post(client, address)
    return str(answer.headers["HX-Redirect"]).removesuffix("/result")


def run_addresses(html: str) -> list[str]:
    return re.findall(r'hx-post="(/runs/[^"]+)"', html)


async def test_a_run_of_the_command_line_is_verified_and_undone_on_the_page(
    server: WebServer, client: Client, tmp_path: Path
) -> None:
    """Its report is found in a folder below, and it is sent to the sandbox that it used."""
    report = run_sheet(server.folder / "july", tmp_path / "own.json")
    text = (await client.get("/history")).text
    assert f"{NAME}.sandbox" in text
    assert "CHG-7" in text
    (address,) = run_addresses(text)
    task = await opened_run(client, address)
    text = (await client.get(f"{task}/result")).text
    assert str(report) in text
    assert f"--sandbox-state {tmp_path / 'own.json'}" in text
    assert (await client.get(f"{task}/file/answer")).status == 200
    await post(client, f"{task}/verify")
    assert (await ended(client, task))["error"] == ""
    assert "all verified" in (await client.get(f"{task}/result")).text
    await post(client, f"{task}/undo")
    assert (await ended(client, task))["error"] == ""
    assert "the previous values are restored" in (await client.get(f"{task}/result")).text
    assert await opened_run(client, address) == task
    text = (await client.get("/history")).text
    assert "undone" in text
    assert run_addresses(text) == [address]
    assert (await post(client, f"{task}/destination", destination="account")).status == 400
    assert (await post(client, f"{task}/destination", destination="sandbox")).status == 409
    assert (await post(client, "/runs/0123/open")).status == 404


async def test_the_terminal_sends_what_the_page_has_planned(
    server: WebServer, client: Client, tmp_path: Path
) -> None:
    """The command that the run page shows writes the report that the page reads."""
    task = await planned(client, *(f"{seed_id(n)},Renamed {n},Info" for n in (1, 2, 3)))
    await post(client, f"{task}/chosen")
    plan = server.folder / task.rpartition("/")[2] / "x.plan"
    command = f"bulk-reset run {plan} --sandbox-state {tmp_path / 'page.json'}"
    assert command in (await client.get(f"{task}/run")).text
    assert run(plan, Options(sandbox_state=tmp_path / "page.json")).exit_code == 0
    text = (await client.get(f"{task}/result")).text
    assert "All rows are done" in text
    text = (await client.get("/history")).text
    assert "3 updated" in text
    assert run_addresses(text) == []


async def test_a_damaged_audit_is_named_and_the_others_are_shown(
    server: WebServer, client: Client, tmp_path: Path
) -> None:
    """One file that a person has edited does not hide the history."""
    report = run_sheet(server.folder, tmp_path / "own.json")
    audit = report.with_name(report.name.replace(".report.csv", ".audit.jsonl"))
    audit.write_bytes(audit.read_bytes().replace(b'"exit_code":', b'"rows": "many", "exit_code":'))
    text = (await client.get("/history")).text
    assert f"{NAME}.sandbox" in text
    assert "the line may have been edited" in text
