"""A saved plan is run exactly: what has moved since is a conflict, what was altered is refused."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from programs import KEY, SandboxProcess

from bulk_reset import (
    Callbacks,
    InputError,
    OnConflict,
    Options,
    Status,
    Totals,
    plan,
    pull,
    read_report,
    run,
    undo,
    verify,
)
from bulk_reset.core.plan import RowPlan
from bulk_reset.core.saved_plan import MAGIC
from bulk_reset.workflows.plan_reading import Difference, diff_plans, open_plan, read_plan

ID = "69da451e{:016x}"


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(sandbox_state=tmp_path / "state.json", per_second=5000, per_minute=300_000)


def incidents(options: Options) -> dict[str, dict[str, Any]]:
    assert options.sandbox_state is not None
    found = json.loads(options.sandbox_state.read_text(encoding="utf-8"))
    return dict(found)


def titles(options: Options) -> dict[str, str]:
    return {incident_id: one["title"] for incident_id, one in incidents(options).items()}


def custom_fields(options: Options) -> dict[str, Any]:
    """Return those of the first incident that a test sets."""
    found = incidents(options)[ID.format(1)]["fields"]
    return {name: found[name] for name in ("tags", "level")}


def seed(options: Options) -> dict[str, str]:
    """Create the incidents of the sandbox; return their titles."""
    pull(_folder(options) / "seed.csv", [ID.format(1)], options)
    return titles(options)


def _folder(options: Options) -> Path:
    assert options.sandbox_state is not None
    return options.sandbox_state.parent


def sheet(options: Options, rows: int = 12, header: str = "id,title") -> Path:
    path = _folder(options) / "x.csv"
    lines = [f"{ID.format(n)},Renamed {n}" for n in range(1, rows + 1)]
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def rename(options: Options, *numbers: int) -> None:
    """Give some incidents other titles, as another user does."""
    path = _folder(options) / "other.csv"
    rows = [f"{ID.format(n)},Other {n}\n" for n in numbers]
    path.write_text("id,title\n" + "".join(rows), encoding="utf-8")
    run(path, options)


def counts(totals: Totals) -> dict[str, int]:
    return {status.value: rows for status, rows in totals.counts.items() if rows}


def test_a_plan_is_sent_exactly_and_undone(options: Options) -> None:
    """Five incidents were edited since: conflicts; the rest is sent, verified and undone."""
    before = seed(options)
    path = _folder(options) / "x.plan"
    totals = plan(sheet(options), options, out=path)
    assert (totals.counts, len(totals.plan_sha256)) == ({"update": 12}, 64)
    assert open_plan(path).sha256 == totals.plan_sha256
    rename(options, 3, 4, 5, 6, 7)
    edited = titles(options)
    assert counts(run(path, options)) == {"updated": 7, "conflict": 5}
    report = path.with_name("x.plan.sandbox.report.csv")
    assert {one.row_number: one.status for one in read_report(report)} == {
        n + 1: Status.CONFLICT if 3 <= n <= 7 else Status.UPDATED for n in range(1, 13)
    }
    assert verify(report, options).is_right
    assert counts(run(path, options)) == {"updated": 7, "conflict": 5}
    assert counts(undo(report, options).totals) == {"updated": 7}
    assert titles(options) == edited
    assert {one for one in before if before[one] != edited[one]} == {
        ID.format(n) for n in range(3, 8)
    }


def test_conflicts_of_a_plan_are_fixed_in_the_file_of_failed_rows(options: Options) -> None:
    """Its pulled values are the previous values of the plan, with their checks."""
    seed(options)
    path = _folder(options) / "x.plan"
    plan(sheet(options), options, out=path)
    rename(options, 3)
    totals = run(path, options)
    assert counts(run(totals.failed, options)) == {"conflict": 1}
    report = _folder(options) / "again.report.csv"
    again = replace(options, overwrite=True, report=report)
    assert counts(run(totals.failed, again)) == {"updated": 1}
    assert titles(options)[ID.format(3)] == "Renamed 3"


def test_only_the_rows_to_update_are_rows_of_the_run(options: Options) -> None:
    """What a plan does not update is named, and has no line in the report."""
    seed(options)
    rename(options, 2)
    source = sheet(options, 4)
    source.write_text(
        f"id,title\n{ID.format(1)},Renamed 1\n{ID.format(2)},Other 2\n{'a' * 24},Gone away\n"
        f"bad,Renamed\n",
        encoding="utf-8",
    )
    path = _folder(options) / "x.plan"
    totals = plan(source, replace(options, skip_invalid=True), out=path)
    assert totals.counts == {"update": 1, "unchanged": 1, "missing": 1, "rejected": 1}
    notices: list[str] = []
    assert counts(run(path, options, Callbacks(on_notice=notices.append))) == {"updated": 1}
    assert f"{path}: not in this run: 1 row missing, 1 row rejected, 1 row unchanged" in notices


def test_a_plan_with_nothing_to_do_is_done(options: Options) -> None:
    """No row is no error: nothing is read and nothing is sent."""
    seed(options)
    rename(options, 1)
    source = sheet(options, 1)
    source.write_text(f"id,title\n{ID.format(1)},Other 1\n", encoding="utf-8")
    path = _folder(options) / "x.plan"
    assert plan(source, options, out=path).counts == {"unchanged": 1}
    totals = run(path, options)
    assert (totals.rows, totals.requests, totals.exit_code) == (0, 0, 0)


def test_values_keep_their_types(options: Options) -> None:
    """A list stays a list, and the text 5 is not the number 5."""
    seed(options)
    source = sheet(options)
    source.write_text(
        f'id,field:tags:json,field:level,comment\n{ID.format(1)},"[""a"", 1]",5,Seen\n',
        encoding="utf-8",
    )
    path = _folder(options) / "x.plan"
    plan(source, options, out=path)
    assert counts(run(path, options)) == {"updated": 1}
    assert custom_fields(options) == {"tags": ["a", 1], "level": "5"}


def test_rows_of_one_incident_are_sent_in_their_order(options: Options) -> None:
    """What the sheet's own rows set is no conflict."""
    seed(options)
    source = sheet(options)
    source.write_text(f"id,title\n{ID.format(1)},First\n{ID.format(1)},Second\n", encoding="utf-8")
    path = _folder(options) / "x.plan"
    plan(source, replace(options, on_conflict=OnConflict.IN_ORDER), out=path)
    assert counts(run(path, options)) == {"updated": 2}
    assert titles(options)[ID.format(1)] == "Second"


def test_a_plan_of_a_plan_leaves_out_rows(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reviewer thins a plan out without its sheet; it stays the plan of that sheet and maker."""
    before = seed(options)
    monkeypatch.setenv("LOGNAME", "alice")
    first, second = _folder(options) / "x.plan", _folder(options) / "y.plan"
    source = sheet(options)
    plan(source, options, out=first)
    source.unlink()
    monkeypatch.setenv("LOGNAME", "bob")
    thinned = replace(options, exclude_where="row in [3, 4] or old.title == 'x'")
    assert plan(first, thinned, out=second).counts == {"update": 10, "left out": 2}
    header = open_plan(second).header
    assert (header.sheet, header.sheet_sha256) == ("x.csv", open_plan(first).header.sheet_sha256)
    assert header.made_by == "alice"
    assert header.options == {"exclude_where": thinned.exclude_where}
    run(second, options)
    now = titles(options)
    assert {one for one in now if now[one] != before[one]} == {
        ID.format(n) for n in range(1, 13) if n not in (2, 3)
    }


def refused(path: Path, options: Options, text: str) -> None:
    """Run a plan, which is refused before anything is sent or written."""
    report = path.with_name("refused.report.csv")
    with pytest.raises(InputError, match=text):
        run(path, replace(options, report=report))
    assert not report.exists()


def test_an_expired_plan_is_refused(options: Options) -> None:
    """Nothing is sent, and the error says when it expired."""
    seed(options)
    path = _folder(options) / "x.plan"
    plan(sheet(options), options, out=path, expires_s=0)
    before = titles(options)
    refused(path, options, "expired at")
    assert titles(options) == before


def test_a_plan_of_another_api_or_account_is_refused(
    options: Options,
    start_sandbox: Callable[..., SandboxProcess],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The address and the key are those that it was made with; the key itself is not in it."""
    seed(options)
    path = tmp_path / "x.plan"
    api = start_sandbox("--seed-incidents", "12")
    monkeypatch.setenv("FLASHDUTY_APP_KEY", KEY)
    quick = {"per_second": 5000, "per_minute": 300_000}
    there = Options(base_url=api.url, **quick)
    plan(sheet(options), replace(there, account="one"), out=path)
    read = api.get("/_stats")["requests"]
    content = gzip.decompress(path.read_bytes()[len(MAGIC) : -73])
    assert KEY.encode() not in content
    refused(path, options, "made for http.*would use the built-in sandbox")
    refused(path, replace(there, account="two"), "made for another account")
    refused(path, there, "made for another account")
    other = start_sandbox("--seed-incidents", "12")
    refused(path, Options(base_url=other.url, account="one", **quick), "Use base_url=")
    plan(sheet(options), options, out=path)
    refused(path, there, "made for the built-in sandbox")
    assert api.get("/_stats")["requests"] == read


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"overwrite": True}, "overwrite"),
        ({"before": False}, "before"),
        ({"on_conflict": OnConflict.LAST}, "on_conflict"),
        ({"mapping": {"title": "x"}}, "mapping"),
        ({"delimiter": "comma"}, "delimiter"),
        ({"encoding": "utf-8"}, "encoding"),
        ({"sheet_name": "x"}, "sheet_name"),
        ({"header_row": 1}, "header_row"),
    ],
)
def test_options_that_would_send_something_else_are_refused(
    options: Options, changed: dict[str, Any], name: str
) -> None:
    """A plan was made with them, or they would ignore its previous values."""
    seed(options)
    path = _folder(options) / "x.plan"
    plan(sheet(options), options, out=path)
    refused(path, replace(options, **changed), f"^{name}.*saved plan")


def test_a_file_that_is_no_plan_is_not_replaced(options: Options) -> None:
    """The sheet itself and files of others are unchanged."""
    seed(options)
    source = sheet(options)
    content = source.read_bytes()
    with pytest.raises(InputError, match="was not made by bulk-reset"):
        plan(source, options, out=source)
    assert source.read_bytes() == content
    assert plan(source, options, out=_folder(options) / "x.plan").counts == {"update": 12}
    assert plan(source, options, out=_folder(options) / "x.plan").counts == {"update": 12}


def test_a_plan_that_fails_leaves_the_older_one(options: Options) -> None:
    """An error in the middle: no half plan, no temporary file."""
    seed(options)
    path = _folder(options) / "x.plan"
    plan(sheet(options), options, out=path)
    content = path.read_bytes()
    with pytest.raises(InputError, match=r"old\.titel"):
        plan(sheet(options), replace(options, where="row < 9 or old.titel"), out=path)
    assert path.read_bytes() == content
    assert not list(_folder(options).glob("*.tmp"))


def test_a_plan_shows_what_was_planned(options: Options) -> None:
    """Rows and totals are those of the planning."""
    seed(options)
    path = _folder(options) / "x.plan"
    rows: list[RowPlan] = []
    totals = plan(sheet(options), options, None, rows.append, out=path)
    shown: list[RowPlan] = []
    found = read_plan(open_plan(path), shown.append)
    assert shown == rows
    assert replace(found, made_at=totals.made_at, sheet=totals.sheet) == totals


def test_a_diff_has_rows_that_were_added_removed_and_changed(options: Options) -> None:
    """Rows are compared by incident, wherever they are in the sheet."""
    seed(options)
    first, second = _folder(options) / "x.plan", _folder(options) / "y.plan"
    source = sheet(options, 4)
    plan(source, options, out=first)
    lines = source.read_text(encoding="utf-8").splitlines()
    edited = [lines[0], lines[3], lines[2].replace("Renamed", "Edited"), lines[4]]
    edited += [f"{ID.format(9)},Renamed 9", ""]
    source.write_text("\n".join(edited), encoding="utf-8")
    plan(source, options, out=second)
    diff = diff_plans(open_plan(first), open_plan(second))

    def known(one: Difference) -> tuple[str, str | None, str | None]:
        texts = [row.fields[0].new if row else None for row in (one.old, one.new)]
        return one.kind, texts[0], texts[1]

    assert diff.same == 2
    assert list(map(known, diff.differences)) == [
        ("changed", "Renamed 2", "Edited 2"),
        ("added", None, "Renamed 9"),
        ("removed", "Renamed 1", None),
    ]
    assert diff_plans(open_plan(first), open_plan(first)).differences == []
    assert Counter(one.kind for one in diff.differences) == {
        "changed": 1,
        "added": 1,
        "removed": 1,
    }
