"""The canary and what was read back: in this process, with a sandbox that keeps its incidents."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import KEY, QUICK, SandboxProcess, read_csv, seed_id, write_rows, write_sheet

from bulk_reset import Callbacks, Options, Progress, Totals, run
from bulk_reset.core.errors import SheetChangedError
from bulk_reset.core.outcome import StopReason

StartSandbox = Callable[..., SandboxProcess]
CONFIRMED = '{"request_id": "R", "data": null}'
"""The answer of a server that confirms an update and does not apply it."""


def rehearse(sheet: Path, **options: object) -> tuple[Totals, list[str]]:
    """Run a sheet in a sandbox; return its totals and the questions."""
    asked: list[str] = []

    def confirm(text: str) -> bool:
        asked.append(text)
        return True

    state = sheet.with_name("state.json")
    more = {"per_second": 5_000, "per_minute": 300_000, "sandbox_state": state, **options}
    return run(sheet, Options(**more), Callbacks(confirm=confirm)), asked


def comparable(totals: Totals) -> dict[str, int]:
    return {status.value: rows for status, rows in totals.counts.items() if rows}


@pytest.mark.parametrize(
    ("limit", "canary", "asked"),
    [
        (10, 3, ["Canary passed: 3 rows sent and verified. 7 rows remain."]),
        (4, 3, ["Canary passed: 3 rows sent and verified. 1 row remains."]),
        (3, 3, []),
        (2, 3, []),
        (50, 3, ["Canary passed: 3 rows sent and verified. 17 rows remain."]),
    ],
)
def test_the_limit_counts_the_canary(
    limit: int, canary: int, asked: list[str], tmp_path: Path
) -> None:
    """``limit`` rows are sent, not ``limit`` and the canary."""
    sheet = write_sheet(tmp_path / "x.csv", 20)
    totals, questions = rehearse(sheet, limit=limit, canary=canary)
    sent = min(limit, 20)
    pending = {"pending": 20 - sent} if sent < 20 else {}
    assert (comparable(totals), questions) == ({"updated": sent, **pending}, asked)
    assert len(read_csv(tmp_path / "x.sandbox.report.csv")) == sent


def test_a_canary_whose_rows_need_no_change_is_continued(tmp_path: Path) -> None:
    """It passes only when a row was sent and verified; and it sends no more rows than asked for."""
    sheet = write_sheet(tmp_path / "x.csv", 60)
    rehearse(sheet)
    rows = [[seed_id(n), f"Renamed service {n}"] for n in range(1, 61)]
    for n in (20, 21, 22, 50):
        rows[n][1] = f"Another title {n}"
    write_rows(tmp_path / "y.csv", ["incident_id", "title"], *rows)
    totals, questions = rehearse(tmp_path / "y.csv", canary=2)
    assert comparable(totals) == {"updated": 4, "unchanged": 56}
    [question] = questions
    report = read_csv(tmp_path / "y.sandbox.report.csv")
    # Up to the question, as many rows were sent as the canary has.
    canary = 60 - int(question.split(". ")[1].split()[0])
    sent = [line["status"] for line in report[:canary]].count("updated")
    assert 1 <= sent <= 2
    rows_sent = "1 row" if sent == 1 else f"{sent} rows"
    assert question.startswith(f"Canary passed: {rows_sent} sent and verified; ")


def test_without_any_change_there_is_no_canary_to_pass(tmp_path: Path) -> None:
    """Nothing was sent, so nothing is asked and nothing is called passed."""
    sheet = write_sheet(tmp_path / "x.csv", 9)
    rehearse(sheet)
    totals, questions = rehearse(write_sheet(tmp_path / "y.csv", 9), canary=2)
    assert (comparable(totals), questions, totals.stop) == ({"unchanged": 9}, [], None)


def test_a_canary_of_comments_is_not_called_verified(tmp_path: Path) -> None:
    """A comment cannot be read back with its incident."""
    rows = [[seed_id(n), f"Comment {n}"] for n in range(1, 6)]
    write_rows(tmp_path / "x.csv", ["incident_id", "comment"], *rows)
    totals, questions = rehearse(tmp_path / "x.csv", canary=2)
    assert (comparable(totals), questions) == (
        {"updated": 5},
        [
            "Canary: 2 rows sent, 0 of them verified, because comments cannot be. 3 rows remain.",
        ],
    )


@pytest.fixture
def deaf(start_sandbox: StartSandbox, tmp_path: Path) -> Callable[..., Options]:
    """Start a sandbox that confirms the updates of some incidents and does not apply them."""
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o600)

    def start(*ids: str, **options: object) -> Options:
        rules = [{"path": "/incident/reset", "incident_id": one, "body": CONFIRMED} for one in ids]
        (tmp_path / "faults.json").write_text(json.dumps(rules))
        faults = ("--faults", str(tmp_path / "faults.json"))
        sandbox = start_sandbox("--seed-incidents", "20", *faults, *QUICK)
        connect = {"base_url": sandbox.url, "app_key_file": tmp_path / "key"}
        return Options(per_second=5_000, per_minute=300_000, **connect, **options)

    return start


def test_a_row_that_was_not_applied_stays_failed(
    deaf: Callable[..., Options], tmp_path: Path
) -> None:
    """The same command again does not turn it into an updated row."""
    sheet = write_sheet(tmp_path / "x.csv", 6)
    options = deaf(seed_id(2), verify=True)
    failures: list[tuple[int, str, str]] = []
    callbacks = Callbacks(
        on_failure=lambda o: failures.append((o.row_number, o.error_code, o.error_message))
    )
    for _ in range(2):
        totals = run(sheet, options, callbacks)
        assert (int(totals.exit_code), comparable(totals)) == (1, {"updated": 5, "failed": 1})
        [row] = read_csv(tmp_path / "x.failed.csv")
        assert (row["bulk-reset row"], row["bulk-reset reason"]) == (
            "3",
            "not_applied: read back: not applied (title)",
        )
    assert failures == [(3, "not_applied", "read back: not applied (title)")]
    last = {line["row"]: line for line in read_csv(tmp_path / "x.report.csv")}
    assert (last["3"]["status"], last["3"]["error_code"]) == ("failed", "not_applied")


def test_a_canary_that_was_not_applied_names_the_row(
    deaf: Callable[..., Options], tmp_path: Path
) -> None:
    """It stops, the row is failed, and the same command again does not skip over it."""
    sheet = write_sheet(tmp_path / "x.csv", 6)
    options = deaf(seed_id(1), canary=2)
    totals = run(sheet, options)
    assert totals.stop is not None
    assert (totals.stop.reason, totals.stop.message) == (
        StopReason.CANARY,
        "Canary failed: 1 of 2 rows not as written (first: row 2, not_applied)",
    )
    assert comparable(totals) == {"updated": 1, "failed": 1, "pending": 4}
    assert totals.verification is not None
    assert [m.incident_id for m in totals.verification.mismatches] == [seed_id(1)]
    assert totals.failed == str(tmp_path / "x.failed.csv")
    again = run(sheet, options)
    assert (int(again.exit_code), comparable(again)) == (1, {"updated": 5, "failed": 1})


def test_a_later_verification_does_not_fail_rows(
    deaf: Callable[..., Options], tmp_path: Path
) -> None:
    """Rows of earlier runs may have been edited since, which is no failure of theirs."""
    sheet = write_sheet(tmp_path / "x.csv", 4)
    options = deaf(seed_id(2))
    run(sheet, options)
    connect = {"base_url": options.base_url, "app_key_file": options.app_key_file}
    totals = run(sheet, Options(verify=True, **connect))
    assert (int(totals.exit_code), comparable(totals)) == (1, {"updated": 4})


# --- A sheet that is saved during its run ---------------------------------------------


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_sheet_that_is_saved_during_its_run_stops_it(is_replaced: bool, tmp_path: Path) -> None:
    """What was read before is sent, nothing of the new content is, and the rest is pending."""
    sheet = write_sheet(tmp_path / "x.csv", 1_200)
    saved = []

    def save(progress: Progress) -> None:
        if progress.counts["updated"] and not saved:
            saved.append(True)
            fresh = write_sheet(tmp_path / "new.csv", 1_200, title="Never checked")
            if is_replaced:
                fresh.replace(sheet)
            else:
                sheet.write_bytes(fresh.read_bytes())

    options = Options(sandbox=True, per_second=1_000, per_minute=300_000)
    totals = run(sheet, options, Callbacks(on_progress=save))
    assert totals.stop is not None
    assert (int(totals.exit_code), totals.stop.reason) == (3, StopReason.SHEET)
    assert "the file was modified during the run" in totals.stop.message
    sent = len(read_csv(tmp_path / "x.sandbox.report.csv"))
    assert comparable(totals) == {"updated": sent, "pending": 1_200 - sent}
    with (tmp_path / "x.sandbox.before.csv").open(encoding="utf-8-sig", newline="") as file:
        assert "Never checked" not in "".join(map("".join, csv.reader(file)))


def test_a_sheet_that_is_saved_after_its_canary_stops_the_run(tmp_path: Path) -> None:
    """The canary was sent, so it is not an error of the input."""
    sheet = write_sheet(tmp_path / "x.csv", 20)

    def confirm(_: str) -> bool:
        write_sheet(sheet, 20, title="Never checked")
        return True

    options = Options(sandbox=True, canary=2, per_second=5_000, per_minute=300_000)
    totals = run(sheet, options, Callbacks(confirm=confirm))
    assert totals.stop is not None
    assert (int(totals.exit_code), totals.stop.reason) == (3, StopReason.SHEET)
    assert comparable(totals) == {"updated": 2, "pending": 18}


def test_a_sheet_that_is_saved_before_anything_was_sent_is_an_error(tmp_path: Path) -> None:
    """Nothing was sent: exit code 2."""
    sheet = write_sheet(tmp_path / "x.csv", 20)

    def save(_: int) -> None:
        write_sheet(sheet, 20, title="Never checked")

    with pytest.raises(SheetChangedError, match="modified during the run"):
        run(sheet, Options(sandbox=True), Callbacks(on_read=save))
