"""The page of a report: what it shows, that nothing in it acts, and where it is written."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from page_html import Seen, articles, packed_rows, policy_of, row_html
from programs import ROOT, seed_id
from report_samples import (
    HOSTILE,
    LINK,
    OUTCOMES,
    PREVIOUS_VALUES,
    RECORD,
    previous_values,
    write_small,
)

from bulk_reset import write_page
from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import MEANING_OF, Outcome, Status
from bulk_reset.records.audit import append_audit
from bulk_reset.records.previous_values import PreviousValuesFile
from bulk_reset.records.report_file import Report
from bulk_reset.records.summary import advice_on, summarise
from bulk_reset.reports import report_facts
from bulk_reset.reports.report_page import list_row
from bulk_reset.reports.row_list import FieldChange, ListRow

Command = Callable[..., subprocess.CompletedProcess[str]]


def page_of(report: Path) -> str:
    return write_page(report).read_text(encoding="utf-8")


def text_of(html: str) -> str:
    """Return the text of some HTML, its tags removed."""
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html)).strip()


def section(page: str, name: str) -> str:
    """Return the text of a section."""
    found = re.search(
        rf'<h[23] id="{name}">(.*?)(?=<h[23] id=|<details id|<script)', page, re.DOTALL
    )
    assert found
    return text_of(found[1])


def badges(page: str) -> list[tuple[str, str]]:
    """Return the badges at the top, each with its class."""
    return re.findall(r'<span class="badge ?(\w*)">([^<]+)<', page)


def test_unfinished_rows_are_counted_in_the_verdict(tmp_path: Path) -> None:
    """Rows that are not done, with the pending rows that only the audit knows of."""
    page = page_of(write_small(tmp_path))

    assert '<p id="verdict" class="open">4 of 8 rows are not done.</p>' in page
    counts = dict(re.findall(r'</span>(\w+)</th><td class="number">([\d,]+)</td>', page))
    assert counts == {
        "updated": "3",
        "unchanged": "1",
        "failed": "2",
        "conflict": "1",
        "pending": "1",
    }


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        ({}, "All 3 rows are done."),
        (None, "All 3 rows of the report are done; the number of pending rows is unknown."),
        (
            {"not_as_written": 2},
            "All 3 rows are done. Verification failed: 2 rows differ from what was written.",
        ),
        (
            {"counts": {"pending": 1}, "stop": {"reason": "outage", "message": "the API is down"}},
            "1 of 4 rows is not done. The last run stopped early: the API is down.",
        ),
    ],
)
def test_the_verdict_is_a_sentence(
    tmp_path: Path, record: dict[str, object] | None, verdict: str
) -> None:
    """All rows are done, or how many are not, or that the number of pending rows is unknown."""
    report = tmp_path / "it.report.csv"
    lines = write_small(tmp_path, has_before=False, has_audit=False).read_text().splitlines()
    kept = [line for line in lines if line.startswith(("\ufeffrow", "2,", "3,", "7,"))]
    report.write_text("\n".join(kept) + "\n")
    if record is not None:
        append_audit(report, {**RECORD, "counts": {"updated": 3}, **record})

    assert f">{verdict}</p>" in page_of(report)


def test_the_badges_name_target_duration_and_verification(tmp_path: Path) -> None:
    """Of the last run: the API or a sandbox, how long it took, and whether it was verified."""
    report = write_small(tmp_path)
    assert badges(write_page(report).read_text()) == [
        ("api", "API"),
        ("", "Duration 1 min 21 s"),
        ("", "Not verified"),
    ]
    append_audit(report, {**RECORD, "options": {"sandbox_state": "s.json"}, "not_as_written": 0})
    assert badges(page_of(report))[::2] == [("sandbox", "Sandbox"), ("good", "Verified")]
    append_audit(report, {**RECORD, "options": {"sandbox": True}, "not_as_written": 1})
    assert badges(page_of(report))[::2] == [
        ("sandbox", "Sandbox"),
        ("bad", "Verification failed: 1 row"),
    ]


def test_sections_are_in_the_order_of_their_importance(tmp_path: Path) -> None:
    """Verdict, errors, changes, undo, audit; performance is collapsed at the end."""
    page = page_of(write_small(tmp_path))
    ids = re.findall(
        r'<(?:p|h2|details) id="(verdict|errors|changes|undo|audit|performance)"', page
    )
    ids = [name for name in ids if name not in {"range", "sides"}]
    assert ids == ["verdict", "errors", "changes", "undo", "audit", "performance"]
    assert '<details id="performance"><summary>' in page


def test_times_and_latency_are_those_of_the_report(tmp_path: Path) -> None:
    """Series and percentiles, exactly; the limits are those that the run had."""
    page = page_of(write_small(tmp_path))

    assert '{"bin":1,"spans":[[1767578400,63]],"limits":{"1":20,"60":400}' in page
    assert section(page, "latency").startswith("Latency Of 6 attempts (the last of each line): ")
    assert re.findall(r">(p\d\d|max)</th><td class=\"number\">([\d,]+ ms)<", page) == [
        ("p50", "300 ms"),
        ("p90", "30,000 ms"),
        ("p95", "30,000 ms"),
        ("p99", "30,000 ms"),
        ("max", "30,000 ms"),
    ]


def test_the_quota_is_proved(tmp_path: Path) -> None:
    """The most requests in any second and minute, beside the limits; HTTP 429; waits."""
    assert section(page_of(write_small(tmp_path)), "quota") == (
        "Quota most requests started limit from the report counted by the runs "
        "in any 1 s 20 4 4 in any 60 s 400 4 9 Over the quota (HTTP 429): 1 of 11 requests in the "
        "report. Pauses of more than a second without a request: 1 (60.1 s in total). Time that "
        "the runs waited: 58.5 s for minute window."
    )


def test_undo_is_a_complete_command(tmp_path: Path) -> None:
    """With the options that name the API, and with what cannot be restored."""
    report = write_small(tmp_path)
    assert section(page_of(report), "undo") == (
        f"Undo The previous values of 5 rows are in {tmp_path}/nightly.before.csv. "
        "2 values cannot be restored (empty before, or not accepted by the API); they are marked "
        f"under Changes. To undo: bulk-reset undo {report} --base-url https://api.example "
        f"To verify: bulk-reset verify {report} --base-url https://api.example"
    )


def test_a_row_that_was_sent_twice_counts_once_in_undo(tmp_path: Path) -> None:
    """After a resume, the previous values and the errors are those of the rows."""
    report = write_small(tmp_path)
    with PreviousValuesFile(tmp_path / "nightly.before.csv") as before:
        before.append([previous_values(6, "a " * 99 + "old end", "a " * 99 + "new end")])
    with Report(report) as lines:
        lines.write(OUTCOMES[5])
    page = page_of(report)

    assert section(page, "undo").startswith(
        f"Undo The previous values of 5 rows are in {tmp_path}/nightly.before.csv. 2 values cannot"
    )
    assert re.findall(r'<td class="number">(\d+)</td>\n<td class="message">', page) == ["2", "1"]


def test_without_undo_the_page_says_why(tmp_path: Path) -> None:
    """No previous values, or a sandbox that no longer exists."""
    page = page_of(write_small(tmp_path, has_before=False, has_audit=False))
    assert section(page, "undo") == (
        "Undo Not available: the run used --no-before, or the file of previous values was deleted."
    )
    (tmp_path / "nightly.report.csv").unlink()
    report = write_small(tmp_path, has_audit=False)
    append_audit(report, {**RECORD, "options": {"sandbox": True}})
    assert section(page_of(report), "undo").endswith(
        "It was a sandbox run, and its sandbox no longer exists."
    )


def test_the_audit_names_sheet_user_options_and_requests(tmp_path: Path) -> None:
    """Which sheet, by its hash; who ran it and where; the options, as a table; each run."""
    report = write_small(tmp_path)
    append_audit(report, {**RECORD, "options": {}, "exit_code": 0})
    audit = section(page_of(report), "audit")

    for text in (
        "Request ids 5 First request id req-5 Last request id req-6",
        "Run 1 of 2 Started 2026-01-05 01:59:59 UTC Ended 2026-01-05 02:01:20 UTC User alice",
        "User alice Host build-7 Program bulk-reset 0.1.0 Sheet nightly.csv",
        f"SHA-256 of the sheet {'ab' * 32} (1,234 bytes) Sent to https://api.example",
        "Rows 3 updated, 2 failed, 1 pending Requests 9, of which 1 over the quota Exit code 1",
        "Options --base-url https://api.example --retry-failed yes Run 2 of 2",
        "All options had their default values.",
    ):
        assert text in audit


def test_an_option_that_is_switched_off_is_named_as_the_user_gave_it(tmp_path: Path) -> None:
    """``before=False`` is the option ``--no-before``."""
    report = write_small(tmp_path, has_audit=False)
    append_audit(report, {**RECORD, "options": {"before": False, "workers": 3}})
    assert "Options --no-before yes --workers 3" in section(page_of(report), "audit")


def test_rows_are_in_the_sheets_order_with_their_result(tmp_path: Path) -> None:
    """A row that was sent twice is listed once; its changed words are marked."""
    rows = articles(page_of(write_small(tmp_path)))

    assert [re.search(r"Row (\d+)", row)[1] for row in rows] == list("2345678")  # type: ignore[index]
    meaning = MEANING_OF[Status.UPDATED]
    result = "updated" if meaning == "updated" else f"updated: {meaning}"
    assert rows[0] == (
        f'<article class="updated"><h3><span>Row 2</span> <a href="{LINK}{seed_id(2)}">'
        f"{seed_id(2)}</a> <em>{result}</em></h3><dl><dt>title</dt><dd><p>CPU "
        "<del>usage high</del><ins>saturated</ins> on db-1</p></dd></dl>"
        '<p class="quiet">request req-2 · HTTP 200 · started 2026-01-05 02:00:00.000 UTC, took '
        "100 ms</p></article>"
    )
    assert rows[3].count("Cannot be restored: it was empty") == 1
    assert "…" in rows[4]


def test_errors_are_grouped(tmp_path: Path) -> None:
    """By code and status, with their rows, the first message, and what to do."""
    report = write_small(tmp_path)
    first, second = summarise(report).errors
    assert section(page_of(report), "errors").startswith(
        "Errors error status rows first message NotThere failed 2 no first in row 4 Show rows "
        "changed_since conflict 1"
    )
    assert advice_on(first) == ""
    assert advice_on(second) in section(page_of(report), "errors")


def test_a_hostile_text_adds_nothing(tmp_path: Path) -> None:
    """Texts of a sheet, a server or a file create no element and no attribute."""
    report = write_small(tmp_path, has_audit=False)
    append_audit(
        report,
        {
            **RECORD,
            "sheet": HOSTILE,
            "user": HOSTILE,
            "options": {HOSTILE: HOSTILE},
            "stop": {"message": HOSTILE},
            "scope": HOSTILE,
            "waited_s": {HOSTILE: 1.0},
        },
    )
    page = page_of(report)
    seen = Seen(page)

    assert not {"img", "b"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", page)


def test_all_rows_are_packed_beside_the_first(tmp_path: Path) -> None:
    """The rows that the script unpacks are those shown at first, and their texts are complete."""
    page = page_of(write_small(tmp_path))
    rows = packed_rows(page)
    statuses = {str(status): MEANING_OF[status] for status in Status}

    assert [row_html(row, statuses) for row in rows] == articles(page)
    assert rows[4].fields[0].old == PREVIOUS_VALUES[4].before["title"]


def test_a_row_has_its_outcome_and_its_changes() -> None:
    """A link that is not a web address is none."""
    outcome = Outcome(9, seed_id(9), Status.FAILED, ("title", "comment"), "ab", 2, 500, "E", "m")
    values = {
        "link": "javascript:alert(1)",
        "before": {"title": "Old"},
        "wrote": {"title": "New"},
        "lost": {"title": "why"},
    }
    change = FieldChange("title", "Old", "New", note="Cannot be restored: why")
    assert list_row(outcome, "12", values) == ListRow(
        *("9", seed_id(9), "E", "m", "", "comment", (change,)),
        *(list(Status).index(Status.FAILED), "12", "", "sent 2 times · HTTP 500"),
    )


def test_the_page_makes_no_requests_and_runs_only_its_own_scripts(tmp_path: Path) -> None:
    """Its policy allows one stylesheet and five scripts, by hash, and no address at all."""
    page = Seen(page_of(write_small(tmp_path)))
    one = r"'sha256-[\w+/=]{44}'"

    assert re.fullmatch(
        f"default-src 'none'; style-src {one}; script-src {one} {one} {one} {one} {one}; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        policy_of(page),
    )
    assert [v for n, v in page.attributes if n == "src"] == []


def test_the_same_files_give_the_same_page(tmp_path: Path) -> None:
    """An older page is replaced; only the time of creation differs."""
    report = write_small(tmp_path)
    first, second = (re.sub(r"Page created.*", "", page_of(report)) for _ in range(2))
    assert first == second


def test_a_page_of_another_program_is_not_replaced(tmp_path: Path) -> None:
    """A file of that name that was not made by bulk-reset is an error."""
    report = write_small(tmp_path)
    own = tmp_path / "nightly.report.html"
    own.write_text("<p>mine</p>")
    with pytest.raises(InputError, match="was not made by bulk-reset"):
        write_page(report)
    assert own.read_text() == "<p>mine</p>"


def test_many_kinds_of_errors_do_not_fill_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first are listed, the others counted; their rows are listed nevertheless."""
    monkeypatch.setattr(report_facts, "MAX_GROUPS", 1)
    page = page_of(write_small(tmp_path))
    assert "1 more kind of errors not listed." in text_of(page)
    assert page.count("Show rows") == 1


def test_an_empty_report_has_a_page(tmp_path: Path) -> None:
    """A run that was stopped before its first row leaves a page without rows."""
    report = tmp_path / "it.report.csv"
    report.write_bytes(write_small(tmp_path).read_bytes().split(b"\n")[0] + b"\n")
    assert "The report has no rows." in page_of(report)


def test_run_and_report_write_it(tmp_path: Path, command: Command) -> None:
    """Both print its path, on the terminal and in JSON, with the same exit code as without it."""
    sheet = tmp_path / "retitle.csv"
    sheet.write_bytes(b"\n".join((ROOT / "samples/retitle.csv").read_bytes().splitlines()[:4]))
    ran = command("run", "retitle.csv", "--sandbox", "--html", key=None)
    again = command("report", "retitle.sandbox.report.csv", "--html", "--json", key=None)

    assert (ran.returncode, again.returncode) == (0, 0), ran.stderr + again.stderr
    assert "Page: retitle.sandbox.report.html\n" in ran.stdout
    assert '"page": "retitle.sandbox.report.html"' in again.stdout
    assert "All 3 rows are done." in (tmp_path / "retitle.sandbox.report.html").read_text()


def test_a_page_that_cannot_be_written_does_not_fail_the_run(
    tmp_path: Path, command: Command
) -> None:
    """The run is reported as it ended, with its own exit code."""
    sheet = tmp_path / "retitle.csv"
    sheet.write_bytes(b"\n".join((ROOT / "samples/retitle.csv").read_bytes().splitlines()[:4]))
    (tmp_path / "retitle.sandbox.report.html").write_text("mine")
    ran = command("run", "retitle.csv", "--sandbox", "--html", key=None)

    assert ran.returncode == 0
    assert "The page was not written: retitle.sandbox.report.html: already exists and" in ran.stderr


def test_a_run_without_a_report_writes_no_page(tmp_path: Path, command: Command) -> None:
    """A dry run has no report, and so no page."""
    sheet = tmp_path / "retitle.csv"
    sheet.write_bytes(b"\n".join((ROOT / "samples/retitle.csv").read_bytes().splitlines()[:4]))
    ran = command("run", "retitle.csv", "--sandbox", "--html", "--dry-run", key=None)

    assert (ran.returncode, "Page" in ran.stdout) == (0, False)
    assert [path.name for path in tmp_path.iterdir()] == ["retitle.csv"]
