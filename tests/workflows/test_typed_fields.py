"""Custom fields by their types, against a server that refuses what the description refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import openpyxl
import pandas as pd
import pytest
from typer.testing import CliRunner

from bulk_reset import Callbacks, InputError, Options, check, plan, pull, run
from bulk_reset.cli import app
from bulk_reset.core.errors import InvalidRowsError

ONE, MANY = ["eu-west", "us-east", "华北"], ["db", "web", "数据库", "a, b"]
FIELDS: list[dict[str, Any]] = [
    {"field_name": "urgent", "display_name": "Is urgent", "field_type": "checkbox"},
    {"field_name": "region", "display_name": "地区", "field_type": "single_select", "options": ONE},
    {"field_name": "tags", "display_name": "Tags", "field_type": "multi_select", "options": MANY},
    {"field_name": "notes", "display_name": "Notes", "field_type": "text"},
    {"field_name": "old", "display_name": "Old", "field_type": "text", "status": "deleted"},
    {"field_name": "team_a", "display_name": "Team", "field_type": "text"},
    {"field_name": "team_b", "display_name": "Team", "field_type": "text"},
]
KIND_OF = {one["field_name"]: one for one in FIELDS}


def is_valid(name: str, value: object) -> bool:
    """Return whether the description allows a value."""
    definition = KIND_OF[name]
    match definition["field_type"]:
        case "checkbox":
            return isinstance(value, bool)
        case "single_select":
            return value in definition["options"]
        case "multi_select":
            return isinstance(value, list) and set(value) <= set(definition["options"])
    return isinstance(value, str) and len(value) <= 3_000


@dataclass
class Account:
    """What the server has been asked, and what it holds."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: list[object] = field(default_factory=list)
    list_error: tuple[int, str] | None = None


class Server(BaseHTTPRequestHandler):
    """Refuses what the description refuses."""

    protocol_version = "HTTP/1.1"
    account: ClassVar[Account]

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_POST(self) -> None:
        """Answer one operation."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path, account = self.path.partition("?")[0], self.account
        account.paths.append(path)
        if path == "/field/list":
            items = [{"status": "enabled", "options": None, **one} for one in FIELDS]
            if account.list_error is not None:
                self._fail(*account.list_error)
            else:
                self._send(200, {"data": {"items": items}})
        elif path == "/incident/list-by-ids":
            items = [
                {"incident_id": one, "fields": account.values.get(one, {})}
                for one in body["incident_ids"]
            ]
            self._send(200, {"data": {"items": items}})
        elif is_valid(body["field_name"], body["field_value"]):
            fields = account.values.setdefault(body["incident_id"], {})
            fields[body["field_name"]] = body["field_value"]
            self._send(200, {"data": {}})
        else:
            account.refused.append(body)
            self._fail(400, "InvalidParameter")

    def _fail(self, status: int, code: str) -> None:
        self._send(status, {"error": {"code": code, "message": "no"}})

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps({"request_id": "R", **answer}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Account]:
    """Serve an account until the test ends."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "a-key-of-a-test")
    handler = type("Handler", (Server,), {"account": Account()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        handler.account.url = f"http://127.0.0.1:{serving.server_port}"
        yield handler.account
        serving.shutdown()
        thread.join()


def id_of(number: int) -> str:
    return f"{number:024x}"


def options(account: Account, **more: Any) -> Options:  # noqa: ANN401  (options)
    fast = {"per_second": 5_000, "per_minute": 300_000, "attempts": 1, "patience_s": 0}
    return Options(base_url=account.url, **{**fast, **more})


ZOO: dict[str, dict[str, object]] = {
    "urgent": {
        **dict.fromkeys(("yes", "YES", "true", "True", "1", "是", " yes "), True),
        **dict.fromkeys(("no", "No", "false", "FALSE", "0", "否"), False),
        **dict.fromkeys(("maybe", "2", "yes!", "null", "[true]"), None),
    },
    "region": {
        **{one: one for one in ONE},
        " eu-west ": "eu-west",
        "EU-West": "eu-west",
        **dict.fromkeys(("eu-wets", "eu-west; us-east", "true", '["eu-west"]', "华东"), None),
    },
    "tags": {
        "db": ["db"],
        "db; web": ["db", "web"],
        "db,web": ["db", "web"],
        "db、web": ["db", "web"],
        "db\nweb": ["db", "web"],
        "数据库\uff1bWEB": ["数据库", "web"],
        "db;db": ["db"],
        "a, b": ["a, b"],
        '["db", "a, b"]': ["db", "a, b"],
        " db ;; web ": ["db", "web"],
        **dict.fromkeys(("dbs", "db; nope", ";", '["nope"]', '["db"', "[1]", "null"), None),
    },
    "notes": {
        **{text: text for text in ("a", "yes", "1", "[1]", "全部", "x" * 3_000)},
        "x" * 3_001: None,
    },
}
"""Type -> cell -> the value that is sent; None for a cell that is invalid."""


@pytest.mark.parametrize("name", ZOO)
def test_every_cell_is_sent_by_its_type_or_refused_before(name: str, account: Account) -> None:
    """What is sent is accepted by the server, and what is not sent is an error at its cell."""
    cells = ZOO[name]
    frame = pd.DataFrame({"id": map(id_of, range(len(cells))), f"field:{name}": list(cells)})
    with pytest.raises(InvalidRowsError) as raised:
        run(frame, options(account))
    wrong = {error.row_number - 2 for error in raised.value.row_errors}
    assert wrong == {n for n, value in enumerate(cells.values()) if value is None}
    assert {error.column for error in raised.value.row_errors} == {f"field:{name}"}
    assert account.paths == ["/field/list"]
    run(frame, options(account, skip_invalid=True))
    expected = {id_of(n): {name: v} for n, v in enumerate(cells.values()) if v is not None}
    assert (account.values, account.refused) == (expected, [])
    assert account.paths.count("/field/list") == 2


JSON_ZOO: list[tuple[str, str, object]] = [
    ("urgent", "true", True),
    ("urgent", '"yes"', None),
    ("region", '"eu-west"', "eu-west"),
    ("region", '["eu-west"]', None),
    ("tags", '["db", "web"]', ["db", "web"]),
    ("tags", '"db"', None),
    ("tags", '["nope"]', None),
    ("notes", '"5"', "5"),
    ("notes", "5", None),
]


@pytest.mark.parametrize(("name", "cell", "value"), JSON_ZOO)
def test_a_json_cell_must_have_the_type_of_its_field(
    name: str, cell: str, value: object, account: Account
) -> None:
    """``:json`` still works, and is checked too."""
    frame = pd.DataFrame({"id": [id_of(1)], f"field:{name}:json": [cell]})
    if value is None:
        with pytest.raises(InvalidRowsError):
            run(frame, options(account))
    else:
        run(frame, options(account))
    assert account.values == ({id_of(1): {name: value}} if value is not None else {})


def test_an_error_names_the_nearest_option(account: Account) -> None:
    """The fix is what was probably meant, or the options."""
    frame = pd.DataFrame({"id": map(id_of, range(3)), "field:region": ["eu-wets", "mars", "华北"]})
    found = check(frame, options(account))
    assert [(one.row_number, one.kind, one.problem, one.fix) for one in found.row_errors] == [
        (2, "field_type", "'eu-wets' is not an option of the field", "Did you mean eu-west"),
        (
            3,
            "field_type",
            "'mars' is not an option of the field",
            "Use one of: eu-west, us-east, 华北",
        ),
    ]


def test_a_display_name_is_a_header(account: Account) -> None:
    """The API gets the field's name; letters of another case are the same."""
    frame = pd.DataFrame({"id": [id_of(1)], "field:is urgent": ["是"], "field:地区": ["华北"]})
    run(frame, options(account))
    assert account.values == {id_of(1): {"urgent": True, "region": "华北"}}
    assert plan(frame, options(account)).counts == {"unchanged": 1}


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            ["field:Team"],
            "2 custom fields have this display name. Use field:team_a or",
        ),
        (["field:old"], "this custom field was deleted. Use one of:"),
        (["field:regoin"], "no such custom field. Use one of: region."),
        (["field:region", "field:地区"], "set the same custom field. Remove one."),
    ],
)
def test_a_column_without_a_field_is_an_error(
    columns: list[str], says: str, account: Account
) -> None:
    """It names the fields that may be meant, and nothing is sent."""
    frame = pd.DataFrame({"id": [id_of(1)], **dict.fromkeys(columns, "华北")})
    for action in (run, plan, check):
        with pytest.raises(InputError) as raised:
            action(frame, options(account))
        assert says in str(raised.value)
    assert set(account.paths) == {"/field/list"}


def test_without_the_types_a_run_says_so_and_sends_the_texts(account: Account) -> None:
    """A key that may not read them can still update."""
    account.list_error = (403, "AccessDenied")
    frame = pd.DataFrame({"id": [id_of(1)], "field:region": ["eu-west"]})
    notices: list[str] = []
    run(frame, options(account), Callbacks(on_notice=notices.append))
    assert account.values == {id_of(1): {"region": "eu-west"}}
    assert any("types of custom fields are not checked: the custom" in one for one in notices)


def test_a_check_without_a_key_or_an_api_says_what_was_not_checked(
    account: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It stays possible."""
    frame = pd.DataFrame({"id": [id_of(1)], "field:region": ["nowhere"]})
    notices: list[str] = []
    callbacks = Callbacks(on_notice=notices.append)
    assert check(frame, Options(base_url="http://127.0.0.1:9"), callbacks).row_errors == ()
    monkeypatch.delenv("FLASHDUTY_APP_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert check(frame, options(account), callbacks).row_errors == ()
    said = [one for one in notices if "types of custom fields are not checked" in one]
    assert len(said) == 2
    assert said[1].endswith("because there is no app key")
    assert account.paths == []


def test_a_pulled_workbook_offers_the_options_and_is_sent_by_type(
    account: Account, tmp_path: Path
) -> None:
    """Drop-downs for a checkbox and a single select; edits as people write them."""
    path = tmp_path / "pulled.xlsx"
    before = {"urgent": True, "region": "eu-west", "tags": ["db"]}
    account.values = {id_of(1): dict(before), id_of(2): dict(before)}
    columns = ["field:urgent", "field:region", "field:tags"]
    pull(path, [id_of(1), id_of(2)], options(account), custom=columns)
    book = openpyxl.load_workbook(path)
    sheet = book.worksheets[0]
    place = {cell.value: cell.column_letter for cell in sheet[1]}
    lists = {
        str(one.sqref).partition("2")[0]: one.formula1
        for one in sheet.data_validations.dataValidation
        if one.type == "list"
    }
    assert {name: lists.get(place[name]) for name in columns} == {
        "field:urgent": '"true,false"',
        "field:region": '"eu-west,us-east,\u534e\u5317"',
        "field:tags": None,
    }
    edits = {"field:urgent": "\u5426", "field:region": "US-East", "field:tags": "db; web"}
    for name, text in edits.items():
        sheet[f"{place[name]}2"] = text
    book.save(path)
    totals = run(path, options(account))
    assert (totals.counts["updated"], totals.counts["unchanged"]) == (1, 1)
    after = {"urgent": False, "region": "us-east", "tags": ["db", "web"]}
    assert account.values == {id_of(1): after, id_of(2): before}


def test_a_template_offers_the_options(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name or display name; without a key there is the column, and a sentence."""
    arguments = ["template", "t.xlsx", "--force", "--base-url", account.url]
    for name in ("urgent", "\u5730\u533a", "tags"):
        arguments += ["--field", name]
    monkeypatch.chdir(tmp_path)
    expected = ['"yes,no"', '"eu-west,us-east,\u534e\u5317"', None]
    for lists in (expected, [None] * 3):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        sheet = openpyxl.load_workbook("t.xlsx").worksheets[0]
        place = {cell.value: cell.column_letter for cell in sheet[1]}
        found = {
            str(one.sqref).partition("2")[0]: one.formula1
            for one in sheet.data_validations.dataValidation
        }
        names = ("field:urgent", "field:\u5730\u533a", "field:tags")
        assert [found.get(place[name]) for name in names] == lists
        assert ("no drop-downs for custom fields" in done.stderr) == (lists != expected)
        monkeypatch.delenv("FLASHDUTY_APP_KEY", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))


def test_a_sheet_without_custom_fields_asks_for_none(account: Account) -> None:
    """No request is made for nothing."""
    check(pd.DataFrame({"id": [id_of(1)], "title": ["Disk full"]}), options(account))
    assert account.paths == []
