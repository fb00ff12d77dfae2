"""The files that a run writes: their permissions, and which files they replace."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from programs import read_csv, seed_id

from bulk_reset import Options, run
from bulk_reset.api.credentials import AppKey, Credentials
from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.quota.account_ledger import AccountLedger
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_reader import read_report
from bulk_reset.reports.failed_rows import failed_path

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
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)  # whom no folder belongs to
    with pytest.raises(InputError, match=r"the account's lock cannot be created\."):
        AccountLedger(Credentials(AppKey("a-key-of-a-test"), "https://api.example", ""))
