"""What the pages of a task do with their forms: keys, tabs, bad numbers, the files of a run."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import openpyxl
import pytest
import pytest_asyncio
from programs import seed_id
from web_requests import Answer, Client
from web_server import WebServer, web_server

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WebServer]:
    monkeypatch.delenv("FLASHDUTY_APP_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    async with web_server(tmp_path / "tasks") as started:
        yield started


@pytest_asyncio.fixture
async def client(server: WebServer) -> Client:
    return await server.login()


async def post(client: Client, path: str, **fields: str) -> Answer:
    return await client.send("POST", path, FORM, urlencode(fields).encode())


async def ended(client: Client, task: str) -> dict[str, object]:
    """Wait until the work of a task has ended; a question is answered with yes."""
    while True:
        state = json.loads((await client.get(f"{task}/work")).text)
        if state["state"] == "asking":
            await post(client, f"{task}/answer")
        elif state["state"] != "working":
            return dict(state)
        await asyncio.sleep(0.02)


async def opened(client: Client, *rows: str) -> str:
    """Drop a sheet; return the address of its task."""
    text = "\r\n".join(["id,title,severity", *rows, ""])
    head = 'Content-Disposition: form-data; name="sheet"; filename="x.csv"'
    body = f"--b\r\n{head}\r\nContent-Type: text/csv\r\n\r\n{text}\r\n--b--\r\n".encode()
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await client.send("POST", "/sheets", form, body)
    return str(answer.headers["HX-Redirect"]).removesuffix("/columns")


async def test_a_key_is_saved_for_this_user_only_and_never_shown(
    server: WebServer, client: Client
) -> None:
    """It is in a file that only its owner reads; pages name the file."""
    task = await opened(client, f"{seed_id(1)},Renamed 1,")
    assert (await post(client, "/key", key="  ")).status == 400
    assert (await post(client, "/key", key="s3cret-app-key-of-this-test")).status == 204
    path = server.folder / "app.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text(encoding="utf-8") == "s3cret-app-key-of-this-test\n"
    assert (await post(client, f"{task}/destination", destination="account")).status == 204
    text = (await client.get(f"{task}/columns")).text
    assert str(path) in text
    assert "s3cret" not in text


async def test_a_form_of_an_older_page_changes_nothing(client: Client) -> None:
    """Another tab has changed the sheet since: the text says so."""
    task = await opened(client, f"{seed_id(1)},Renamed 1,")
    fields = {"version": "1", "column-0": "incident_id", "column-1": "title"}
    assert (await post(client, f"{task}/columns", **fields)).status == 204
    await ended(client, task)
    answer = await post(client, f"{task}/columns", **fields)
    assert (answer.status, "changed in another tab" in answer.text) == (409, True)


async def test_errors_are_in_the_language_of_the_user(client: Client) -> None:
    """What the page reports itself is translated; an error from below gets a lead-in."""
    client.headers["Accept-Language"] = "zh-CN"
    answer = await post(client, "/tasks/20260101-000000-aaaaaa/check")
    assert (answer.status, answer.text) == (404, "没有这个表格。它可能已被删除。\n")
    task = await opened(client, f"{seed_id(1)},Renamed 1,")
    answer = await post(client, f"{task}/run", canary="many")
    assert (answer.status, answer.text) == (400, "先发送的行数不是 1000 以内的数字。\n")
    answer = await post(client, "/rule", rule_field="title", rule="{{ title ")
    assert "程序报告" in answer.text
    await post(client, f"{task}/columns", **{"column-0": "incident_id", "column-1": "title"})
    await ended(client, task)
    await post(client, f"{task}/plan")
    await ended(client, task)
    await post(client, f"{task}/run", canary="1")
    await ended(client, task)
    assert "已更新" in (await client.get(f"{task}/result")).text


@pytest.mark.parametrize("value", ["x", "1e3", "", "9" * 20, "-1", "5"])
async def test_a_cell_that_does_not_exist_is_refused(client: Client, value: str) -> None:
    """A number that is none, or of no row or column, is an error of the request."""
    task = await opened(client, f"{seed_id(1)},x,")
    await post(client, f"{task}/columns", **{"column-0": "incident_id", "column-1": "title"})
    await ended(client, task)
    for row, position in ((value, "1"), ("2", value)):
        fields = {"row": row, "position": position, "text": "Renamed"}
        assert (await post(client, f"{task}/cell", **fields)).status == 400


async def test_a_sheet_is_fixed_run_and_undone_by_requests_alone(client: Client) -> None:
    """The story without a browser: values replaced, rows deselected, answer, undo with its plan."""
    rows = [f"{seed_id(n)},Renamed {n},P1" for n in range(1, 5)]
    task = await opened(client, *rows, f"{seed_id(5)},x,Info")
    columns = {"column-0": "incident_id", "column-1": "title", "column-2": "incident_severity"}
    await post(client, f"{task}/columns", **columns)
    await ended(client, task)
    text = (await client.get(f"{task}/errors")).text
    assert "5 invalid rows" in text
    assert "<option selected>Critical</option>" in text  # the fix of P1 is suggested
    await post(client, f"{task}/value", position="2", old="P1", text="Critical")
    answer = await post(client, f"{task}/cell", row="6", position="1", text="Renamed 5")
    assert answer.headers["HX-Refresh"] == "true"  # nothing is left to fix
    assert (await post(client, f"{task}/plan")).status == 204
    assert (await ended(client, task))["error"] == ""
    assert (await post(client, f"{task}/select", place="1", selected="0")).text == "4"
    text = (await client.get(f"{task}/plan?text=RENAMED+1")).text
    assert "Renamed 1" in text
    assert "4 / 5" in text
    for kind in ("html", "xlsx", "plan"):
        assert (await client.get(f"{task}/plan/file/{kind}")).status == 200
    assert (await post(client, f"{task}/run", canary="1", note="CHG-1")).status == 204
    assert (await ended(client, task))["error"] == ""
    text = (await client.get(f"{task}/result")).text
    assert "All rows are done" in text
    made = openpyxl.load_workbook(io.BytesIO((await client.get(f"{task}/file/answer")).body))
    assert "updated" in str([cell.value for row in made.active.iter_rows() for cell in row])
    assert (await post(client, f"{task}/undo")).status == 204
    assert (await ended(client, task))["error"] == ""
    text = (await client.get(f"{task}/result")).text
    assert "the previous values are restored" in text
    assert "All rows are done" not in text
    assert "undone" in (await client.get("/history")).text
