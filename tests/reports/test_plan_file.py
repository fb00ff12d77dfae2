"""The plan's page and workbook, read by programs that did not write them."""

from __future__ import annotations

import os
import re
import tracemalloc
import zipfile
from collections.abc import Iterable
from pathlib import Path

import openpyxl
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from page_html import Seen, articles, packed_rows, policy_of, row_html
from programs import seed_id
from python_calamine import CalamineWorkbook

from bulk_reset import Options
from bulk_reset.core.errors import InputError
from bulk_reset.core.plan import MEANING_OF, FieldPlan, PlanTotals, RowPlan, facts
from bulk_reset.reports import plan_workbook
from bulk_reset.reports.plan_page import PlanPage, list_row
from bulk_reset.reports.plan_workbook import PlanWorkbook
from bulk_reset.reports.row_list import FIRST_ROWS
from bulk_reset.workflows.plan import plan

Plan = PlanPage | PlanWorkbook
LINK = "https://console.example/incident/detail/"
TOTALS = PlanTotals(
    sheet="retitle.xlsx",
    made_at=1_718_000_000.0,
    rows=7,
    counts={"update": 2, "unchanged": 1, "conflict": 1, "missing": 1, "rejected": 2},
    fields={"title": 3, "impact": 1},
    lost=1,
    requests=1_234,
    estimate_s=74.6,
    sha256="ab" * 32,
    version="9.8.7",
)
ROWS = (
    RowPlan(
        2,
        seed_id(1),
        "update",
        (
            FieldPlan("title", "Disk full on db-01", "Disk full on db-02"),
            FieldPlan("field:team", "", "Payments", lost="empty: the API cannot empty a field"),
        ),
        LINK + seed_id(1),
    ),
    RowPlan(
        3,
        seed_id(2),
        "conflict",
        (FieldPlan("title", "Disk is full now", "Disk was full", was="Disk is full"),),
    ),
    RowPlan(4, seed_id(3), "missing", ()),
    RowPlan(5, seed_id(4), "unchanged", (), LINK + seed_id(4)),
    RowPlan(6, "no id", "rejected", (), reason="InvalidId: not an incident id"),
)
VERDICTS = ("update", "conflict", "missing", "rejected", "unchanged")
STATUSES = {name: MEANING_OF[name] for name in VERDICTS}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</template></article><script>alert(1)</script>",
    "]]><!-- --><b>&lt;&amp;",
    "=HYPERLINK(0)",
    "+1+1",
    "@SUM(1)",
    "https://evil.example/",
    "{=1}",
    "\x1b[2J\x00\u202egnp.exe\u2028",
    "half a character \ud800, none \uffff",
    "_x0041_",
    "<r>&</r>",
    "<r>a</r>",
    "${sheet} $style",
)

PAGE_ROWS = f"""\
<article class="update"><h3><span>Row 2</span> <a href="{LINK}{seed_id(1)}">{seed_id(1)}</a> \
<em>update: {MEANING_OF["update"]}</em></h3><dl>\
<dt>title</dt><dd><p>Disk full on db-<del>01</del><ins>02</ins></p></dd>\
<dt>field:team</dt><dd><p><ins>Payments</ins></p>\
<p class="lost">Cannot be restored: empty: the API cannot empty a field</p></dd></dl></article>
<article class="conflict"><h3><span>Row 3</span> <code>{seed_id(2)}</code> \
<em>conflict: {MEANING_OF["conflict"]}</em></h3><dl>\
<dt>title</dt><dd><p><b>pulled</b> Disk is full</p>\
<p><b>current</b> Disk is full<ins> now</ins></p>\
<p><b>new</b> Disk <del>is full now</del><ins>was full</ins></p></dd></dl></article>
<article class="missing"><h3><span>Row 4</span> <code>{seed_id(3)}</code> \
<em>missing: {MEANING_OF["missing"]}</em></h3></article>
<article class="unchanged"><h3><span>Row 5</span> <a href="{LINK}{seed_id(4)}">{seed_id(4)}</a> \
<em>unchanged: {MEANING_OF["unchanged"]}</em></h3></article>
<article class="rejected"><h3><span>Row 6</span> <code>no id</code> \
<em>rejected: {MEANING_OF["rejected"]}</em></h3><p>InvalidId: not an incident id</p></article>
"""
WORKBOOK_ROWS = """\
Row|Incident|Result|Field|Current value|New value|Pulled value|Cannot be restored|Reason|Note
2|ID1|update|title|Disk full on db-01|Disk full on db-02||||
2|ID1|update|field:team||Payments||empty: the API cannot empty a field||
3|ID2|conflict|title|Disk is full now|Disk was full|Disk is full|||
4|ID3|missing|||||||
5|ID4|unchanged|||||||
6|no id|rejected||||||InvalidId: not an incident id|
"""


def write(plan: Plan, rows: Iterable[RowPlan] = ROWS, totals: PlanTotals = TOTALS) -> Path:
    with plan:
        for row in rows:
            plan.add(row)
        plan.finish(totals)
    return plan.path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupted() -> Iterable[RowPlan]:
    yield from ROWS
    raise KeyboardInterrupt


def plans(folder: Path) -> list[Plan]:
    return [PlanPage(folder / "plan.html"), PlanWorkbook(folder / "plan.xlsx")]


def sheet_of(path: Path, name: str) -> list[list[object]]:
    return [
        list(row) for row in CalamineWorkbook.from_path(path).get_sheet_by_name(name).to_python()
    ]


def many(rows: int, link: str = LINK) -> Iterable[RowPlan]:
    for n in range(1, rows + 1):
        title = FieldPlan("title", f"Disk full on db-{n}", f"Storage: disk full on db-{n}")
        yield RowPlan(n + 1, seed_id(n), "update", (title,), link and link + seed_id(n))


def test_the_page_lists_each_row_with_its_result(tmp_path: Path) -> None:
    """Rows in order with their words marked, a conflict in its three states, why it is rejected."""
    page = write(PlanPage(tmp_path / "plan.html")).read_text(encoding="utf-8")

    assert page.partition('<div id="list">\n')[2].partition("</div>")[0] == PAGE_ROWS
    assert [row_html(row, STATUSES) for row in packed_rows(page)] == articles(page)


@pytest.mark.parametrize("place", [0, 1])
def test_the_totals_are_in_the_file(tmp_path: Path, place: int) -> None:
    """Which sheet, when, how many rows of each kind, what cannot be restored, how long it takes."""
    path = write(plans(tmp_path)[place])
    if path.suffix == ".xlsx":
        texts = [str(cell) for row in sheet_of(path, "Totals") for cell in row]
    else:
        head = path.read_text(encoding="utf-8").partition('<div id="list">')[0]
        texts = re.findall(r">([^<>]+)</t[hd]>", head)

    assert {"retitle.xlsx", "ab" * 32, "2024-06-10 06:13:20 UTC", "1,234"} <= set(texts)
    assert {*facts(TOTALS), *facts(TOTALS).values()} <= set(texts)
    assert {"rejected", MEANING_OF["rejected"], "impact"} <= set(texts)
    assert not {"skipped", "done before"} & set(texts)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_adds_nothing_to_the_page(tmp_path: Path, text: str) -> None:
    """It is shown as it is; no element, attribute or script is added."""
    change = FieldPlan(text, text, "Disk full", was=text + "!", lost=text)
    row = RowPlan(2, text, "conflict", (change,), text, text)
    totals = PlanTotals(text, 0.0, 1, {text: 1}, {text: 1}, 0, 0, 0.0, text, text)
    evil = Seen(write(PlanPage(tmp_path / "evil.html"), [row], totals).read_text(encoding="utf-8"))
    change = FieldPlan("x", "x", "Disk full", was="x!", lost="x")
    tame = RowPlan(2, "x", "conflict", (change,), reason="x")
    good = Seen(
        write(
            PlanPage(tmp_path / "good.html"),
            [tame],
            PlanTotals("x", 0.0, 1, {"x": 1}, {"x": 1}, 0, 0, 0.0, "x", "x"),
        ).read_text(encoding="utf-8")
    )

    drop = {"del", "ins", "a", "code"}  # as many as words differ; a link, or none
    assert [t for t in evil.tags if t not in drop] == [t for t in good.tags if t not in drop]
    assert {n for n, _ in evil.attributes} <= {n for n, _ in good.attributes} | {"href"}
    assert [v for n, v in evil.attributes if n == "href"] in (
        ["data:,"],
        ["data:,", "https://evil.example/"],
    )
    assert not re.search("[\x00-\x08\x0b-\x1f\u2028\u202a-\u202e]", evil.rows[0])


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "file:///etc/passwd", "https://x.example/ b", "internal:A1", ""]
)
def test_only_web_addresses_become_links(tmp_path: Path, link: str) -> None:
    """Another kind of link is not followed; the incident id is shown nevertheless."""
    row = RowPlan(2, seed_id(1), "missing", (), link)
    page = Seen(write(PlanPage(tmp_path / "plan.html"), [row]).read_text(encoding="utf-8"))
    book = openpyxl.load_workbook(write(PlanWorkbook(tmp_path / "plan.xlsx"), [row]))

    assert [value for name, value in page.attributes if name == "href"] == ["data:,"]
    assert (book["Plan"]["B2"].value, book["Plan"]["B2"].hyperlink) == (seed_id(1), None)


def test_a_link_with_quotes_is_one_attribute() -> None:
    """An address may contain quotes; what follows them is part of it."""
    link = 'https://x.example/"onmouseover="alert(1)\'&amp;<b>'
    seen = Seen(row_html(list_row(RowPlan(2, seed_id(1), "missing", (), link)), STATUSES))
    assert seen.attributes == [("class", "missing"), ("href", link)]


def test_the_page_makes_no_requests_and_runs_only_its_own_script(tmp_path: Path) -> None:
    """Its policy allows one stylesheet and two scripts, by hash, and no address at all."""
    page = Seen(write(PlanPage(tmp_path / "plan.html")).read_text(encoding="utf-8"))

    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]{44}'; "
        r"script-src( 'sha256-[\w+/=]{44}'){2}; img-src data:; base-uri 'none'; form-action 'none'",
        policy_of(page),
    )
    assert page.tags.count("style") == 1
    types = [value for name, value in page.attributes if name == "type"]
    assert page.tags.count("script") - types.count("application/json") == 4
    names = {name for name, _ in page.attributes}
    assert not {n for n in names if n in {"src", "style", "action"} or n.startswith("on")}


@pytest.mark.parametrize("rows", [0, 1, FIRST_ROWS, FIRST_ROWS + 1, 3 * FIRST_ROWS])
def test_every_row_is_in_the_page_and_only_the_first_are_elements(
    tmp_path: Path, rows: int
) -> None:
    """A plan of any length is one file; rows beyond the first ones are packed."""
    page = write(PlanPage(tmp_path / "plan.html"), many(rows)).read_text(encoding="utf-8")

    assert len(packed_rows(page)) == rows
    assert len(articles(page)) == min(rows, FIRST_ROWS)
    assert page.count("<div") == page.count("</div>")


def test_the_workbook_has_a_line_for_each_field(tmp_path: Path) -> None:
    """Read by another program: complete texts, and empty cells for what is not known."""
    path = write(PlanWorkbook(tmp_path / "plan.xlsx"))

    lines = [line.split("|") for line in WORKBOOK_ROWS.splitlines()]
    for line in lines[1:]:
        if line[1].startswith("ID"):
            line[1] = seed_id(int(line[1].removeprefix("ID")))
    assert [[str(cell).removesuffix(".0") for cell in r] for r in sheet_of(path, "Plan")] == lines


def test_the_workbook_marks_the_words_that_change(tmp_path: Path) -> None:
    """Removed words are struck through, added ones underlined; the incident is a link."""
    path = write(PlanWorkbook(tmp_path / "plan.xlsx"))
    sheet = openpyxl.load_workbook(path, rich_text=True)["Plan"]
    now, wanted = sheet["E2"].value, sheet["F2"].value

    assert isinstance(now, CellRichText)
    assert isinstance(wanted, CellRichText)
    assert [isinstance(part, TextBlock) and part.font.strike for part in now] == [False, True]
    assert [isinstance(part, TextBlock) and part.font.u for part in wanted] == [False, "single"]
    assert sheet["B2"].hyperlink.target == LINK + seed_id(1)
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("C2", "A1:J7")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_a_text_in_the_workbook(tmp_path: Path, text: str) -> None:
    """No formula, no link, nothing that makes Excel repair the file; the letters are kept."""
    change = FieldPlan(text, text, text + "!", was=text, lost=text)
    row = RowPlan(2, text, "update", (change,), reason=text)
    path = write(PlanWorkbook(tmp_path / "plan.xlsx"), [row])
    sheet = openpyxl.load_workbook(path)["Plan"]
    with zipfile.ZipFile(path) as parts:
        xml = parts.read("xl/worksheets/sheet1.xml").decode()

    assert {cell.data_type for cell in sheet[2] if 1 < cell.column < 10} == {"s"}
    assert not re.search("<f>|<hyperlink|\ufffe|\uffff", xml)
    letters = re.sub(
        "[\x00-\x1f\u2028\u202e\ud800-\udfff\uffff]", "\N{REPLACEMENT CHARACTER}", text
    )
    assert [sheet_of(path, "Plan")[1][at] for at in (1, 3, 4, 6, 7, 8)] == [letters] * 6
    assert sheet_of(path, "Plan")[1][5] == letters + "!"


def test_a_text_that_is_too_long_for_a_cell_is_named_and_not_cut(tmp_path: Path) -> None:
    """A cell holds 32,767 UTF-16 units: an emoji is two of them."""
    fields = (
        FieldPlan("field:a", "x" * 32_767, "x" * 32_767 + " y"),
        FieldPlan("field:b", "👩" * 16_383, "👩" * 16_384),
    )
    rows = [RowPlan(2, seed_id(1), "update", fields)]
    lines = sheet_of(write(PlanWorkbook(tmp_path / "plan.xlsx"), rows), "Plan")

    assert [line[4:6] for line in lines[1:]] == [
        ["x" * 32_767, "32,769 characters: too long for a cell. See the page (--html)."],
        ["👩" * 16_383, "16,384 characters: too long for a cell. See the page (--html)."],
    ]


def test_rows_beyond_the_limit_of_a_worksheet_are_on_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows beyond Excel's last one, and links beyond Excel's limit, are not lost."""
    monkeypatch.setattr(plan_workbook, "_MOST_ROWS", 4)
    monkeypatch.setattr(plan_workbook, "_MOST_LINKS", 2)
    book = openpyxl.load_workbook(write(PlanWorkbook(tmp_path / "plan.xlsx"), many(7)))
    found = {
        name: [(cell.value, cell.hyperlink is not None) for cell in book[name]["B"][1:]]
        for name in book.sheetnames[:-1]
    }
    assert book.sheetnames == ["Plan", "Plan 2", "Plan 3", "Totals"]
    assert found == {
        "Plan": [(seed_id(1), True), (seed_id(2), True), (seed_id(3), False)],
        "Plan 2": [(seed_id(4), True), (seed_id(5), True), (seed_id(6), False)],
        "Plan 3": [(seed_id(7), True)],
    }


@pytest.mark.parametrize("place", [0, 1])
def test_a_plan_that_is_not_finished_leaves_the_older_one(tmp_path: Path, place: int) -> None:
    """Whatever ends it early: no incomplete plan, and no temporary file."""
    path = write(plans(tmp_path)[place])
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write(plans(tmp_path)[place], interrupted())

    assert path.read_bytes() == before
    assert names_in(tmp_path) == [path.name]


@pytest.mark.parametrize("place", [0, 1])
def test_a_plan_replaces_the_older_one_when_it_is_whole(tmp_path: Path, place: int) -> None:
    """Until then the older one can be read; the new one has its permissions."""
    path = write(plans(tmp_path)[place])
    before = path.read_bytes()
    path.chmod(0o600)
    with plans(tmp_path)[place] as plan:
        plan.add(ROWS[2])
        assert path.read_bytes() == before
        plan.finish(TOTALS)

    assert seed_id(1) not in "".join(
        [path.read_text(encoding="utf-8")]
        if path.suffix == ".html"
        else [str(sheet_of(path, "Plan"))]
    )
    assert (names_in(tmp_path), path.stat().st_mode & 0o777) == ([path.name], 0o600)


@pytest.mark.parametrize("place", [0, 1])
def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path, place: int) -> None:
    """A link under the temporary name is replaced; the file it points to is not changed."""
    plan = plans(tmp_path)[place]
    victim = tmp_path / "victim"
    victim.write_text("mine")
    plan.path.with_name(f"{plan.path.name}.tmp").symlink_to(victim)
    write(plan)

    assert victim.read_text() == "mine"
    assert names_in(tmp_path) == [plan.path.name, "victim"]


@pytest.mark.parametrize("place", [0, 1])
def test_a_folder_that_is_not_there_is_an_error_before_any_row(tmp_path: Path, place: int) -> None:
    """The error is raised at the beginning, not after everything was read."""
    plan = plans(tmp_path / "missing")[place]
    with pytest.raises(InputError) as caught, plan:
        pass

    assert str(caught.value) == (
        f"{plan.path}: cannot be written (No such file or directory). "
        "Use another folder, or free disk space (also for temporary files)."
    )


@pytest.mark.parametrize("place", [0, 1])
def test_a_full_disk_is_an_error_that_names_it(tmp_path: Path, place: int) -> None:
    """At the end too; no incomplete file is left, and the older plan is unchanged."""
    path = write(plans(tmp_path)[place])
    before = path.read_bytes()
    with plans(tmp_path)[place] as plan, Path("/dev/full").open("wb") as full:
        plan.add(ROWS[0])
        os.dup2(full.fileno(), plan._fresh.file.fileno())  # noqa: SLF001  (the disk itself)
        with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
            plan.finish(TOTALS)

    assert path.read_bytes() == before
    assert names_in(tmp_path) == [path.name]


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1])
def test_rows_are_written_and_not_kept(tmp_path: Path, place: int) -> None:
    """Two thousand more rows take no more memory (a workbook's links do, some bytes each)."""
    tracemalloc.start()
    with plans(tmp_path)[place] as plan:
        for row in many(1_200, link=""):  # more than are cached
            plan.add(row)
        before, _ = tracemalloc.get_traced_memory()
        for row in many(2_000, link=""):
            plan.add(row)
        after, _ = tracemalloc.get_traced_memory()
        plan.finish(TOTALS)
    tracemalloc.stop()
    assert after - before < 200_000


def test_a_plan_lists_rejected_rows_in_the_sheets_order(tmp_path: Path) -> None:
    """Each with its reason, between the rows that were compared; they count once."""
    sheet = tmp_path / "it.csv"
    rows = [
        f"{seed_id(n)},{'x' * 300 if n in {1, 102, 104} else f'New {n}'}" for n in range(1, 105)
    ]
    sheet.write_text("\n".join(["incident_id,title", *rows]) + "\n")
    planned: list[RowPlan] = []
    totals = plan(sheet, Options(sandbox=True, skip_invalid=True), add=planned.append)

    assert [row.row_number for row in planned] == list(range(2, 106))
    assert totals.counts == {"update": 101, "rejected": 3}
    rejected = [row for row in planned if row.verdict == "rejected"]
    assert [(row.row_number, row.fields) for row in rejected] == [(2, ()), (103, ()), (105, ())]
    assert all(row.reason.startswith("too_long: ") for row in rejected)


def test_rules_and_actions_are_beside_the_values_that_they_make(tmp_path: Path) -> None:
    """Which rule of the profile made a value, and what an action will do."""
    rows = [
        RowPlan(
            2,
            seed_id(1),
            "update",
            (
                FieldPlan("title", "a", "b", origin="templates.title, source.trim ' b'"),
                FieldPlan("action", "Triggered", "Closed"),
            ),
        )
    ]
    page = write(PlanPage(tmp_path / "plan.html"), rows).read_text(encoding="utf-8")
    workbook = write(PlanWorkbook(tmp_path / "plan.xlsx"), rows)
    remark = "from templates.title, source.trim ' b'"

    assert [row.note for row in map(list_row, rows)] == [
        f"title: {remark} · action: will be resolved"
    ]
    assert articles(page) == [row_html(row, STATUSES) for row in packed_rows(page)]
    assert "action: will be resolved" in articles(page)[0]
    assert [line[9] for line in sheet_of(workbook, "Plan")] == ["Note", remark, "will be resolved"]
