"""The manual is correct: sessions and programs are run, tables and commands compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from documents import (
    MANUAL,
    PACKAGE,
    Block,
    blocks,
    commands,
    comparable,
    copy_samples,
    documents,
    known_commands,
    long_options,
    names_of,
    run_program,
    section,
    shell,
    steps,
    table,
    tidy,
)
from programs import read_csv

from bulk_reset.core.errors import BulkResetError, ExitCode
from bulk_reset.core.fields import FIELDS, SEVERITIES, SEVERITY_FIELD, TEXT_LENGTHS
from bulk_reset.core.outcome import Status
from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.job_files.job_schema import (
    Api,
    Limits,
    Notify,
    PullFrom,
    ReportSettings,
    RunSettings,
    ScheduleTable,
    Source,
)
from bulk_reset.records.report_columns import COLUMNS
from bulk_reset.sandbox.faults import ACTIONS, Fault
from bulk_reset.sheets.columns import bind

TABLES = {
    "source": Source,
    "run": RunSettings,
    "limits": Limits,
    "api": Api,
    "report": ReportSettings,
    "notify": Notify,
    "schedule": ScheduleTable,
}
TOPICS = {
    *("sheets", "options", "report", "jobs", "quota", "figures", "logs", "python", "sandbox"),
    *("key", "troubleshooting", "plans", "web"),
}
PAGES = sorted(MANUAL.glob("*.md"))
COMMANDS = known_commands()
LONG_SESSION = re.compile(r"^\$ bulk-reset pull .*--since 30d|--from-pull", re.MULTILINE)
SERVER_BOOKKEEPING = ("updated_at", "manual_overrides", "applied")
"""What a server changes at every update, whatever it sets."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the samples in it, as after a checkout."""
    copy_samples(tmp_path)
    return tmp_path


def page(topic: str) -> Path:
    return MANUAL / f"{topic}.md"


def test_there_is_a_page_for_each_topic() -> None:
    """The file's name is the topic, its first line the title."""
    assert {path.stem for path in PAGES} == TOPICS
    assert [path.name for path in PAGES if not re.match(r"# \w", path.read_text("utf-8"))] == []


def test_every_topic_of_an_error_has_a_page() -> None:
    """An error that refers to the manual refers to a page that exists."""

    def kinds(kind: type[BulkResetError]) -> list[type[BulkResetError]]:
        return [kind, *(deeper for sub in kind.__subclasses__() for deeper in kinds(sub))]

    topics = {kind.topic for kind in kinds(BulkResetError)} - {""}
    assert topics <= TOPICS


def sessions() -> list[object]:
    """Return the terminal sessions of all pages; those that send many rows are slow."""
    return [
        pytest.param(
            block,
            marks=pytest.mark.slow if LONG_SESSION.search(block.body) else (),
            id=block.name,
        )
        for path in PAGES
        for block in blocks(path, "console")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("block", sessions())
def test_a_terminal_session_shows_what_really_happens(block: Block, folder: Path) -> None:
    """What a user types from the manual prints what the manual shows."""
    for command, shown in steps(block.body):
        _, printed = shell(command, folder)
        assert comparable(printed) == comparable(shown), command


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    [block for path in PAGES for block in blocks(path, "python")],
    ids=lambda block: block.name,
)
def test_a_python_example_prints_what_the_manual_shows(block: Block, folder: Path) -> None:
    """Every example can be pasted into a file and run."""
    assert block.printed is not None
    assert run_program(block.body, folder) == tidy(block.printed)


def values_of(state: Path) -> list[object]:
    """Return every incident of a sandbox's file, without the server's bookkeeping."""
    incidents = json.loads(state.read_text(encoding="utf-8"))
    return [
        {name: value for name, value in incident.items() if name not in SERVER_BOOKKEEPING}
        for incident in incidents.values()
    ]


def pulled_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a pulled sheet, but for what an undo cannot restore."""
    return [row | {"Pinned": ""} for row in read_csv(path)]


@pytest.mark.slow
def test_the_rehearsal_ends_where_it_began(folder: Path) -> None:
    """Pulled, edited, sent, verified, undone: every value is the same; edited ones stay pinned."""
    lines = [line for line, _ in steps(blocks(page("sandbox"), "console")[0].body)]
    state = folder / "story.json"
    seen = []
    for line in lines:
        code, printed = shell(line, folder)
        assert code == 0, printed
        seen.append(values_of(state))
        if line in {lines[0], lines[-1]}:
            name = "first.csv" if line == lines[0] else "last.csv"
            code, printed = shell(
                f"bulk-reset pull {name} --since 30d --field tags:json --sandbox-state story.json",
                folder,
            )
            assert code == 0, printed
    assert len(seen[0]) == 300
    changed = [one for one, other in zip(seen[0], seen[3], strict=True) if one != other]
    assert len(changed) == 75
    assert seen[-1] == seen[0]
    first, last = (pulled_rows(folder / name) for name in ("first.csv", "last.csv"))
    assert last == first
    assert (folder / "month.sandbox.answer.xlsx").exists()


@pytest.mark.slow
def test_the_story_of_a_plan_ends_where_it_began(folder: Path) -> None:
    """Planned, thinned out, approved, sent, undone: only the edits of the other team remain."""
    block = next(one for one in blocks(page("plans"), "console") if "LOGNAME=bob" in one.body)
    lines = [line for line, _ in steps(block.body)]
    others = next(at for at, line in enumerate(lines) if line.startswith("bulk-reset run other"))
    state, seen = folder / "october.json", []
    for line in lines:
        code, printed = shell(line, folder)
        assert code in {0, 1}, printed
        seen.append(values_of(state))
    assert len(seen[0]) == 300
    assert all(one == seen[0] for one in seen[:others])
    edited = [one != other for one, other in zip(seen[others], seen[0], strict=True)]
    assert sum(edited) == 5
    sent = [one != other for one, other in zip(seen[others + 1], seen[others], strict=True)]
    assert sum(sent) == 275
    assert seen[-1] == seen[others]


@pytest.mark.parametrize(
    "block",
    [block for path in documents() for block in blocks(path, "sh", "console")],
    ids=lambda block: block.name,
)
def test_every_command_and_option_of_an_example_exists(block: Block) -> None:
    """No example has a command or an option that the program does not know."""
    for words in commands(block):
        command = next(
            name for n in (2, 1, 0) if (name := " ".join(words[:n])) in COMMANDS or n == 0
        )
        assert command or words[0].startswith("--"), words
        # A word with a space in it is a value; that of --from-pull has options of pull.
        given = long_options(word for word in words if " " not in word)
        filters = long_options(word for word in words if word.startswith("--since "))
        assert given <= COMMANDS[command], words
        assert filters <= COMMANDS["pull"], words


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_option_in_the_text_exists(path: Path) -> None:
    """An option that a page names is one of some command."""
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = long_options(re.findall(r"`([^`]+)`", text))
    assert named - {"--help", "--help-all"} <= set.union(*COMMANDS.values())


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    """Links between pages have a file and a heading at their end."""
    for target in re.findall(r"(?<!!)\[[^\]]+\]\(([^)]+)\)", path.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
        assert not anchor or anchor in anchors, target


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_picture_exists(path: Path) -> None:
    """A page shows no broken picture."""
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text("utf-8"))
    assert [name for name in pictures if not (path.parent / name).is_file()] == []


@pytest.mark.parametrize(
    "command",
    [name for name in COMMANDS if name and not name.startswith(("job", "schedule", "runs"))],
)
def test_the_options_of_a_command_are_those_of_its_help(command: str) -> None:
    """The section of a command names each of its options, and no other."""
    options = {name for name in COMMANDS[command] if name.startswith("--")}
    if options:
        assert long_options([section(page("options"), f"## `{command}`")]) == options


def test_the_options_of_the_job_commands_are_those_of_their_help() -> None:
    """The table of the job commands has each of them with its options."""
    rows = table(section(page("options"), "## Jobs"))
    shown = {
        " ".join(re.findall(r"\b[a-z]+\b", row[0].strip("`"))): long_options([row[1]])
        for row in rows
    }
    real = {
        name: {option for option in options if option.startswith("--")}
        for name, options in COMMANDS.items()
        if name.startswith(("job ", "schedule", "runs"))
    }
    assert shown == real


def test_the_example_of_a_job_is_one(tmp_path: Path) -> None:
    """The job file of the manual can be copied: every key and value is accepted."""
    path = tmp_path / "nightly.toml"
    path.write_text(blocks(page("jobs"), "toml")[0].body, encoding="utf-8")
    job = read_job(path, {"CHAT_WEBHOOK": "https://chat.example.com/hook"})
    assert job.name == "nightly"


def test_the_keys_of_a_job_are_those_it_takes() -> None:
    """The table of keys names each key of a job file, and no other."""
    rows = table(section(page("jobs"), "## Keys of a job file"))
    shown = {name for row in rows for name in re.findall(r"`([\w.]+)`", row[0])}
    real = {f"{name}.{key}" for name, model in TABLES.items() for key in model.model_fields}
    assert shown == real | {"columns.FIELD", "set.FIELD", "description", "keep"}
    pull = next(row for row in rows if row[0] == "`source.pull`")
    assert set(re.findall(r"`(\w+)`", pull[2])) == {*PullFrom.model_fields, "pull"}


def test_the_exit_codes_are_those_of_the_program() -> None:
    """The table of exit codes is the enum's."""
    rows = table(section(page("troubleshooting"), "## Exit codes"))
    shown = [(int(row[0]), row[1].strip("`")) for row in rows]
    assert shown == [(code.value, code.name) for code in ExitCode]


def test_the_statuses_are_those_of_the_report() -> None:
    """Each status has its meaning."""
    rows = table(section(page("report"), "## Status of a row"))
    assert set(names_of(rows)) == set(Status)


def test_the_columns_of_the_report_are_those_it_has() -> None:
    """The table of the report's columns is in their order."""
    rows = table(section(page("report"), "## Columns of the report"))
    assert names_of(rows) == list(COLUMNS)


def test_the_rules_and_names_of_the_fields_are_those_of_the_program() -> None:
    """Each field has its lengths or values; each name that is given for it finds it."""
    rows = table(section(page("sheets"), "## Columns and fields"))
    assert names_of(rows) == list(FIELDS)
    rules = {row[0].strip("`"): row[1] for row in rows}
    for field, (shortest, longest) in TEXT_LENGTHS.items():
        assert rules[field] == f"{shortest} to {longest:,} characters"
    assert re.findall(r"`(\w+)`", rules[SEVERITY_FIELD]) == list(SEVERITIES)
    for row in rows:
        field = row[0].strip("`")
        for name in row[2].split(", "):
            others = tuple(other for other in ("incident_id", "title") if other != field)
            header = (*others, name)
            assert bind(header, {}, "sheet").position[field] == len(others), name


def test_the_events_of_a_log_are_those_of_the_program() -> None:
    """The tables of events name each event that is logged, and no other."""
    text = page("logs").read_text(encoding="utf-8")
    rows = [row for part in text.split("| event | when |")[1:] for row in table(f"|\n|{part}")]
    shown = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    event = re.compile(r"(?:log|self)\.(?:info|warning|error)\(\s*\"([\w ]+)\"")
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    logged = {name for source in sources for name in event.findall(source)}
    # These are written by a level that is chosen while the run works.
    chosen = {"run_started", "progress", "waiting", "run_ended"}
    assert shown == logged | chosen
    assert {name for name in chosen if not any(f'"{name}"' in one for one in sources)} == set()


def test_every_metric_of_the_manual_exists() -> None:
    """A metric that the manual names is one that is written or served."""
    shown = set(re.findall(r"`bulk_reset_(?:job_|account_)?(\w+)", page("logs").read_text("utf-8")))
    sources = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*metrics.py")]
    named = {name for one in sources for name in re.findall(r"\"(?:bulk_reset_)?(\w+)\"", one)}
    assert shown
    assert shown - named == set()


def test_the_keys_of_a_fault_are_those_it_takes() -> None:
    """The tables of faults name each key, the effects are the program's."""
    text = section(page("sandbox"), "## Faults")
    effects = table(text.split("What happens; exactly one:", 1)[1])
    assert tuple(names_of(effects)) == ACTIONS
    shown = {*names_of(table(text)), *names_of(effects), "status", "headers", "delay_s"}
    assert shown == set(Fault.__dataclass_fields__)
