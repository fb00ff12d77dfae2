"""A report of one API is never resumed, verified or undone at another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import write_sheet

from bulk_reset import Options, plan, pull, query_of, run, undo, verify
from bulk_reset.core.errors import InputError

PRODUCTION: dict[str, Any] = {}
ELSEWHERE: dict[str, Any] = {"base_url": "https://other.example"}
LOCAL: dict[str, Any] = {"base_url": "http://127.0.0.1:9"}
THROW_AWAY: dict[str, Any] = {"sandbox": True}
FAST: dict[str, Any] = {"per_second": 5_000, "per_minute": 300_000}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "0123456789abcdef")


def _state(folder: Path) -> dict[str, Any]:
    return {"sandbox_state": folder / "state.json"}


def _rehearse(folder: Path, where: dict[str, Any]) -> Path:
    """Run a sheet in a sandbox with a report whose name does not show it."""
    report, sheet = folder / "own.csv", folder / "it.csv"
    if "sandbox_state" in where:
        pull(sheet, query_of("2d", "now"), Options(**where, **FAST), rules=["title=x {{ title }}"])
    else:
        write_sheet(sheet, 2)
    assert run(sheet, Options(**where, **FAST, report=report)).exit_code == 0
    return report


@pytest.mark.parametrize("where", [PRODUCTION, ELSEWHERE, LOCAL, THROW_AWAY])
@pytest.mark.parametrize("action", [undo, verify])
@pytest.mark.parametrize("is_audited", [True, False])
def test_a_rehearsal_never_leads_to_another_api(
    action: Callable[..., object], where: dict[str, Any], is_audited: bool, tmp_path: Path
) -> None:
    """Whatever its report is called; and by its name where the audit is missing."""
    report = _rehearse(tmp_path, _state(tmp_path))
    if not is_audited:
        for path in tmp_path.glob("own*"):
            path.rename(path.with_name(path.name.replace("own", "own.sandbox.report", 1)))
        (tmp_path / "own.sandbox.report.audit.jsonl").unlink()
        report = tmp_path / "own.sandbox.report.csv"
    if where is THROW_AWAY and not is_audited:
        return
    with pytest.raises(InputError) as caught:
        action(report, Options(**where))
    state = tmp_path / "state.json"
    assert str(caught.value).startswith(f"{report}: is from a sandbox run. Add the sandbox_state=")
    assert ("sandbox_state=" in str(caught.value)) is True
    assert (str(state) in str(caught.value)) is is_audited
    assert [path.name for path in tmp_path.glob("*undo*")] == []


@pytest.mark.parametrize("action", [run, plan])
def test_reports_of_two_sandboxes_do_not_mix(action: Callable[..., object], tmp_path: Path) -> None:
    """Rows that are done in one are not done in the other."""
    report = _rehearse(tmp_path, _state(tmp_path))
    for where in (THROW_AWAY, PRODUCTION, {"sandbox_state": tmp_path / "other.json"}):
        with pytest.raises(InputError, match=r"is from a sandbox run. .* another report\.$"):
            action(tmp_path / "it.csv", Options(**where, **FAST, report=report))
    moved = (tmp_path / "state.json").rename(tmp_path / "moved.json")
    again = run(tmp_path / "it.csv", Options(sandbox_state=moved, **FAST, report=report))
    assert (again.requests, again.exit_code) == (0, 0)


@pytest.mark.parametrize("where", [PRODUCTION, LOCAL, "state"])
def test_a_report_of_a_sandbox_that_is_gone_is_refused_elsewhere(
    where: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    """Its incidents are those of no API."""
    report = _rehearse(tmp_path, THROW_AWAY)
    where = _state(tmp_path) if where == "state" else where
    for action in (undo, verify):
        with pytest.raises(InputError, match="is from a run with sandbox, whose"):
            action(report, Options(**where))
    with pytest.raises(InputError, match="is from a run with sandbox, whose"):
        run(tmp_path / "it.csv", Options(**where, **FAST, report=report))
    assert verify(report, Options(**THROW_AWAY, **FAST)).rows == 2


def test_an_address_in_another_spelling_is_the_same_api(tmp_path: Path) -> None:
    """Case, the scheme's own port, and the last dot and slash do not matter."""
    from bulk_reset.records.audit import note_start  # noqa: PLC0415
    from bulk_reset.sheets.open_sheet import open_sheet  # noqa: PLC0415
    from bulk_reset.workflows.report_destination import (  # noqa: PLC0415
        refuse_other_destination,
    )

    report = tmp_path / "own.csv"
    with open_sheet(write_sheet(tmp_path / "it.csv", 1)) as sheet:
        note_start(report, sheet, "HTTPS://Other.Example:443/", {})
    refuse_other_destination(report, Options(base_url="https://other.example"))
    with pytest.raises(InputError, match=r"not at https://api\.flashcat\.cloud\. Use base_url="):
        refuse_other_destination(report, Options())
