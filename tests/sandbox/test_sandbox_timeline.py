"""The sandbox's timeline: an entry for each change, in the published types, in pages."""

from __future__ import annotations

import pytest
from test_sandbox_operations import FIRST, UNKNOWN, refusal, serving

FEED = "/incident/feed"


async def test_every_change_has_an_entry_with_the_published_detail() -> None:
    """The latest is first; a filter by type lets only those through."""
    async with serving() as client:
        body = {"incident_id": FIRST, "title": "Renamed", "description": "Longer text"}
        await client.data("/incident/reset", body)
        field = {"incident_id": FIRST, "field_name": "tags", "field_value": ["new"]}
        await client.data("/incident/field/reset", field)
        for comment in ("Looking.", "Found it."):
            await client.data("/incident/comment", {"incident_ids": [FIRST], "comment": comment})
        whole = await client.data(FEED, {"incident_id": FIRST.upper()})
        comments = await client.data(FEED, {"incident_id": FIRST, "types": ["i_comm"], "asc": True})
    title = whole["items"][-1]["detail"]["title"]
    assert whole["has_next_page"] is False
    assert [(one["type"], one["detail"]) for one in whole["items"]] == [
        ("i_comm", {"comment": "Found it.", "mute_reply": False}),
        ("i_comm", {"comment": "Looking.", "mute_reply": False}),
        ("i_r_field", {"field_name": "tags", "to": ["new"]}),
        ("i_r_desc", {}),
        ("i_r_title", {"from": title, "to": "Renamed"}),
        ("i_new", {"severity": "Critical", "title": title}),
    ]
    assert [one["detail"]["comment"] for one in comments["items"]] == ["Looking.", "Found it."]


async def test_a_timeline_has_pages() -> None:
    """The last page has no next one, and the one after it is empty."""
    async with serving() as client:
        for n in range(3):
            await client.data("/incident/comment", {"incident_ids": [FIRST], "comment": f"N {n}"})
        pages = [
            await client.data(FEED, {"incident_id": FIRST, "limit": 2, "p": page, "asc": True})
            for page in (1, 2, 3)
        ]
    assert [(len(page["items"]), page["has_next_page"]) for page in pages] == [
        (2, True),
        (2, False),
        (0, False),
    ]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"incident_id": UNKNOWN}, "ResourceNotFound"),
        ({"incident_id": "short"}, "InvalidParameter"),
        ({"limit": 101}, "InvalidParameter"),
        ({"limit": 0}, "InvalidParameter"),
        ({"p": 0}, "InvalidParameter"),
        ({"types": ["comment"]}, "InvalidParameter"),
        ({"types": "i_comm"}, "InvalidParameter"),
    ],
    ids=str,
)
async def test_a_timeline_that_cannot_be_asked_for_is_refused(
    change: dict[str, object], code: str
) -> None:
    """As published."""
    async with serving() as client:
        assert await refusal(client, FEED, {"incident_id": FIRST} | change) == (400, code)
