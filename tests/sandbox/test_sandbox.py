"""The sandbox keeps the API's rules: its quota, its operations, its envelopes, its books."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import itertools
import re
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from bulk_reset.sandbox import Sandbox, SandboxConfig
from bulk_reset.sandbox.incidents import seed_id, seeded
from bulk_reset.sandbox.windows import FixedWindow, Peak, Quota, SlidingWindow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from conftest import SandboxProcess

FIRST = seed_id(1)
UNKNOWN = "f" * 24
START = SandboxConfig().first_start_at
WINDOW = {"start_time": START, "end_time": START + 31 * 86400}
COMMAND = "import typer; from bulk_reset.cli.sandbox import sandbox; typer.run(sandbox)"


class Client:
    """Says a request as any HTTP client would, and keeps what came back."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def post(
        self, path: str, body: object, key: str | None = "sandbox-key"
    ) -> tuple[int, Any]:
        """Return the status and the content of the answer."""
        params = {} if key is None else {"app_key": key}
        async with self.session.post(path, params=params, json=body) as answer:
            return answer.status, await answer.json()

    async def data(self, path: str, body: object) -> Any:  # noqa: ANN401 - any JSON
        """Return the data of an answer that has to be a success."""
        status, answer = await self.post(path, body)
        assert status == 200
        return answer["data"]

    async def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON
        """Return what a page of the sandbox itself says."""
        async with self.session.get(path) as answer:
            return await answer.json()


@asynccontextmanager
async def serving(**config: Any) -> AsyncIterator[Client]:  # noqa: ANN401 - any option
    """Yield a client of a sandbox whose quota's clock stands still."""
    options = {"latency_s": 0, "seed_incidents": 3} | config
    sandbox = Sandbox(SandboxConfig(**options), clock=lambda: 100.0, wall_clock=lambda: 2e9)
    async with sandbox.serve() as url, aiohttp.ClientSession(url) as session:
        yield Client(session)


def admissions(window: Quota, arrivals: list[float]) -> list[float]:
    return [window.admit(now) for now in arrivals]


def test_a_sliding_window_admits_as_many_as_left_it() -> None:
    """A request is admitted iff fewer than n were admitted in the T seconds before it."""
    quota = Quota(SlidingWindow(2, 1.0))
    waits = admissions(quota, [0.0, 0.75, 0.875, 1.0, 1.5, 1.75, 1.75])
    assert waits == [0.0, 0.0, 0.125, 0.0, 0.25, 0.0, 0.25]


def test_a_fixed_window_admits_again_when_it_starts() -> None:
    """In a fixed window two bursts may touch, where the clock passes from one to the next."""
    quota = Quota(FixedWindow(2, 1.0))
    waits = admissions(quota, [0.75, 0.75, 0.75, 1.0, 1.0, 1.25, 5.0])
    assert waits == [0.0, 0.0, 0.25, 0.0, 0.0, 0.75, 0.0]


def test_a_refused_request_is_counted_in_no_window() -> None:
    """What is over one limit costs nothing of the others."""
    quota = Quota(SlidingWindow(1, 1.0), SlidingWindow(3, 60.0))
    waits = admissions(quota, [0.0, 0.5, 0.5, 1.0, 2.0, 3.0])
    assert waits == [0.0, 0.5, 0.5, 0.0, 0.0, 57.0]


def test_a_peak_is_the_fullest_stretch_seen() -> None:
    """The peak tells the most requests that came in any one second, aligned to nothing."""
    peak = Peak(1.0)
    for now in [0.0, 0.75, 1.0, 1.5, 3.0]:
        peak.record(now)
    assert peak.most == 3


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
async def test_a_request_over_the_quota_is_refused_and_not_applied(kind: str) -> None:
    """Reads and writes share the quota; beyond it is a 429 that says how long to wait."""
    async with serving(per_second=2, window_kind=kind) as client:
        await client.data("/incident/info", {"incident_id": FIRST})
        await client.data("/incident/reset", {"incident_id": FIRST, "title": "one"})
        params = {"app_key": "sandbox-key"}
        body = {"incident_id": FIRST, "title": "two"}
        async with client.session.post("/incident/reset", params=params, json=body) as answer:
            code = (await answer.json())["error"]["code"]
            assert (answer.status, code) == (429, "RequestTooFrequently")
            assert answer.headers["Retry-After"] == "1"
        incidents = await client.get("/_incidents")
    assert (incidents[FIRST]["title"], incidents[FIRST]["applied"]) == ("one", 1)


async def test_a_minute_is_waited_for_in_whole_seconds() -> None:
    """Retry-After is rounded up: who waits for it is admitted."""
    times = iter([10.0, 12.5, 70.0])
    config = SandboxConfig(per_minute=1, latency_s=0, seed_incidents=1)
    sandbox = Sandbox(config, clock=lambda: next(times))
    seen = []
    async with sandbox.serve() as url, aiohttp.ClientSession(url) as session:
        for _ in range(3):
            async with session.post("/incident/info?app_key=sandbox-key", json={}) as answer:
                seen.append((answer.status, answer.headers.get("Retry-After")))
    assert seen == [(400, None), (429, "58"), (400, None)]


async def test_a_reset_changes_only_its_fields() -> None:
    """What is not supplied stays; the fields set are noted, and updated_at moves."""
    async with serving() as client:
        async with client.session.post(
            "/incident/reset?app_key=sandbox-key",
            json={"incident_id": FIRST.upper(), "title": "日本語", "incident_severity": "Info"},
        ) as answer:
            request_id = answer.headers["Flashcat-Request-Id"]
            assert await answer.json() == {"request_id": request_id, "data": None}
        after = await client.data("/incident/info", {"incident_id": FIRST})
    assert after == seeded(1, START) | {
        "title": "日本語",
        "incident_severity": "Info",
        "updated_at": 2_000_000_000,
        "manual_overrides": ["title", "incident_severity"],
    }


async def test_two_resets_in_one_second_are_told_apart() -> None:
    """updated_at moves with every reset, so a reader sees that it was updated."""
    async with serving() as client:
        stamps = []
        for _ in range(2):
            await client.data("/incident/reset", {"incident_id": FIRST, "impact": "none"})
            incident = await client.data("/incident/info", {"incident_id": FIRST})
            stamps.append((incident["updated_at"], incident["manual_overrides"]))
    assert stamps == [(2_000_000_000, ["impact"]), (2_000_000_001, ["impact"])]


ACCEPTED = [
    {"title": "x" * 3},
    {"title": "😀" * 200},
    *({name: "é" * 6144} for name in ("description", "impact", "root_cause", "resolution")),
    *({"incident_severity": severity} for severity in ("Info", "Warning", "Critical")),
    {"title": "ok!", "unheard_of": 1},
]
REFUSED = [
    {},
    {"unheard_of": "text"},
    {"title": "xx"},
    {"title": "😀" * 201},
    {"title": ""},
    {"title": None},
    {"title": 12345},
    {"title": ["abc"]},
    *({name: "ab"} for name in ("description", "impact", "root_cause", "resolution")),
    *({name: "é" * 6145} for name in ("description", "impact", "root_cause", "resolution")),
    {"incident_severity": "Ok"},
    {"incident_severity": "critical"},
    {"incident_severity": ["Info"]},
    *(
        {"incident_id": one, "title": "fine"}
        for one in ("", "g" * 24, "a" * 23, "a" * 25, f"{FIRST}\n", 7, None)
    ),
]


@pytest.mark.parametrize("changes", ACCEPTED, ids=lambda changes: str(changes)[:40])
async def test_a_value_within_the_rules_is_applied(changes: dict[str, object]) -> None:
    """Every field takes its shortest and longest text, counted in characters."""
    async with serving() as client:
        assert await client.data("/incident/reset", {"incident_id": FIRST} | changes) is None
        assert (await client.get("/_stats"))["applied"] == 1


@pytest.mark.parametrize("changes", REFUSED, ids=lambda changes: str(changes)[:40])
async def test_a_value_against_the_rules_changes_nothing(changes: dict[str, object]) -> None:
    """A request that breaks one rule is refused as a whole, with the API's code."""
    async with serving() as client:
        status, answer = await client.post("/incident/reset", {"incident_id": FIRST} | changes)
        assert (status, answer["error"]["code"]) == (400, "InvalidParameter")
        assert (await client.get("/_incidents"))[FIRST] == seeded(1, START) | {"applied": 0}


JSON = {"Content-Type": "application/json"}
KEY = "?app_key=sandbox-key"
REFUSALS = [
    ("POST", "/incident/reset", JSON, b"{}", 401, "Unauthorized"),
    ("POST", "/incident/reset?app_key=wrong", JSON, b"{}", 401, "Unauthorized"),
    ("POST", "/nowhere", JSON, b"{}", 401, "Unauthorized"),
    ("POST", f"/nowhere{KEY}", JSON, b"{}", 404, "RouteNotFound"),
    ("POST", f"/{KEY}", JSON, b"{}", 404, "RouteNotFound"),
    ("GET", f"/incident/reset{KEY}", {}, b"", 405, "MethodNotAllowed"),
    ("PUT", f"/incident/list{KEY}", JSON, b"{}", 405, "MethodNotAllowed"),
    ("POST", f"/incident/reset{KEY}", {}, b"{}", 400, "InvalidContentType"),
    (
        "POST",
        f"/incident/info{KEY}",
        {"Content-Type": "text/plain"},
        b"",
        400,
        "InvalidContentType",
    ),
    ("POST", f"/incident/reset{KEY}", JSON, b"", 400, "BadRequest"),
    ("POST", f"/incident/reset{KEY}", JSON, b"\xff", 400, "BadRequest"),
    ("POST", f"/incident/reset{KEY}", JSON, b"[" * 100_000, 400, "BadRequest"),
    ("POST", f"/incident/reset{KEY}", JSON, b"[]", 400, "InvalidParameter"),
    ("POST", f"/incident/reset{KEY}", JSON, b" " * (1024**2 + 1), 413, "EntityTooLarge"),
    (
        "POST",
        f"/incident/reset{KEY}",
        {"Content-Type": "application/json; charset=utf-8"},
        b'{"incident_id": "ffffffffffffffffffffffff", "title": "fine"}',
        400,
        "ResourceNotFound",
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_request_that_is_no_use_gets_the_code_that_says_why(
    refusal: tuple[str, str, dict[str, str], bytes, int, str],
) -> None:
    """Every refusal has the envelope of the API, its code and the code's HTTP status."""
    method, path, headers, body, status, code = refusal
    async with serving() as client:
        # A stream, because aiohttp warns of large bodies that are none.
        data, automatic = io.BytesIO(body), ["Content-Type"]
        call = client.session.request(
            method, path, headers=headers, data=data, skip_auto_headers=automatic
        )
        async with call as answer:
            request_id = answer.headers["Flashcat-Request-Id"]
            content = await answer.json()
            message = content["error"]["message"]
            assert (answer.status, content) == (
                status,
                {"request_id": request_id, "error": {"code": code, "message": message}},
            )


REQUIRED = {
    "incident_id", "account_id", "channel_id", "integration_id", "integration_ids",
    "integration_types", "dedup_key", "equals_md5", "start_time", "end_time", "last_time",
    "ack_time", "close_time", "creator_id", "closer_id", "owner_id", "incident_status",
    "incident_severity", "progress", "title", "description", "ai_summary", "impact",
    "root_cause", "resolution", "num", "created_at", "updated_at", "snoozed_before",
    "group_method", "ever_muted", "labels", "fields", "assigned_to", "alert_cnt",
    "active_alert_cnt", "alert_event_cnt", "responders", "account_name", "account_locale",
    "account_time_zone", "channel_name", "channel_status", "detail_url", "silence_url",
    "post_mortem_id", "images", "manual_overrides",
}  # fmt: skip


async def test_ids_are_listed_in_the_order_asked_without_the_unknown() -> None:
    """Unknown ids are just missing, and every item has all that an incident must have."""
    async with serving() as client:
        ids = [seed_id(3), UNKNOWN, FIRST.upper(), FIRST]
        data = await client.data("/incident/list-by-ids", {"incident_ids": ids})
    assert data == {
        "total": 2,
        "has_next_page": False,
        "items": [seeded(3, START), seeded(1, START)],
    }
    assert [REQUIRED - item.keys() for item in data["items"]] == [set(), set()]


@pytest.mark.parametrize("ids", [None, FIRST, [7], ["short"], [FIRST] * 101])
async def test_a_bad_list_of_ids_is_refused(ids: object) -> None:
    """At most 100 well-formed ids are looked up in a call."""
    async with serving() as client:
        status, answer = await client.post("/incident/list-by-ids", {"incident_ids": ids})
    assert (status, answer["error"]["code"]) == (400, "InvalidParameter")


def test_seeded_incidents_have_custom_fields_and_every_third_one_more() -> None:
    """Custom fields can be set again, and missing ones can be set."""
    assert [seeded(number, START)["fields"] for number in (1, 2, 3, 4, 16)] == [
        {"tags": ["seeded"], "affected_service": "service-1"},
        {"tags": ["seeded"]},
        {"tags": ["seeded"]},
        {"tags": ["seeded"], "affected_service": "service-2"},
        {"tags": ["seeded"], "affected_service": "service-1"},
    ]


def test_seeded_incidents_start_as_far_apart_as_told() -> None:
    """Incidents can be spread over months, and all else of them stays the same."""
    sandbox = Sandbox(SandboxConfig(seed_incidents=8, seed_step_s=86400))
    near, far = seeded(8, START), sandbox.incidents.snapshot()[seed_id(8)]
    for when_assigned in ("assigned_to", "responders"):
        del near[when_assigned], far[when_assigned]
    moved = {name: far[name] - near[name] for name in near if far[name] != near[name]}
    names = ("start_time", "last_time", "created_at", "updated_at", "end_time", "close_time")
    assert moved == dict.fromkeys(names, 7 * (86400 - 60))


async def test_an_incident_is_created_for_any_id_if_allowed() -> None:
    """A real sheet can be rehearsed: its incidents exist as soon as they are named."""
    async with serving(accepts_any_id=True, seed_incidents=0) as client:
        await client.data("/incident/reset", {"incident_id": UNKNOWN, "title": "Renamed"})
        data = await client.data("/incident/list-by-ids", {"incident_ids": [UNKNOWN, FIRST]})
    assert [(one["incident_id"], one["title"]) for one in data["items"]] == [
        (UNKNOWN, "Renamed"),
        (FIRST, "Incident 000001"),
    ]


async def listed(client: Client, **body: object) -> list[int]:
    """Return the numbers of the seeded incidents on a page."""
    data = await client.data("/incident/list", WINDOW | body)
    return [int(item["incident_id"][8:], 16) for item in data["items"]]


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        ({}, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        ({"limit": 3}, [12, 11, 10]),
        ({"limit": 5, "p": 3}, [2, 1]),
        ({"asc": True, "limit": 5, "p": 2}, [6, 7, 8, 9, 10]),
        ({"start_time": START + 60, "end_time": START + 120}, [3, 2]),
        ({"progress": "Processing,Closed"}, [9, 8, 7, 6, 5, 4]),
        ({"incident_severity": "Warning"}, [11, 8, 5, 2]),
        ({"incident_severity": "Warning,Info", "progress": "Closed"}, [9, 8]),
        ({"query": "HOST-0001"}, [12, 11, 10]),
        ({"query": "seeded incident 7."}, [7]),
        ({"channel_ids": [2551105804132]}, [12, 11, 10]),
        ({"incident_ids": [seed_id(2).upper(), UNKNOWN]}, [2]),
        ({"nums": ["000004"]}, [4]),
        ({"team_ids": [2477033058132, 1]}, [12, 11, 10]),
        ({"team_ids": [2477033058131], "channel_ids": [2551105804132]}, []),
        ({"team_ids": [1]}, []),
        ({"team_ids": [], "asc": True, "limit": 1}, [1]),
    ],
)
async def test_a_list_holds_what_its_filters_let_through(
    body: dict[str, object], numbers: list[int]
) -> None:
    """Every filter narrows the list, the latest incident first unless asked otherwise."""
    async with serving(seed_incidents=12) as client:
        assert await listed(client, **body) == numbers


@pytest.mark.parametrize(
    "body",
    [
        {"start_time": None},
        {"start_time": "1"},
        {"start_time": True},
        {"end_time": START},
        {"end_time": START + 31 * 86400 + 1},
        {"limit": 101},
        {"limit": -1},
        {"limit": 100, "p": 101},
        {"p": -1},
        {"asc": "yes"},
        {"progress": "Open"},
        {"incident_severity": "Fatal"},
        {"channel_ids": ["1"]},
        {"team_ids": [True]},
        {"team_ids": 2477033058131},
        {"nums": "000001"},
        {"query": 1},
        {"search_after_ctx": "made up"},
    ],
)
async def test_a_list_against_the_rules_is_refused(body: dict[str, object]) -> None:
    """A window is at most 31 days, a page at most 100, and pages reach 10,000 incidents."""
    async with serving() as client:
        status, answer = await client.post("/incident/list", WINDOW | body)
    assert (status, answer["error"]["code"]) == (400, "InvalidParameter")


@pytest.mark.parametrize("is_ascending", [True, False])
async def test_a_cursor_visits_each_incident_once(is_ascending: bool) -> None:
    """Following the cursor to the end shows everything once, even while it is updated."""
    visited, totals, body = [], set(), WINDOW | {"limit": 7, "asc": is_ascending}
    async with serving(seed_incidents=21) as client:
        while True:
            data = await client.data("/incident/list", body)
            visited += [item["incident_id"] for item in data["items"]]
            totals.add(data["total"])
            if not data["has_next_page"]:
                break
            body["search_after_ctx"] = data["search_after_ctx"]
            await client.data("/incident/reset", {"incident_id": visited[0], "title": "moved"})
    expected = [seed_id(number) for number in range(1, 22)]
    assert (visited, totals) == (expected if is_ascending else expected[::-1], {21})


async def test_the_statistics_add_up() -> None:
    """Every request is counted, by its result."""
    async with serving(per_second=5) as client:
        for title in ("one", "two", "x"):
            await client.post("/incident/reset", {"incident_id": FIRST, "title": title})
        await client.post("/incident/reset", {"incident_id": seed_id(2), "title": "one"})
        await client.post("/incident/info", {"incident_id": UNKNOWN})
        await client.post("/incident/info", {"incident_id": FIRST})
        await client.post("/incident/info", {"incident_id": FIRST}, key="wrong")
        assert await client.get("/_stats") == {
            "requests": 7,
            "admitted": 5,
            "throttled": 1,
            "unauthorized": 1,
            "applied": 3,
            "comments": 0,
            "incidents": 3,
            "incidents_updated": 2,
            "applied_more_than_once": 1,
            "most_applied": 2,
            "peak_1s": 7,
            "peak_60s": 7,
            "faults": 0,
            "by_code": {
                "InvalidParameter": 1,
                "RequestTooFrequently": 1,
                "ResourceNotFound": 1,
                "Unauthorized": 1,
            },
        }


async def test_the_page_is_self_contained() -> None:
    """The page shows the quota and the numbers, and makes requests to the sandbox alone."""
    async with serving(per_minute=1234) as client, client.session.get("/") as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
        assert answer.content_type == "text/html"
    style, script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", page, re.DOTALL)
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert "50 requests a second and 1,234 a minute, sliding windows" in page
    assert '<td class="number" data-name="incidents">3</td>' in page
    assert "http" not in page


async def test_the_latency_is_waited_half_before_and_half_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request is counted in the middle of its round trip, as over a real network."""
    config = SandboxConfig(latency_s=0.5, seed_incidents=1)
    sandbox = Sandbox(config)
    waits = []

    async def sleep(delay_s: float) -> None:
        waits.append((delay_s, sandbox.stats()["applied"]))

    async with sandbox.serve() as url, aiohttp.ClientSession(url) as session:
        monkeypatch.setattr("bulk_reset.sandbox.server.asyncio.sleep", sleep)
        await Client(session).data("/incident/reset", {"incident_id": FIRST, "title": "one"})
        monkeypatch.undo()
    assert waits == [(0.25, 0), (0.25, 1)]


def test_an_incident_put_aside_the_api_is_no_reset() -> None:
    """A test can change an incident as the console does; only requests to the API are counted."""
    sandbox = Sandbox(SandboxConfig(), wall_clock=lambda: 5.0)
    sandbox.incidents.put(UNKNOWN.upper(), incident_severity="Ok")
    with pytest.raises(ValueError, match=r"^colour: not a name of an incident's value\.$"):
        sandbox.incidents.put(UNKNOWN, colour="red")
    snapshot = sandbox.incidents.snapshot()[UNKNOWN]
    assert [snapshot[name] for name in ("incident_severity", "start_time", "applied")] == [
        "Ok",
        5,
        0,
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_second": 0}, "per_second: found 0. Give 1 or more."),
        ({"per_minute": -1}, "per_minute: found -1. Give 1 or more."),
        ({"seed_incidents": -1}, "seed_incidents: found -1. Give 0 or more."),
        ({"seed_step_s": -1}, "seed_step_s: found -1. Give 0 or more."),
        ({"latency_s": float("nan")}, "latency_s: found nan. Give 0 seconds or more."),
        ({"window_kind": "leaky"}, "window_kind: found 'leaky'. Give sliding or fixed."),
    ],
)
def test_a_sandbox_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    """What no sandbox could keep is said before it starts."""
    with pytest.raises(ValueError, match="found") as caught:
        SandboxConfig(**options)
    assert str(caught.value) == message


def start_command(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_how_to_use_it_and_ends_quietly(number: signal.Signals) -> None:
    """The command prints address, key and the next command, and ends with 0 when told to."""
    with start_command("--port", "0", "--seed-incidents", "2") as process:
        assert process.stdout is not None
        # Ends at the end of the output too, should the command have died.
        banner = "".join(itertools.takewhile("Press Ctrl-C to stop.\n".__ne__, process.stdout))
        process.send_signal(number)
        rest = process.communicate(timeout=30)
    port = banner.partition("http://127.0.0.1:")[2].partition("\n")[0]
    assert banner == (
        "A sandbox of the incident API. It sends nothing to other machines.\n\n"
        f"  base URL  http://127.0.0.1:{port}\n"
        f"  page      http://127.0.0.1:{port}/\n"
        "  key       sandbox-key\n"
        "  quota     50 per second, 1,000 per minute, sliding windows\n\n"
        "To run a sheet against it:\n"
        "  FLASHDUTY_APP_KEY=sandbox-key bulk-reset run SHEET "
        f"--base-url http://127.0.0.1:{port}\n\n"
    )
    assert (process.returncode, rest) == (0, ("", ""))


def test_the_command_seeds_up_to_now(start_sandbox: Callable[..., SandboxProcess]) -> None:
    """The seeded incidents are as far apart as told, and the last began one step ago."""
    earliest = int(time.time()) - 86400
    sandbox = start_sandbox("--seed-incidents", "3", "--seed-step", "86400")
    starts = sorted(one["start_time"] for one in sandbox.get("/_incidents").values())
    assert starts == [starts[2] - 2 * 86400, starts[2] - 86400, starts[2]]
    assert earliest <= starts[2] <= int(time.time()) - 86400


def test_the_command_refuses_to_seed_before_time_began() -> None:
    """A step that leads to before 1970 is refused in one line, with exit code 2."""
    with start_command("--seed-incidents", "2000", "--seed-step", "9999999") as process:
        output = process.communicate(timeout=30)
    message = (
        "error: --seed-step 9999999: the first of 2,000 incidents starts before 1970. "
        "Use fewer seconds."
    )
    assert (process.returncode, output) == (2, ("", f"{message}\n"))


async def test_the_command_refuses_a_port_that_is_taken() -> None:
    """Two sandboxes cannot share a port; the second says so in one line and exits with 2."""
    async with Sandbox(SandboxConfig()).serve() as url:
        port = url.rpartition(":")[2]
        with start_command("--port", port) as process:
            output = await asyncio.to_thread(process.communicate, timeout=30)
    message = f"error: port {port}: is used by another program. Use --port N for another port."
    assert (process.returncode, output) == (2, ("", f"{message}\n"))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8765"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "[::1]:8765"}, 200),
        ({"Origin": "http://127.0.0.1:8765"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8765"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "localhost."}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example:80"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "file://"}, 403),
    ],
)
async def test_a_web_page_cannot_use_the_sandbox(headers: dict[str, str], status: int) -> None:
    """Its host is not a name of this machine, or its browser names the page's own."""
    sandbox = Sandbox(SandboxConfig(seed_incidents=1, latency_s=0))
    body = {"incident_id": FIRST, "title": "Renamed"}
    async with sandbox.serve() as url, aiohttp.ClientSession() as session:
        reset = session.post(
            f"{url}/incident/reset?app_key=sandbox-key", json=body, headers=headers
        )
        async with reset as answer:
            assert answer.status == status
        for path in ("/", "/_stats", "/_incidents"):
            async with session.get(url + path, headers=headers) as answer:
                assert answer.status == status
    assert sandbox.incidents.snapshot()[FIRST]["applied"] == (1 if status == 200 else 0)
