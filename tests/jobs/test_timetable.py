"""When a job is due, across the changes of the clock, and what becomes of what was missed."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_reset.jobs.job_files.job_file import read_job
from bulk_reset.jobs.schedule.timetable import ON_TIME_S, Decision, Missed, Timetable

BERLIN, NEW_YORK, LORD_HOWE, KOLKATA, HAVANA, UTC = map(
    ZoneInfo,
    (
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "America/Havana",
        "UTC",
    ),
)
HOUR, DAY = 3600.0, 86_400.0


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    """Return the time that a clock of the zone shows: ``2027-03-28 02:30``."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def table(cron: str, zone: ZoneInfo = BERLIN, **more: object) -> Timetable:
    """Return a timetable of a job called nightly."""
    return Timetable("nightly", cron, zone, **more)  # type: ignore[arg-type]


def dues(told: Timetable, since: float, until: float) -> list[float]:
    """Return the due times after one time and up to another."""
    found = itertools.takewhile(lambda due: due.due_at <= until, told.after(since))
    return [due.due_at for due in found]


def shown(told: Timetable, since: str, until: str) -> list[str]:
    """Return the due times between two times of its zone, as its clocks show them."""
    found = dues(told, at(since, told.zone) - 1, at(until, told.zone))
    times = [dt.datetime.fromtimestamp(one, told.zone) for one in found]
    return [f"{one:%d %H:%M %z}"[:-2] for one in times]


# --- The changes of the clock ----------------------------------------------------------------


def test_a_time_that_the_clock_leaves_out_comes_right_after_it() -> None:
    """02:30 in the night in which 02:00 is 03:00: the job runs at 03:00, once."""
    assert shown(table("30 2 * * *"), "2027-03-27 00:00", "2027-03-29 23:00") == [
        "27 02:30 +01",
        "28 03:00 +02",
        "29 02:30 +02",
    ]


def test_a_time_that_comes_twice_is_due_once() -> None:
    """02:30 in the night in which 03:00 is 02:00: the first of them."""
    assert shown(table("30 2 * * *"), "2027-10-30 00:00", "2027-11-01 23:00") == [
        "30 02:30 +02",
        "31 02:30 +02",
        "01 02:30 +01",
    ]


def test_several_times_in_a_skipped_hour_are_one_due_time() -> None:
    """Due once at 03:00, not once for 02:00, once for 02:30 and once for itself."""
    assert shown(table("0,30 2,3 * * *"), "2027-03-28 00:00", "2027-03-28 23:00") == [
        "28 03:00 +02",
        "28 03:30 +02",
    ]


def test_what_runs_every_quarter_knows_no_change_of_the_clock() -> None:
    """From one to the next it is a quarter of an hour, in both nights."""
    told = table("*/15 * * * *")
    for night in ("2027-03-28", "2027-10-31"):
        found = dues(told, at(f"{night} 00:00"), at(f"{night} 06:00"))
        assert {later - earlier for earlier, later in itertools.pairwise(found)} == {900.0}


def test_what_runs_every_hour_runs_in_the_hour_that_comes_twice_too() -> None:
    """Hours that pass are counted, not what clocks show."""
    assert shown(table("15 * * * *"), "2027-10-31 01:00", "2027-10-31 03:30") == [
        "31 01:15 +02",
        "31 02:15 +02",
        "31 02:15 +01",
        "31 03:15 +01",
    ]
    assert shown(table("15 * * * *"), "2027-03-28 01:00", "2027-03-28 04:00") == [
        "28 01:15 +01",
        "28 03:15 +02",
    ]


def test_new_york_changes_on_other_days_and_at_another_hour() -> None:
    """The zone is the job's, not the machine's."""
    told = table("30 2 * * *", NEW_YORK)
    assert shown(told, "2027-03-13 00:00", "2027-03-15 23:00") == [
        "13 02:30 -05",
        "14 03:00 -04",
        "15 02:30 -04",
    ]
    again = table("30 1 * * *", NEW_YORK)
    assert shown(again, "2027-11-06 00:00", "2027-11-08 23:00") == [
        "06 01:30 -04",
        "07 01:30 -04",
        "08 01:30 -05",
    ]


def test_half_an_hour_may_be_left_out_and_come_twice() -> None:
    """On Lord Howe 02:00 is 02:30 in October, and 02:00 is 01:30 in April."""
    assert dues(
        table("15 2 * * *", LORD_HOWE),
        at("2027-10-03 00:00", LORD_HOWE),
        at("2027-10-03 23:00", LORD_HOWE),
    ) == [at("2027-10-03 02:30", LORD_HOWE)]
    assert dues(
        table("45 1 * * *", LORD_HOWE),
        at("2027-04-04 00:00", LORD_HOWE),
        at("2027-04-04 23:00", LORD_HOWE),
    ) == [at("2027-04-04 01:45", LORD_HOWE)]


def test_where_the_clock_is_never_changed_nothing_is_odd() -> None:
    """Every day at the same time is every 24 hours."""
    found = dues(table("30 2 * * *", KOLKATA), at("2027-01-01", KOLKATA), at("2028-01-01", KOLKATA))
    assert len(found) == 365
    assert {later - earlier for earlier, later in itertools.pairwise(found)} == {DAY}


def is_meant(told: Timetable, moment: dt.datetime) -> bool:
    """Return whether clocks show what the expression names (numbers, ``*`` and steps only)."""
    shows = (moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7)
    firsts = (0, 0, 1, 1, 0)
    for text, value, first in zip(told.cron.split(), shows, firsts, strict=True):
        meant = [one.partition("/") for one in text.split(",")]
        if not any(
            (value - first) % int(step or 1) == 0 if base == "*" else value == int(base)
            for base, _, step in meant
        ):
            return False
    return True


def by_the_clock(told: Timetable, since: float, until: float) -> list[float]:
    """Return when a job is due, minute by minute: the slow way, to compare with."""
    minute, hour, *_ = told.cron.split()
    first = since - since % 60 + 60
    minutes = [first + 60 * n for n in range(int((until - first) / 60) + 1)]
    times = [dt.datetime.fromtimestamp(one, told.zone) for one in minutes]
    if minute.startswith("*") or hour.startswith("*"):
        return [one.timestamp() for one in times if is_meant(told, one)]
    # What clocks would show if they were never set.
    start = times[0].replace(tzinfo=None, fold=0) - dt.timedelta(hours=3)
    found = set()
    for n in range(int((until - since) / 60) + 360):
        shown = (start + dt.timedelta(minutes=n)).replace(tzinfo=told.zone)
        if is_meant(told, shown):
            while shown.astimezone(UTC).astimezone(told.zone) != shown:
                shown += dt.timedelta(minutes=1)
            found.add(shown.timestamp())
    return [one for one in sorted(found) if since < one <= until]


CRONS = (
    "*/15 * * * *",
    "*/10 2 * * *",
    "*/20 3 * * *",
    "45 * * * *",
    "0 * * * *",
    "0 */2 * * *",
    "5,35 */3 * * *",
    "30 2 * * *",
    "0,30 1,2,3 * * *",
    "15 0 * * *",
    "0 0 * * *",
    "40 23 * * *",
    "*/30 * * * 0",
)
CHANGES = {
    BERLIN: ("2027-03-28", "2027-10-31"),
    NEW_YORK: ("2027-03-14", "2027-11-07"),
    LORD_HOWE: ("2027-10-03", "2027-04-04"),
    HAVANA: ("2027-03-14", "2027-11-07"),
    KOLKATA: ("2027-03-28", "2027-10-31"),
}


@pytest.mark.parametrize("zone", CHANGES, ids=str)
@pytest.mark.parametrize("cron", CRONS)
def test_no_due_time_is_lost_or_added_by_a_clock_change(cron: str, zone: ZoneInfo) -> None:
    """Three days around each change, compared with a clock that is read every minute."""
    told = table(cron, zone)
    for night in CHANGES[zone]:
        since, until = at(night, zone) - DAY - 30, at(night, zone) + 2 * DAY
        assert dues(told, since, until) == by_the_clock(told, since, until)


@pytest.mark.parametrize("zone", CHANGES, ids=str)
@pytest.mark.parametrize("cron", CRONS)
def test_due_times_do_not_depend_on_the_start(cron: str, zone: ZoneInfo) -> None:
    """A schedule that is started again in the middle of the night has the same night before it."""
    told = table(cron, zone)
    for night in CHANGES[zone]:
        since, until = at(night, zone) - 3 * HOUR, at(night, zone) + 9 * HOUR
        whole = dues(told, since, until)
        for minute in range(0, 12 * 60, 19):
            begins_at = since + 60 * minute
            assert dues(told, begins_at, until) == [one for one in whole if one > begins_at]


# --- Deadlines and jitter --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("due", "deadline", "stops"),
    [
        ("2027-05-05 02:30", "06:00", "2027-05-05 06:00"),
        ("2027-05-05 22:00", "06:00", "2027-05-06 06:00"),
        ("2027-05-05 06:00", "06:00", "2027-05-06 06:00"),
        ("2027-03-28 01:30", "02:30", "2027-03-28 03:30"),  # which is what comes for 02:30
        ("2027-12-31 23:00", "00:00", "2028-01-01 00:00"),
    ],
)
def test_a_run_stops_at_the_next_time_of_its_deadline(due: str, deadline: str, stops: str) -> None:
    """The same night, or the next day where that time has passed."""
    told = table("30 2 * * *", deadline=dt.time.fromisoformat(deadline))
    assert told.deadline_after(at(due)) == at(stops)


def test_a_deadline_that_comes_twice_is_the_next_one() -> None:
    """Between the first 02:30 and the second, a run stops at the second, not a day later."""
    told = table("15 * * * *", deadline=dt.time(2, 30))
    assert told.deadline_after(at("2027-10-31 02:15")) == at("2027-10-31 02:30")
    assert told.deadline_after(at("2027-10-31 02:45")) == at("2027-10-31 02:30", fold=1)
    assert told.deadline_after(at("2027-10-31 02:45", fold=1)) == at("2027-11-01 02:30")


def test_the_jitter_is_constant_for_one_due_time_and_differs_between_due_times() -> None:
    """A restart waits for the same second; jobs do not start all at once."""
    told = table("*/10 * * * *", jitter_s=300.0)
    first, second = ([*itertools.islice(told.after(at("2027-05-05 00:00")), 200)] for _ in range(2))
    waits = [due.starts_at - due.due_at for due in first]
    assert first == second
    assert all(0 <= wait < 300 for wait in waits)
    assert len(set(waits)) > 100
    assert 120 < sum(waits) / len(waits) < 180
    others = itertools.islice(replace(told, job="other").after(at("2027-05-05 00:00")), 200)
    assert [due.starts_at for due in others] != [due.starts_at for due in first]


# --- What is to be done now ------------------------------------------------------------------

NIGHT = at("2027-05-05 02:00")
NIGHTS = [NIGHT + n * DAY for n in range(4)]
SKIPPED = 'the scheduler was not running, and catch_up = "skip"'
TOO_LATE = "the scheduler was not running, and the delay exceeds catch_up_within"
REPLACED = "replaced by a later due time"
PASSED = "the deadline passed before the run could start"


def said(decision: Decision) -> tuple[float | None, list[tuple[float, float, int, str]]]:
    """Return a decision in short: what is run; first, last, how many, and why not."""
    missed = [(one.first.due_at, one.last.due_at, one.times, one.why) for one in decision.missed]
    return decision.run.due_at if decision.run else None, missed


@pytest.mark.parametrize("catch_up", ["skip", "once", "all"])
def test_what_is_not_due_yet_is_not_decided(catch_up: str) -> None:
    """One second before the due time there is nothing to do."""
    told = table("0 2 * * *", catch_up=catch_up)
    assert said(told.decide(NIGHT - 60, NIGHT - 1)) == (None, [])
    assert said(told.decide(NIGHT - 60, NIGHT)) == (NIGHT, [])
    assert said(told.decide(NIGHT, NIGHT + 1)) == (None, [])


@pytest.mark.parametrize(
    ("catch_up", "late_s", "is_run", "why"),
    [
        ("skip", ON_TIME_S, True, ""),
        ("skip", ON_TIME_S + 1, False, SKIPPED),
        ("skip", 13 * HOUR, False, SKIPPED),
        ("once", ON_TIME_S + 1, True, ""),
        ("once", 12 * HOUR, True, ""),
        ("once", 12 * HOUR + 1, False, TOO_LATE),
        ("all", 12 * HOUR, True, ""),
        ("all", 12 * HOUR + 1, False, TOO_LATE),
    ],
)
def test_a_late_due_time_is_run_or_missed(
    catch_up: str, late_s: float, is_run: bool, why: str
) -> None:
    """As configured, up to ``catch_up_within``."""
    told = table("0 2 * * *", catch_up=catch_up)
    run, missed = said(told.decide(NIGHT - 1, NIGHT + late_s))
    assert (run, missed) == ((NIGHT, []) if is_run else (None, [(NIGHT, NIGHT, 1, why)]))


@pytest.mark.parametrize(
    ("catch_up", "run", "missed"),
    [
        ("skip", 3, [(0, 2, 3, SKIPPED)]),
        ("once", 3, [(0, 1, 2, TOO_LATE), (2, 2, 1, REPLACED)]),
        ("all", 2, [(0, 1, 2, TOO_LATE)]),
    ],
)
def test_each_of_several_missed_nights_is_run_or_missed(
    catch_up: str, run: int, missed: list[tuple[int, int, int, str]]
) -> None:
    """After four missed nights, with a limit of 30 hours, two are not too late."""
    told = table("0 2 * * *", catch_up=catch_up, within_s=30 * HOUR)
    assert said(told.decide(NIGHTS[0] - 1, NIGHTS[3] + 5)) == (
        NIGHTS[run],
        [(NIGHTS[first], NIGHTS[last], n, why) for first, last, n, why in missed],
    )


@pytest.mark.parametrize("catch_up", ["skip", "once", "all"])
def test_after_its_deadline_nothing_is_run(catch_up: str) -> None:
    """However it is caught up: what could not have run to its end is not begun."""
    told = table("0 2 * * *", catch_up=catch_up, deadline=dt.time(2, 0, 30))
    assert said(told.decide(NIGHT - 1, NIGHT + 29)) == (NIGHT, [])
    assert said(told.decide(NIGHT - 1, NIGHT + 30)) == (None, [(NIGHT, NIGHT, 1, PASSED)])


def test_a_jitter_longer_than_the_deadline_is_a_run_that_is_missed() -> None:
    """It is recorded as missed, not started and stopped at once."""
    told = table("0 2 * * *", jitter_s=HOUR, deadline=dt.time(2, 0, 1))
    due = next(told.after(NIGHT - 1))
    assert due.starts_at > NIGHT + 1
    assert said(told.decide(NIGHT - 1, due.starts_at)) == (None, [(NIGHT, NIGHT, 1, PASSED)])


def test_a_year_of_minutes_is_dealt_with_in_the_end() -> None:
    """However long it was away, the last of them is run, and no more than once."""
    told = table("* * * * *", UTC, within_s=HOUR)
    now_at = at("2028-05-05 02:00", UTC)
    handled_at, runs = now_at - 40 * DAY, []
    for _ in range(10):
        decision = told.decide(handled_at, now_at)
        handled_at = handled_by(decision, handled_at)
        runs += [decision.run.due_at] if decision.run else []
    assert (runs, handled_at) == ([now_at], now_at)


def handled_by(decision: Decision, handled_at: float) -> float:
    """Return the last due time that is handled when a decision is carried out."""
    last = [one.last.due_at for one in decision.missed]
    return max([handled_at, *last, *([decision.run.due_at] if decision.run else [])])


def moments_of(told: Timetable, missed: Missed) -> list[float]:
    """Return the due times that were missed."""
    return dues(told, missed.first.due_at - 1, missed.last.due_at)


TIMETABLES = st.builds(
    Timetable,
    st.just("nightly"),
    st.sampled_from([*CRONS, "7 4 * * 1", "*/5 * * * *", "0 2 L * *"]),
    st.sampled_from([*CHANGES, UTC]),
    st.sampled_from([0.0, 30.0, 600.0, 7200.0]),
    st.sampled_from(["skip", "once", "all"]),
    within_s=st.sampled_from([0.0, 1800.0, 12 * HOUR, 40 * HOUR]),
    deadline=st.none() | st.times().map(lambda one: one.replace(second=0, microsecond=0)),
)
NIGHTS_OF_THE_YEAR = [*range(0, 360, 30), 86, 87, 303, 304]
PAUSES = st.lists(
    st.floats(0, 120) | st.floats(0, 2 * HOUR) | st.floats(0, 3 * DAY), min_size=1, max_size=12
)


@pytest.mark.slow
@settings(max_examples=120)
@given(told=TIMETABLES, night=st.sampled_from(NIGHTS_OF_THE_YEAR), pauses=PAUSES)
def test_each_due_time_is_decided_exactly_once(
    told: Timetable, night: int, pauses: list[float]
) -> None:
    """However often it is checked, and whatever clocks do that night."""
    begins_at = at("2027-01-01") + night * DAY
    handled_at = now_at = begins_at
    handled: list[float] = []
    for pause_s in pauses:
        now_at += pause_s
        while (decision := told.decide(handled_at, now_at)) != Decision(None, ()):
            for missed in decision.missed:
                times = moments_of(told, missed)
                assert len(times) == missed.times
                handled += times
            handled += [decision.run.due_at] if decision.run else []
            handled_at = handled_by(decision, handled_at)
            assert handled_at == handled[-1]
        starts_at = told.next_start_at(handled_at, now_at)
        assert starts_at is not None
        assert starts_at > now_at  # no process is woken up for nothing
    assert handled == dues(told, begins_at, handled_at)


@pytest.mark.slow
@settings(max_examples=100)
@given(
    jitter_s=st.sampled_from([0.0, 45.0, 300.0]),
    starts_s=st.lists(st.floats(0.2, 30), min_size=120, max_size=120),
)
def test_a_check_every_minute_misses_nothing(jitter_s: float, starts_s: list[float]) -> None:
    """A crontab, on a machine where starting a process takes long from time to time."""
    told = table("*/10 * * * *", catch_up="skip", jitter_s=jitter_s)
    handled_at, runs = NIGHT - 1, []
    for minute, start_s in enumerate(starts_s):
        decision = told.decide(handled_at, NIGHT + 60 * minute + start_s)
        assert decision.missed == ()
        handled_at = handled_by(decision, handled_at)
        runs += [decision.run.due_at] if decision.run else []
    assert runs[:11] == [NIGHT + 600 * n for n in range(11)]


@settings(max_examples=100)
@given(told=TIMETABLES, late=st.floats(0, 5 * DAY))
def test_what_is_run_may_be_run(told: Timetable, late: float) -> None:
    """Not before its time, not after its deadline, not later than the job allows."""
    begins_at = at("2027-03-26")
    now_at = begins_at + late
    run = told.decide(begins_at, now_at).run
    if run is None:
        return
    assert run.starts_at <= now_at
    assert run.deadline_at is None or now_at < run.deadline_at
    assert now_at - run.starts_at <= max(
        ON_TIME_S, 0.0 if told.catch_up == "skip" else told.within_s
    )


def test_a_job_file_has_its_timetable(tmp_path: Path) -> None:
    """Zone, jitter, deadline and all are taken from the file; a job without has none."""
    file = tmp_path / "nightly.toml"
    file.write_text('[source]\nsheet = "x.csv"\n')
    assert Timetable.of(read_job(file)) is None
    file.write_text(
        '[source]\nsheet = "x.csv"\n[schedule]\ncron = "30 2 * * mon"\n'
        'time_zone = "Europe/Berlin"\njitter = "10m"\ncatch_up = "all"\n'
        'catch_up_within = "2d"\ndeadline = "06:00"\n'
    )
    told = Timetable.of(read_job(file))
    assert told == table(
        "30 2 * * mon",
        jitter_s=600.0,
        catch_up="all",
        within_s=2 * DAY,
        deadline=dt.time(6, 0),
    )
    assert told.description() == "At 02:30 on Monday"
    assert told.key == "30 2 * * mon Europe/Berlin"
