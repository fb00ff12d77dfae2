"""The page of a report: what it says, that nothing in it acts, and where it goes."""

from __future__ import annotations

import base64
import gzip
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import ROOT, seed_id
from report_samples import HOSTILE, IMAGES, LINK, OUTCOMES, RECORD, write_small
from test_plan_files import Seen

from bulk_reset import write_page
from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.records.audit import append_audit
from bulk_reset.reports import page_sections
from bulk_reset.reports.page_rows import FieldRow, PageRow, packed_row, stretches, unpacked_row
from bulk_reset.reports.report_page import draw_row

Command = Callable[..., subprocess.CompletedProcess[str]]


def page_of(report: Path) -> str:
    return write_page(report).read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    """Return the text of a section, its tags taken out."""
    found = re.search(rf'<h2 id="{name}">(.*?)(?=<h2|<script)', page, re.DOTALL)
    assert found
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", found[1])).strip()


def test_the_page_says_how_it_ended(tmp_path: Path) -> None:
    """What is not done, pending rows that only the audit knows of among them."""
    page = page_of(write_small(tmp_path))

    assert '<p id="verdict" class="open">4 of 8 rows are not done.</p>' in page
    told = dict(re.findall(r'</span>(\w+)</th><td class="number">([\d,]+)</td>', page))
    assert told == {
        "updated": "3",
        "unchanged": "1",
        "failed": "2",
        "conflict": "1",
        "pending": "1",
    }


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({}, "All 3 rows are done."),
        (None, "All 3 rows of the report are done; of others it does not tell."),
        (
            {"not_as_written": 2},
            "All 3 rows are done. Read back, 2 rows were not as they were written.",
        ),
        (
            {"counts": {"pending": 1}, "stop": {"reason": "outage", "message": "the API is down"}},
            "1 of 4 rows are not done. The last run stopped early: the API is down.",
        ),
    ],
)
def test_the_verdict_is_a_sentence(
    tmp_path: Path, record: dict[str, object] | None, said: str
) -> None:
    """All is done, or how much is not, or that nobody knows of the rest."""
    report = tmp_path / "it.report.csv"
    lines = write_small(tmp_path, has_before=False, has_audit=False).read_text().splitlines()
    kept = [line for line in lines if line.startswith(("\ufeffrow", "2,", "3,", "7,"))]
    report.write_text("\n".join(kept) + "\n")
    if record is not None:
        append_audit(report, {**RECORD, "counts": {"updated": 3}, **record})

    assert f">{said}</p>" in page_of(report)


def test_times_and_latency_are_those_of_the_report(tmp_path: Path) -> None:
    """Series and percentiles, exactly; the limits are those that the run had."""
    page = page_of(write_small(tmp_path))

    assert '{"bin":1,"spans":[[1767578400,63]],"limits":{"1":20,"60":400}' in page
    assert section(page, "took").startswith(
        "Latency Of 6 attempts, the last of each line: from when it was started"
    )
    assert re.findall(r">(p\d\d|max)</th><td class=\"number\">([\d,]+ ms)<", page) == [
        ("p50", "300 ms"),
        ("p90", "30,000 ms"),
        ("p95", "30,000 ms"),
        ("p99", "30,000 ms"),
        ("max", "30,000 ms"),
    ]


def test_the_quota_is_proved(tmp_path: Path) -> None:
    """The most in any second and any minute, beside the limits; how many were over; waits."""
    assert section(page_of(write_small(tmp_path)), "quota") == (
        "The quota most requests started limit by the report's lines by the runs' own count "
        "in any 1 s 20 4 4 in any 60 s 400 4 9 Over the quota (HTTP 429): 1 of 11 requests that "
        "the report's lines tell of. Nothing was started for more than a second: 1 time, "
        "60.1 s in all. The runs waited 58.5 s for minute window."
    )


def test_the_way_back_is_a_command(tmp_path: Path) -> None:
    """With whom to ask, and what cannot be restored."""
    report = write_small(tmp_path)
    assert section(page_of(report), "back") == (
        f"Way back What stood there before is in {tmp_path}/nightly.before.csv, for 5 rows. "
        "3 values cannot be restored (they were empty, or nothing that the API takes); the rows "
        f"say which. Take it back: bulk-reset undo {report} --base-url https://api.example "
        f"Read it back, and compare: bulk-reset verify {report} --base-url https://api.example"
    )


def test_without_a_way_back_the_page_says_why(tmp_path: Path) -> None:
    """No before-images, or a rehearsal whose sandbox is gone."""
    page = page_of(write_small(tmp_path, has_before=False, has_audit=False))
    assert section(page, "back") == (
        "Way back There is none: the run went without a look (--no-before), or the file is gone."
    )
    (tmp_path / "nightly.report.csv").unlink()
    report = write_small(tmp_path, has_audit=False)
    append_audit(report, {**RECORD, "options": {"sandbox": True}})
    assert section(page_of(report), "back").endswith("and its sandbox is gone.")


def test_the_audit_is_in_it(tmp_path: Path) -> None:
    """Which sheet, by its hash; which options; each run; the requests from first to last."""
    report = write_small(tmp_path)
    append_audit(report, {**RECORD, "options": {}, "exit_code": 0})
    told = section(page_of(report), "audit")

    for text in (
        "Request ids 5 First request id req-5 Last request id req-6",
        "Run 1 of 2 Started, ended 2026-01-05 01:59:59 UTC to 2026-01-05 02:01:20 UTC",
        f"SHA-256 of the sheet {'ab' * 32} (1,234 bytes) Sent to https://api.example",
        "Options base_url=https://api.example, retry_failed Rows 3 updated, 2 failed, 1 pending",
        "Run 2 of 2",
        "Options none but the defaults",
    ):
        assert text in told


def test_rows_are_in_the_sheets_order_each_as_it_ended(tmp_path: Path) -> None:
    """A row that was sent twice stands there once; its words are marked."""
    page = page_of(write_small(tmp_path))
    rows = re.findall(r"<article.*?</article>", page)

    assert [re.search(r"Row (\d+)", row)[1] for row in rows] == list("2345678")  # type: ignore[index]
    assert rows[0] == (
        f'<article class="updated"><h3><span>Row 2</span> <a href="{LINK}{seed_id(2)}">'
        f"{seed_id(2)}</a> <em>updated: updated</em></h3><dl><dt>title</dt><dd><p>CPU "
        "<del>usage high</del><ins>saturated</ins> on db-1</p></dd></dl>"
        '<p class="quiet">request req-2 · HTTP 200 · started 2026-01-05 02:00:00.000 UTC, known '
        "100 ms later</p></article>"
    )
    assert rows[3].count("Cannot be restored: it was empty") == 1
    assert "…" in rows[4]


def test_errors_are_grouped(tmp_path: Path) -> None:
    """By code and status, with how many, the first, and what to do."""
    assert section(page_of(write_small(tmp_path)), "errors").startswith(
        "Errors error status rows message of the first NotThere failed 2 no first in row 4 · "
        "mend the row Show rows changed_since conflict 1"
    )


def test_a_hostile_text_adds_nothing(tmp_path: Path) -> None:
    """What a sheet, a server or a file beside says is text: no element, no attribute."""
    report = write_small(tmp_path, has_audit=False)
    append_audit(
        report,
        {
            **RECORD,
            "sheet": HOSTILE,
            "options": {HOSTILE: HOSTILE},
            "stop": {"message": HOSTILE},
            "scope": HOSTILE,
        },
    )
    page = page_of(report)
    seen = Seen(page)

    assert not {"img", "b"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", page)


def test_all_rows_are_packed_beside_the_first(tmp_path: Path) -> None:
    """What the script unpacks are the rows that are shown, and their texts are whole."""
    page = page_of(write_small(tmp_path))
    (packed,) = re.findall(r'class="rows">([\w+/=]+)</script>', page)
    rows = [
        unpacked_row(t) for t in gzip.decompress(base64.b64decode(packed)).decode().split("\x1e")
    ]

    assert [draw_row(row) for row in rows] == re.findall(r"<article.*?</article>", page)
    assert rows[4].fields[0].old == IMAGES[4].before["title"]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t ab👍🏽"))


@given(TEXTS, TEXTS)
def test_the_stretches_of_a_change_are_its_texts(old: str, new: str) -> None:
    """What stays and goes is the old text, what stays and comes the new one, to the last unit."""
    image = {"link": "", "before": {"title": old}, "wrote": {"title": new}, "lost": {}}
    (field,) = unpacked_row(packed_row(OUTCOMES[1], "", image)).fields
    parts = list(stretches(field))

    assert "".join(text for sign, text in parts if sign != "+") == field.old
    assert "".join(text for sign, text in parts if sign != "-") == field.new


def test_a_row_comes_back_as_it_was_packed() -> None:
    """Everything that is shown of a row survives; a link that acts does not."""
    outcome = Outcome(9, seed_id(9), Status.FAILED, ("title", "comment"), "ab", 2, 500, "E", "m")
    image = {
        "link": "javascript:alert(1)",
        "before": {"title": "Old"},
        "wrote": {"title": "New"},
        "lost": {"title": "why"},
    }
    assert unpacked_row(packed_row(outcome, "12", image)) == PageRow(
        *("9", seed_id(9), "E", "m", "", "comment"),
        (FieldRow("title", "Old", "New", "-3+3", "why"),),
        *(list(Status).index(Status.FAILED), "12", "", "sent 2 times · HTTP 500"),
    )


def test_the_page_asks_nobody_and_runs_only_its_own_scripts(tmp_path: Path) -> None:
    """Its policy allows one style and three scripts, by hash, and no address at all."""
    page = Seen(page_of(write_small(tmp_path)))
    policy = next(v for _, v in page.attributes if v and v.startswith("default-src"))
    one = r"'sha256-[\w+/=]{44}'"

    assert re.fullmatch(
        f"default-src 'none'; style-src {one}; script-src {one} {one} {one}; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        policy,
    )
    assert [v for n, v in page.attributes if n == "src"] == []


def test_the_same_files_give_the_same_page(tmp_path: Path) -> None:
    """An older page is replaced; but for the time it was made, nothing differs."""
    report = write_small(tmp_path)
    first, second = (re.sub(r"Page made.*", "", page_of(report)) for _ in range(2))
    assert first == second


def test_somebody_elses_page_is_left_alone(tmp_path: Path) -> None:
    """A file of that name that was not made here is refused."""
    report = write_small(tmp_path)
    own = tmp_path / "nightly.report.html"
    own.write_text("<p>mine</p>")
    with pytest.raises(InputError, match="was not made by bulk-reset"):
        write_page(report)
    assert own.read_text() == "<p>mine</p>"


def test_many_kinds_of_errors_do_not_fill_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first are listed, the others counted; their rows are there all the same."""
    monkeypatch.setattr(page_sections, "MOST_GROUPS", 1)
    page = page_of(write_small(tmp_path))
    assert "… and 1 more kinds." in page
    assert page.count("Show rows") == 1


def test_an_empty_report_has_a_page(tmp_path: Path) -> None:
    """A run that was stopped before its first row leaves a page that says so."""
    report = tmp_path / "it.report.csv"
    report.write_bytes(write_small(tmp_path).read_bytes().split(b"\n")[0] + b"\n")
    assert "The report has no rows." in page_of(report)


def test_run_and_report_write_it(tmp_path: Path, command: Command) -> None:
    """Both say where it is, on the terminal and in JSON, and end as they would without it."""
    sheet = tmp_path / "retitle.csv"
    sheet.write_bytes(b"\n".join((ROOT / "samples/retitle.csv").read_bytes().splitlines()[:4]))
    ran = command("run", "retitle.csv", "--sandbox", "--html", key=None)
    again = command("report", "retitle.sandbox.report.csv", "--html", "--json", key=None)

    assert (ran.returncode, again.returncode) == (0, 0), ran.stderr + again.stderr
    assert "Page: retitle.sandbox.report.html\n" in ran.stdout
    assert '"page": "retitle.sandbox.report.html"' in again.stdout
    assert "All 3 rows are done." in (tmp_path / "retitle.sandbox.report.html").read_text()


def test_a_page_that_cannot_be_written_costs_itself_alone(tmp_path: Path, command: Command) -> None:
    """The run is done and told as it is, with its own exit code."""
    sheet = tmp_path / "retitle.csv"
    sheet.write_bytes(b"\n".join((ROOT / "samples/retitle.csv").read_bytes().splitlines()[:4]))
    (tmp_path / "retitle.sandbox.report.html").write_text("mine")
    ran = command("run", "retitle.csv", "--sandbox", "--html", key=None)

    assert ran.returncode == 0
    assert "The page is missing: retitle.sandbox.report.html: is there already" in ran.stderr


def test_a_run_that_keeps_nothing_writes_no_page(tmp_path: Path, command: Command) -> None:
    """A dry run has no report, and so no page."""
    sheet = tmp_path / "retitle.csv"
    sheet.write_bytes(b"\n".join((ROOT / "samples/retitle.csv").read_bytes().splitlines()[:4]))
    ran = command("run", "retitle.csv", "--sandbox", "--html", "--dry-run", key=None)

    assert (ran.returncode, "Page" in ran.stdout) == (0, False)
    assert [path.name for path in tmp_path.iterdir()] == ["retitle.csv"]
