"""When a job is due, and what is to be done about it now: pure decisions, no clock read.

A job is due at the moments that its cron expression means in its time zone; cronsim does for
daylight saving what Debian's cron does: what falls into the hour that is left out runs right
after it, and what falls into the hour that comes twice runs once (unless it runs every hour).

Each due moment is handled once: it is run, or it is said why not. Units: ``*_at`` UTC epoch
seconds, ``*_s`` seconds.
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

from bulk_reset.jobs.job import Job
from bulk_reset.jobs.job_value_types import seconds_of

ON_TIME_S: Final = 90.0
"""Who comes so late is on time: asked every minute, with half of one to start a process in."""
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_MOST_COUNTED: Final = 20_000


class Due(NamedTuple):
    """One moment at which a job is due."""

    due_at: float
    """As the cron expression says; what tells this one from all others."""
    starts_at: float
    """With the jitter."""
    deadline_at: float | None


class Missed(NamedTuple):
    """Due moments, one after the other, at which the job was not run."""

    first: Due
    last: Due
    times: int
    why: str


class Decision(NamedTuple):
    """What is to be done now."""

    run: Due | None
    missed: tuple[Missed, ...]


class _Moments(CronSim):
    """Cronsim, for clocks that are changed by less than an hour too.

    It steps by whole hours, and so over the half of one after such a change.
    """

    def tick(self, seconds: int = 1) -> None:
        """Step to the next moment to look at; where the clock is changed before, to there."""
        was = self.dt
        if was.tzinfo is None or seconds <= _MINUTE_S:
            super().tick(seconds)
            return
        # A step of an hour is meant to end where an hour begins.
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
        zone: in which the expression and the deadline are meant.
        jitter_s: how much later a run starts at most; for one due moment always the same.
        catch_up: what becomes of moments that were missed: ``skip``, ``once`` (the last one
            is run) or ``all``.
        within_s: what is later than this is not run any more.
        again_s: when a run is gone on with that the API did not answer.
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
        """Return a job's, None where it has no ``[schedule]``."""
        told = job.schedule
        if told is None:
            return None
        return cls(
            job.name,
            told.cron,
            zoneinfo.ZoneInfo(told.time_zone),
            float(seconds_of(told.jitter)),
            told.catch_up,
            float(seconds_of(told.catch_up_within)),
            float(seconds_of(told.again_after)),
            dt.time.fromisoformat(told.deadline) if told.deadline else None,
        )

    @property
    def key(self) -> str:
        """What tells this timetable from the one that a job had before it was edited."""
        return f"{self.cron} {self.zone.key}"

    def words(self) -> str:
        """Return the expression in words: ``At 02:30 on Monday through Friday``."""
        return str(CronSim(self.cron, dt.datetime.now(self.zone)).explain())

    def after(self, moment_at: float) -> Iterator[Due]:
        """Yield the moments after this one, without end."""
        start = dt.datetime.fromtimestamp(moment_at, self.zone)
        for moment in _Moments(self.cron, start):
            if moment.timestamp() > moment_at:
                yield self._due(moment)

    def deadline_after(self, moment_at: float) -> float | None:
        """Return the first time of the deadline after a moment."""
        if self.deadline is None:
            return None
        day = dt.datetime.fromtimestamp(moment_at, self.zone).date()
        while True:
            moment = dt.datetime.combine(day, self.deadline, self.zone)
            # Where the clock is put back, it comes twice.
            for one in (moment, moment.replace(fold=1)):
                if one.timestamp() > moment_at:
                    return one.timestamp()
            day += dt.timedelta(days=1)

    def next_start_at(self, handled_at: float, now_at: float) -> float | None:
        """Return when there is something to decide next: now, or later; None for never.

        Args:
            handled_at: the last due moment that was handled.
        """
        # With jitter, a later moment may start before an earlier one ends waiting; they are
        # handled in their order all the same.
        found = next(self.after(handled_at), None)
        return None if found is None else max(now_at, found.starts_at)

    def decide(self, handled_at: float, now_at: float) -> Decision:
        """Decide about what has become due since the last moment that was handled.

        Every moment up to the one that is run, or up to now where none is, is in the answer.
        """
        until_now = itertools.takewhile(lambda due: due.starts_at <= now_at, self.after(handled_at))
        pending = list(itertools.islice(until_now, _MOST_COUNTED))
        verdicts = [(due, self._why_not(due, now_at)) for due in pending]
        good = [due for due, why in verdicts if not why]
        run = (good[0] if self.catch_up == "all" else good[-1]) if good else None
        reasons: list[tuple[Due, str]] = []
        for due, why in verdicts:
            if run is not None and due.due_at >= run.due_at:
                break
            reasons.append((due, why or "a later one is run in its place"))
        return Decision(run, tuple(_grouped(reasons)))

    def _why_not(self, due: Due, now_at: float) -> str:
        late_s = now_at - due.starts_at
        if due.deadline_at is not None and now_at >= due.deadline_at:
            return "its deadline had passed before it could start"
        if late_s <= ON_TIME_S:
            return ""
        if self.catch_up == "skip":
            return "nothing could run it then, and catch_up is skip"
        if late_s > self.within_s:
            return "nothing could run it then, and it is later than catch_up_within"
        return ""

    def _due(self, moment: dt.datetime) -> Due:
        due_at = moment.timestamp()
        digest = hashlib.blake2b(f"{self.job}\0{due_at:.0f}".encode(), digest_size=8).digest()
        jitter_s = int(int.from_bytes(digest, "big") / 2**64 * self.jitter_s)
        return Due(due_at, due_at + jitter_s, self.deadline_after(due_at))


def _grouped(reasons: list[tuple[Due, str]]) -> Iterator[Missed]:
    for why, some in itertools.groupby(reasons, key=lambda one: one[1]):
        dues = [due for due, _ in some]
        yield Missed(dues[0], dues[-1], len(dues), why)
