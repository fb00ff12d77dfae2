"""The sandbox sets custom fields and adds comments, by the API's rules and all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_sandbox import FIRST, START, UNKNOWN, Client, serving

from bulk_reset.sandbox import Fault, rules
from bulk_reset.sandbox.codes import ApiError
from bulk_reset.sandbox.incidents import seed_id, seeded

SECOND = seed_id(2)
RESET_FIELD, COMMENT = "/incident/field/reset", "/incident/comment"
ID = {"type": "string", "pattern": "^[0-9a-fA-F]{24}$"}
FIELD_REQUEST: Final = Draft202012Validator(
    {
        "type": "object",
        "required": ["incident_id", "field_name"],
        "properties": {"incident_id": ID, "field_name": {"type": "string"}, "field_value": {}},
    }
)
"""Source: ResetIncidentFieldRequest of the Flashduty Open API."""
COMMENT_REQUEST: Final = Draft202012Validator(
    {
        "type": "object",
        "required": ["incident_ids"],
        "properties": {
            "incident_ids": {"type": "array", "items": ID, "minItems": 1, "maxItems": 100},
            "comment": {"type": "string", "maxLength": 1024},
            "mute_reply": {"type": "boolean"},
        },
    }
)
"""Source: CommentIncidentRequest of the Flashduty Open API."""


async def refusal(client: Client, path: str, body: object) -> tuple[int, str]:
    """Return the status and the code of an answer that has to be a failure."""
    status, answer = await client.post(path, body)
    return status, answer["error"]["code"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("affected_service", "service-9"),
        ("affected_service", ""),
        ("tags", []),
        ("customer count", 3),
        ("ratio", 0.5),
        ("is_known", False),
        ("故障", {"any": [1, "JSON", None]}),
    ],
)
async def test_a_custom_field_is_set_and_all_else_left(name: str, value: object) -> None:
    """One field of the custom ones changes, updated_at moves, and it counts as a reset."""
    body = {"incident_id": FIRST.upper(), "field_name": name, "field_value": value}
    async with serving() as client:
        assert await client.data(RESET_FIELD, body) is None
        after = await client.data("/incident/info", {"incident_id": FIRST})
        stats = await client.get("/_stats")
    before = seeded(1, START)
    fields = before["fields"] | {name: value}
    assert after == before | {"fields": fields, "updated_at": 2_000_000_000}
    assert (stats["applied"], stats["incidents_updated"]) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"field_name": None},
        {"field_name": ""},
        {"field_name": 7},
        {"field_value": None},
        {"field_name": "customer count", "field_value": None},
        {"field_value": 1},
        {"field_value": True},
        {"field_value": ["service-9"]},
        {"field_value": {"service": 9}},
        {"field_name": "tags", "field_value": "seeded"},
        {"incident_id": "short"},
    ],
)
async def test_a_custom_field_against_the_rules_stays(change: dict[str, object]) -> None:
    """A field needs a name and a value, of the type that it holds already."""
    body = {"incident_id": FIRST, "field_name": "affected_service", "field_value": "x"} | change
    async with serving() as client:
        assert await refusal(client, RESET_FIELD, body) == (400, "InvalidParameter")
        assert (await client.get("/_incidents"))[FIRST] == seeded(1, START) | {"applied": 0}


async def test_a_request_without_a_name_or_a_value_sets_nothing() -> None:
    """What is left out is refused as what is null is."""
    async with serving() as client:
        for rest in ({"field_name": "customer count"}, {"field_value": "x"}):
            body = {"incident_id": FIRST} | rest
            assert await refusal(client, RESET_FIELD, body) == (400, "InvalidParameter")
        assert (await client.get("/_stats"))["applied"] == 0


async def test_the_type_of_a_custom_field_is_named_when_it_does_not_match() -> None:
    """The error of a wrong type names the one that the field has."""
    body = {"incident_id": FIRST, "field_name": "tags", "field_value": "seeded"}
    async with serving() as client:
        _, answer = await client.post(RESET_FIELD, body)
    assert answer["error"]["message"] == (
        "The specified parameter field_value is not valid: "
        "its type must match the field definition, a list."
    )


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "[1e999]"])
async def test_a_number_that_json_does_not_have_is_refused(value: str) -> None:
    """What could not be answered again as JSON is not kept."""
    text = f'{{"incident_id": "{FIRST}", "field_name": "ratio", "field_value": {value}}}'
    headers = {"Content-Type": "application/json"}
    async with serving() as client:
        call = client.session.post(f"{RESET_FIELD}?app_key=sandbox-key", data=text, headers=headers)
        async with call as answer:
            assert (await answer.json())["error"]["code"] == "BadRequest"
        assert "ratio" not in (await client.get("/_incidents"))[FIRST]["fields"]


async def test_a_comment_is_added_to_each_incident_once() -> None:
    """Comments stand in the order they came, and are no value that the API shows."""
    async with serving() as client:
        for ids, comment in (([FIRST, SECOND.upper(), SECOND], "Looking."), ([FIRST], "😀" * 1024)):
            body = {"incident_ids": ids, "comment": comment, "mute_reply": True}
            assert await client.data(COMMENT, body) is None
        shown = await client.data("/incident/info", {"incident_id": FIRST})
        incidents = await client.get("/_incidents")
        stats = await client.get("/_stats")
    assert shown == seeded(1, START) | {"updated_at": 2_000_000_001}
    assert [one.get("comments") for one in incidents.values()] == [
        ["Looking.", "😀" * 1024],
        ["Looking."],
        None,
    ]
    assert (stats["comments"], stats["applied"]) == (3, 0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"incident_ids": []}, "InvalidParameter"),
        ({"incident_ids": FIRST}, "InvalidParameter"),
        ({"incident_ids": [FIRST, "short"]}, "InvalidParameter"),
        ({"incident_ids": [seed_id(n) for n in range(1, 102)]}, "InvalidParameter"),
        ({"incident_ids": [FIRST, UNKNOWN]}, "ResourceNotFound"),
        ({"comment": ""}, "InvalidParameter"),
        ({"comment": "é" * 1025}, "InvalidParameter"),
        ({"comment": None}, "InvalidParameter"),
        ({"comment": ["text"]}, "InvalidParameter"),
        ({"mute_reply": "yes"}, "InvalidParameter"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_comment_against_the_rules_is_added_nowhere(
    change: dict[str, object], code: str
) -> None:
    """All the incidents of a request get the comment or none does."""
    body = {"incident_ids": [FIRST, SECOND], "comment": "Looking."} | change
    async with serving(seed_incidents=101) as client:
        assert await refusal(client, COMMENT, body) == (400, code)
        assert (await client.get("/_incidents"))[FIRST] == seeded(1, START) | {"applied": 0}
        assert (await client.get("/_stats"))["comments"] == 0


async def test_a_custom_field_of_an_unknown_incident_is_refused() -> None:
    """No incident, no field: nothing is created."""
    body = {"incident_id": UNKNOWN, "field_name": "tags", "field_value": []}
    async with serving() as client:
        assert await refusal(client, RESET_FIELD, body) == (400, "ResourceNotFound")
        assert (await client.get("/_stats"))["incidents"] == 3


async def test_a_comment_creates_the_incident_of_any_id_if_allowed() -> None:
    """A rehearsal with a real sheet takes comments and custom fields too."""
    async with serving(accepts_any_id=True, seed_incidents=0) as client:
        await client.data(COMMENT, {"incident_ids": [UNKNOWN], "comment": "Looking."})
        body = {"incident_id": UNKNOWN, "field_name": "tags", "field_value": ["a"]}
        await client.data(RESET_FIELD, body)
        incident = (await client.get("/_incidents"))[UNKNOWN]
    assert (incident["comments"], incident["fields"]) == (["Looking."], {"tags": ["a"]})


async def test_a_fault_can_be_meant_for_the_comment_on_one_incident() -> None:
    """A rule with an id acts on a comment on that incident alone, and on none on several."""
    fault = Fault(path=COMMENT, incident_id=SECOND, error="InternalError")
    async with serving(faults=(fault,)) as client:
        statuses = []
        for ids in ([FIRST], [SECOND.upper()], [FIRST, SECOND]):
            body = {"incident_ids": ids, "comment": "Looking."}
            statuses.append((await client.post(COMMENT, body))[0])
    assert statuses == [200, 500, 200]


def code_of(read: Callable[[rules.Body], object], body: object) -> str:
    """Return the code that a body is refused with, empty if it is taken."""
    try:
        read(rules.read_object(json.dumps(body).encode()))
    except ApiError as error:
        return error.code
    return ""


def read_field_request(body: rules.Body) -> object:
    return rules.read_id(body), rules.read_field(body)


VALUES: Final = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([{}])
IDS: Final = (
    st.sampled_from([FIRST, FIRST.upper()]) | st.from_regex(r"\A[0-9a-g]{23,25}\Z") | VALUES
)


@given(
    body=VALUES
    | st.fixed_dictionaries(
        {"incident_id": IDS},
        optional={"field_name": VALUES, "field_value": VALUES, "unheard_of": VALUES},
    )
)
def test_the_rules_of_custom_fields_are_the_published_ones(body: Any) -> None:  # noqa: ANN401 - any JSON
    """What the API's description allows is taken, but for no name and no value."""
    has_message = FIELD_REQUEST.is_valid(body) and body["field_name"] != ""
    has_message = has_message and body.get("field_value") is not None
    assert code_of(read_field_request, body) == ("" if has_message else "InvalidParameter")


@given(
    body=VALUES
    | st.fixed_dictionaries(
        {"incident_ids": VALUES | st.lists(IDS, max_size=2) | st.just([FIRST] * 101)},
        optional={
            "comment": VALUES | st.sampled_from(["😀" * 1024, "😀" * 1025]),
            "mute_reply": VALUES,
        },
    )
)
def test_the_rules_of_comments_are_the_published_ones(body: Any) -> None:  # noqa: ANN401 - any JSON
    """What the API's description allows is taken, but for a comment that says nothing."""
    has_message = COMMENT_REQUEST.is_valid(body) and body.get("comment", "") != ""
    assert code_of(rules.read_comment, body) == ("" if has_message else "InvalidParameter")


DEFINITIONS: Final = (
    {"field_name": "urgent", "field_type": "checkbox", "options": None, "status": "enabled"},
    {"field_name": "region", "field_type": "single_select", "options": ["eu"], "status": "enabled"},
    {"field_name": "parts", "field_type": "multi_select", "options": ["a"], "status": "enabled"},
    {"field_name": "notes", "field_type": "text", "options": None, "status": "enabled"},
    {"field_name": "old", "field_type": "text", "options": None, "status": "deleted"},
)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        *(("urgent", True, ""), ("urgent", "yes", "InvalidParameter")),
        *(("urgent", 1, "InvalidParameter"), ("region", "eu", "")),
        *(("region", "us", "InvalidParameter"), ("region", ["eu"], "InvalidParameter")),
        *(("parts", ["a"], ""), ("parts", [], ""), ("parts", ["b"], "InvalidParameter")),
        *(("parts", "a", "InvalidParameter"), ("notes", "x" * 3_000, "")),
        *(("notes", "x" * 3_001, "InvalidParameter"), ("notes", 5, "InvalidParameter")),
        *(("old", "x", "ResourceNotFound"), ("nowhere", "x", "ResourceNotFound")),
    ],
)
async def test_a_defined_field_takes_only_its_values(name: str, value: object, code: str) -> None:
    """By type and options; the definitions can be listed."""
    async with serving(fields=DEFINITIONS) as client:
        assert await client.data("/field/list", {}) == {"items": list(DEFINITIONS)}
        body = {"incident_id": FIRST, "field_name": name, "field_value": value}
        _, answer = await client.post(RESET_FIELD, body)
        assert answer.get("error", {}).get("code", "") == code


async def test_an_access_token_takes_the_place_of_the_key() -> None:
    """In a header; a wrong one is refused, even with the right key."""
    async with serving() as client:
        found = []
        for token in ("sandbox-token", "another"):
            headers = {"Authorization": f"Bearer {token}"}
            for params in ({}, {"app_key": "sandbox-key"}):
                async with client.session.post(
                    "/incident/info", params=params, json={"incident_id": FIRST}, headers=headers
                ) as answer:
                    found.append(answer.status)
    assert found == [200, 200, 401, 401]


async def test_a_comment_is_trimmed_and_its_timeline_shows_whether_it_is_muted() -> None:
    """The characters are counted afterwards; white space alone is refused."""
    async with serving() as client:
        body = {"incident_ids": [FIRST], "comment": f" {'x' * 1024}\n", "mute_reply": True}
        await client.data(COMMENT, body)
        assert await refusal(client, COMMENT, {**body, "comment": " \n "}) == (
            400,
            "InvalidParameter",
        )
        feed = await client.data("/incident/feed", {"incident_id": FIRST, "types": ["i_comm"]})
    assert [one["detail"] for one in feed["items"]] == [{"comment": "x" * 1024, "mute_reply": True}]
