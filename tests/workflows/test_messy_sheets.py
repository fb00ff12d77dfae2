"""Three sheets as teams keep them, from the file to a plan with a profile and no hand work.

By hand, each needed a copy, its title and totals removed, columns renamed or joined, severities
replaced and dates formatted as text. With a profile, the file is used as it is.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import openpyxl
import pytest
from sheet_zoo import FILES

from bulk_reset import Options, plan, pull
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import BulkResetError
from bulk_reset.core.plan import RowPlan
from bulk_reset.workflows.incident_query import query_of


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    """The ids of three incidents of a sandbox, whose state is beside the sheets."""
    sheet = tmp_path / "pulled.csv"
    now = dt.datetime.now(dt.UTC)
    pull(sheet, query_of("30d", "now", now=now), Options(sandbox_state=tmp_path / "s.json"))
    lines = sheet.read_text(encoding="utf-8-sig").splitlines()
    return [line.split(",")[0] for line in lines[1:4]]


def saved(path: Path, worksheet: str, rows: list[list[object]], profile: str) -> Path:
    """Save a workbook with another worksheet before the table, and its profile beside it."""
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["Read me", "ID", "title"])
    page = book.create_sheet(worksheet)
    for row in rows:
        page.append(row)
    book.save(path)
    path.with_suffix(".profile.toml").write_text(profile, encoding="utf-8")
    return path


def planned(sheet: Path) -> tuple[list[RowPlan], list[str]]:
    rows: list[RowPlan] = []
    notices: list[str] = []
    options = Options(sandbox_state=sheet.with_name("s.json"))
    plan(sheet, options, Callbacks(on_notice=notices.append), rows.append)
    return rows, notices


def assert_same_in_ods(sheet: Path, name: str, rows: list[RowPlan]) -> None:
    """Plan the sheet as LibreOffice saved it, with the same profile: the same rows and rules."""
    sheet.with_suffix(".ods").write_bytes((FILES / name).read_bytes())
    in_ods, _ = planned(sheet.with_suffix(".ods"))
    assert in_ods == rows


def new_values(row: RowPlan) -> dict[str, tuple[str, str]]:
    """Return field -> its new value and the rule that it is from."""
    return {one.field: (one.new, one.origin) for one in row.fields}


def test_an_incident_log_with_totals_and_dates(tmp_path: Path, ids: list[str]) -> None:
    """A title above the header, own severities, a date, a total: none needs a hand."""
    day = dt.datetime(2026, 3, 1, 8, 5)  # noqa: DTZ001
    sheet = saved(
        tmp_path / "故障日志.xlsx",
        "三月",
        [
            ["Incident log, March"],
            [],
            ["Ref", "Sev", "Region", "Alarm name", "Began", "Lost orders"],
            [f" {ids[0]} ", "SEV1", "cn-north", " Payment queue grows", day, 0.125],
            [ids[1], "SEV3", "eu-west", "Disk full", day, 0.5],
            ["Total", None, None, 2, None, None],
            [None, None, "checked by the team", None, None, None],
        ],
        '[source]\nworksheet = "三月"\nheader_row = 3\ntrim = true\n'
        '[columns]\nincident_id = "Ref"\nincident_severity = "Sev"\n'
        "[templates]\ntitle = \"[{{ row.Region }}] {{ row['Alarm name'] }}\"\n"
        "impact = \"Since {{ row.Began }}, {{ row['Lost orders'] }} of the orders lost\"\n"
        '[values.incident_severity]\nSEV1 = "Critical"\nSEV3 = "Info"\n'
        '[formats]\nBegan = "%Y-%m-%d %H:%M"\n"Lost orders" = "0.0%"\n'
        '[ignore]\nblank_id = true\n[ignore.values]\nRef = ["Total"]\n',
    )
    rows, notices = planned(sheet)

    assert [(row.row_number, row.verdict) for row in rows] == [(4, "update"), (5, "update")]
    first = new_values(rows[0])
    assert first["title"] == ("[cn-north] Payment queue grows", "templates.title")
    assert first["impact"] == (
        "Since 2026-03-01 08:05, 12.5% of the orders lost",
        "templates.impact",
    )
    assert any("2 rows ignored by the profile" in notice for notice in notices)
    assert_same_in_ods(sheet, "messy-log.ods", rows)


def test_a_postmortem_tracker_in_chinese(tmp_path: Path, ids: list[str]) -> None:
    """Two columns become one field, and placeholders of the team are no text."""
    sheet = saved(
        tmp_path / "复盘.xlsx",
        "复盘",
        [
            ["故障编号", "原因", "触发条件", "处理", "状态"],
            [ids[0], "连接池耗尽", "发布后流量翻倍", "回滚并扩容", "完成"],
            [ids[1], "待补充", None, "待补充", "进行中"],
            [ids[2], "证书过期", None, "更换证书", "完成"],
        ],
        "[source]\nworksheet = '复盘'\n[columns]\nresolution = '处理'\n"
        "[templates]\nroot_cause = \"{{ row['原因'] }}"
        "{% if row['触发条件'] %} / 触发 {{ row['触发条件'] }}{% endif %}\"\n"
        '[values.root_cause]\n"待补充" = ""\n[values.resolution]\n"待补充" = ""\n'
        '[ignore.values]\n"状态" = ["进行中"]\n',
    )
    rows, _ = planned(sheet)

    assert [new_values(row) for row in rows] == [
        {
            "root_cause": (
                "连接池耗尽 / 触发 发布后流量翻倍",
                "templates.root_cause",
            ),
            "resolution": ("回滚并扩容", ""),
        },
        {
            "root_cause": ("证书过期", "templates.root_cause"),
            "resolution": ("更换证书", ""),
        },
    ]
    assert_same_in_ods(sheet, "messy-postmortems.ods", rows)


def test_a_service_catalogue_with_own_rules(tmp_path: Path, ids: list[str]) -> None:
    """Incidents get the name of their service, and a rule refuses a text before it is sent."""
    header: list[object] = ["Service", "Tier", "Owner", "Last incident"]
    profile = (
        '[source]\nworksheet = "Catalogue"\n[columns]\nincident_id = "Last incident"\n'
        'incident_severity = "Tier"\n'
        '[templates]\ntitle = "{{ row.Service | trim | upper }}: owned by {{ row.Owner }}"\n'
        '[values.incident_severity]\n1 = "Critical"\n2 = "Warning"\n'
        '[ignore]\nblank_id = true\n[rules.title]\nforbidden = ["no one"]\n'
    )
    services: list[list[object]] = [
        ["checkout ", 1, "Team A", ids[0]],
        ["search", 2, "Team B", ids[1]],
        ["archive", 3, "Team C", None],
    ]
    sheet = saved(tmp_path / "services.xlsx", "Catalogue", [header, *services], profile)
    rows, _ = planned(sheet)
    bad = saved(tmp_path / "bad.xlsx", "Catalogue", [header, ["ads", 1, "no one", ids[2]]], profile)

    assert [new_values(row)["title"][0] for row in rows] == [
        "CHECKOUT: owned by Team A",
        "SEARCH: owned by Team B",
    ]
    assert_same_in_ods(sheet, "messy-services.ods", rows)
    with pytest.raises(BulkResetError, match="1 of 1 row is invalid"):
        planned(bad)
