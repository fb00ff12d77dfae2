"""Who has approved a plan, on the page: asked for, sent back, and required before a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from programs import seed_id
from task_requests import ended, planned, post, upload
from web_requests import Client
from web_server import WebServer, web_server

from bulk_reset.core.saved_plan import SavedPlan
from bulk_reset.engine.options import Options
from bulk_reset.records.approvals import approval_path
from bulk_reset.web.pages import Settings
from bulk_reset.workflows.approve import approve
from bulk_reset.workflows.plan_picking import pick_rows

ROWS = [f"{seed_id(n)},Renamed {n},Info" for n in range(1, 4)]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "approvers.key"
    path.write_text("0123456789abcdef" * 2, encoding="utf-8")
    return path


@pytest_asyncio.fixture
async def server(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WebServer]:
    monkeypatch.delenv("FLASHDUTY_APP_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "author")
    options = Options(require_approval=True, hmac_key_file=key)
    settings = Settings(options, tmp_path / "sandbox.json")
    async with web_server(tmp_path / "tasks", settings) as started:
        yield started


@pytest_asyncio.fixture
async def client(server: WebServer) -> Client:
    return await server.login()


async def downloaded(client: Client, task: str, folder: Path) -> Path:
    """Download the plan file of a task, as its approver gets it."""
    answer = await client.get(f"{task}/plan/file/plan")
    assert "x.plan" in str(answer.headers["Content-Disposition"])
    path = folder / "x.plan"
    path.write_bytes(answer.body)
    return path


def approved(plan: Path, key: Path, monkeypatch: pytest.MonkeyPatch, login: str = "bob") -> bytes:
    """Approve a plan as another user; return the file that is sent back."""
    with monkeypatch.context() as changed:
        changed.setenv("LOGNAME", login)
        approve(plan, hmac_key_file=key, note="CHG-1")
    return approval_path(plan).read_bytes()


async def test_a_plan_is_sent_once_another_user_has_approved_it(
    client: Client, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, the run is refused; an own approval does not count; the audit has the approver."""
    task = await planned(client, *ROWS)
    text = (await client.get(f"{task}/plan")).text
    assert "must be approved by another user" in text
    assert "bulk-reset approve x.plan --hmac-key-file FILE" in text
    await post(client, f"{task}/run", canary="0")
    assert "not approved" in str((await ended(client, task))["error"])
    plan = await downloaded(client, task, tmp_path)
    own = approved(plan, key, monkeypatch, "author")
    assert (await upload(client, f"{task}/approval", "files", {"a": own})).status == 204
    assert "an own approval" in (await client.get(f"{task}/plan")).text
    both = approved(plan, key, monkeypatch)
    assert (await upload(client, f"{task}/approval", "files", {"a": both})).status == 204
    text = (await client.get(f"{task}/plan")).text
    assert "The plan is approved" in text
    assert "bob (key file)" in text
    assert f"verified with the keys in {key}" in text
    await post(client, f"{task}/run", canary="0")
    assert (await ended(client, task))["error"] == ""
    text = (await client.get(f"{task}/report")).text
    assert "bob (key file)" in text


async def test_an_approval_of_another_selection_does_not_count(
    client: Client, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The approver saw other rows."""
    task = await planned(client, *ROWS)
    plan = await downloaded(client, task, tmp_path)
    sent = approved(plan, key, monkeypatch)
    await post(client, f"{task}/select", place="1", selected="0")
    await post(client, f"{task}/chosen")
    assert (await upload(client, f"{task}/approval", "files", {"a": sent})).status == 204
    text = (await client.get(f"{task}/run")).text
    assert "approved another version of the plan" in text
    assert "<button disabled>" in text


async def test_a_plan_that_the_approver_thinned_out_is_the_one_that_is_sent(
    client: Client, server: WebServer, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plan and approval come back together; a plan of another sheet is refused."""
    task = await planned(client, *ROWS)
    plan = await downloaded(client, task, tmp_path)
    thinned = tmp_path / "thinned.plan"
    pick_rows(SavedPlan.open(plan), thinned, without_rows={2}, without_fields=[])
    files = {"thinned.plan": thinned.read_bytes(), "a": approved(thinned, key, monkeypatch)}
    assert (await upload(client, f"{task}/approval", "files", files)).status == 204
    text = (await client.get(f"{task}/run")).text
    assert "The plan is approved" in text
    await post(client, f"{task}/run", canary="0")
    assert (await ended(client, task))["error"] == ""
    report = (await client.get(f"{task}/file/report")).text
    assert [line.split(",")[0] for line in report.splitlines()[1:]] == ["3", "4"]
    other = await planned(client, f"{seed_id(9)},Another sheet,Info")
    answer = await upload(client, f"{other}/approval", "files", files)
    assert (answer.status, "of another sheet" in answer.text) == (400, True)
    folder = server.folder / other.rpartition("/")[2]
    assert not (folder / "sent").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 50, b"bulk-reset plan 1\nx"])
async def test_a_file_that_is_neither_plan_nor_approval_is_refused(
    content: bytes, client: Client
) -> None:
    """It is named, and nothing has changed."""
    task = await planned(client, *ROWS)
    before = (await client.get(f"{task}/plan")).text
    answer = await upload(client, f"{task}/approval", "files", {"a": content})
    assert answer.status == 400
    assert (await client.get(f"{task}/plan")).text == before
