"""Events of a run: one a line, few however many the rows, and never a key."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from bulk_reset.api.credentials import AppKey
from bulk_reset.core.callbacks import Callbacks
from bulk_reset.core.errors import InputError, StoppedError
from bulk_reset.core.outcome import Outcome, Status, Stop, StopReason
from bulk_reset.core.totals import Peak, Progress, Totals
from bulk_reset.engine.options import Options
from bulk_reset.observability.run_log import LogOutput, log_file, logged, new_run_log

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
SECRET = "Secret-key/+0123456789"  # noqa: S105  (a test's)


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """See that a test's key is known to no other test."""
    monkeypatch.setattr("bulk_reset.api.credentials._SEEN", [])


class Recorded:
    """A journal and what it has written."""

    def __init__(self, **how: bool) -> None:
        self.file = io.StringIO()
        self.run_log = new_run_log(LogOutput(self.file, **how), clock=lambda: NOON, run_id="r1")

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return the events, but for what all of them have."""
        events = [json.loads(line) for line in self.file.getvalue().splitlines()]
        for event in events:
            assert (event.pop("at"), event.pop("run_id")) == ("2026-03-01T12:00:00.123Z", "r1")
        return events


def totals(stop: Stop | None = None, **counts: int) -> Totals:
    by_status = {status: counts.get(status.value, 0) for status in Status}
    return Totals("sheet.csv", sum(by_status.values()), by_status, stop=stop)


def failed(row_number: int, code: str = "InternalError", message: str = "No.") -> Outcome:
    return Outcome(
        row_number,
        f"{row_number:024x}",
        Status.FAILED,
        ("title",),
        "digest",
        2,
        500,
        code,
        message,
        "req-1",
    )


# --- Lines -----------------------------------------------------------------------------------


def test_an_event_is_a_line_of_json_that_begins_with_when_how_grave_and_what() -> None:
    """Time, level and event come first, for programs and for people."""
    recorded = Recorded()
    recorded.run_log.warning(
        "progress", counts={Status.UPDATED: 3}, path=Path("a.csv"), rate=1.23456
    )
    assert recorded.file.getvalue() == (
        '{"at": "2026-03-01T12:00:00.123Z", "level": "warning", "event": "progress", '
        '"run_id": "r1", "counts": {"updated": 3}, "path": "a.csv", "rate": 1.235}\n'
    )


def test_an_event_for_people_is_one_line_that_no_terminal_obeys() -> None:
    """A title with line breaks and escapes neither breaks the line nor colours the screen."""
    recorded = Recorded(is_human=True)
    text = "Disk\nfull\x1b[31m red"
    recorded.run_log.info("notice", text=text, counts={text: 2}, peaks=[{"started": 3}])
    line = recorded.file.getvalue()
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert line.startswith("2026-03-01T12:00:00.123Z [info     ] notice ")
    assert "Disk full\N{REPLACEMENT CHARACTER}[31m red" in line
    assert "started 3" in line


def test_colours_are_there_only_where_they_are_asked_for() -> None:
    """A line for people has colours where the terminal can show them, and JSON never has."""
    lines = []
    for how in ({"is_human": True, "has_colour": True}, {"has_colour": True}):
        recorded = Recorded(**how)
        recorded.run_log.info("notice", text="hello")
        lines.append(recorded.file.getvalue())
    assert ["\x1b[" in line for line in lines] == [True, False]


@pytest.mark.parametrize("is_human", [True, False])
def test_a_key_is_in_no_line_wherever_it_was_put(is_human: bool) -> None:
    """Texts of servers and sheets, names and nested values: the key is blanked out of all."""
    AppKey(SECRET)
    recorded = Recorded(is_human=is_human)
    escape_controls = "Secret-key%2F%2B0123456789"
    recorded.run_log.bound(job=SECRET).error(
        SECRET,
        text=f"?app_key={escape_controls}",
        nested={SECRET: [{"deep": SECRET}]},
        error=OSError(SECRET),
    )
    recorded.run_log.run_failed(StoppedError(f"stopped: {SECRET}"))
    line = recorded.file.getvalue()
    assert "****" in line
    assert SECRET not in line
    assert "0123456789" not in line


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (float("inf"), "inf"),
        ("half \ud83d pair", "half \ud83d pair"),
        ("x" * 5_000, "x" * 1_999 + "…"),
        ("\x1b]0;title\x07\u202e", "\x1b]0;title\x07\u202e"),
        ("\N{GRINNING FACE} 磁盘", "\N{GRINNING FACE} 磁盘"),
        ({1}, [1]),
        (None, None),
        (True, True),
    ],
)
def test_what_json_or_the_encoding_cannot_take_is_a_line_all_the_same(
    value: object, written: object, tmp_path: Path
) -> None:
    """No odd value of a sheet or a server costs an event, or is more than one line of ASCII."""
    path = tmp_path / "log"
    with path.open("w", encoding="ascii") as file:
        new_run_log(LogOutput(file)).info("notice", value=value)
    content = path.read_bytes()
    assert content.count(b"\n") == 1
    assert not set(b"\x1b\x07") & set(content)
    assert json.loads(content)["value"] == written


def test_journals_live_side_by_side_and_nothing_is_configured_for_all() -> None:
    """A program that uses the library keeps its own logs as they are."""
    one, other = Recorded(), Recorded()
    one.run_log.info("one")
    other.run_log.bound(job="night").info("other")
    one.run_log.info("two")
    assert [event["event"] for event in one.events] == ["one", "two"]
    assert other.events == [{"level": "info", "event": "other", "job": "night"}]
    assert not structlog.is_configured()


# --- Sinks that end --------------------------------------------------------------------------


def full_disk() -> Any:  # noqa: ANN401  (a file)
    return Path("/dev/full").open("w", encoding="utf-8")


def closed_pipe() -> Any:  # noqa: ANN401  (a file)
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w", encoding="utf-8")


def closed_file() -> Any:  # noqa: ANN401  (a file)
    file = io.StringIO()
    file.close()
    return file


@pytest.mark.parametrize(
    "broken",
    [full_disk, closed_pipe, closed_file],
    ids=["full disk", "closed pipe", "closed file"],
)
def test_an_output_that_fails_is_dropped_and_reported_once(
    broken: Callable[[], Any],
) -> None:
    """A full disk ends the log, not the run; the other outputs report it."""
    file, good, text_found = broken(), io.StringIO(), list[str]()
    name = str(getattr(file, "name", "a log"))
    run_log = new_run_log(LogOutput(file), LogOutput(good), notify=text_found.append)
    for event in ("one", "two", "three"):
        run_log.info(event)
    # What did not reach the disk is tried again when the file is closed.
    with contextlib.suppress(OSError):
        file.close()
    events = [json.loads(line) for line in good.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["one", "log_output_lost", "two", "three"]
    assert (events[1]["level"], events[1]["log"]) == ("warning", name)
    assert text_found == [f"{name}: can no longer be written; the log ends there"]


def test_a_log_file_is_added_to_and_a_line_that_a_crash_cut_off_spoils_no_other(
    tmp_path: Path,
) -> None:
    """The next run's first event is on its own line, also after a torn line."""
    path = tmp_path / "run.log"
    for event in ("one", "two", "three"):
        with log_file(path) as file:
            new_run_log(LogOutput(file)).info(event)
        if event == "two":
            path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    first, torn, third = path.read_text(encoding="utf-8").splitlines()
    assert (json.loads(first)["event"], json.loads(third)["event"]) == ("one", "three")
    assert torn.startswith("{")


@pytest.mark.parametrize(
    "content", ["incident_id,title\n", "{}\n", '{"at": 1}\n', "[1]\n", "\n", '{"at": 1, "lev']
)
def test_a_file_that_is_not_a_log_is_not_changed(content: str, tmp_path: Path) -> None:
    """A slip on the command line adds no events to a sheet, a report or a sandbox's state."""
    path = tmp_path / "sheet.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="not a log of bulk-reset"), log_file(path):
        pass
    assert path.read_text(encoding="utf-8") == content


def test_a_log_that_cannot_be_opened_is_an_error_with_a_fix(tmp_path: Path) -> None:
    """A missing folder is an error message, not a traceback."""
    with pytest.raises(InputError, match="No such file or directory"), log_file(tmp_path / "no/x"):
        pass


# --- Runs ------------------------------------------------------------------------------------


def test_a_run_begins_with_its_unusual_options_and_no_place_of_a_key(tmp_path: Path) -> None:
    """What was asked for can be read later; the key's file and a user in an address cannot."""
    recorded = Recorded()
    options = Options(
        app_key_file=tmp_path / SECRET,
        base_url="https://user:word@api.example.com/x",
        limit=5,
        mapping={"title": "Name"},
    )
    recorded.run_log.run_started("a.csv", options.changed(), rows=7)
    given = {"limit": 5, "mapping": {"title": "Name"}, "host": "api.example.com"}
    assert recorded.events == [
        {
            "level": "info",
            "event": "run_started",
            "sheet": "a.csv",
            "rows": 7,
            "options": given,
        }
    ]


@pytest.mark.parametrize(
    ("ended", "code", "level"),
    [
        (totals(updated=3), 0, "info"),
        (totals(updated=2, failed=1), 1, "warning"),
        (totals(Stop(StopReason.FATAL, "no such key"), pending=3), 3, "error"),
        (totals(Stop(StopReason.INTERRUPTED, "Ctrl-C"), pending=3), 130, "error"),
    ],
)
def test_a_run_ends_with_its_exit_code_and_as_gravely_as_it_is(
    ended: Totals, code: int, level: str
) -> None:
    """An alarm may go by the level alone."""
    recorded = Recorded()
    recorded.run_log.run_ended(ended)
    (event,) = recorded.events
    assert (event["event"], event["exit_code"], event["level"]) == ("run_ended", code, level)
    assert event.get("message") == (ended.stop.message if ended.stop else None)


def test_run_ended_has_the_facts_of_the_summary() -> None:
    """Counts, requests, the quota's proof, waits and files: all that is printed is logged."""
    recorded = Recorded()
    recorded.run_log.run_ended(
        Totals(
            "a.csv",
            3,
            {**dict.fromkeys(Status, 0), Status.UPDATED: 3},
            requests=4,
            throttled=1,
            elapsed_s=2.5,
            peaks=(Peak(1.0, 50, 4),),
            waited_s={"the pace": 0.5},
            report="a.report.csv",
        )
    )
    assert recorded.events == [
        {
            "level": "info",
            "event": "run_ended",
            "exit_code": 0,
            "rows": 3,
            "counts": {"updated": 3},
            "done_before": 0,
            "beyond_limit": 0,
            "requests": 4,
            "throttled": 1,
            "seconds": 2.5,
            "waited_s": {"the pace": 0.5},
            "peaks": [{"window_s": 1.0, "limit": 50, "started": 4}],
            "report": "a.report.csv",
        }
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a.csv: gone"), 2),
        (StoppedError("stopped"), 3),
        (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
        (ValueError("?"), 70),
    ],
)
def test_a_run_that_ends_with_an_error_logs_its_exit_code(error: BaseException, code: int) -> None:
    """Every log has an end, with the exit code of the process."""
    recorded = Recorded()
    recorded.run_log.run_failed(error)
    (event,) = recorded.events
    assert (event["exit_code"], event["error"]) == (code, type(error).__name__)


# --- Looking on ------------------------------------------------------------------------------


class Ticking:
    """A run of this many rows that reports progress ten times a second, on a virtual clock."""

    def __init__(self, **more: Any) -> None:  # noqa: ANN401  (of a Callbacks)
        self.recorded = Recorded()
        self.now_s = 1_000.0
        self.callbacks = logged(Callbacks(**more), self.recorded.run_log, clock=lambda: self.now_s)

    def send(
        self, rows: int, per_s: float, *, of: int | None = None, waiting_for: str = ""
    ) -> None:
        """Report rows as updated, each with a request."""
        ticks = int(rows / per_s * 10)
        for done in (round(rows * tick / ticks) for tick in range(ticks + 1)):
            counts = {Status.UPDATED: done, Status.PENDING: (of or rows) - done}
            self.callbacks.on_progress(
                Progress(of or rows, counts, 1.0, waiting_for, {Status.UPDATED: done}, done)
            )
            self.now_s += 0.1

    def events_named(self, event: str) -> list[dict[str, Any]]:
        """Return the events of one name."""
        return [one for one in self.recorded.events if one["event"] == event]


def test_a_run_of_many_rows_makes_few_events_and_they_add_up() -> None:
    """100,000 rows at the quota are a thousand lines at most, and no row is missing in them."""
    run = Ticking()
    run.send(100_000, per_s=1_000 / 60)
    run.recorded.run_log.run_ended(totals(updated=100_000))
    batches = run.events_named("progress")
    assert 1_000 <= len(batches) <= 1_250
    assert sum(batch["counts"]["updated"] for batch in batches) == 100_000
    assert sum(batch["requests"] for batch in batches) == 100_000
    assert batches[-1]["done"] == 100_000
    assert all(16 < batch["rows_per_s"] < 17 for batch in batches)


def test_a_short_run_logs_progress_once_before_its_end() -> None:
    """Progress since the last event is logged even if the run is over at once."""
    run = Ticking()
    run.send(40, per_s=50)
    run.recorded.run_log.run_ended(totals(updated=40))
    assert [event["event"] for event in run.recorded.events] == ["progress", "run_ended"]
    assert run.events_named("progress")[0] == {
        "level": "info",
        "event": "progress",
        "done": 40,
        "rows": 40,
        "counts": {"updated": 40},
        "requests": 40,
        "throttled": 0,
        "rows_per_s": 44.4,
        "left_s": 1.0,
        "waiting_for": "",
    }


def test_progress_after_a_canary_counts_from_zero() -> None:
    """The canary's rows are in an event of their own, and none is counted twice."""
    run = Ticking()
    run.send(20, per_s=50, of=100)
    run.now_s += 3_600  # the user thinks about it
    run.send(80, per_s=50)
    run.recorded.run_log.run_ended(totals(updated=100))
    assert [batch["counts"] for batch in run.events_named("progress")] == [
        {"updated": 20},
        {"updated": 80},
    ]
    assert run.events_named("progress")[1]["rows_per_s"] > 40


def test_answers_over_the_quota_make_a_batch_a_warning() -> None:
    """HTTP 429 is visible by the level."""
    run = Ticking()
    for done, throttled in ((0, 0), (5, 2)):
        recorded = {Status.UPDATED: done}
        run.callbacks.on_progress(
            Progress(5, recorded, 0.0, "", recorded, done + throttled, throttled)
        )
    run.recorded.run_log.run_ended(totals(updated=5))
    (batch,) = run.events_named("progress")
    assert (batch["level"], batch["throttled"], batch["requests"]) == ("warning", 2, 7)


@pytest.mark.parametrize(
    ("cause", "level"),
    [
        ("minute window: 40 s", "info"),
        ("the pace: 2 s", "info"),
        ("pause requested by the API: 5 s", "warning"),
        ("API unavailable; retrying", "warning"),
    ],
)
def test_a_wait_is_logged_when_it_begins_and_once_a_minute(cause: str, level: str) -> None:
    """A run that waits for ten minutes logs ten events, not six thousand."""
    run = Ticking()
    run.send(1, per_s=1 / 600, waiting_for=cause)
    waits = run.events_named("waiting")
    assert 10 <= len(waits) <= 11
    assert {wait["level"] for wait in waits} == {level}


def test_of_many_failures_with_one_code_the_first_hundred_are_logged() -> None:
    """A sheet that fails as a whole does not fill the disk; the other rows are counted."""
    run = Ticking()
    for row_number in range(2, 5_002):
        run.callbacks.on_failure(failed(row_number))
    run.callbacks.on_failure(failed(9_000, code="ResourceNotFound"))
    run.recorded.run_log.run_ended(totals(failed=5_001))
    assert Counter(event["event"] for event in run.recorded.events) == {
        "row_failed": 101,
        "rows_failed_not_logged": 1,
        "run_ended": 1,
    }
    assert run.events_named("row_failed")[0] == {
        "level": "warning",
        "event": "row_failed",
        "row_number": 2,
        "incident_id": f"{2:024x}",
        "status": "failed",
        "error_code": "InternalError",
        "error_message": "No.",
        "http_status": 500,
        "request_id": "req-1",
        "attempts": 2,
    }
    (more,) = run.events_named("rows_failed_not_logged")
    assert (more["error_code"], more["rows"]) == ("InternalError", 4_900)


def test_a_server_that_invents_error_codes_makes_no_more_events() -> None:
    """A code of its own for each row is one reason more for a hundred reasons at most."""
    run = Ticking()
    numbers = itertools.count(2)
    for code in range(3_000):
        for _ in range(15):
            run.callbacks.on_failure(failed(next(numbers), code=f"E{code}"))
    run.recorded.run_log.run_ended(totals(failed=45_000))
    counts = Counter(event["event"] for event in run.recorded.events)
    assert counts["row_failed"] <= 1_000
    assert counts["rows_failed_not_logged"] <= 101
    more = sum(event["rows"] for event in run.events_named("rows_failed_not_logged"))
    assert counts["row_failed"] + more == 45_000


def test_a_watcher_hears_all_that_it_would_have_heard() -> None:
    """Logging does not change what the callbacks receive and return."""
    heard: list[object] = []
    run = Ticking(
        on_notice=heard.append,
        on_read=heard.append,
        on_progress=heard.append,
        on_incidents_read=lambda *numbers: heard.append(numbers),
        on_failure=heard.append,
        confirm=lambda text: bool(heard.append(text)),
    )
    progress, outcome = Progress(1, {}, 0.0, ""), failed(2)
    run.callbacks.on_notice("read as UTF-8")
    run.callbacks.on_read(1_000)
    run.callbacks.on_progress(progress)
    run.callbacks.on_incidents_read(50, 100)
    run.callbacks.on_incidents_read(100, 100)
    run.callbacks.on_failure(outcome)
    assert run.callbacks.confirm("70 are left.") is False
    assert heard == [
        "read as UTF-8",
        1_000,
        progress,
        (50, 100),
        (100, 100),
        outcome,
        "70 are left.",
    ]
    assert [event["event"] for event in run.recorded.events] == [
        "notice",
        "incidents_read",
        "row_failed",
        "confirmation",
    ]
    assert run.events_named("confirmation")[0]["answer"] == "no"
