"""Fields that were edited by hand no longer follow alerts: a plan, a run and an undo say so."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bulk_reset import Callbacks, Options, plan, pull, run, undo
from bulk_reset.core.outcome import Status
from bulk_reset.core.pinning import newly_pinned, pinned_fields
from bulk_reset.core.totals import Progress
from bulk_reset.records.report_reader import read_report

ID = "69da451e{:016x}"
EFFECT = "(alerts merged later do not change it; an undo does not unpin it)"


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Options of a sandbox in which the title of the first incident was edited by hand."""
    made = Options(sandbox_state=tmp_path / "state.json", per_second=5000, per_minute=300_000)
    run(write(tmp_path / "first.csv", f"{ID.format(1)},By hand,,"), made)
    return made


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["id,title,severity,impact", *rows, ""]), encoding="utf-8")
    return path


def sheet(tmp_path: Path) -> Path:
    return write(
        tmp_path / "x.csv",
        f"{ID.format(1)},Renamed,,Some",
        f"{ID.format(2)},Renamed,Info,Some",
        f"{ID.format(3)},Renamed,,",
        f"{ID.format(4)},,,Some",
    )


def test_plan_run_and_undo_count_what_gets_pinned(options: Options, tmp_path: Path) -> None:
    """A field that is pinned already is not counted again; impact follows no alerts."""
    notices: list[str] = []
    callbacks = Callbacks(on_notice=notices.append)
    plan(sheet(tmp_path), options, callbacks)
    assert notices[-1] == f"will be pinned: title 2, incident_severity 1 {EFFECT}"

    totals = run(sheet(tmp_path), options, callbacks)
    assert notices[-1] == f"pinned by this run: title 2, incident_severity 1 {EFFECT}"

    notices.clear()
    undo(totals.report, options, callbacks)
    assert f"will stay pinned: title 3, incident_severity 1 {EFFECT}" in notices
    assert not [notice for notice in notices if "pinned by this run" in notice]


def test_a_run_that_is_stopped_counts_only_what_it_has_written(
    options: Options, tmp_path: Path
) -> None:
    """The incidents of the rows behind them were read as well, and are as before."""
    notices: list[str] = []
    stops: list[Callable[[], None]] = []

    def stop_after_some(progress: Progress) -> None:
        if progress.counts.get(Status.UPDATED):
            stops[0]()

    callbacks = Callbacks(
        on_notice=notices.append, on_start=stops.append, on_progress=stop_after_some
    )
    many = write(tmp_path / "many.csv", *(f"{ID.format(n)},Renamed,," for n in range(2, 152)))
    report = tmp_path / "many.report.csv"
    slow = replace(options, per_second=50, per_minute=1000, report=report)
    with pytest.raises(KeyboardInterrupt):
        run(many, slow, callbacks)
    updated = sum(one.status is Status.UPDATED for one in read_report(report))
    assert 0 < updated < 150
    assert notices[-1] == f"pinned by this run: title {updated} {EFFECT}"


def test_a_run_leaves_alone_what_was_edited_by_hand(options: Options, tmp_path: Path) -> None:
    """A row with a pinned field is left out, with all of its fields; others are sent."""
    unpinned = replace(options, only_unpinned=True)
    assert plan(sheet(tmp_path), unpinned).counts == {"update": 3, "left out": 1}
    totals = run(sheet(tmp_path), unpinned)
    assert (totals.left_out, totals.recorded) == (1, {"updated": 3})
    pull(tmp_path / "after.csv", [ID.format(1)], options)
    assert pulled(tmp_path / "after.csv") == [("By hand", "", "title")]


def test_a_pulled_sheet_shows_what_is_pinned(options: Options, tmp_path: Path) -> None:
    """The column is read-only, and empty where nothing was edited by hand."""
    run(sheet(tmp_path), options)
    pull(tmp_path / "y.csv", [ID.format(number) for number in (2, 4)], options)
    assert [row[-1] for row in pulled(tmp_path / "y.csv")] == ["title, incident_severity", ""]


def pulled(path: Path) -> list[tuple[str, str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [(row["Title"], row["Impact"], row["Pinned"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("overrides", "pinned"),
    [
        (None, set()),
        ([], set()),
        ("title", set()),
        ([1, "title"], {"title"}),
        (["severity"], {"severity", "incident_severity"}),
    ],
)
def test_the_overrides_of_an_incident_may_be_missing(overrides: object, pinned: set[str]) -> None:
    """The API answers null where there are none."""
    incident = {"manual_overrides": overrides}
    assert pinned_fields(incident) == pinned
    assert newly_pinned(["incident_severity"], incident) == (
        [] if "severity" in pinned else ["incident_severity"]
    )
