"""The sandbox goes wrong exactly as scripted, and says clearly what a script may say."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from bulk_reset.sandbox import Fault, Sandbox, SandboxConfig, load_faults
from bulk_reset.sandbox.faults import FaultScript
from bulk_reset.sandbox.incidents import seed_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FIRST, SECOND = seed_id(1), seed_id(2)
URL = "/incident/reset?app_key=sandbox-key"
RESET = "/incident/reset"


@asynccontextmanager
async def serving(*faults: Fault) -> AsyncIterator[tuple[Sandbox, aiohttp.ClientSession]]:
    sandbox = Sandbox(SandboxConfig(latency_s=0, seed_incidents=2, faults=faults))
    async with sandbox.serve() as url, aiohttp.ClientSession(url) as session:
        yield sandbox, session


async def answer_of(fault: Fault) -> tuple[int, str, str, int]:
    """Return the status, the type and the text of the answer, and how often it was applied."""
    async with serving(fault) as (sandbox, session):
        body = {"incident_id": FIRST, "title": "Renamed"}
        async with session.post(URL, json=body) as answer:
            text = await answer.text()
            return answer.status, answer.content_type, text, sandbox.stats()["applied"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(error="ServiceUnavailable"), 503),
        (Fault(error="InternalError", status=200), 200),
        (Fault(error="ResourceNotFound"), 400),
    ],
)
async def test_a_scripted_error_comes_in_the_envelope_unapplied(fault: Fault, status: int) -> None:
    """An error looks as the API's own, with its HTTP status or the one asked for."""
    request_id = "SANDBOX0000000000000000001"
    error = f'{{"code": "{fault.error}", "message": "Scripted by the sandbox\'s faults."}}'
    assert await answer_of(fault) == (
        status,
        "application/json",
        f'{{"request_id": "{request_id}", "error": {error}}}',
        0,
    )


async def test_a_scripted_429_brings_its_own_headers_and_is_no_throttling() -> None:
    """A refusal by script is told apart from one by the quota, which the client broke."""
    fault = Fault(error="RequestTooFrequently", headers={"Retry-After": "2"})
    async with serving(fault) as (sandbox, session):
        async with session.post(URL, json={}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
        stats = sandbox.stats()
    assert (stats["throttled"], stats["faults"], stats["by_code"]) == (
        0,
        1,
        {"RequestTooFrequently": 1},
    )


async def test_a_proxys_page_is_html_and_unapplied() -> None:
    """Something between client and API answers in its own way."""
    status, content_type, text, applied = await answer_of(Fault(html=502))
    assert (status, content_type, applied) == (502, "text/html", 0)
    assert "<h1>502</h1>" in text


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Fault(body="hello <>"), (200, "application/json", "hello <>", 0)),
        (
            Fault(body="gone", status=503, headers={"Content-Type": "text/plain"}),
            (503, "text/plain", "gone", 0),
        ),
        (Fault(empty=True), (200, "application/json", "", 1)),
        (Fault(cut=True), (200, "application/json", '{"request_id": "SANDBOX000000', 1)),
    ],
)
async def test_an_unreadable_answer_is_as_scripted(
    fault: Fault, answer: tuple[int, str, str, int]
) -> None:
    """A raw body applies nothing; a cut or an empty answer hides an update that was made."""
    assert await answer_of(fault) == answer


@pytest.mark.parametrize(("when", "applied"), [("before", 0), ("after", 1)])
async def test_a_reset_connection_leaves_what_was_applied(when: Any, applied: int) -> None:  # noqa: ANN401 - either word
    """The connection breaks before or after the update was made; the client cannot tell."""
    async with serving(Fault(reset=when)) as (sandbox, session):
        with pytest.raises((aiohttp.ClientConnectionError, ConnectionResetError)):
            await session.post(URL, json={"incident_id": FIRST, "title": "Renamed"})
        assert sandbox.stats()["applied"] == applied


async def test_a_wrong_request_gets_its_own_failure_instead_of_a_hidden_answer() -> None:
    """A fault that would have applied the request cannot apply what is wrong in itself."""
    body = {"incident_id": FIRST}
    async with serving(Fault(cut=True)) as (_, session), session.post(URL, json=body) as answer:
        assert (await answer.json())["error"]["code"] == "InvalidParameter"


async def test_a_hanging_request_does_not_keep_the_sandbox_running() -> None:
    """The sandbox stops promptly although a client still waits for an answer."""
    arrived = asyncio.Event()

    def clock() -> float:
        arrived.set()
        return 0.0

    sandbox = Sandbox(SandboxConfig(latency_s=0, faults=(Fault(hang=True),)), clock=clock)
    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(5), sandbox.serve() as url:
            hanging = asyncio.create_task(session.post(f"{url}{URL}", json={}))
            await arrived.wait()
            assert not hanging.done()
        with pytest.raises(aiohttp.ClientConnectionError):
            await hanging
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)


async def test_a_delay_comes_on_top_of_the_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow answer is waited for after the update was made."""
    waits = []
    fault = Fault(error="InternalError", delay_s=3)
    async with serving(fault) as (_, session):

        async def sleep(delay_s: float) -> None:
            waits.append(delay_s)

        monkeypatch.setattr("bulk_reset.sandbox.server.asyncio.sleep", sleep)
        async with session.post(URL, json={}) as answer:
            status = answer.status
        monkeypatch.undo()
    assert (status, waits) == (500, [0, 3])


async def test_only_requests_within_the_quota_meet_faults() -> None:
    """A wrong key is numbered by no rule, so the script acts on the requests it meant."""
    async with serving(Fault(requests=(1,), error="InternalError")) as (_, session):
        statuses = []
        for url in (RESET, URL, URL):
            body = {"incident_id": FIRST, "title": "Renamed"}
            async with session.post(url, json=body) as answer:
                statuses.append(answer.status)
    assert statuses == [401, 500, 200]


ARRIVALS = [FIRST, SECOND, FIRST, "", FIRST, SECOND]


@pytest.mark.parametrize(
    ("matching", "acts"),
    [
        ({}, [1, 1, 1, 1, 1, 1]),
        ({"incident_id": SECOND.upper()}, [0, 1, 0, 0, 0, 1]),
        ({"arrivals": (2,)}, [0, 0, 1, 0, 0, 1]),
        ({"arrivals": (1, 3)}, [1, 1, 0, 0, 1, 0]),
        ({"incident_id": FIRST, "arrivals": (2, 3)}, [0, 0, 1, 0, 1, 0]),
        ({"requests": (1, 4)}, [1, 0, 0, 1, 0, 0]),
        ({"every": 3}, [0, 0, 1, 0, 0, 1]),
        ({"times": 2}, [1, 1, 0, 0, 0, 0]),
        ({"every": 2, "times": 2}, [0, 1, 0, 1, 0, 0]),
        ({"path": "/incident/info"}, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_a_rule_acts_where_all_of_its_keys_agree(matching: dict[str, Any], acts: list[int]) -> None:
    """A rule picks requests by id, by number, by every n-th and by how often it acted."""
    script = FaultScript((Fault(**matching, hang=True),))
    assert [bool(script.next_fault(RESET, one)) for one in ARRIVALS] == list(map(bool, acts))
    assert script.acted == sum(acts)


def test_the_first_rule_that_matches_acts() -> None:
    """Rules are tried in their order, and one request meets one fault at most."""
    first, second = Fault(every=2, hang=True), Fault(empty=True)
    script = FaultScript((first, second))
    assert [script.next_fault(RESET, FIRST) for _ in range(3)] == [second, first, second]


def test_a_faults_file_becomes_its_rules(tmp_path: Path) -> None:
    """What the file says is what the sandbox does, in the same order."""
    path = tmp_path / "faults.json"
    rules = [
        {"every": 10, "error": "RequestTooFrequently", "headers": {"Retry-After": "2"}},
        {"incident_id": FIRST, "arrivals": [1, 2], "reset": "after", "delay_s": 0.5},
    ]
    path.write_text(json.dumps(rules), encoding="utf-8-sig")
    assert load_faults(path) == (
        Fault(every=10, error="RequestTooFrequently", headers={"Retry-After": "2"}),
        Fault(incident_id=FIRST, arrivals=(1, 2), reset="after", delay_s=0.5),
    )


NUMBERS = "a list of whole numbers of 1 or more"
NUMBER = "a whole number of 1 or more"
ONE_OF = "Give exactly one of error, html, body, cut, empty, reset, hang."
HEADERS = "an object of texts, none of them about connection or length"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"hang": True, "path": "x"},
            "key 'path': found \"x\". Give a path that begins with /, such as /incident/reset.",
        ),
        (
            {"hang": True, "incident_id": "7"},
            "key 'incident_id': found \"7\". Give an id of 24 hexadecimal characters.",
        ),
        ({"hang": True, "arrivals": 1}, f"key 'arrivals': found 1. Give {NUMBERS}."),
        ({"hang": True, "arrivals": [0]}, f"key 'arrivals': found [0]. Give {NUMBERS}."),
        ({"hang": True, "requests": []}, f"key 'requests': found []. Give {NUMBERS}."),
        ({"hang": True, "every": True}, f"key 'every': found true. Give {NUMBER}."),
        ({"hang": True, "times": 0}, f"key 'times': found 0. Give {NUMBER}."),
        ({"html": "502"}, "key 'html': found \"502\". Give an HTTP status from 200 to 599."),
        ({"body": 1}, "key 'body': found 1. Give a text."),
        ({"cut": 1}, "key 'cut': found 1. Give true, or leave the key out."),
        ({"reset": "during"}, "key 'reset': found \"during\". Give before or after."),
        ({"hang": True, "delay_s": -1}, "key 'delay_s': found -1. Give seconds from 0 to 3600."),
        (
            {"body": "", "headers": {"X": "a\nb"}},
            f'key \'headers\': found {{"X": "a\\nb"}}. Give {HEADERS}.',
        ),
        (
            {"body": "", "headers": {"Content-Length": "1"}},
            f'key \'headers\': found {{"Content-Length": "1"}}. Give {HEADERS}.',
        ),
        ({"every": 2}, f"found nothing to do. {ONE_OF}"),
        ({"hang": True, "empty": True}, f"found empty and hang to do. {ONE_OF}"),
        (
            {"hang": True, "status": 500},
            "key 'status': found beside 'hang'. It goes with error, body only.",
        ),
    ],
)
def test_a_rule_against_the_format_says_where_and_what_is_allowed(
    rule: dict[str, object], message: str, tmp_path: Path
) -> None:
    """An error names the file, the rule, the key, the value and the allowed values."""
    path = tmp_path / "faults.json"
    path.write_text(json.dumps([{"hang": True}, rule]), encoding="utf-8")
    with pytest.raises(ValueError, match="rule 2") as caught:
        load_faults(path)
    assert str(caught.value) == f"{path}: rule 2, {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"hang": true},\n x]', "line 2: not JSON (Expecting value)."),
        ("{}", "found an object. Give a list of rules: [{...}, ...]."),
        ("[3]", 'rule 1: found a number. Give an object: {"key": value, ...}.'),
        ('[{"error": "Oops"}]', "rule 1, key 'error': found \"Oops\". Give one of "),
        ('[{"error": []}]', "rule 1, key 'error': found []. Give one of "),
        ('[{"hangs": true}]', "rule 1, key 'hangs': not known. The keys are path, incident_id, "),
    ],
)
def test_a_faults_file_that_is_none_says_why(text: str, message: str, tmp_path: Path) -> None:
    """A file that is no list of rules is refused before the sandbox starts."""
    path = tmp_path / "faults.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="faults") as caught:
        load_faults(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_missing_faults_file_is_refused(tmp_path: Path) -> None:
    """A wrong path is said as such, not as a traceback."""
    path = tmp_path / "none.json"
    with pytest.raises(ValueError, match="none") as caught:
        load_faults(path)
    assert str(caught.value) == f"{path}: cannot be read (No such file or directory)."
