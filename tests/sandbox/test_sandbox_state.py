"""A sandbox's incidents in a file: kept whole, whatever ends the sandbox, and told from others."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import AsyncMock, patch

import pytest
from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st
from programs import SandboxProcess
from test_sandbox import FIRST, START, Client, serving, start_command

from bulk_reset.sandbox import Sandbox, SandboxConfig, StateError, journal
from bulk_reset.sandbox.incidents import blank, seed_id, seeded
from bulk_reset.sandbox.journal import Journal, journal_of
from bulk_reset.sandbox.state import load_state, save_state

SECOND = seed_id(2)
FIX = "Give a file that a sandbox has saved, or one that does not exist yet."


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "incidents.json"


def read(path: Path) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(path.read_text(encoding="utf-8"))


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")


async def use(client: Client) -> None:
    """Make one change of every kind."""
    await client.data("/incident/reset", {"incident_id": FIRST, "title": "磁盘已满"})
    await client.data("/incident/reset", {"incident_id": FIRST, "impact": "none"})
    body = {"incident_id": SECOND, "field_name": "affected_service", "field_value": "service-9"}
    await client.data("/incident/field/reset", body)
    await client.data("/incident/resolve", {"incident_ids": [FIRST], "root_cause": "A full disk"})
    for comment in ("Looking.", "Found it."):
        await client.data("/incident/comment", {"incident_ids": [SECOND], "comment": comment})


async def test_the_next_sandbox_continues_from_the_file(state: Path) -> None:
    """Values, comments and counts of resets are there again; nothing is seeded on top of them."""
    async with serving(state=state) as client:
        await use(client)
        incidents, before = await client.get("/_incidents"), await client.get("/_stats")
    async with serving(state=state, seed_incidents=9) as client:
        assert await client.get("/_incidents") == incidents
        after = await client.get("/_stats")
    kept = (
        "applied", "comments", "incidents", "incidents_updated", "applied_more_than_once",
        "most_applied",
    )  # fmt: skip
    assert [after[name] for name in kept] == [3, 2, 3, 2, 1, 2]
    assert after == {name: before[name] if name in kept else after[name] for name in after}
    assert (after["requests"], after["peak_60s"], after["by_code"]) == (0, 0, {})


def test_incidents_stand_in_the_order_of_their_ids(state: Path) -> None:
    """In whatever order they came into being, the file has them in one."""
    save_state(state, {SECOND: blank(SECOND, 1), FIRST: blank(FIRST, 2)})
    assert list(read(state)) == [FIRST, SECOND]


async def test_the_quota_is_not_kept(state: Path) -> None:
    """A sandbox that has just started has its whole quota."""
    for _ in range(2):
        async with serving(state=state, per_minute=1) as client:
            await client.data("/incident/reset", {"incident_id": FIRST, "title": "one"})
    assert read(state)[FIRST]["applied"] == 2


async def test_two_states_differ_in_the_lines_of_what_differs(state: Path) -> None:
    """A state is what /_incidents shows, an incident a line, all in order, read by people too."""
    async with serving(state=state, seed_incidents=12):
        before = lines_of(state)
    async with serving(state=state) as client:
        await client.data("/incident/reset", {"incident_id": FIRST, "title": "磁盘已满"})
        incidents = await client.get("/_incidents")
    after = lines_of(state)
    assert json.loads("\n".join(after)) == incidents
    ids = [seed_id(number) for number in range(1, 13)]
    assert [line[1:25] for line in after] == ["", *ids, "", ""]
    assert [number for number in range(15) if before[number] != after[number]] == [1]
    assert '"title": "磁盘已满"' in after[1]
    names = list(json.loads(f"{{{after[1].rstrip(',')}}}")[FIRST])
    assert names == sorted([*blank(FIRST, 0), "applied"])


async def serve_once(state: Path) -> None:
    async with Sandbox(SandboxConfig(state=state)).serve():
        pass


async def retitle(state: Path, title: str, then: Callable[[], Any]) -> None:
    """Set a title in a sandbox, and do something else before it ends."""
    async with serving(state=state) as client:
        await client.data("/incident/reset", {"incident_id": FIRST, "title": title})
        await then()


async def test_a_block_that_fails_keeps_its_incidents(state: Path) -> None:
    """A program that goes wrong beside its sandbox does not take the incidents along."""
    with pytest.raises(TimeoutError):
        await retitle(state, "one", AsyncMock(side_effect=TimeoutError))
    assert read(state)[FIRST]["title"] == "one"


async def test_a_block_that_is_cancelled_keeps_its_incidents(state: Path) -> None:
    """A sandbox in a task ends with its task, and the incidents are in the file."""
    is_set = asyncio.Event()

    async def wait() -> None:
        is_set.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(retitle(state, "two", wait))
    await is_set.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert read(state)[FIRST]["title"] == "two"


async def test_what_a_request_set_while_the_sandbox_ended_is_kept(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is written after the last request, also if no client waits for its answer."""
    sandbox = Sandbox(SandboxConfig(seed_incidents=1, state=state))
    cleanup = web.AppRunner.cleanup

    async def clean_up_late(self: web.AppRunner) -> None:
        sandbox.incidents.put(FIRST, title="late")
        await cleanup(self)

    async with sandbox.serve():
        monkeypatch.setattr(web.AppRunner, "cleanup", clean_up_late)
    assert read(state)[FIRST]["title"] == "late"


async def test_a_taken_port_leaves_no_file(state: Path) -> None:
    """A sandbox that never was has nothing to keep."""
    async with Sandbox(SandboxConfig()).serve() as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            async with Sandbox(SandboxConfig(state=state)).serve(port):
                pass
    assert list(state.parent.iterdir()) == []


GOOD: Final = blank(FIRST, 7)


def one(**values: object) -> str:
    return json.dumps({FIRST: GOOD | values})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON in UTF-8 (Expecting value: line 1 column 1 (char 0))"),
        ('{\n"a": ', "not JSON in UTF-8 (Expecting value: line 2 column 6 (char 7))"),
        (one(fields={"a": float("nan")}), "not JSON in UTF-8 (found NaN)"),
        ("[]", "found a list, not a sandbox's state"),
        ("null", "found null, not a sandbox's state"),
        (
            '{"title": "Disk full"}',
            "incident 'title': an id has 24 hexadecimal characters, in lower case",
        ),
        (
            json.dumps({FIRST.upper(): GOOD}),
            f"incident '{FIRST.upper()}': an id has 24 hexadecimal characters, in lower case",
        ),
        (f'{{"{FIRST}": 3}}', f"incident '{FIRST}': found a number for an object"),
        (
            json.dumps(
                {FIRST: {name: GOOD[name] for name in GOOD if name not in ("title", "num")}}
            ),
            f"incident '{FIRST}': title, num: missing",
        ),
        (one(incident_id=SECOND), f"incident '{FIRST}': incident_id is another one"),
        (one(title=None), f"incident '{FIRST}': title: found null for a text"),
        (
            one(start_time=-1),
            f"incident '{FIRST}': start_time: found a number for a whole number of 0 or more",
        ),
        (
            one(applied=True),
            f"incident '{FIRST}': applied: found true or false for a whole number of 0 or more",
        ),
        (one(fields=[]), f"incident '{FIRST}': fields: found a list for an object"),
        (one(comments="No."), f"incident '{FIRST}': comments: found a text for a list of texts"),
        (
            one(manual_overrides=[1]),
            f"incident '{FIRST}': manual_overrides: found a list for a list of texts",
        ),
    ],
    ids=lambda value: value[:30],
)
def test_a_file_that_is_no_state_is_refused_as_it_is(text: str, problem: str, state: Path) -> None:
    """The error has the place and the reason, and the file is not changed."""
    state.write_text(text, encoding="utf-8")
    with pytest.raises(StateError) as caught:
        asyncio.run(serve_once(state))
    assert str(caught.value) == f"{state}: {problem}. {FIX}"
    assert state.read_text(encoding="utf-8") == text


def test_a_file_in_another_encoding_is_refused(state: Path) -> None:
    """Bytes that are no UTF-8 are not guessed at; a byte order mark is no trouble."""
    state.write_bytes(one(title="Überlast").encode("utf-16"))
    with pytest.raises(StateError, match="not JSON in UTF-8"):
        load_state(state)
    state.write_text(one(title="Überlast"), encoding="utf-8-sig")
    assert load_state(state) == {FIRST: GOOD | {"title": "Überlast"}}


def test_a_file_that_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    """A folder is no file."""
    with pytest.raises(StateError) as caught:
        load_state(tmp_path)
    assert str(caught.value) == f"{tmp_path}: not a regular file. {FIX}"


async def test_a_place_that_cannot_be_written_is_known_at_the_start(tmp_path: Path) -> None:
    """No one works for hours on a sandbox that cannot save anything."""
    state, is_served = tmp_path / "missing" / "incidents.json", False
    with pytest.raises(StateError) as caught:
        async with Sandbox(SandboxConfig(state=state)).serve():
            is_served = True
    assert str(caught.value) == (
        f"{state}: cannot be written (No such file or directory). Give another file."
    )
    assert not is_served


async def test_a_full_disk_leaves_the_state_before(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is the old state or the new one, never a part, and nothing lies beside it."""

    def refuse(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def fill_up() -> None:
        monkeypatch.setattr("bulk_reset.sandbox.state.os.fsync", refuse)

    with (
        patch.object(Journal, "close", autospec=True, side_effect=Journal.close) as close,
        pytest.raises(StateError, match=r"cannot be written \(No space left on device\)"),
    ):
        await retitle(state, "one", fill_up)
    close.assert_called_once()
    assert read(state)[FIRST] == seeded(1, START) | {"applied": 0}
    assert sorted(state.parent.iterdir()) == [state, journal_of(state)]
    monkeypatch.undo()
    found = load_state(state)  # The journal has the change.
    assert found is not None
    assert found[FIRST]["title"] == "one"


async def test_what_was_answered_before_a_kill_is_there_again(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox that is killed saves nothing at its end; its journal has each change."""
    async with serving(state=state) as client:
        before = read(state)
        await use(client)
        shown = await client.get("/_incidents")
        kept = {path: path.read_bytes() for path in state.parent.iterdir()}
    assert list(state.parent.iterdir()) == [state]
    for path, content in kept.items():  # as a kill leaves them, with a line that is torn
        path.write_bytes(content + b'{"inci' * (path != state))
    assert read(state) == before
    assert load_state(state) == shown
    monkeypatch.setattr(journal, "_MOST_BYTES", 1)
    async with serving(state=state) as client:  # Each change finds a journal that is full.
        assert await client.get("/_incidents") == shown
        await use(client)
        assert read(state) == await client.get("/_incidents") != shown


async def test_the_journal_of_another_state_is_ignored(state: Path) -> None:
    """A file that was put in the place of a state is what counts; a journal alone is nothing."""
    async with serving(state=state) as client:
        await use(client)
        kept = {path: path.read_bytes() for path in (state, journal_of(state))}
    for path, content in kept.items():
        path.write_bytes(content + b"\n" * (path == state))
    assert load_state(state) == read(state)
    state.unlink()  # noqa: ASYNC240  (no other task runs)
    assert load_state(state) is None


async def test_a_state_reaches_the_disk_before_it_takes_the_files_place(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure there is no empty file where a state was."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(file: int) -> None:
        steps.append(f"fsync of {os.fstat(file).st_size > 1000}")
        fsync(file)

    def note_replace(self: Path, target: Path) -> Path:
        steps.append(f"replace {target.name}")
        return replace(self, target)

    async with serving(state=state):
        monkeypatch.setattr("bulk_reset.sandbox.state.os.fsync", note_fsync)
        monkeypatch.setattr(Path, "replace", note_replace)
    assert steps == ["fsync of True", "replace incidents.json"]


async def test_a_link_to_the_state_and_its_mode_are_kept(tmp_path: Path) -> None:
    """The file keeps its place and who may read it."""
    state, link = tmp_path / "incidents.json", tmp_path / "link.json"
    link.symlink_to(state)
    async with serving(state=link):
        state.chmod(0o600)
    assert (link.is_symlink(), stat.S_IMODE(state.stat().st_mode)) == (True, 0o600)
    assert read(state).keys() == {seed_id(number) for number in (1, 2, 3)}


TEXTS: Final = st.text(st.characters(), max_size=5)
"""With halves of surrogate pairs, which JSON can say and UTF-8 cannot."""
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=50)
@example(title="\ud83d", fields={"\ude00": "\ude00\ud83d"}, comments=["磁盘\udfff"])
@given(title=TEXTS, fields=st.dictionaries(TEXTS, VALUES, max_size=3), comments=st.lists(TEXTS))
def test_whatever_json_can_say_is_there_again(
    title: str,
    fields: dict[str, Any],
    comments: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """No text and no value is changed by keeping it."""
    state = tmp_path_factory.getbasetemp() / "any.json"
    # As a request brings it: two halves that meet are one character.
    shown = json.loads(json.dumps(GOOD | {"title": title, "fields": fields, "comments": comments}))
    save_state(state, {FIRST: shown})
    assert load_state(state) == {FIRST: shown}
    state.read_bytes().decode()  # strictly


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_keeps_its_incidents_until_the_next_time(
    number: signal.Signals, state: Path, start_sandbox: Callable[..., SandboxProcess]
) -> None:
    """Ctrl-C, SIGTERM and a closed terminal all leave the file, and the next one continues."""
    options = ("--seed-incidents", "3", "--state", str(state))
    sandbox = start_sandbox(*options)
    incidents = sandbox.get("/_incidents")
    sandbox.process.send_signal(number)
    assert sandbox.process.wait(timeout=30) == 0
    state.write_text(state.read_text().replace("host-00001", "host-one"))
    incidents[FIRST]["title"] = incidents[FIRST]["title"].replace("host-00001", "host-one")
    incidents[FIRST]["labels"] = {"host": "host-one"}
    assert start_sandbox("--state", str(state)).get("/_incidents") == incidents


def test_the_command_names_the_file_it_continues_from(state: Path) -> None:
    """The incidents come from the file, so what else was asked for is told from what there is."""
    save_state(state, {FIRST: GOOD})
    options = ("--port", "0", "--seed-incidents", "9", "--state", str(state))
    with start_command(*options) as process:
        assert process.stdout is not None
        banner = [process.stdout.readline() for _ in range(7)]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert banner[6] == f"  state     {state}, 1 incident\n"


def test_the_command_refuses_a_file_that_is_no_state(state: Path) -> None:
    """The refusal is one line, with exit code 2, and the file stays as it was."""
    state.write_text("incident_id,title\n")
    with start_command("--port", "0", "--state", str(state)) as process:
        output = process.communicate(timeout=30)
    problem = "not JSON in UTF-8 (Expecting value: line 1 column 1 (char 0))"
    assert (process.returncode, output) == (2, ("", f"error: {state}: {problem}. {FIX}\n"))
    assert state.read_text() == "incident_id,title\n"
