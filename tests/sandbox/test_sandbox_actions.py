"""The sandbox acknowledges, resolves and reopens, and answers who did what, as published."""

from __future__ import annotations

from typing import Final

import pytest
from test_sandbox import UNKNOWN, serving

from bulk_reset.sandbox.incidents import seed_id

TRIGGERED, PROCESSING, CLOSED = seed_id(1), seed_id(4), seed_id(7)
_LISTED: Final = [TRIGGERED, PROCESSING, CLOSED]


@pytest.mark.parametrize(
    ("action", "ids", "progress"),
    [
        ("ack", [TRIGGERED, PROCESSING], ["Processing", "Processing", "Closed"]),
        ("resolve", _LISTED, ["Closed", "Closed", "Closed"]),
        ("reopen", _LISTED, ["Triggered", "Processing", "Triggered"]),
    ],
)
async def test_an_action_changes_the_progress_of_its_incidents(
    action: str, ids: list[str], progress: list[str]
) -> None:
    """The answer has no data; an incident that has the progress already stays as it is."""
    async with serving(seed_incidents=9) as client:
        status, answer = await client.post(f"/incident/{action}", {"incident_ids": ids})
        assert (status, answer["data"]) == (200, None)
        _, listed = await client.post("/incident/list-by-ids", {"incident_ids": _LISTED})
        kinds = []
        for one in _LISTED:
            _, feed = await client.post("/incident/feed", {"incident_id": one, "asc": True})
            kinds.append([entry["type"] for entry in feed["data"]["items"][1:]])
    assert [one["progress"] for one in listed["data"]["items"]] == progress
    before = ["Triggered", "Processing", "Closed"]
    kind = {"ack": "i_ack", "resolve": "i_rslv", "reopen": "i_reopen"}[action]
    assert kinds == [[kind] if b != a else [] for b, a in zip(before, progress, strict=True)]


@pytest.mark.parametrize(
    ("action", "body", "code"),
    [
        ("resolve", {"incident_ids": [TRIGGERED, UNKNOWN]}, "ResourceNotFound"),
        ("resolve", {"incident_ids": []}, "InvalidParameter"),
        ("resolve", {"incident_ids": [TRIGGERED], "resolution": "x" * 1025}, "InvalidParameter"),
        ("reopen", {"incident_ids": [CLOSED], "reason": 5}, "InvalidParameter"),
        ("ack", {"incident_ids": [TRIGGERED, CLOSED]}, "InvalidParameter"),
        ("ack", {"incident_ids": [seed_id(n) for n in range(1, 102)]}, "InvalidParameter"),
    ],
)
async def test_a_request_that_is_refused_changes_none_of_its_incidents(
    action: str, body: dict[str, object], code: str
) -> None:
    """It is all of them or none."""
    async with serving(seed_incidents=9) as client:
        _, answer = await client.post(f"/incident/{action}", body)
        _, listed = await client.post("/incident/list-by-ids", {"incident_ids": _LISTED})
    assert answer["error"]["code"] == code
    progress = [one["progress"] for one in listed["data"]["items"]]
    assert progress == ["Triggered", "Processing", "Closed"]


async def test_a_resolution_may_have_texts() -> None:
    """They are set in each incident."""
    async with serving(seed_incidents=9) as client:
        body = {"incident_ids": [TRIGGERED], "root_cause": "A leak.", "resolution": "Restarted."}
        await client.post("/incident/resolve", body)
        _, found = await client.post("/incident/info", {"incident_id": TRIGGERED})
    assert (found["data"]["root_cause"], found["data"]["resolution"]) == ("A leak.", "Restarted.")


async def test_the_log_has_each_request_with_its_body() -> None:
    """The latest comes first, in pages; people are named, and those who are unknown are missing."""
    async with serving(seed_incidents=9) as client:
        _, first = await client.post("/incident/ack", {"incident_ids": [TRIGGERED]})
        _, second = await client.post("/incident/resolve", {"incident_ids": [TRIGGERED]})
        await client.post("/incident/info", {"incident_id": TRIGGERED})
        query = {"start_time": 1, "end_time": 1 + 90 * 86_400, "limit": 1, "is_write": True}
        _, early = await client.post("/audit/search", query)
        entry = (await client.post("/incident/feed", {"incident_id": TRIGGERED}))[1]["data"]
        at = entry["items"][0]["created_at"] // 1000
        query |= {"start_time": at - 60, "end_time": at + 60}
        _, page = await client.post("/audit/search", query)
        cursor = page["data"]["search_after_ctx"]
        _, last = await client.post("/audit/search", query | {"search_after_ctx": cursor})
        _, wrong = await client.post("/audit/search", query | {"limit": 100})
        person_id = page["data"]["docs"][0]["member_id"]
        _, people = await client.post("/person/infos", {"person_ids": [person_id, 5]})
    assert early["data"] == {"total": 0, "search_after_ctx": "", "docs": []}
    found = [*page["data"]["docs"], *last["data"]["docs"]]
    assert [(one["request_id"], one["body"]) for one in found] == [
        (second["request_id"], f'{{"incident_ids": ["{TRIGGERED}"]}}'),
        (first["request_id"], f'{{"incident_ids": ["{TRIGGERED}"]}}'),
    ]
    assert (page["data"]["total"], last["data"]["search_after_ctx"]) == (2, "")
    assert wrong["error"]["code"] == "InvalidParameter"
    assert [(one["person_id"], one["person_name"]) for one in people["data"]["items"]] == [
        (person_id, "Sandbox user")
    ]
    assert entry["items"][0]["creator_id"] == person_id
