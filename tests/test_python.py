"""From Python: the public names, data frames and streams."""

from __future__ import annotations

import asyncio
import html
import pickle
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import FrozenInstanceError, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from programs import clean_environment

import bulk_reset
from bulk_reset import (
    BulkResetError,
    InputError,
    Options,
    Outcome,
    RowError,
    Status,
    answer,
    check,
    plan,
    pull,
    read_report,
    run,
    run_frame,
    stream,
    summarise,
    undo,
    verify,
    write_page,
)
from bulk_reset.api.credentials import KEY_VARIABLE
from bulk_reset.core.errors import InvalidRowsError, StoppedError

FAST = Options(sandbox=True, per_second=1000, per_minute=60_000)
SKIPPING = Options(sandbox=True, per_second=1000, per_minute=60_000, skip_invalid=True)
ID, OTHER = "69da451ef77b1b51f40e83ee", "69da451ef77b1b51f40e83ef"
Row = dict[str, object]


# --- Names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", bulk_reset.__all__)
def test_a_public_name_is_the_same_thing_each_time(name: str) -> None:
    """A function stays a function, although modules of the package have similar names."""
    first, second = getattr(bulk_reset, name), getattr(bulk_reset, name)
    assert first is second
    assert callable(first)
    assert first.__module__.startswith("bulk_reset.")


def test_an_unknown_name_is_refused_as_by_any_module() -> None:
    """A typo is an AttributeError, so hasattr and tools work."""
    with pytest.raises(AttributeError, match=r"^module 'bulk_reset' has no attribute 'rnu'$"):
        _ = bulk_reset.rnu


IMPORTS = """
import sys
import bulk_reset
heavy = {"pandas", "aiohttp", "stamina", "aiolimiter", "filelock", "yaml", "typer", "rich",
         "structlog", "prometheus_client"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
for _ in range(2):
    for name in bulk_reset.__all__:
        exec(f"from bulk_reset import {name}")
        assert callable(eval(name)), name
    from bulk_reset import *
import bulk_reset.cli.run, bulk_reset.cli.check, bulk_reset.cli.report
from bulk_reset import check, run, stream
assert {check, run, stream} == {bulk_reset.check, bulk_reset.run, bulk_reset.stream}
assert callable(check) and callable(run) and callable(stream)
"""


def test_importing_the_package_imports_nothing_heavy() -> None:
    """A program that imports it starts as fast as before; each name works in any order."""
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORTS], check=True)


ERRORS = (
    "BulkResetError",
    "CredentialsError",
    "InputError",
    "InvalidRowsError",
    "LockedError",
    "RunError",
    "SheetError",
    "StoppedError",
    "UnansweredError",
)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_that_is_caught_is_the_one_that_is_raised(name: str) -> None:
    """There is one class, wherever it is imported from."""
    error = getattr(import_module("bulk_reset.core.errors"), name)
    assert getattr(bulk_reset, name) is error
    assert issubclass(error, BulkResetError)


def test_the_version_is_that_of_the_installed_package() -> None:
    """Programs can print which version they use."""
    assert bulk_reset.__version__ == version("bulk-reset")


# --- Types -----------------------------------------------------------------------------------

TYPED = {
    "good": """
from dataclasses import replace
from pathlib import Path

import bulk_reset
from bulk_reset import (
    Callbacks,
    InvalidRowsError,
    LockedError,
    Options,
    Progress,
    Status,
    StoppedError,
    Totals,
    run,
    verify,
    write_page,
)


def show(progress: Progress) -> None:
    print(progress.counts["pending"], progress.counts[Status.PENDING])


def main() -> int:
    options = Options(limit=10, report="incidents.report.csv", app_key_file=Path("key"))
    place: Path | None = options.report
    try:
        callbacks = Callbacks(on_progress=show)
        totals: Totals = run("incidents.csv", replace(options, limit=20), callbacks)
    except (InvalidRowsError, LockedError, StoppedError) as error:
        print(error, bulk_reset.__version__, place)
        return error.exit_code
    verify(Path("incidents.report.csv"))
    verify("incidents.report.csv")
    write_page("incidents.report.csv")
    done = sum(rows for status, rows in totals.counts.items() if status.is_done)
    return totals.counts["updated"] + totals.counts[Status.FAILED] + done
""",
    "unknown_name": "from bulk_reset import Nonsense\n",
    "unknown_option": "from bulk_reset import Options\nOptions(limits=10)\n",
    "wrong_path": "from bulk_reset import Options\nOptions(report=3)\n",
}


@pytest.mark.slow
def test_programs_are_type_checked(tmp_path: Path) -> None:
    """A correct program has no type errors under mypy --strict; a wrong name is one."""
    for name, text in TYPED.items():
        (tmp_path / f"{name}.py").write_text(text)
    names = [f"{name}.py" for name in TYPED]
    cache = Path(__file__).parents[1] / ".mypy_cache"
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in checked.stdout.splitlines() if ": error: " in line]
    assert [(line.split(":")[0], line.rpartition("[")[2]) for line in sorted(errors)] == [
        ("unknown_name.py", "attr-defined]"),
        ("unknown_option.py", "call-arg]"),
        ("wrong_path.py", "arg-type]"),
    ], checked.stdout


# --- Options ---------------------------------------------------------------------------------


def test_a_path_is_a_str_or_a_path() -> None:
    """Options keep a Path, whichever was given."""
    given = Options(report="x.report.csv", sandbox_state="state.json")
    assert given == Options(report=Path("x.report.csv"), sandbox_state=Path("state.json"))
    assert (given.report, given.app_key_file) == (Path("x.report.csv"), None)
    assert given.changed() == {
        "report": Path("x.report.csv"),
        "sandbox_state": Path("state.json"),
    }


def test_functions_take_a_path_as_str_or_path(tmp_path: Path) -> None:
    """A report can be named by a str in every function that reads one."""
    sheet = tmp_path / "x.csv"
    sheet.write_text(f"incident_id,title\n{ID},Disk full\n")
    report = run(str(sheet), FAST).report
    assert isinstance(report, str)
    assert list(read_report(report)) == list(read_report(Path(report)))
    assert summarise(report) == summarise(Path(report))
    assert answer(report, str(sheet)) == answer(Path(report), sheet)
    assert verify(report, FAST).rows == verify(Path(report), FAST).rows == 1


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: run_frame([]), "frame: expected a pandas DataFrame, found a list."),  # type: ignore[arg-type]
        (lambda: run_frame(None), "frame: expected a pandas DataFrame, found None."),  # type: ignore[arg-type]
        (lambda: run(5), "sheet: expected a path (str or Path), found an int."),  # type: ignore[arg-type]
        (lambda: run(None), "sheet: expected a path (str or Path), found None."),  # type: ignore[arg-type]
        (lambda: run(b"x.csv"), "sheet: expected a path (str or Path), found a bytes."),  # type: ignore[arg-type]
        (lambda: check([]), "sheet: expected a path (str or Path), found a list."),  # type: ignore[arg-type]
        (lambda: plan({}), "sheet: expected a path (str or Path), found a dict."),  # type: ignore[arg-type]
        (lambda: undo(None), "report: expected a path (str or Path), found None."),  # type: ignore[arg-type]
        (lambda: verify(1), "report: expected a path (str or Path), found an int."),  # type: ignore[arg-type]
        (lambda: answer(1), "report: expected a path (str or Path), found an int."),  # type: ignore[arg-type]
        (lambda: write_page(1), "report: expected a path (str or Path), found an int."),  # type: ignore[arg-type]
        (lambda: summarise(1), "path: expected a path (str or Path), found an int."),  # type: ignore[arg-type]
        (lambda: list(read_report(1)), "path: expected a path (str or Path), found an int."),  # type: ignore[arg-type]
        (
            lambda: pull("x.csv", "one id"),
            "wanted: expected a query (see query_of), or a list of ids, found a str.",
        ),
        (
            lambda: pull("x.csv", 5),  # type: ignore[arg-type]
            "wanted: expected a query (see query_of), or a list of ids, found an int.",
        ),
        (lambda: run("x.csv", {}), "options: expected Options or None, found a dict."),  # type: ignore[arg-type]
        (lambda: run("x.csv", None, print), "callbacks: expected Callbacks or None, found a "),  # type: ignore[arg-type]
        (lambda: Options(report=5), "report: expected a path (str or Path), found an int."),  # type: ignore[arg-type]
    ],
)
def test_an_argument_of_a_wrong_type_is_an_input_error(
    call: Callable[[], object], expected: str
) -> None:
    """It names the argument, what it takes and what it got; nothing was sent."""
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize(
    ("changes", "found"),
    [(None, "None"), (5, "an int"), ("text", "a str"), ({}, "a dict")],
)
async def test_changes_of_a_wrong_type_are_an_input_error(
    changes: Iterable[Row],
    found: str,
) -> None:
    """A stream takes an iterable of dicts, and neither a text nor one dict."""
    with pytest.raises(InputError) as error:
        await anext(stream(changes, Options(sandbox=True)))
    assert str(error.value) == f"changes: expected an iterable of dicts, found {found}."


def test_options_are_frozen_and_can_be_copied_and_pickled() -> None:
    """A changed copy checks its values again; another process gets equal options."""
    options = Options(limit=10, report="x.report.csv", mapping={"title": "Subject"})
    assert replace(options, limit=20) == Options(
        limit=20, report="x.report.csv", mapping={"title": "Subject"}
    )
    assert pickle.loads(pickle.dumps(options)) == options  # noqa: S301  (made here)
    with pytest.raises(FrozenInstanceError):
        options.limit = 3  # type: ignore[misc]
    with pytest.raises(InputError, match=r"^limit=0: must be 1 or more\.$"):
        replace(options, limit=0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"workers": 0}, "workers=0: must be 1 or more."),
        ({"header_row": 0}, "header_row=0: must be 1 or more."),
        ({"attempts": 0}, "attempts=0: must be 1 or more."),
        ({"timeout_s": 0}, "timeout_s=0: must be more than 0 seconds."),
        ({"patience_s": -1.5}, "patience_s=-1.5: must be 0 seconds or more."),
        (
            {"max_failures": "few"},
            (
                "max_failures='few': not a number of rows. Use a number, or a share of the rows "
                "like 5%."
            ),
        ),
        (
            {"before": False, "canary": 3},
            "before=False: canary, verify, overwrite read incidents. Remove one of them.",
        ),
        (
            {"sandbox": True, "base_url": "https://api.example"},
            "sandbox: cannot be combined with base_url or app_key_file. Remove them.",
        ),
    ],
)
def test_an_invalid_option_is_named_as_in_python(options: dict[str, Any], text: str) -> None:
    """Every group checks its own values; the error names the parameter, not a flag."""
    with pytest.raises(InputError) as caught:
        Options(**options)
    assert str(caught.value) == text


# --- Totals in notebooks ---------------------------------------------------------------------


def test_totals_are_shown_as_an_escaped_table(tmp_path: Path) -> None:
    """A notebook shows counts, time and files; a file name cannot add markup."""
    sheet = tmp_path / "<b>incidents.csv"
    sheet.write_text(f"incident_id,title\n{ID},Disk full\n{OTHER},Late\n")
    totals = run(sheet, FAST)
    shown = totals._repr_html_()
    assert "<b>incidents" not in shown
    assert f"<caption>{html.escape(str(sheet))}: 2 rows</caption>" in shown
    assert "<tr><th>updated</th><td>2</td>" in shown
    assert "<td>3 requests</td>" in shown
    assert html.escape(totals.report) in shown


# --- Ctrl-C in a running event loop ----------------------------------------------------------

IN_A_LOOP = """
import asyncio, sys, threading
from bulk_reset import Callbacks, Options, Progress, run

def show(progress: Progress) -> None:
    if progress.counts["updated"]:
        print("sending", threading.current_thread() is threading.main_thread(), flush=True)

async def main() -> None:
    options = Options(sandbox=True, per_second=20, per_minute=1200)
    handles_signals = sys.argv[1] == "handled"
    totals = run("x.csv", options, Callbacks(on_progress=show), handles_signals=handles_signals)
    print("ended", totals.stop.reason, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("mode", ["handled", "raised"])
def test_ctrl_c_in_a_running_event_loop_stops_the_run(mode: str, tmp_path: Path) -> None:
    """In a notebook too: in-flight requests finish, the report is complete, the rest is pending."""
    rows = "".join(f"{number:024x},Title {number}\n" for number in range(2_000))
    (tmp_path / "x.csv").write_text(f"incident_id,title\n{rows}")
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_LOOP, mode],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "sending False\n"
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate(timeout=60)
    if mode == "handled":
        assert (process.returncode, shown.splitlines()[-1]) == (0, "ended interrupted"), errors
    else:
        assert process.returncode == -signal.SIGINT, errors
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
    outcomes = list(read_report(tmp_path / "x.sandbox.report.csv"))
    assert {outcome.status for outcome in outcomes} == {Status.UPDATED}
    assert 1 <= len(outcomes) < 400  # a graceful stop waits for in-flight requests only


# --- Data frames -----------------------------------------------------------------------------


def frame_of(*rows: tuple[str, str], index: Iterable[object] | None = None) -> pd.DataFrame:
    columns = ["incident_id", "title"]
    return pd.DataFrame(rows, columns=columns, index=None if index is None else list(index))


def test_a_frame_has_the_result_of_each_row_at_its_own_index() -> None:
    """Results are beside their rows, whatever the index, and the input is not changed."""
    frame = frame_of((ID, "Disk full"), ("oops", "Disk full"), (OTHER, "Late"), index=[7, 7, "x"])
    given = frame.copy()
    result = run_frame(frame, SKIPPING)

    pd.testing.assert_frame_equal(frame, given)
    pd.testing.assert_frame_equal(result[["incident_id", "title"]], given)
    assert list(result.columns[2:]) == [
        "status",
        "attempts",
        "error_code",
        "error_message",
        "request_id",
    ]
    shown = result[["status", "attempts", "error_code"]]
    assert list(shown.itertuples(name=None)) == [
        (7, "updated", 1, ""),
        (7, "rejected", 0, "id_invalid"),
        ("x", "updated", 1, ""),
    ]
    assert [bool(request_id) for request_id in result["request_id"]] == [True, False, True]


def test_a_frame_with_an_invalid_row_is_refused_whole() -> None:
    """Nothing is sent until the row is fixed or skipped."""
    with pytest.raises(InvalidRowsError) as caught:
        run_frame(frame_of((ID, "Disk full"), ("oops", "Disk full")), FAST)
    error = caught.value
    assert (error.rows, [(m.row_number, m.column, m.kind, m.value) for m in error.row_errors]) == (
        2,
        [(3, "incident_id", "id_invalid", "oops")],
    )
    assert isinstance(error.row_errors[0], RowError)


def test_rows_beyond_the_limit_come_back_pending() -> None:
    """After a limited run, the frame shows what is left to do."""
    options = Options(sandbox=True, limit=1)
    result = run_frame(frame_of((ID, "Disk full"), (OTHER, "Disk full")), options)
    assert list(result["status"]) == ["updated", "pending"]


async def test_a_run_inside_a_running_event_loop_works(tmp_path: Path) -> None:
    """In a notebook, a plain call works as in a script."""
    sheet = tmp_path / "incidents.csv"
    sheet.write_text(f"incident_id,title\n{ID},Disk full\n{OTHER},Late\n")
    totals = run(sheet, FAST)
    assert (totals.rows, totals.counts[Status.UPDATED], totals.stop) == (2, 2, None)
    assert [outcome.incident_id for outcome in read_report(Path(totals.report))] == [ID, OTHER]
    assert list(run_frame(frame_of((ID, "Disk full")), FAST)["status"]) == ["updated"]


# --- Streams ---------------------------------------------------------------------------------


def lazily(rows: list[Row]) -> Iterator[Row]:
    yield from rows


async def as_they_come(rows: list[Row]) -> AsyncIterator[Row]:
    for row in rows:
        await asyncio.sleep(0)
        yield row


def brief(outcomes: Iterable[Outcome]) -> list[tuple[int, str, Status, str]]:
    return sorted((o.row_number, o.incident_id, o.status, o.error_code) for o in outcomes)


@pytest.mark.parametrize("work", [list, lazily, as_they_come])
async def test_a_stream_yields_one_outcome_for_each_change(work: Callable) -> None:
    """Lists, generators and async generators are sent by the same rules as a sheet."""
    rows = [
        {"incident_id": ID, "title": "Disk full"},
        {"incident_id": "oops", "title": "Disk full"},
        {"incident_id": OTHER, "title": "x", "impact": None},
        {"incident_id": OTHER, "incident_severity": "Critical", "title": ""},
    ]
    outcomes = [outcome async for outcome in stream(work(rows), FAST)]
    assert brief(outcomes) == [
        (1, ID, Status.UPDATED, ""),
        (2, "oops", Status.REJECTED, "id_invalid"),
        (3, OTHER, Status.REJECTED, "too_short"),
        (4, OTHER, Status.UPDATED, ""),
    ]


@pytest.mark.parametrize(("work", "count"), [(list, 1_200), (lazily, 501), (as_they_come, 50)])
async def test_a_long_stream_misses_no_change(work: Callable, count: int) -> None:
    """Every change has one outcome, over any number of batches."""
    rows = [{"incident_id": f"{n:024x}", "title": f"Title {n}"} for n in range(count)]
    options = Options(sandbox=True, per_second=100_000, per_minute=1_000_000)
    outcomes = [outcome async for outcome in stream(work(rows), options)]
    assert brief(outcomes) == [(n + 1, f"{n:024x}", Status.UPDATED, "") for n in range(count)]


async def test_an_empty_stream_ends_at_once() -> None:
    """Nothing to do is not an error."""
    assert [outcome async for outcome in stream([], FAST)] == []


@pytest.mark.parametrize("work", [list, as_they_come])
async def test_a_field_that_does_not_exist_is_named(work: Callable) -> None:
    """A typo in a field name is an error, not a change that sets less."""
    rows = [{"incident_id": ID, "titel": "Disk full", "root-cause": "x"}]
    with pytest.raises(InputError) as caught:
        _ = [outcome async for outcome in stream(work(rows), FAST)]
    assert str(caught.value) == (
        "change 1: no such field: root-cause, titel. The fields are incident_id, title, "
        "description, impact, root_cause, resolution, incident_severity."
    )


async def test_an_error_of_the_source_reaches_the_caller_as_it_is() -> None:
    """An error of the program's generator is neither hidden nor wrapped."""

    def broken() -> Iterator[Row]:
        yield {"incident_id": ID, "title": "Disk full"}
        raise KeyError("mine")

    with pytest.raises(KeyError, match=r"^'mine'$"):
        _ = [outcome async for outcome in stream(broken(), FAST)]


# --- Streams to an API written by hand -------------------------------------------------------


class Api:
    """Returns a fixed answer, and records titles and concurrent requests."""

    def __init__(self, status: int, answer: Row) -> None:
        self.titles: list[str] = []
        self.at_once = self.most_at_once = 0
        self._status, self._answer = status, answer

    async def answer(self, request: web.Request) -> web.Response:
        """Take a request."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        body = await request.json()
        for _ in range(10):
            await asyncio.sleep(0)  # others could come in now
        self.titles.append(body["title"])
        self.at_once -= 1
        return web.json_response(self._answer, status=self._status)


@pytest.fixture
async def serve(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable]:
    """Serve an Api; hand out the options that reach it."""
    monkeypatch.setenv(KEY_VARIABLE, "k3y-of-a-test")
    servers = []

    async def start(api: Api) -> Options:
        app = web.Application()
        app.router.add_post("/incident/reset", api.answer)
        servers.append(TestServer(app))
        await servers[-1].start_server()
        url = str(servers[-1].make_url(""))
        return Options(base_url=url, per_second=1000, per_minute=60_000, workers=8)

    yield start
    for server in servers:
        await server.close()


SUCCESS: Row = {"request_id": "R1", "data": None}
REFUSAL: Row = {"request_id": "R2", "error": {"code": "Unauthorized", "message": "wrong key"}}


@pytest.mark.parametrize("work", [list, as_they_come])
async def test_changes_of_one_incident_are_sent_in_order_one_at_a_time(
    serve: Callable, work: Callable
) -> None:
    """The last change given sets the final value."""
    api = Api(200, SUCCESS)
    titles = [f"Title {n}" for n in range(40)]
    changes = work([{"incident_id": ID, "title": title} for title in titles])
    outcomes = [outcome async for outcome in stream(changes, await serve(api))]
    assert api.titles == titles
    assert api.most_at_once == 1
    assert [outcome.row_number for outcome in outcomes] == list(range(1, 41))


async def test_a_wrong_key_stops_the_stream_with_an_error(serve: Callable) -> None:
    """The changes that were not reached have no outcome, and the source is not read to its end."""
    api, read = Api(401, REFUSAL), []

    def source() -> Iterator[Row]:
        for n in range(100_000):
            read.append(n)
            yield {"incident_id": f"{n:024x}", "title": "Disk full"}

    with pytest.raises(StoppedError) as caught:
        _ = [outcome async for outcome in stream(source(), await serve(api))]
    assert str(caught.value) == (
        "stopped: Unauthorized: wrong key (the app key or token is missing, wrong or expired. "
        "Check it in the console). Changes without an outcome are pending."
    )
    assert len(api.titles) <= 8
    assert len(read) <= 1_000


@pytest.mark.parametrize("work", [lazily, as_they_come])
async def test_a_stream_that_is_closed_early_leaves_nothing_running(
    serve: Callable, work: Callable
) -> None:
    """No request goes out and no task is left once the stream is closed."""
    api = Api(200, SUCCESS)
    options = await serve(api)
    before = asyncio.all_tasks()
    changes = work([{"incident_id": f"{n:024x}", "title": "Disk full"} for n in range(5_000)])
    async with aclosing(stream(changes, options)) as outcomes:
        async for outcome in outcomes:
            assert outcome.status is Status.UPDATED
            break
    ours = {task for task in asyncio.all_tasks() - before if "bulk_reset" in repr(task)}
    assert ours == set()
    assert len(api.titles) < 1_000


async def test_a_stream_without_a_key_sends_nothing(
    serve: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a key the error comes before the first change is read."""
    api = Api(200, SUCCESS)
    options = await serve(api)
    monkeypatch.delenv(KEY_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"^no app key found\."):
        _ = [outcome async for outcome in stream(map(pytest.fail, "x"), options)]
    assert api.titles == []


def test_run_frame_with_a_report_has_the_same_results_the_second_time(tmp_path: Path) -> None:
    """Results of an earlier run are included; a blank row has no status."""
    frame = pd.DataFrame(
        {"id": ["a" * 24, "", "b" * 24], "title": ["One thing", "", "Another thing"]}
    )
    options = Options(sandbox=True, report=tmp_path / "r.report.csv")
    answers = [run_frame(frame, options)["status"].tolist() for _ in range(2)]
    assert answers == [["updated", "", "updated"]] * 2


def test_a_frame_skips_values_modified_since_the_pull() -> None:
    """Without a report too, values that were modified since the pull are conflicts."""
    frame = frame_of((ID, "Disk full"), (OTHER, "Disk full"))
    frame["bulk-reset was title"] = ["As it was once", ""]
    assert list(run_frame(frame, FAST)["status"]) == ["conflict", "updated"]


@pytest.mark.parametrize(
    ("options", "word"),
    [({"canary": 1}, "Use report='FILE'"), ({"verify": True}, "Call verify")],
)
def test_a_frame_refuses_options_that_need_a_report(options: dict[str, Any], word: str) -> None:
    """An option that would be ignored is an error before anything is sent."""
    with pytest.raises(InputError, match=word):
        run_frame(frame_of((ID, "Disk full")), Options(sandbox=True, **options))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (Options(dry_run=True), "dry_run"),
        (Options(limit=1), "limit"),
        (Options(report=Path("r.csv")), "report"),
        (Options(max_failures="5%"), "max_failures"),
    ],
)
async def test_a_stream_refuses_options_for_sheets(options: Options, word: str) -> None:
    """An option that would be ignored is an error; nothing is sent."""
    with pytest.raises(InputError, match=word):
        await anext(stream([{"incident_id": "a" * 24, "title": "A title"}], options))


def test_max_failures_in_percent_is_of_the_rows() -> None:
    """5% of 200 rows are 10."""
    limits = [Options(max_failures=value).failure_limit(200) for value in (None, 3, "3", "5%")]
    assert limits == [float("inf"), 3, 3, 10]
