"""When a job is due, and whether it runs now: pure decisions, no clock is read.

A job is due at the times of its cron expression in its time zone. For daylight saving, cronsim
does what Debian's cron does: a time within the skipped hour runs right after it, and a time
within the repeated hour runs once (unless the job runs every hour).

Each due time is handled once: it is run, or recorded as missed with the reason. Units: ``*_at``
UTC epoch seconds, ``*_s`` seconds.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from cronsim import CronSim

from bulk_reset.jobs.job_files.cron_words import cron_words
from bulk_reset.jobs.job_files.job import Job
from bulk_reset.jobs.job_files.job_value_types import seconds_of

ON_TIME_S: Final = 90.0
"""A start this late is on time: a crontab asks every minute, and a process needs time to start."""
DEADLINE_PASSED: Final = "the deadline passed before the run could start"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_MOST_COUNTED: Final = 20_000


class Due(NamedTuple):
    """One due time of a job."""

    due_at: float
    """By the cron expression; identifies this due time."""
    starts_at: float
    """With the jitter."""
    deadline_at: float | None


class Missed(NamedTuple):
    """Consecutive due times at which the job was not run, for one reason."""

    first: Due
    last: Due
    times: int
    why: str


class Decision(NamedTuple):
    """What to do now: the due time to run, and those to record as missed."""

    run: Due | None
    missed: tuple[Missed, ...]


class _DueTimes(CronSim):
    """Cronsim, corrected for clock changes of less than an hour.

    It steps by whole hours, and so over the half of one after such a change.
    """

    def tick(self, seconds: int = 1) -> None:
        """Step to the next candidate, but not beyond a clock change."""
        was = self.dt
        if was.tzinfo is None or seconds <= _MINUTE_S:
            super().tick(seconds)
            return
        # A step of an hour ends at the beginning of an hour.
        super().tick(seconds - was.minute * _MINUTE_S if seconds == _HOUR_S else seconds)
        if self.dt.utcoffset() != was.utcoffset():
            self.dt = was
            while self.dt.utcoffset() == was.utcoffset():
                super().tick(_MINUTE_S)


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a job is due.

    Attributes:
        cron: five fields.
        zone: the time zone of the expression and of the deadline.
        jitter_s: the longest delay of a start; always the same for one due time.
        catch_up: what to do with missed due times: ``skip``, ``once`` (run the last one) or
            ``all``.
        within_s: a due time that is more than this late is not run.
        again_s: the pause before a run that an outage stopped is resumed.
        deadline: the time of the day at which a run stops.
    """

    job: str
    cron: str
    zone: zoneinfo.ZoneInfo
    jitter_s: float = 0.0
    catch_up: str = "once"
    within_s: float = 12 * 3600.0
    again_s: float = 900.0
    deadline: dt.time | None = None

    @classmethod
    def of(cls, job: Job) -> Timetable | None:
        """Return a job's timetable; None if it has no ``[schedule]``."""
        schedule = job.schedule
        if schedule is None:
            return None
        return cls(
            job.name,
            schedule.cron,
            zoneinfo.ZoneInfo(schedule.time_zone),
            float(seconds_of(schedule.jitter)),
            schedule.catch_up,
            float(seconds_of(schedule.catch_up_within)),
            float(seconds_of(schedule.again_after)),
            dt.time.fromisoformat(schedule.deadline) if schedule.deadline else None,
        )

    @property
    def key(self) -> str:
        """Identifies this timetable: when a job's key changes, its due times count from then."""
        return f"{self.cron} {self.zone.key}"

    def description(self) -> str:
        """Return the expression in words: ``At 02:30 on Monday through Friday``."""
        return cron_words(self.cron)

    def after(self, epoch_s: float) -> Iterator[Due]:
        """Yield the due times after this time, without end."""
        start = dt.datetime.fromtimestamp(epoch_s, self.zone)
        for time in _DueTimes(self.cron, start):
            if time.timestamp() > epoch_s:
                yield self._due(time)

    def deadline_after(self, epoch_s: float) -> float | None:
        """Return the first deadline after this time; None without a deadline."""
        if self.deadline is None:
            return None
        day = dt.datetime.fromtimestamp(epoch_s, self.zone).date()
        while True:
            deadline = dt.datetime.combine(day, self.deadline, self.zone)
            # When the clock is set back, the time of day occurs twice.
            for one in (deadline, deadline.replace(fold=1)):
                if one.timestamp() > epoch_s:
                    return one.timestamp()
            day += dt.timedelta(days=1)

    def next_start_at(self, handled_at: float, now_at: float) -> float | None:
        """Return when to decide next: now, or later; None for never.

        Args:
            handled_at: the last due time that was handled.
        """
        # With jitter, a later due time may start before an earlier one; they are handled in the
        # order of the due times all the same.
        found = next(self.after(handled_at), None)
        return None if found is None else max(now_at, found.starts_at)

    def first_handled_at(self, now_at: float) -> float:
        """Return what counts as handled for a check every minute that sees the job first.

        It has to run what is due in its minute, although it never ran before.
        """
        handled_at = now_at // _MINUTE_S * _MINUTE_S - _MINUTE_S
        since_at = handled_at - self.jitter_s
        for due in self.after(since_at):
            if due.starts_at > handled_at:
                return since_at
            since_at = due.due_at
        return since_at

    def decide(self, handled_at: float, now_at: float) -> Decision:
        """Decide about all due times since the last one that was handled.

        Returns: every due time up to the one to run; up to now if there is none to run.
        """
        until_now = itertools.takewhile(lambda due: due.starts_at <= now_at, self.after(handled_at))
        pending = list(itertools.islice(until_now, _MOST_COUNTED))
        verdicts = [(due, self._why_not(due, now_at)) for due in pending]
        runnable = [due for due, why in verdicts if not why]
        run = (runnable[0] if self.catch_up == "all" else runnable[-1]) if runnable else None
        reasons: list[tuple[Due, str]] = []
        for due, why in verdicts:
            if run is not None and due.due_at >= run.due_at:
                break
            reasons.append((due, why or "replaced by a later due time"))
        return Decision(run, tuple(_grouped(reasons)))

    def _why_not(self, due: Due, now_at: float) -> str:
        late_s = now_at - due.starts_at
        if due.deadline_at is not None and now_at >= due.deadline_at:
            return DEADLINE_PASSED
        if late_s <= ON_TIME_S:
            return ""
        if self.catch_up == "skip":
            return 'the scheduler was not running, and catch_up = "skip"'
        if late_s > self.within_s:
            return "the scheduler was not running, and the delay exceeds catch_up_within"
        return ""

    def _due(self, time: dt.datetime) -> Due:
        due_at = time.timestamp()
        digest = hashlib.blake2b(f"{self.job}\0{due_at:.0f}".encode(), digest_size=8).digest()
        jitter_s = int(int.from_bytes(digest, "big") / 2**64 * self.jitter_s)
        return Due(due_at, due_at + jitter_s, self.deadline_after(due_at))


def _grouped(reasons: list[tuple[Due, str]]) -> Iterator[Missed]:
    for why, some in itertools.groupby(reasons, key=lambda one: one[1]):
        missed = [due for due, _ in some]
        yield Missed(missed[0], missed[-1], len(missed), why)
