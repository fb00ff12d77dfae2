"""Columns are matched to fields by their usual names."""
# ruff: noqa: RUF001 - full-width letters are what is tested

from __future__ import annotations

import pytest

from bulk_reset.core.errors import InputError, MissingColumnError, SheetError
from bulk_reset.core.fields import FIELDS
from bulk_reset.sheets.columns import bind, recognised


def bound(header: tuple[str, ...], **mapping: str) -> dict[str, str]:
    """Return field -> name of its column in the sheet."""
    columns = bind(header, mapping, "s.csv")
    return {field: columns.name(field) for field in columns.position}


def refusal(header: tuple[str, ...], mapping: dict[str, str] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        bind(header, mapping or {}, "s.csv")
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "incident_id",
        "Incident ID",
        "INCIDENT-ID",
        " incidentId ",
        "incident\u00a0id",
        "ｉｎｃｉｄｅｎｔ＿ｉｄ",
        "\ufeffincident_id",
        "ID",
        "故障ID",
        "故障ｉｄ",
        "事件编号",
    ],
)
def test_name_written_another_way_is_the_same_column(name: str) -> None:
    """Case, spaces, underscores, hyphens and full-width letters do not matter."""
    assert bound((name, "title")) == {"incident_id": name, "title": "title"}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("Тitle", "title"),  # Cyrillic
        ("тіtlе", "title"),
        ("Τitle", "title"),  # Greek
        ("ＴＩＴＬＥ", "title"),
        ("𝐓𝐢𝐭𝐥𝐞", "title"),
        ("Ti\u200btle", "title"),
        ("\u2066Title\u2069", "title"),
        ("Ti\u00adtle", "title"),
        ("\u202fRoot\u2009Cause\u3000", "root_cause"),
        ("Root\u2013Cause", "root_cause"),
        ("RОOТ_САUSЕ", "root_cause"),
        ("Ѕeverity", "incident_severity"),
        ("标\u200d题", "title"),
        ("сommеnt", "comment"),
        ("ｆｉｅｌｄ：team", "field:team"),
        ("fіeld:te\u200bam : JSОN", "field:team:json"),
    ],
)
def test_name_that_looks_alike_is_the_same_column(name: str, field: str) -> None:
    """What a person reads as a field's name is that field, whatever the letters are."""
    assert bound(("id", name)) == {"incident_id": "id", field: name}


def test_two_names_that_look_alike_are_an_error() -> None:
    """Which of the two is meant is not guessed."""
    assert refusal(("id", "Title", "Тitle")) == (
        "s.csv: more than one column for title: 'Title' (column 2) and 'Тitle' (column 3). "
        "Remove or rename one, or use mapping={'title': 'Title'}."
    )


def test_name_in_another_alphabet_is_no_look_alike() -> None:
    """A Russian or Persian name keeps its letters and its joiners."""
    header = ("id", "title", "описание", "field:нам", "field:می\u200cشود")
    columns = bind(header, {}, "s.csv")

    assert list(columns.position) == ["incident_id", "title", "field:нам", "field:می\u200cشود"]
    assert columns.notices == ("not used: 'описание'",)


@pytest.mark.parametrize(
    "header",
    [
        FIELDS,
        ("Incident", "New title", "Details", "Impacts", "Root-Cause", "Solution", "Severity"),
        ("ID", "Name", "Desc", "impact description", "RCA", "Fix", "Level"),
        ("故障ID", "标题", "描述", "影响", "根因", "解决方案", "严重程度"),
        ("事件编号", "故障标题", "说明", "影响范围", "根本原因", "处理方案", "故障等级"),
    ],
)
def test_english_and_chinese_names_are_known(header: tuple[str, ...]) -> None:
    """A sheet with the usual names needs no mapping."""
    columns = bind(header, {}, "s.csv")

    assert columns.position == {field: i for i, field in enumerate(FIELDS)}
    assert (columns.notices, recognised(header)) == ((), 7)


def test_columns_in_any_order_are_found() -> None:
    """The sheet's order of columns is free; the order of fields is fixed."""
    columns = bind(("severity", "x", "title", "id"), {}, "s.csv")

    assert list(columns.position.items()) == [
        ("incident_id", 3),
        ("title", 2),
        ("incident_severity", 0),
    ]
    assert columns.name("impact") == "impact"


@pytest.mark.parametrize(
    ("header", "mapping", "expected"),
    [
        (("id", "headline"), {"title": "headline"}, {"incident_id": "id", "title": "headline"}),
        # The mapping takes precedence over a name that means another field.
        (("id", "description"), {"title": "description"}, {"title": "description"}),
        (("id", "title", "new"), {"title": "new"}, {"title": "new"}),
        # Two columns with similar names: the exact name is used.
        (("id", "Title", "title"), {"title": "title"}, {"title": "title"}),
        (("id", "Head Line"), {"title": "head_line"}, {"title": "Head Line"}),
        (("id", "headline"), {"标题": "headline"}, {"title": "headline"}),
        (("id", "grade"), {"Severity": "grade"}, {"incident_severity": "grade"}),
        (("ref", "id", "title"), {"incident_id": "ref"}, {"incident_id": "ref", "title": "title"}),
    ],
)
def test_mapping_takes_precedence_over_names(
    header: tuple[str, ...], mapping: dict[str, str], expected: dict[str, str]
) -> None:
    """The mapped column is used, and the field may have any of its names."""
    columns = bind(header, mapping, "s.csv")

    assert {f: columns.name(f) for f in columns.position} == {"incident_id": "id"} | expected


@pytest.mark.parametrize(
    ("mapping", "error", "text"),
    [
        (
            {"titel": "x"},
            InputError,
            (
                "mapping={'titel': 'x'}: 'titel' is not a field. Use one of incident_id, title, "
                "description, impact, root_cause, resolution, incident_severity, action, comment "
                "or field:NAME."
            ),
        ),
        (
            {"title": "Headlin"},
            MissingColumnError,
            (
                "s.csv: no column for title named 'Headlin'; the header has 'id', 'Headline', "
                "'impact'. Did you mean 'Headline'?"
            ),
        ),
        (
            {"title": "zzz"},
            MissingColumnError,
            (
                "s.csv: no column for title named 'zzz'; the header has 'id', 'Headline', "
                "'impact'. Use a column name from the header."
            ),
        ),
    ],
)
def test_mapping_to_a_missing_column_is_an_error_with_a_fix(
    mapping: dict[str, str], error: type[InputError], text: str
) -> None:
    """The error lists the existing columns and the nearest name."""
    with pytest.raises(error) as caught:
        bind(("id", "Headline", "impact"), mapping, "s.csv")

    assert (type(caught.value), str(caught.value)) == (error, text)


def test_two_columns_for_one_field_are_an_error() -> None:
    """Which of two titles is meant is not guessed."""
    with pytest.raises(SheetError) as caught:
        bind(("id", "Title", "impact", "标题"), {}, "s.csv")

    assert str(caught.value) == (
        "s.csv: more than one column for title: 'Title' (column 2) and '标题' (column 4). "
        "Remove or rename one, or use mapping={'title': 'Title'}."
    )


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (
            ("incident_idd", "title"),
            (
                "s.csv: no column for incident_id; the header has 'incident_idd', 'title'. "
                "If it is 'incident_idd', use mapping={'incident_id': 'incident_idd'}."
            ),
        ),
        (
            ("zzz", "title"),
            (
                "s.csv: no column for incident_id; the header has 'zzz', 'title'. "
                "Rename the column, or use mapping={'incident_id': 'COLUMN NAME'}."
            ),
        ),
        (
            ("id", "descripton"),
            (
                "s.csv: no column for any field to update (title, description, impact, root_cause, "
                "resolution, incident_severity); the header has 'id', 'descripton'. "
                "If 'descripton' is one of them, use mapping={'description': 'descripton'}."
            ),
        ),
        (
            ("id", "zzz"),
            (
                "s.csv: no column for any field to update (title, description, impact, root_cause, "
                "resolution, incident_severity); the header has 'id', 'zzz'. Add a column, or map "
                "one, for example mapping={'title': 'COLUMN NAME'}."
            ),
        ),
    ],
)
def test_missing_required_column_is_an_error_with_the_nearest_name(
    header: tuple[str, ...], text: str
) -> None:
    """Without an ID or a field, the error suggests a column that may be it."""
    assert refusal(header) == text


def test_long_header_is_cut_in_the_message() -> None:
    """A sheet of hundreds of columns does not fill the screen."""
    header = tuple(f"c{number}" for number in range(300))

    assert "'c19'. Rename" in refusal(header)


def test_unused_columns_are_reported() -> None:
    """The notice lists columns that are not sent, and suggests a field for a misspelled name."""
    columns = bind(("id", "title", "Owner", "", "resolutoin"), {}, "s.csv")

    assert columns.notices == (
        "not used: 'Owner', 'resolutoin'",
        "'resolutoin' may be resolution; if so, use mapping={'resolution': 'resolutoin'}",
    )


def test_own_columns_are_ignored_without_a_notice() -> None:
    """A file of failed rows can be run again without a notice about the added columns."""
    header = ("id", "title", "bulk-reset row", "bulk-reset status", "bulk-reset reason")

    assert bind(header, {}, "s.failed.csv").notices == ()


@pytest.mark.parametrize(
    ("header", "names"),
    [(("My incidents", ""), 0), (("id", "x"), 1), (("id", "标题", "SEVERITY"), 3), ((), 0)],
)
def test_header_is_recognised_by_its_names(header: tuple[str, ...], names: int) -> None:
    """The row with more known names is the header."""
    assert recognised(header) == names
