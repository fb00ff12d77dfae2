"""The files that a run writes: their permissions, and which files they replace."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import openpyxl
import pytest
from openpyxl.packaging.custom import CustomPropertyList
from programs import read_csv, seed_id

from bulk_reset import Options, answer, pull, query_of, run, undo
from bulk_reset.api.credentials import AppKey, Credentials
from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.plan import PlanTotals
from bulk_reset.observability.metrics import write_metrics
from bulk_reset.quota.account_ledger import AccountLedger
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_reader import read_report
from bulk_reset.reports.failed_rows import failed_path
from bulk_reset.reports.plan_page import PlanPage
from bulk_reset.reports.plan_workbook import PlanWorkbook
from bulk_reset.reports.report_page import write_page

_numbers = count()


@pytest.fixture
def set_umask() -> Iterator[Callable[[int], int]]:
    """Set this process's umask until the test has ended."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """A sheet with one valid and one invalid row."""
    path = tmp_path / "incidents.csv"
    path.write_text(f"id,title\n{seed_id(1)},Renamed\n{seed_id(2)},x\n")
    return path


def rehearse(sheet: Path, report: Path | None = None) -> tuple[Path, Path]:
    """Send a sheet to a sandbox; return the report and the file of failed rows."""
    totals = run(sheet, Options(sandbox=True, skip_invalid=True, report=report))
    assert (totals.rows, bool(totals.failed)) == (2, True)
    return Path(totals.report), Path(totals.failed)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0])
def test_files_follow_the_umask_and_the_ledger_is_private(
    umask: int, sheet: Path, set_umask: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports follow the umask and are not executable; only the owner can read the ledger."""
    monkeypatch.setenv("XDG_STATE_HOME", str(sheet.parent / "state"))
    set_umask(umask)
    sheet.chmod(0o666)
    written = rehearse(sheet)
    whose = Credentials(AppKey("a-key-of-a-test"), f"https://api.example/{next(_numbers)}", "")
    with AccountLedger(whose) as account:
        account.hold("incidents.csv")
        modes = [mode_of(path) for path in (*written, account.path, account.path.parent)]
    assert modes == [0o666 & ~umask, 0o666 & ~umask, 0o600, 0o700]


@pytest.mark.parametrize(("before", "after"), [(0o600, 0o600), (0o400, 0o400), (0o777, 0o644)])
def test_a_file_of_failed_rows_stays_as_private_as_it_was(
    before: int, after: int, sheet: Path, set_umask: Callable[[int], int]
) -> None:
    """Who closed it to others need not do so after every run; it becomes no program either."""
    set_umask(0o022)
    target = failed_path(sheet.with_suffix(".report.csv"))
    target.write_text("an older one")
    target.chmod(before)
    _, found = rehearse(sheet, sheet.with_suffix(".report.csv"))
    kept = target.with_name(f"{target.name}~")
    assert (found, mode_of(found), mode_of(kept)) == (target, after, before)


def test_a_rewritten_report_keeps_its_permissions(
    tmp_path: Path, set_umask: Callable[[int], int]
) -> None:
    """Also when a spreadsheet has saved it."""
    set_umask(0o022)
    path = saved_by_a_spreadsheet(tmp_path / "incidents.report.csv")
    path.chmod(0o600)
    with Report(path):
        pass
    assert [mode_of(file) for file in sorted(tmp_path.iterdir())] == [0o600, 0o600]


def saved_by_a_spreadsheet(path: Path) -> Path:
    with Report(path) as report:
        report.write(Outcome(2, "a" * 24, Status.UPDATED, ("title",), digest="d" * 24))
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    return path


# --- Links -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".tmp"])
def test_a_link_in_the_place_of_the_failed_rows_is_not_written_through(
    ending: str, sheet: Path
) -> None:
    """In a folder that others can write, a link cannot make a run overwrite a file."""
    precious = sheet.parent / "precious"
    precious.write_text("as it was")
    report = sheet.with_suffix(".report.csv")
    failed_path(report).with_name(failed_path(report).name + ending).symlink_to(precious)
    _, found = rehearse(sheet, report)
    assert (precious.read_text(), found.is_symlink()) == ("as it was", False)
    assert [line["id"] for line in read_csv(found)] == [seed_id(2)]
    assert not found.with_name(f"{found.name}.tmp").exists()


def test_a_report_that_is_a_link_is_written_where_it_leads(sheet: Path) -> None:
    """The report stays where the link points; the failed rows are beside the link."""
    elsewhere = sheet.parent / "elsewhere.csv"
    link = sheet.with_suffix(".report.csv")
    link.symlink_to(elsewhere)
    _, found = rehearse(sheet, link)
    assert (link.readlink(), found) == (elsewhere, failed_path(link))
    assert len(read_csv(elsewhere)) == 2


def test_a_link_stays_a_link_when_its_report_is_rewritten(tmp_path: Path) -> None:
    """Also where a spreadsheet has saved it: the old one is kept beside the file itself."""
    (tmp_path / "elsewhere").mkdir()
    file = saved_by_a_spreadsheet(tmp_path / "elsewhere" / "it.csv")
    link = tmp_path / "incidents.report.csv"
    link.symlink_to(file)
    with Report(link) as report:
        assert len(report.notices) == 1
    assert (link.readlink(), len(list(read_report(link)))) == (file, 1)
    assert sorted(path.name for path in file.parent.iterdir()) == ["it.csv", "it.csv~"]


# --- The sheet itself ------------------------------------------------------------------------

NAMES: dict[str, Callable[[Path, Path], object]] = {
    "its own": lambda link, sheet: link.unlink(missing_ok=True) or sheet.rename(link),
    "a link's": lambda link, sheet: link.symlink_to(sheet),
    "a hard link's": lambda link, sheet: link.hardlink_to(sheet),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("other.csv", "this is the sheet itself. Choose another report."),
        (
            "other.failed.csv",
            "its file of failed rows would overwrite {sheet}. Choose another report.",
        ),
    ],
)
def test_a_sheet_is_never_written_over(
    kind: str, name: str, expected: str, sheet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the name of the report is, the sheet is not overwritten."""
    content = sheet.read_bytes()
    NAMES[kind](sheet.with_name(name), sheet)
    sheet = sheet if kind != "its own" else sheet.with_name(name)
    monkeypatch.chdir(sheet.parent)
    report = Path(name.replace(".failed", ".report"))  # relative, and the sheet is not
    with pytest.raises(InputError) as caught:
        rehearse(sheet, report)
    assert str(caught.value) == f"report={str(report)!r}: {expected.format(sheet=sheet)}"
    assert sheet.read_bytes() == content


def test_a_temporary_folder_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner could read the ledgers' names or remove them during a run."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)  # who owns no folder
    with pytest.raises(InputError, match=r"the account's lock cannot be created\."):
        AccountLedger(Credentials(AppKey("a-key-of-a-test"), "https://api.example", ""))


STATE_FAST = {"per_second": 5_000, "per_minute": 300_000}


def test_everything_made_from_a_private_sheet_is_private(
    tmp_path: Path, set_umask: Callable[[int], int]
) -> None:
    """Reports, previous values, audits, plans, pages, answers and undo sheets."""
    set_umask(0o022)
    options = Options(sandbox_state=tmp_path / "state.json", skip_invalid=True, **STATE_FAST)
    path = tmp_path / "it.csv"
    pull(path, query_of("2d", "now"), options, rules=["title={{ title }};=1+1", "comment=x"])
    with path.open("a") as file:
        file.write(f"{seed_id(1)},x\n")
    path.chmod(0o600)
    inputs = {"it.csv", "state.json"}
    totals = PlanTotals("it.csv", 0.0, 0, {}, {}, 0, 0, 0.0)
    for kind, name in ((PlanPage, "it.plan.html"), (PlanWorkbook, "it.plan.xlsx")):
        with kind(tmp_path / name, path) as plan:
            plan.finish(totals)
    report = Path(run(path, options).report)
    answer(report, path, options)
    write_page(report)
    undo(report, options)
    made = {one.name: oct(mode_of(one)) for one in tmp_path.iterdir() if one.name not in inputs}
    names = {name.removeprefix("it.sandbox.").removeprefix("it.") for name in made}
    assert names >= {"plan.html", "plan.xlsx", "report.csv", "before.csv", "audit.jsonl"}
    assert names >= {"failed.csv", "answer.xlsx", "report.html", "undo.csv", "undo.report.csv"}
    assert made == dict.fromkeys(made, "0o600")
    assert ";=1+1" not in (tmp_path / "it.sandbox.before.csv").read_text(encoding="utf-8")
    assert ";\\u003d1+1" in (tmp_path / "it.sandbox.before.csv").read_text(encoding="utf-8")


def test_a_file_of_another_group_is_closed_to_the_own_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members of this group may be others than those who can read the sheet."""
    sheet = tmp_path / "it.csv"
    sheet.write_text("x")
    sheet.chmod(0o640)
    real = os.fstat

    def other_group(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[stat.ST_GID] += 1
        return os.stat_result(found)

    monkeypatch.setattr("bulk_reset.core.atomic_file.os.fstat", other_group)
    with atomic_file(tmp_path / "made", sheet) as file:
        file.write(b"y")
    assert mode_of(tmp_path / "made") == 0o600


def _foreign_workbook(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active["A1"] = "bulk-reset old"
    book.save(path)


def _foreign_text(path: Path) -> None:
    path.write_text("incident_id and my own notes\n")


@pytest.mark.parametrize("foreign", [_foreign_text, _foreign_workbook])
def test_files_of_others_are_not_replaced(foreign: Callable[[Path], None], tmp_path: Path) -> None:
    """An answer, a plan, a page, a list of lost values or metrics: only our own are."""
    options = Options(sandbox_state=tmp_path / "state.json", **STATE_FAST)
    path = tmp_path / "it.csv"
    pull(path, query_of("2d", "now"), options, rules=["title=x {{ title }}"])
    report = Path(run(path, options).report)
    actions: dict[str, Callable[[], object]] = {
        "it.plan.html": lambda: PlanPage(tmp_path / "it.plan.html", path).__enter__(),
        "it.plan.xlsx": lambda: PlanWorkbook(tmp_path / "it.plan.xlsx", path).__enter__(),
        "it.sandbox.answer.xlsx": lambda: answer(report, path, options),
        "it.sandbox.report.html": lambda: write_page(report),
        "it.sandbox.not-restored.csv": lambda: undo(report, options),
        "it.prom": lambda: write_metrics(tmp_path / "it.prom", None, started_at=1.0, ended_at=2.0),
    }
    for name, action in actions.items():
        foreign(tmp_path / name)
        before = (tmp_path / name).read_bytes()
        with pytest.raises(InputError, match=r"not made by bulk-reset|not metrics of bulk-reset"):
            action()
        assert (tmp_path / name).read_bytes() == before
        assert list(tmp_path.glob("*.tmp")) == []


def test_own_files_are_replaced(tmp_path: Path) -> None:
    """Each is made again where the one there was made by this program."""
    options = Options(sandbox_state=tmp_path / "state.json", **STATE_FAST)
    path = tmp_path / "it.csv"
    pull(path, query_of("2d", "now"), options, rules=["title=x {{ title }}"])
    report = Path(run(path, options).report)
    totals = PlanTotals("it.csv", 0.0, 0, {}, {}, 0, 0, 0.0)
    for _ in range(2):
        for kind, name in ((PlanPage, "it.plan.html"), (PlanWorkbook, "it.plan.xlsx")):
            with kind(tmp_path / name, path) as plan:
                plan.finish(totals)
        answer(report, path, options)
        write_page(report)
        write_metrics(tmp_path / "it.prom", None, started_at=1.0, ended_at=2.0)
    earlier = openpyxl.load_workbook(tmp_path / "it.sandbox.answer.xlsx")
    earlier.custom_doc_props = CustomPropertyList()
    earlier.save(tmp_path / "it.sandbox.answer.xlsx")
    answer(report, path, options)
