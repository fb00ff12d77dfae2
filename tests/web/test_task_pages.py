"""What the pages of a task do with their forms: keys, tabs, bad numbers, the files of a run."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import openpyxl
import pytest
import pytest_asyncio
from programs import seed_id
from task_requests import asked, ended, opened, planned, post
from web_requests import Client
from web_server import WebServer, web_server

from bulk_reset.api.credentials import DEFAULT_BASE_URL, AppKey, Credentials
from bulk_reset.core.plan import FieldPlan, RowPlan
from bulk_reset.engine.account import open_store
from bulk_reset.quota.permit_share import PermitShare
from bulk_reset.quota.windows import windows_of
from bulk_reset.web.work import WAITS, Work


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WebServer]:
    monkeypatch.delenv("FLASHDUTY_APP_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    async with web_server(tmp_path / "tasks") as started:
        yield started


@pytest_asyncio.fixture
async def client(server: WebServer) -> Client:
    return await server.login()


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
    assert (answer.status, answer.text) == (400, "金丝雀的行数不是 1000 以内的数字。\n")
    answer = await post(client, "/rule", rule_field="title", rule="{{ title ")
    assert "程序报告" in answer.text
    await post(client, f"{task}/columns", **{"column-0": "incident_id", "column-1": "title"})
    await ended(client, task)
    await post(client, f"{task}/plan")
    await ended(client, task)
    await post(client, f"{task}/run", canary="1")
    await ended(client, task)
    assert "已更新" in (await client.get(f"{task}/result")).text


@pytest.mark.parametrize(
    ("fields", "heading"),
    [({"pause": "1"}, "The run is paused"), ({}, "The run was stopped")],
    ids=["pause", "stop"],
)
async def test_a_run_that_is_ended_early_is_resumed_or_undone(
    fields: dict[str, str], heading: str, client: Client
) -> None:
    """Both keep what was sent and offer the rest; after a stop, undo is offered first."""
    task = await planned(client, *(f"{seed_id(n)},Renamed {n}," for n in (1, 2, 3)))
    await post(client, f"{task}/run", canary="1")
    assert await asked(client, task) == "Canary passed: 1 row sent and verified. 2 rows remain."
    [sent] = json.loads((await client.get(f"{task}/work")).text)["planned"]
    assert (sent["row"], sent["field"], sent["new"]) == (2, "title", "Renamed 1")
    await post(client, f"{task}/stop", **fields)
    assert (await ended(client, task))["error"] == ""
    text = (await client.get(f"{task}/run")).text
    assert heading in text
    assert ("Undo what was sent" in text) == (not fields)
    assert heading in (await client.get(f"{task}/result")).text
    assert ("paused" if fields else "stopped") in (await client.get("/history")).text
    await post(client, f"{task}/run", canary="0")
    assert (await ended(client, task))["error"] == ""
    assert "All rows are done" in (await client.get(f"{task}/result")).text


async def test_two_sheets_use_the_sandbox_one_after_the_other(client: Client) -> None:
    """Each would save its own incidents over those of the other; the second shows why it waits."""
    first = await planned(client, *(f"{seed_id(n)},Renamed {n}," for n in (1, 2)))
    second = await planned(client, *(f"{seed_id(n)},Renamed {n}," for n in (3, 4)))
    await post(client, f"{first}/run", canary="1")
    await asked(client, first)
    await post(client, f"{second}/run", canary="0")
    assert await asked(client, second, "waiting") == WAITS
    await post(client, f"{first}/answer")
    for task in (first, second):
        assert (await ended(client, task))["error"] == ""
        await post(client, f"{task}/verify")
        await ended(client, task)
        assert "all verified" in (await client.get(f"{task}/result")).text


async def test_duplicates_are_listed_with_the_row_that_is_sent(client: Client) -> None:
    """Which rows, why, and beside which."""
    rows = [f"{seed_id(1)},Renamed 1,", f"{seed_id(2)},Renamed 2,", f"{seed_id(1)},Renamed 1,"]
    task = await planned(client, *rows)
    text = (await client.get(f"{task}/errors")).text
    assert "1 row repeats another one and will not be sent" in text
    assert re.findall(r'class="number">(4)</th><td class="id">(\w+)</td><td>([^<]*)', text) == [
        ("4", seed_id(1), "duplicate of row 2")
    ]
    assert f'href="{task}/errors#duplicates"' in (await client.get(f"{task}/plan")).text


def test_an_undo_is_shown_in_the_order_of_the_rows() -> None:
    """Its plan is in the order in which the run ended its rows; the first rows are shown."""
    work = Work("undo")
    for number in reversed(range(2, 502)):
        work.show_planned(
            RowPlan(number, seed_id(number), "update", (FieldPlan("title", "a", "b"),))
        )
    work.question = "500 incidents will be restored."
    assert [one["row"] for one in work.as_json()["planned"]] == list(range(2, 102))


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


async def test_the_start_page_shows_who_else_uses_the_account(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of other people and programs are named, with the share that is in use."""
    before = (await client.get("/account")).text.strip()
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "key-of-the-start-page")
    whose = Credentials(AppKey("key-of-the-start-page"), DEFAULT_BASE_URL, "a test")
    share = PermitShare(open_store(whose, None, ""), windows_of(), label="<十月>.xlsx")
    with contextlib.closing(share):
        share.exchange(5_000)
        shown = (await client.get("/account")).text
    after = (await client.get("/account")).text.strip()

    assert (before, after) == ("", "")
    assert "<li>&lt;十月&gt;.xlsx " in shown
    assert "20% of the quota is in use. Further runs share the rest." in shown
