"""The user's own rules for cells: read with the place of each error, and checked by cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_reset import check
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError
from bulk_reset.engine.options import Options
from bulk_reset.sheets import user_rules
from bulk_reset.sheets.profile import Profile, profile_text, read_profile
from bulk_reset.sheets.toml_file import TomlFileError
from bulk_reset.sheets.user_rules import FieldRule, UserRules, read_rules

ID = "69da451e00000000000000"
HOSTILE = r"^(([a-z])+.)+[A-Z]([a-z])+$"
"""A pattern that needs exponential time for a long text of small letters."""


def saved(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_cells_that_break_a_rule_are_errors_like_all_others(tmp_path: Path) -> None:
    """Each rule has its kind, its cell and a fix; an empty cell breaks none."""
    sheet = tmp_path / "log.csv"
    sheet.write_text(
        "id,标题,description,severity,root_cause,field:team\n"
        f"{ID}01,[CN] Disk full,Disk on db-1,Critical,Broken disk,sre\n"
        f"{ID}02,Disk full,a tbd text,Info,,SRE\n"
        f"{ID}03,[EU] same text,[EU] same text,Warning,,\n"
        f"{ID}04,,密码是abc,Warning,,\n"
        f"{ID}05,[EU] outbdated,outbdated,,,\n",
        encoding="utf-8",
    )
    path = saved(
        tmp_path,
        "['标题']\nregex = '\\[[A-Z]{2}\\] .+'\nfix = \"Begin with the region\"\n"
        '[description]\nforbidden = ["TBD", "密码"]\nmust_differ = "title"\n'
        '[severity]\nallowed = ["Critical", "Warning"]\nrequires = ["root_cause"]\n'
        '["field:team"]\nallowed = ["sre", "dba"]\n[comment]\nregex = "x"\n',
    )
    notices: list[str] = []
    result = check(sheet, Options(rules=path), Callbacks(on_notice=notices.append))

    assert [
        (one.row_number, one.column, one.kind, one.problem, one.fix) for one in result.row_errors
    ] == [
        (
            *(3, "标题", "rule_regex"),
            r"does not match \[[A-Z]{2}\] .+",
            "Begin with the region",
        ),
        (3, "description", "rule_forbidden", "contains 'TBD'", "Remove the word"),
        (
            *(3, "severity", "rule_allowed", "not an allowed text for incident_severity"),
            "Use Critical or Warning",
        ),
        (
            *(3, "severity", "rule_required", "root_cause is not set in this row"),
            "Enter root_cause too, or clear the cell",
        ),
        (3, "field:team", "rule_allowed", "not an allowed text for field:team", "Use sre or dba"),
        (4, "description", "rule_differ", "the same text as title", "Write another text"),
        (
            *(4, "severity", "rule_required", "root_cause is not set in this row"),
            "Enter root_cause too, or clear the cell",
        ),
        (5, "description", "rule_forbidden", "contains '密码'", "Remove the word"),
        (
            *(5, "severity", "rule_required", "root_cause is not set in this row"),
            "Enter root_cause too, or clear the cell",
        ),
    ]
    assert f"{sheet}: rules without a column: comment" in notices


def test_every_error_of_a_file_of_rules_has_its_line(tmp_path: Path) -> None:
    """Unknown fields, rules and values are errors, each with its line and the nearest name."""
    path = saved(
        tmp_path,
        "[titel]\nregex = 'x'\n[title]\nregex = '('\nalowed = ['x']\n[incident_id]\nregex = 'x'\n"
        "[description]\nforbidden = [1]\nmust_differ = ['titlee']\nfix = ''\n[impact]\nfix = 'x'\n",
    )
    with pytest.raises(TomlFileError) as raised:
        read_rules(path)

    fields = (
        "title, description, impact, root_cause, resolution, incident_severity, action, comment or "
        "field:NAME"
    )
    no_rule = "has no rule. Use regex, allowed, forbidden, must_differ, requires."
    assert [line.removeprefix(f"{path}:") for line in raised.value.lines()] == [
        f"1: titel: no such field. Did you mean title? Use one of {fields}.",
        f"3: title: {no_rule}",
        "4: title.regex: not a pattern: missing ) at position 1. Fix it, or escape it with \\.",
        (
            "5: title.alowed: no such rule. Did you mean allowed? Allowed are regex, allowed, "
            "forbidden, must_differ, requires, fix."
        ),
        f"6: incident_id: no such field. Did you mean incident_severity? Use one of {fields}.",
        '9: description.forbidden: not a list of texts. Write ["…", "…"].',
        (
            f"10: description.must_differ: 'titlee': no such field. Did you mean title? Use one of "
            f"{fields}."
        ),
        '11: description.fix: not a text. Write it in quotes: "…".',
        f"12: impact: {no_rule}",
    ]


def test_a_file_without_rules_is_refused(tmp_path: Path) -> None:
    """A file of rules that has none would check nothing."""
    with pytest.raises(TomlFileError, match="has no rules"):
        read_rules(saved(tmp_path, "# nothing\n"))


def test_a_hostile_text_does_not_make_a_check_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """A match that takes too long is an error of its cell; many of them end the check."""
    monkeypatch.setattr(user_rules, "_TIMEOUT_S", 0.001)
    rules = UserRules({"title": FieldRule(regex=HOSTILE)})
    texts = ["a" * 5_000, "abCd", ""]

    assert list(rules.errors({"title": texts}, {})) == [
        (
            *(0, "title", "rule_regex"),
            f"the pattern {HOSTILE} takes too long for this text",
            "Simplify the pattern, or shorten the text",
        )
    ]
    with pytest.raises(InputError, match=r"rule title\.regex: takes too long for 20 texts"):
        list(rules.errors({"title": [f"{'a' * 5_000}{n}" for n in range(21)]}, {}))


def test_rules_of_a_profile_are_used_unless_others_are_given(tmp_path: Path) -> None:
    """A profile has rules in [rules]; they are written and read with it."""
    sheet = tmp_path / "log.csv"
    sheet.write_text(f"id,title\n{ID}01,Disk full\n", encoding="utf-8")
    profile = Profile(rules={"title": FieldRule(forbidden=("disk",), must_differ=("impact",))})
    path = tmp_path / "log.profile.toml"
    path.write_text(profile_text(profile), encoding="utf-8")

    assert read_profile(path) == Profile(**{**profile.__dict__, "path": path})
    assert [one.problem for one in check(sheet).row_errors] == ["contains 'disk'"]
    other = saved(tmp_path, '[title]\nforbidden = ["CPU"]\n')
    assert check(sheet, Options(rules=other)).row_errors == ()
