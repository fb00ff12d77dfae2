"""Reading a job file: a valid file becomes a job; each error has its line, its key and a fix."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import OptionStyle, name_options_as, option_name
from bulk_reset.engine.options import Options
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_file import JobFileError, read_job

KEY = "k3y-of-no-one-0123456789"
ENVIRONMENT = {"FLASHDUTY_APP_KEY": KEY, "ROWS": "20", "EMPTY": "", "HOOK": "http://chat.example/s"}
PULL = """\
[source.pull]
since = "1d"
[set]
title = "New title"
"""
SHEET = """\
[source]
sheet = "incidents.csv"
"""
SCHEDULE = """\
[schedule]
cron = "30 2 * * *"
time_zone = "Europe/Berlin"
"""


def read(folder: Path, text: str | bytes, name: str = "nightly.toml") -> Job:
    """Read a job file with this text, in an environment of its own."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_job(path, ENVIRONMENT)


def problems_of(folder: Path, text: str | bytes) -> list[tuple[int, str, str]]:
    """Return what is wrong with this text: line, key, problem."""
    with pytest.raises(JobFileError) as caught:
        read(folder, text)
    assert KEY not in str(caught.value)
    return [(one.line, one.key, one.problem) for one in caught.value.problems]


def scheduled(line: str) -> str:
    """Return a job whose schedule has this line in place of its own of that key."""
    key = line.split(maxsplit=1)[0]
    kept = [one for one in SCHEDULE.splitlines() if not one.startswith(f"{key} ")]
    return "\n".join([*SHEET.splitlines(), *kept, line])


BROKEN: dict[str, tuple[str, int, str, str]] = {
    # --- Keys that are not known, at every level
    "unknown table": (f"{SHEET}[runs]\n", 3, "runs", "Did you mean run?"),
    "unknown key above all tables": (f'name = "x"\n{SHEET}', 1, "name", "Allowed are description"),
    "unknown key of source": (f"{SHEET}sheets = 1", 3, "source.sheets", "Did you mean sheet?"),
    "unknown key of a pull": (
        '[source.pull]\nsince = "1d"\nseverities = []\n[set]\ntitle = "New title"\n',
        3,
        "source.pull.severities",
        "Did you mean severity?",
    ),
    "unknown key of run": (f"{SHEET}[run]\ncanery = 3", 4, "run.canery", "Did you mean canary?"),
    "key of another table": (
        f"{SHEET}[run]\nmax_rows = 3",
        4,
        "run.max_rows",
        "It belongs to [limits].",
    ),
    "unknown key of schedule": (scheduled('at = "2"'), 6, "schedule.at", "Allowed are cron"),
    "unknown key of notify": (f'{SHEET}[notify]\nmail = "x"', 4, "notify.mail", "Allowed are com"),
    "path is no key": (f'path = "x"\n{SHEET}', 1, "path", "no such key"),
    "unknown quoted key": (f'{SHEET}[api]\n"a.b[0]" = 1', 4, 'api."a.b[0]"', "no such key"),
    "unknown key with brackets": (f'"x[0]" = 1\n{SHEET}', 1, '"x[0]"', "no such key"),
    "unknown key like a type": (f"int = 1\n{SHEET}", 1, "int", "no such key"),
    "unknown dotted key": (f"{SHEET}[a]\nb.c = 1", 3, "a", "no such key"),
    "unknown key of an inline table": (
        'source = {sheet = "x.csv", tab = "y"}',
        1,
        "source.tab",
        "no such key",
    ),
    # --- Wrong types
    "text for a number": (f'{SHEET}[limits]\nmax_rows = "5"', 4, "limits.max_rows", "out quotes"),
    "half for a number": (f"{SHEET}[limits]\nmax_rows = 5.5", 4, "limits.max_rows", "whole number"),
    "yes for a number": (f"{SHEET}[run]\ncanary = true", 4, "run.canary", "not a whole number"),
    "text for a share": (f'{SHEET}[api]\nshare = "half"', 4, "api.share", "not a number"),
    "text for a boolean": (f'{SHEET}[run]\nverify = "yes"', 4, "run.verify", "not true or false"),
    "number for a boolean": (f"{SHEET}[run]\nverify = 1", 4, "run.verify", "not true or false"),
    "number for a text": (f"description = 5\n{SHEET}", 1, "description", "Write it in quotes"),
    "date for a text": (f"description = 2026-01-01\n{SHEET}", 1, "description", "in quotes"),
    "text for a list": (f'{SHEET}[notify]\ncommand = "x"', 4, "notify.command", "in brackets"),
    "list for a text": ('[source]\nsheet = ["x"]', 2, "source.sheet", "in quotes"),
    "number in a list": (
        f"{SHEET}[notify]\ncommand = [\n  'x',\n  5,\n]",
        4,
        "notify.command.1",
        "not a text",
    ),
    "text for a table": ('source = "x.csv"', 1, "source", "Write [source] above its keys"),
    "list of tables": ('[[source]]\nsheet = "x.csv"', 1, "source", "Write [source] above its keys"),
    "list of tables below": (f"{SHEET}[[run]]\n[[run]]\n", 3, "run", "not a table"),
    "table for a text": ("[source.sheet]\nx = 1", 1, "source.sheet", "not a text"),
    "number for a column": (f"{SHEET}[columns]\ntitle = 5", 4, "columns.title", "not a text"),
    "table for max_failures": (
        f"{SHEET}[limits.max_failures]\nint = 1",
        3,
        "limits.max_failures",
        "not a whole number",
    ),
    # --- Ranges and words
    "too small": (f"{SHEET}[limits]\nmax_rows = 0", 4, "limits.max_rows", "1 or more"),
    "negative": (f"{SHEET}[limits]\nmax_failures = -1", 4, "limits.max_failures", "0 or more"),
    "share of nothing": (f"{SHEET}[api]\nshare = 0.0", 4, "api.share", "more than 0"),
    "share of more": (f"{SHEET}[api]\nshare = 1.5", 4, "api.share", "1.0 or less"),
    "no end": (f"{SHEET}[api]\ntimeout = inf", 4, "api.timeout", "not a finite number"),
    "not a number": (f"{SHEET}[api]\npatience = nan", 4, "api.patience", "not a finite number"),
    "odd share": (f'{SHEET}[limits]\nmax_failures = "5 %"', 4, "limits.max_failures", "'5%'"),
    "share over all": (f'{SHEET}[limits]\nmax_failures = "101%"', 4, "limits.max_failures", "'5%'"),
    "word of none": (f'{SHEET}if_none = "skip"', 3, "source.if_none", "'error' or 'nothing'"),
    "severity": (
        PULL.replace("[set]", 'severity = ["Critical", "Urgent"]\n[set]'),
        3,
        "source.pull.severity.1",
        "'Urgent': not an allowed value. Use 'Critical', 'Warning', 'Info' or 'Ok'.",
    ),
    "severity in a list of lines": (
        PULL.replace("[set]", 'severity = [\n  "Ok",  # [\n  "bad",\n]\n[set]'),
        3,
        "source.pull.severity.1",
        "not an allowed value",
    ),
    "empty text": ('[source]\nsheet = ""', 2, "source.sheet", "Use the path of the file"),
    "empty command": (f"{SHEET}[notify]\ncommand = []", 4, "notify.command", "empty. Add a value"),
    # --- When
    "four fields": (scheduled('cron = "0 2 * *"'), 5, "schedule.cron", "Use five fields"),
    "six fields": (scheduled('cron = "0 0 2 * * *"'), 5, "schedule.cron", "Use five fields"),
    "a nickname": (scheduled('cron = "@daily"'), 5, "schedule.cron", "Use five fields"),
    "minute 60": (scheduled('cron = "60 2 * * *"'), 5, "schedule.cron", "Minutes are 0-59"),
    "hour 24": (scheduled('cron = "0 24 * * *"'), 5, "schedule.cron", "bad hour"),
    "day 0": (scheduled('cron = "0 2 0 * *"'), 5, "schedule.cron", "bad day-of-month"),
    "month 13": (scheduled('cron = "0 2 1 13 *"'), 5, "schedule.cron", "bad month"),
    "weekday 8": (scheduled('cron = "0 2 * * 8"'), 5, "schedule.cron", "bad day-of-week"),
    "a day's whole name": (scheduled('cron = "0 2 * * monday"'), 5, "schedule.cron", "mon-sun"),
    "turned around": (scheduled('cron = "0 5-2 * * *"'), 5, "schedule.cron", "bad hour"),
    "step 0": (scheduled('cron = "*/0 2 * * *"'), 5, "schedule.cron", "bad minute"),
    "nothing between": (scheduled('cron = "0,,5 2 * * *"'), 5, "schedule.cron", "bad minute"),
    "30 February": (scheduled('cron = "0 2 30 2 *"'), 5, "schedule.cron", "Fix day and month."),
    "many digits": (
        scheduled(f'cron = "{"9" * 5_000} 2 * * *"'),
        5,
        "schedule.cron",
        "Use five fields",
    ),
    "cron as a number": (scheduled("cron = 5"), 5, "schedule.cron", "Write it in quotes"),
    "no zone": (
        f'{SHEET}[schedule]\ncron = "0 2 * * *"',
        3,
        "schedule.time_zone",
        "key is missing",
    ),
    "zone in small letters": (
        scheduled('time_zone = "berlin"'),
        5,
        "schedule.time_zone",
        "Did you mean Europe/Berlin?",
    ),
    "zone that is a folder": (
        scheduled('time_zone = "Europe"'),
        5,
        "schedule.time_zone",
        "unknown time zone",
    ),
    "zone that is a path": (
        scheduled('time_zone = "/etc/localtime"'),
        5,
        "schedule.time_zone",
        "unknown time zone",
    ),
    "zone of two dots": (
        scheduled('time_zone = "../UTC"'),
        5,
        "schedule.time_zone",
        "unknown time zone",
    ),
    "empty zone": (scheduled('time_zone = ""'), 5, "schedule.time_zone", "like Europe/Rome."),
    "deadline": (
        scheduled('deadline = "25:00"'),
        6,
        "schedule.deadline",
        "Use for example '06:00'",
    ),
    "deadline as a time": (scheduled("deadline = 06:00:00"), 6, "schedule.deadline", "in quotes"),
    "short deadline": (
        scheduled('deadline = "6:00"'),
        6,
        "schedule.deadline",
        "for example '06:00'",
    ),
    "jitter": (scheduled('jitter = "10"'), 6, "schedule.jitter", "90s, 5m, 12h"),
    "jitter of ages": (scheduled('jitter = "99999w"'), 6, "schedule.jitter", "longer than a year"),
    "within": (
        scheduled('catch_up_within = "1y"'),
        6,
        "schedule.catch_up_within",
        "not a duration",
    ),
    "catch up": (scheduled('catch_up = "none"'), 6, "schedule.catch_up", "'skip', 'once' or 'all'"),
    # --- What goes together
    "no source": ('description = "x"\n', 1, "source", "this table is missing"),
    "nothing at all": ("", 1, "source", "this table is missing"),
    "empty source": ("\n[source]\n", 2, "source", "has none of sheet, newest and pull"),
    "two sources": (
        '[source]\nsheet = "a"\nnewest = "b/*"',
        1,
        "source",
        "has sheet and newest of sheet, newest and pull. Use exactly one.",
    ),
    "a pull's delimiter": (
        '[source]\ndelimiter = ";"\n[source.pull]\nsince = "1d"\n[set]\ntitle = "New title"',
        1,
        "source",
        "delimiter is allowed only with a sheet",
    ),
    "a sheet that is set": (
        f'{SHEET}[set]\ntitle = "New title"',
        3,
        "set",
        "allowed only with [source.pull]",
    ),
    "a pull's columns": (f'{PULL}[columns]\ntitle = "x"', 5, "columns", "only with a sheet"),
    "a pull that does nothing": ('[source.pull]\nsince = "1d"', 1, "set", "this table is missing"),
    "unknown column": (f'{SHEET}[columns]\nheading = "x"', 4, "columns.heading", "no such field"),
    "unknown field": (PULL.replace("title", "heading"), 4, "set.heading", "Allowed are title"),
    "id set": (PULL.replace("title", "incident_id"), 4, "set.incident_id", "cannot be set"),
    "one field twice": (f'{PULL}Title = "Another"', 3, "set", "sets the same field twice"),
    "no template": (PULL.replace('"New title"', '"{{ title"'), 4, "set.title", "Fix the template"),
    "unknown filter": (
        PULL.replace('"New title"', '"{{ title | no }}"'),
        4,
        "set.title",
        "Fix the temp",
    ),
    "no moment": (PULL.replace('"1d"', '"a day"'), 1, "source.pull", "since a day: invalid time"),
    "times in the wrong order": (
        PULL.replace("[set]", 'until = "2d"\n[set]'),
        1,
        "source.pull",
        "Swap them",
    ),
    "no look": (f"{SHEET}[run]\nbefore = false\nverify = true", 3, "run", "verify reads current"),
    "no receiver": (f'{SHEET}[notify]\nwhen = "always"', 3, "notify", "Add command, webhook"),
    "rehearsal of the real": (
        f'{SHEET}[api]\nsandbox = true\nbase_url = "https://x.example"',
        3,
        "api",
        "a sandbox takes no base_url",
    ),
    # --- Addresses and names
    "in clear": (
        f'{SHEET}[api]\nbase_url = "http://x.example"',
        4,
        "api.base_url",
        "not an allowed",
    ),
    "a user in it": (
        f'{SHEET}[notify]\nwebhook = "https://me:word@x.example/"',
        4,
        "notify.webhook",
        "without a user",
    ),
    "here only at first sight": (
        f'{SHEET}[notify]\nwebhook = "http://127.0.0.1:80@x.example/"',
        4,
        "notify.webhook",
        "not an allowed address",
    ),
    "here as a part of a name": (
        f'{SHEET}[notify]\nwebhook = "http://127.0.0.1.x.example/"',
        4,
        "notify.webhook",
        "not an allowed address",
    ),
    "no port": (
        f'{SHEET}[notify]\nwebhook = "https://x:y/"',
        4,
        "notify.webhook",
        "not an allowed address",
    ),
    "a query": (
        f'{SHEET}[api]\nbase_url = "https://x/?k=v"',
        4,
        "api.base_url",
        "never part of it",
    ),
    "unknown place": (
        f'{SHEET}[report]\ncopy_to = "o/{{day}}"',
        4,
        "report.copy_to",
        "Use only {date}",
    ),
    "open brace": (
        f'{SHEET}[report]\ncopy_to = "o/{{"',
        4,
        "report.copy_to",
        "invalid placeholders",
    ),
    "far too wide": (
        f'{SHEET}[report]\ncopy_to = "{{date:>999999999}}"',
        4,
        "report.copy_to",
        "unknown placeholder",
    ),
    "inside of a place": (
        f'{SHEET}[report]\ncopy_to = "{{job.__class__}}"',
        4,
        "report.copy_to",
        "unknown placeholder",
    ),
    "metrics without a file": (
        f'{SHEET}[report]\nmetrics_file = "job.txt"',
        4,
        "report.metrics_file",
        "Use a name ending in .prom",
    ),
    "a folder": (
        f'{SHEET}[report]\ncopy_to = "out/"',
        4,
        "report.copy_to",
        "the start of the names",
    ),
    "no pattern": (
        '[source]\nnewest = "in**/x"',
        2,
        "source.newest",
        "Use for example inbox/*.xlsx",
    ),
    "root": ('[source]\nnewest = "/"', 2, "source.newest", "not a file pattern"),
    "home of no user": (
        '[source]\nsheet = "~no-such-user/x"',
        2,
        "source.sheet",
        "Use the full path",
    ),
    "a zero in a path": ('[source]\nsheet = "a\\u0000b"', 2, "source.sheet", "not a path"),
    # --- The key, and the environment
    "a key": (f'{SHEET}[api]\napp_key = "{KEY}"', 4, "api.app_key", "Use app_key_file in [api]"),
    "a key above all": (f'APP-KEY = "{KEY}"\n{SHEET}', 1, "APP-KEY", "must not be in a job file"),
    "a key for a table": (f'api = "{KEY}"\n{SHEET}', 1, "api", "'****': not a table"),
    "a key for a word": (
        f'{SHEET}if_none = "{KEY}"',
        3,
        "source.if_none",
        "'****': not an allowed value",
    ),
    "a key for a key": (f"{SHEET}{KEY} = 1", 3, "source.****", "no such key"),
    "missing": (f'{SHEET}[api]\naccount = "${{MISSING}}"', 4, "api.account", "MISSING is not set"),
    "the key's": (
        f'{SHEET}[api]\naccount = "${{FLASHDUTY_APP_KEY}}"',
        4,
        "api.account",
        "FLASHDUTY_APP_KEY is always read from the environment",
    ),
    "the key's or else": (
        f'{SHEET}[api]\naccount = "${{FLASHDUTY_APP_KEY:-x}}"',
        4,
        "api.account",
        "Remove it from the file.",
    ),
    "missing in a list": (
        f"{SHEET}[notify]\ncommand = ['x', '${{NO}}']",
        4,
        "notify.command.1",
        "NO is not set",
    ),
    "not closed": (f'{SHEET}[api]\naccount = "${{ROWS"', 4, "api.account", "write $${"),
    "one in another": (f'{SHEET}[api]\naccount = "${{A:-${{B}}}}"', 4, "api.account", "write $${"),
    "a secret of the environment": (
        f'{SHEET}[run]\non_conflict = "${{HOOK}}"',
        4,
        "run.on_conflict",
        "not an allowed value",
    ),
    "a number with more behind it": (
        f'{SHEET}[limits]\nmax_rows = "${{NOT:-many}}"',
        4,
        "limits.max_rows",
        "not a whole number",
    ),
    # --- Not TOML
    "no quotes": ("[source]\nsheet = x.csv\n", 2, "", "not TOML: Invalid value."),
    "key twice": (f'{SHEET}sheet = "y"', 3, "", "not TOML: Cannot overwrite a value."),
    "table twice": (f"{SHEET}[run]\n[run]\n", 4, "", "not TOML: Cannot declare ('run',) twice."),
    "not ended": ('[source]\nsheet = "x', 2, "", "not TOML: Unterminated string."),
    "a list not ended": (f"{SHEET}[notify]\ncommand = [\n'x',\n", 5, "", "not TOML"),
    "a sheet as CSV": ("incident_id,title\n1,x\n", 1, "", "Write keys as"),
    "brackets without end": ("x = " + "[" * 10_000, 1, "", "nested too deep"),
    "digits without end": (f"{SHEET}header_row = {'9' * 5_000}", 1, "", "a number is too long"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_error_is_reported_with_line_key_and_fix(name: str, tmp_path: Path) -> None:
    """The user sees where the error is and how to fix it."""
    text, line, key, expected = BROKEN[name]
    [found] = problems_of(tmp_path, text)
    assert found[:2] == (line, key)
    assert any(one in found[2] for one in expected.split("|")), found[2]
    assert len(found[2]) < 400
    assert "\n" not in found[2]


def test_there_are_enough_of_them() -> None:
    """The table above is what the next one compares line ends with."""
    assert len(BROKEN) > 100


@pytest.mark.parametrize("name", BROKEN)
def test_lines_are_the_same_with_the_line_ends_of_windows(name: str, tmp_path: Path) -> None:
    """An editor there ends lines with CRLF, and puts a mark at the start."""
    text, line, key, _ = BROKEN[name]
    windows = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    assert [one[:2] for one in problems_of(tmp_path, windows)] == [(line, key)]


@pytest.mark.parametrize("odd", ["\u2028", "\x85", "\u2029"])
def test_only_what_ends_a_line_in_toml_counts_as_one(odd: str, tmp_path: Path) -> None:
    """An editor shows the reported line, whatever characters a comment contains."""
    text = f'# a{odd}b\ndescription = "x{odd}"\n{SHEET}[run]\ncanary = 0\n'
    assert [one[:2] for one in problems_of(tmp_path, text)] == [(6, "run.canary")]


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        (f"{SHEET}run.canary = 0", 3, "source.run"),
        (f"run.canary = 0\n{SHEET}", 1, "run.canary"),
        (f"run = {{canary = 0}}\n{SHEET}", 1, "run.canary"),
        (f'"run" = {{"canary" = 0}}\n{SHEET}', 1, "run.canary"),
        (f"{SHEET}\n\n  # run\n  [ run ]  # here\n\n  canary = 0", 8, "run.canary"),
        (f"{SHEET}['run']\n'canary' = 0", 4, "run.canary"),
        (f'description = """\n[run]\ncanary = 0\n"""\n{SHEET}[run]\ncanary = 0', 8, "run.canary"),
        (f"description = '''\n]\n'''\n{SHEET}[run]\ncanary = 0", 7, "run.canary"),
        (f'{SHEET}[notify]\ncommand = [\n "[run]",\n "x"\n]\n[run]\ncanary = 0', 9, "run.canary"),
    ],
)
def test_a_key_is_found_however_it_is_written(
    text: str, line: int, key: str, tmp_path: Path
) -> None:
    """Dotted, quoted, inline, indented, or named in a text before: the line is that of the key."""
    assert [one[:2] for one in problems_of(tmp_path, text)] == [(line, key)]


def test_all_errors_are_reported_at_once_in_file_order(tmp_path: Path) -> None:
    """A file with five errors needs one check, not five."""
    text = f"{SHEET}[run]\ncanary = 0\n[limits]\nmax_rows = 0\nmax_row = 1\n[schedule]\n"
    assert [one[:2] for one in problems_of(tmp_path, text)] == [
        (4, "run.canary"),
        (6, "limits.max_rows"),
        (7, "limits.max_row"),
        (8, "schedule.cron"),
        (8, "schedule.time_zone"),
    ]


def test_templates_without_a_value_of_the_incident_are_checked_as_cells(tmp_path: Path) -> None:
    """All at once, as a sheet's rows are; what depends on the incident is checked when it runs."""
    text = (
        '[source.pull]\nsince = "1d"\n[set]\nincident_severity = "Sev1"\ntitle = "ab"\n'
        '"field:tags:json" = "[1"\ncomment = "{{ \'a\' * 2000 }}"\n'
        'description = "{{ \'\' }}"\nimpact = "{{ 1 / 0 }}"\nroot_cause = "{{ impact }}"\n'
        '"field:team" = "{{ \'a\' ~ \'b\' }}"\nresolution = "#N/A"\nbad = "x"\n'
    )
    assert problems_of(tmp_path, text) == [
        (
            4,
            "set.incident_severity",
            "cannot be set: not a severity. Use Info, Warning or Critical.",
        ),
        (
            5,
            "set.title",
            "cannot be set: 2 characters; the minimum is 3. Enter at least 3 characters.",
        ),
        (
            6,
            'set."field:tags:json"',
            (
                'cannot be set: not valid JSON. Use for example ["a", "b"], 5, true, or "a" for a '
                "text."
            ),
        ),
        (
            7,
            "set.comment",
            "cannot be set: 2,000 characters; the maximum is 1,024. Shorten it by 976 characters.",
        ),
        (
            8,
            "set.description",
            "is always empty, so nothing will be set. Write a text, or remove this key.",
        ),
        (9, "set.impact", "fails for every incident (division by zero). Fix the template."),
        (
            12,
            "set.resolution",
            "cannot be set: the formula failed with #N/A. Enter the text itself.",
        ),
        (
            13,
            "set.bad",
            (
                "no such field. Allowed are title, description, impact, root_cause, resolution, "
                "incident_severity, 'field:NAME', action and comment, each with a template."
            ),
        ),
    ]


def test_every_line_of_the_message_can_be_clicked(tmp_path: Path) -> None:
    """``FILE:LINE: KEY: PROBLEM``, as compilers write it."""
    with pytest.raises(JobFileError) as caught:
        read(tmp_path, f"{SHEET}[run]\ncanary = 0\nverify = 1\n")
    file = tmp_path / "nightly.toml"
    assert str(caught.value).splitlines() == [
        f"{file}:4: run.canary: 0: too small. Use 1 or more.",
        f"{file}:5: run.verify: 1: not true or false. Use one of them, without quotes.",
    ]


def test_thousands_of_errors_are_reported_quickly(tmp_path: Path) -> None:
    """A thousand unknown keys, each with a list of many lines, are reported in seconds."""
    list_of_lines = "[\n" + "  1,\n" * 20 + "]"
    keys = "".join(f"key_{n} = {list_of_lines}\n" for n in range(1_000))
    begun = time.process_time()
    found = problems_of(tmp_path, f"{SHEET}{keys}")
    assert [one[0] for one in found] == [3 + 22 * n for n in range(1_000)]
    assert time.process_time() - begun < 20


def test_a_long_value_is_shown_by_its_beginning(tmp_path: Path) -> None:
    """The message stays readable when a long text was pasted."""
    [(_, _, problem)] = problems_of(tmp_path, f'{SHEET}if_none = "{"long " * 200}"')
    assert "long long" in problem
    assert len(problem) < 150


@pytest.mark.parametrize("key", ["base_url", "webhook"])
def test_what_may_be_a_secret_is_not_repeated(key: str, tmp_path: Path) -> None:
    """The address of a chat room is a secret in itself, and a log is read by others."""
    table = {"base_url": "api", "webhook": "notify"}[key]
    [(_, name, problem)] = problems_of(
        tmp_path, f'{SHEET}[{table}]\n{key} = "http://x.example/T0/sec"'
    )
    assert name == f"{table}.{key}"
    assert "sec" not in problem
    [(_, _, problem)] = problems_of(tmp_path, f'{SHEET}[run]\non_conflict = "${{HOOK}}"')
    assert "chat" not in problem


# --- Files that are none ---------------------------------------------------------------------


def test_other_files_are_rejected_with_a_reason(tmp_path: Path) -> None:
    """A folder, a pipe, nothing at all, and what is far too large: one sentence each."""
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (2 << 20))
    for name, expected in {
        "folder.toml": "not a file",
        "pipe.toml": "not a file",
        "gone.toml": "No such file",
        "large.toml": "too large for a job file. Use a job file, not the sheet.",
    }.items():
        with pytest.raises(InputError, match=expected) as caught:
            read_job(tmp_path / name, ENVIRONMENT)
        assert str(tmp_path / name) in str(caught.value)


def test_a_sheet_given_as_a_job_is_rejected(tmp_path: Path) -> None:
    """An Excel sheet is no text at all."""
    [found] = problems_of(tmp_path, b"PK\x03\x04\x14\n\x00\xff\xfe[Content_Types].xml")
    assert found[:2] == (2, "")
    assert "not UTF-8" in found[2]
    [found] = problems_of(tmp_path, f'description = "x"\n{SHEET}# caf\xe9'.encode("latin-1"))
    assert found[:2] == (4, "")


@pytest.mark.parametrize("name", ["näch.toml", "-x.toml", ".toml", "a b.toml", f"{'x' * 65}.toml"])
def test_the_name_of_the_file_can_be_that_of_a_unit(name: str, tmp_path: Path) -> None:
    """The job has the name of its file, in folders, units of systemd and metrics."""
    with pytest.raises(JobFileError, match=r":1: invalid job name\. Use letters"):
        read(tmp_path, SHEET, name)


# --- What is meant ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("${ROWS}", "20"),
        ("a-${ROWS}-${ROWS}", "a-20-20"),
        ("${MISSING:-else}", "else"),
        ("${MISSING:-}", ""),
        ("${EMPTY:-else}", "else"),
        ("${EMPTY}", ""),
        ("${ROWS:-else}", "20"),
        ("$${ROWS}", "${ROWS}"),
        ("$ROWS and $5", "$ROWS and $5"),
        ("${MISSING:-a:-b}", "a:-b"),
    ],
)
def test_values_come_from_the_environment(text: str, account: str, tmp_path: Path) -> None:
    """As in a shell: ``${NAME}``, ``${NAME:-else}``; ``$${`` is the characters themselves."""
    assert read(tmp_path, f"{SHEET}[api]\naccount = '{text}'").api.account == account


def test_numbers_and_booleans_come_from_the_environment_too(tmp_path: Path) -> None:
    """A variable is parsed as TOML only where a number or boolean is required."""
    job = read(
        tmp_path,
        '[source.pull]\nsince = "1d"\nteam = [1, "${ROWS}"]\n[set]\n"field:rows" = "${ROWS}"\n'
        '[limits]\nmax_rows = "${ROWS}"\nmax_failures = "${ROWS}"\n'
        '[run]\nverify = "${V:-true}"\n[api]\nshare = "${S:-0.5}"\nper_second = "${P:-5}"\n'
        'account = "${ROWS}"\n',
    )
    assert job.source.pull is not None
    assert job.source.pull.team == [1, 20]
    assert (job.set, job.limits.max_rows, job.limits.max_failures) == ({"field:rows": "20"}, 20, 20)
    assert (job.run.verify, job.api.share, job.api.per_second) == (True, 0.5, 5)
    assert job.api.account == "20"


def test_a_share_of_failures_may_come_from_the_environment(tmp_path: Path) -> None:
    """``5%`` stays a text when it comes from a variable."""
    job = read(tmp_path, f'{SHEET}[limits]\nmax_failures = "${{F:-5%}}"')
    assert job.limits.max_failures == "5%"


def test_a_job_of_two_lines_is_whole(tmp_path: Path) -> None:
    """Defaults are the safe choice."""
    job = read(tmp_path, SHEET)
    assert (job.name, job.path) == ("nightly", tmp_path / "nightly.toml")
    assert (job.limits.max_rows, job.run.before, job.run.overwrite) == (1_000, True, False)
    assert job.limits.max_change == 500
    assert job.beside("incidents.csv") == tmp_path / "incidents.csv"
    assert job.schedule is None


def test_a_description_shown_nowhere_else_is_kept_as_it_is(tmp_path: Path) -> None:
    """Texts of several lines, escapes and all."""
    job = read(tmp_path, f'description = """\na\\tb\n[run]\n"""\n{SHEET}')
    assert job.description == "a\tb\n[run]\n"


# --- Whatever may stand there ----------------------------------------------------------------

KNOWN = sorted(
    {"source", "pull", "sheet", "newest", "columns", "set", "run", "limits", "api", "report"}
    | {"notify", "schedule", "cron", "time_zone", "jitter", "deadline", "catch_up", "since"}
    | {"until", "severity", "team", "max_rows", "max_failures", "share", "copy_to", "webhook"}
    | {"command", "base_url", "title", "field:x", "int", "str", "path", "app_key", "description"}
)
NAMES = st.sampled_from(KNOWN) | st.text(max_size=6)
TEXTS = (
    st.text(max_size=20)
    | st.sampled_from(["1d", "0 2 * * *", "UTC", "${ROWS}", "${NO:-5}", "{{ title }}", "~/x", KEY])
    | st.from_regex(r"[0-9*,/LW#-]{1,5}( [0-9*,/LW#a-z-]{1,5}){4}", fullmatch=True)
)
VALUES = st.recursive(
    TEXTS | st.integers() | st.floats() | st.booleans() | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=6)


def written(value: Any) -> str:  # noqa: ANN401  (TOML)
    """Return a value as TOML writes it, tables inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(one):08x}" for one in value) + '"'
    if isinstance(value, dict):
        pairs = (f"{written(name)} = {written(one)}" for name, one in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return str(value) if isinstance(value, int | float) else value.isoformat()


FUZZ = settings(max_examples=300)


@pytest.mark.slow
@FUZZ
@given(table=TABLES)
@example(table={"source": {"sheet": "x"}, "schedule": {"cron": "0 0 * * 5L/2", "time_zone": "UTC"}})
@example(table={"source": {"sheet": "x"}, "schedule": {"cron": "0 0 L,1 * *", "time_zone": "UTC"}})
@example(table={"source": {"sheet": "x"}, "api": {"share": "${NO:-" + "9" * 5_000 + "}"}})
def test_no_table_of_anything_brings_an_error_of_others(
    table: dict[str, Any], tmp_path: Path
) -> None:
    """It is a valid job or an InputError, and the app key is never repeated."""
    text = "".join(f"{written(name)} = {written(one)}\n" for name, one in table.items())
    try:
        read(tmp_path, text)
    except InputError as error:
        assert KEY not in str(error)  # noqa: PT017  (it need not be raised)


@pytest.mark.slow
@FUZZ
@given(
    text=st.text() | st.lists(st.sampled_from([*KNOWN, "=", "[", "]", '"', "\n", " "])).map("".join)
)
def test_no_text_of_anything_brings_an_error_of_others(text: str, tmp_path: Path) -> None:
    """Any content of a job file is valid or an InputError."""
    try:
        read(tmp_path, text.encode("utf-8", "surrogatepass"))
    except InputError as error:
        assert str(error).startswith(str(tmp_path))  # noqa: PT017  (it need not be raised)


def test_every_job_key_that_a_message_names_exists_in_a_job_file() -> None:
    """The fix that an error of a run names is accepted by the job file."""
    with name_options_as(OptionStyle.JOB_FILE):
        names = [option_name(one.name) for one in dataclasses.fields(Options)]
    keys = {
        f"{table}.{key}" for table in ("source", "run", "limits", "api") for key in _keys(table)
    }
    named = {name for name in names if not name.startswith("--")}
    assert named - keys == {"columns"}
    known = {key for key in keys if key.startswith(("run.", "limits."))}
    assert known - named == {"limits.max_duration"}  # which no option of a run is


def _keys(table: str) -> list[str]:
    return list(Job.model_fields[table].annotation.model_fields)  # type: ignore[union-attr]


def test_a_job_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    """``if_none = "mistake"`` was the name of ``"error"``."""
    path = tmp_path / "nightly.toml"
    path.write_text('[source]\nsheet = "in.csv"\nif_none = "mistake"\n', encoding="utf-8")
    assert read_job(path).source.if_none == "error"
