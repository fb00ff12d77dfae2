"""What a job file says: where the rows come from, how they are sent, when, and who is told.

A job is one TOML file. Its tables are the classes here; pydantic knows what each key takes, and
refuses every key that is not here. ``job_file`` reads it, and says on which line a mistake is.

Units: ``*_s`` seconds. Durations are written like ``90s``, ``5m``, ``12h``, ``2d``.
"""

from __future__ import annotations

import datetime as dt
import re
import string
import zoneinfo
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from bulk_reset.columns import field_named
from bulk_reset.errors import InputError
from bulk_reset.model import ATTEMPTS, ID_FIELD, PATIENCE_S, PER_MINUTE, PER_SECOND, TIMEOUT_S
from bulk_reset.options import Options
from bulk_reset.query import UNITS, query_of
from bulk_reset.rules import Rules

_DURATION: Final = re.compile(r"(\d{1,9})\s*([smhdw])", re.ASCII)
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_LOOPBACK: Final = re.compile(r"localhost|127(\.\d{1,3}){3}|::1", re.ASCII)
_PLACES: Final = ("date", "time", "job", "run")
"""What may stand in braces in a name."""
_LONGEST_S: Final = 366 * 86_400
_MOST_ROWS: Final = 1_000
"""What a job may send unless it says otherwise: so many surprise nobody."""


class KeyMistakeError(ValueError):
    """What is wrong with one key of a table that takes any.

    Attributes:
        key: the key.
    """

    def __init__(self, key: str, problem: str) -> None:
        self.key = key
        super().__init__(problem)


def seconds_of(text: str) -> int:
    """Return a duration in seconds.

    Raises:
        ValueError: it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError("not a duration. Write a number and s, m, h, d or w: 90s, 5m, 12h.")
    seconds = int(found[1]) * UNITS[found[2]]
    if seconds > _LONGEST_S:
        raise ValueError("longer than a year. Write less.")
    return seconds


def _duration(text: str) -> str:
    seconds_of(text)
    return text


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    is_plain = text.isprintable() and not set(" \\@") & set(text)
    is_safe = text.startswith("https://") or (
        text.startswith("http://") and _LOOPBACK.fullmatch(host)
    )
    if not (host and is_plain and is_safe):
        raise ValueError(
            "not an address that may be used. Write https://… (or this machine), without a user."
        )
    return text


def _api_address(text: str) -> str:
    if set("?#") & set(text):
        raise ValueError("scheme, host and path only. The key is never part of it.")
    return _address(text)


def _path(text: str) -> str:
    try:
        Path(text).expanduser()
    except RuntimeError:
        raise ValueError("nobody of that name has a home here. Write the path in full.") from None
    if not text.strip() or "\0" in text:
        raise ValueError("not a path. Write where the file is.")
    return text


def _pattern(text: str) -> str:
    pattern = Path(_path(text)).expanduser()
    try:
        # Where nothing is, nothing is found, and a pattern that is none is told all the same.
        next(Path("/nonexistent").glob(str(pattern.relative_to(pattern.anchor))), None)
    except (ValueError, IndexError, NotImplementedError) as exc:
        raise ValueError("not a pattern for files. Write it like inbox/*.xlsx.") from exc
    return text


def _see_cron(text: str) -> None:
    """See that a cron expression means some moment; else raise ValueError."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  (a job without does without)

    minute, hour, day, _, weekday = text.split()
    never = "no month that is meant has such a day. Mend day and month."
    try:
        # Without its months first: what is wrong then is wrong in itself.
        CronSim(f"{minute} {hour} {day} * {weekday}", dt.datetime.now(dt.UTC))
        try:
            next(CronSim(text, dt.datetime.now(dt.UTC)))
        except CronSimError as exc:
            if "day" in str(exc):
                raise ValueError(never) from exc
            raise
        except StopIteration:
            raise ValueError(never) from None
    except CronSimError as exc:
        raise ValueError(
            f"not a cron expression ({str(exc).lower()}). Minutes are 0-59, hours 0-23, days "
            "1-31, months 1-12, days of the week 0-7 or mon-sun."
        ) from exc


def _named(text: str) -> str:
    try:
        places = list(string.Formatter().parse(_path(text)))
    except ValueError as exc:
        raise ValueError(f"not a name that can be filled in ({exc}).") from exc
    for _, place, form, conversion in places:
        if place is not None and (place not in _PLACES or form or conversion):
            taken = ", ".join(f"{{{one}}}" for one in _PLACES)
            raise ValueError(f"not a name that can be filled in. In braces it takes {taken}.")
    if text.endswith(("/", "\\")):
        raise ValueError("not a name. Write a folder and how the names begin: out/{date}-{job}.")
    return text


Duration = Annotated[str, AfterValidator(_duration)]
Address = Annotated[str, AfterValidator(_address)]
ApiAddress = Annotated[str, AfterValidator(_api_address)]
FilePath = Annotated[str, AfterValidator(_path)]
Some = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A table of a job file: no key but those of its class, no type but theirs."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PullFrom(Section):
    """``[source.pull]``: the incidents as they are when the job is due.

    Times in it are relative to when the job is due, so that a late run means the same incidents.
    """

    since: Some
    until: Some = "now"
    query: str = ""
    severity: list[Literal["Critical", "Warning", "Info", "Ok"]] = []
    progress: list[Literal["Triggered", "Processing", "Closed"]] = []
    channel: list[Some] = []
    team: list[int] = []
    num: list[Some] = []
    field: list[Some] = []

    def query_at(self, now: dt.datetime) -> Any:  # noqa: ANN401  (a Query)
        """Return which incidents are meant at a moment, in its zone.

        Raises:
            InputError: a time in it is none.
        """
        return query_of(
            self.since,
            self.until,
            now=now,
            query=self.query,
            severities=tuple(self.severity),
            progress=tuple(self.progress),
            channels=tuple(self.channel),
            team_ids=tuple(self.team),
            nums=tuple(self.num),
        )

    @model_validator(mode="after")
    def _check_times(self) -> PullFrom:
        try:
            self.query_at(dt.datetime.now(dt.UTC))
        except InputError as exc:
            raise ValueError(str(exc).replace("--", "")) from None
        return self


class Source(Section):
    """``[source]``: a sheet by its path, the newest of several, or what a pull finds."""

    sheet: FilePath | None = None
    newest: Annotated[str, AfterValidator(_pattern)] | None = None
    pull: PullFrom | None = None
    worksheet: Some | None = None
    delimiter: Some | None = None
    encoding: Some | None = None
    header_row: Annotated[int, Field(ge=1)] | None = None
    if_none: Literal["mistake", "nothing"] = "mistake"
    afterwards: Literal["leave", "done"] = "leave"

    @model_validator(mode="after")
    def _check_one(self) -> Source:
        told = [name for name in ("sheet", "newest", "pull") if getattr(self, name) is not None]
        if len(told) != 1:
            found = " and ".join(told) or "none"
            raise ValueError(f"has {found} of sheet, newest and pull. Say exactly one.")
        if told == ["pull"]:
            of_sheets = ("worksheet", "delimiter", "encoding", "header_row", "afterwards")
            wrong = [name for name in of_sheets if name in self.model_fields_set]
            if wrong:
                raise ValueError(f"{wrong[0]} is for sheets, and this is a pull. Leave it out.")
        return self


class RunWays(Section):
    """``[run]``: how the rows are sent."""

    on_conflict: Literal["error", "last", "in-order"] = "error"
    skip_invalid: bool = False
    overwrite: bool = False
    before: bool = True
    canary: Annotated[int, Field(ge=1)] | None = None
    verify: bool = False

    @model_validator(mode="after")
    def _check_looks(self) -> RunWays:
        looks = [name for name in ("canary", "verify", "overwrite") if getattr(self, name)]
        if not self.before and looks:
            raise ValueError(f"before = false does not look, and {looks[0]} has to. Leave one out.")
        return self


class Limits(Section):
    """``[limits]``: what is taken for a mistake."""

    max_rows: Annotated[int, Field(ge=1)] = _MOST_ROWS
    max_failures: Annotated[int, Field(ge=0)] | str | None = None

    @field_validator("max_failures")
    @classmethod
    def _check_share(cls, told: int | str | None) -> int | str | None:
        if not isinstance(told, str):
            return told
        found = re.fullmatch(r"(\d{1,9})(%?)", told, re.ASCII)
        if found is None or (found[2] and int(found[1]) > 100):  # noqa: PLR2004
            raise ValueError("not a number of rows and not a share. Write 20 or '5%'.")
        # What comes from the environment is a text, whatever it means.
        return told if found[2] else int(told)


class Api(Section):
    """``[api]``: where it is, who asks, and how much of the quota is used."""

    app_key_file: FilePath | None = None
    base_url: ApiAddress | None = None
    account: str = ""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    per_second: Annotated[int, Field(ge=1)] = PER_SECOND
    per_minute: Annotated[int, Field(ge=1)] = PER_MINUTE
    timeout: Annotated[float, Field(gt=0)] = TIMEOUT_S
    attempts: Annotated[int, Field(ge=1)] = ATTEMPTS
    patience: Annotated[float, Field(ge=0)] = PATIENCE_S
    sandbox: bool = False
    sandbox_state: FilePath | None = None

    @model_validator(mode="after")
    def _check_rehearsal(self) -> Api:
        if (self.sandbox or self.sandbox_state) and (self.base_url or self.app_key_file):
            raise ValueError("a sandbox needs no base_url and no app_key_file. Leave them out.")
        return self


class ReportPlace(Section):
    """``[report]``: what is left for people, beside what the run's own folder keeps."""

    html: bool = True
    copy_to: Annotated[str, AfterValidator(_named)] | None = None
    metrics_file: FilePath | None = None


class Notify(Section):
    """``[notify]``: who is told what became of it."""

    command: Annotated[list[Some], Field(min_length=1)] | None = None
    webhook: Address | None = None
    when: Literal["always", "problem"] = "problem"

    @model_validator(mode="after")
    def _check_somebody(self) -> Notify:
        if self.command is None and self.webhook is None:
            raise ValueError("tells nobody. Say a command, a webhook, or both.")
        return self


class ScheduleTable(Section):
    """``[schedule]``: when the job is due."""

    cron: str
    time_zone: str
    jitter: Duration = "0s"
    catch_up: Literal["skip", "once", "all"] = "once"
    catch_up_within: Duration = "12h"
    again_after: Duration = "15m"
    deadline: str | None = None

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, text: str) -> str:
        if len(text.split()) != 5 or re.search(r"\d{9}", text):  # noqa: PLR2004
            raise ValueError(
                "not a cron expression. Write five fields: minute, hour, day of the month, month, "
                "day of the week; '30 2 * * 1-5' is 02:30 from Monday to Friday."
            )
        _see_cron(text)
        return text

    @field_validator("again_after")
    @classmethod
    def _check_again(cls, text: str) -> str:
        if not seconds_of(text):
            raise ValueError("would try without a pause. Write 1m or more.")
        return text

    @field_validator("time_zone")
    @classmethod
    def _check_zone(cls, name: str) -> str:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
            last = name.rpartition("/")[2].replace(" ", "_").casefold()
            near = [
                one for one in zoneinfo.available_timezones() if last and last in one.casefold()
            ]
            hint = f"Did you mean {min(near, key=len)}?" if near else "Write it like Europe/Berlin."
            raise ValueError(f"no time zone of that name. {hint}") from exc
        return name

    @field_validator("deadline")
    @classmethod
    def _check_deadline(cls, text: str | None) -> str | None:
        if text is not None and not _CLOCK.fullmatch(text):
            raise ValueError("not a time of the day. Write it like '06:00'.")
        return text


class Job(Section):
    """A job file, checked.

    Attributes:
        path: the file; other paths in it are relative to its folder.
    """

    path: Path
    description: str = ""
    source: Source
    columns: dict[str, Some] = {}
    set: dict[str, Some] = {}
    run: RunWays = RunWays()
    limits: Limits = Limits()
    api: Api = Api()
    report: ReportPlace = ReportPlace()
    notify: Notify | None = None
    schedule: ScheduleTable | None = None

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def beside(self, place: str) -> Path:
        """Return a path as the job means it: from its own folder."""
        return self.path.parent / Path(place).expanduser()

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, told: Mapping[str, str]) -> Mapping[str, str]:
        _check_fields(told, "the name of its column")
        return told

    @field_validator("set")
    @classmethod
    def _check_set(cls, told: Mapping[str, str]) -> Mapping[str, str]:
        _check_fields(told, "a template")
        for name, template in told.items():
            if field_named(name) == ID_FIELD:
                raise KeyMistakeError(name, "an incident's id cannot be set. Leave it out.")
            try:
                Rules.of(rules_of({name: template}))
            except InputError as exc:
                problem = str(exc).removeprefix(f"--set {name}: ")
                raise KeyMistakeError(name, problem) from None
        if len({field_named(name) for name in told}) < len(told):
            raise ValueError("sets one field twice. Say it once.")
        return told

    @model_validator(mode="after")
    def _check_together(self) -> Job:
        if self.source.pull is None and self.set:
            raise ValueError("[set] edits what is pulled, and the source is a sheet. Leave it out.")
        if self.source.pull is not None and self.columns:
            raise ValueError("[columns] is for sheets, and this is a pull. Leave it out.")
        if self.source.pull is not None and not self.set:
            raise ValueError("a pull alone changes nothing. Say in [set] what is to become of it.")
        return self

    def options(self, report: Path, deadline_at: float | None) -> Options:
        """Return how the run is wanted.

        Args:
            deadline_at: when it stops, UTC epoch seconds.

        Raises:
            InputError: it cannot be meant.
        """
        from bulk_reset.model import OnConflict  # noqa: PLC0415

        source, ways, api = self.source, self.run, self.api
        return Options(
            mapping=dict(self.columns),
            delimiter=source.delimiter,
            encoding=source.encoding,
            sheet_name=source.worksheet,
            header_row=source.header_row,
            on_conflict=OnConflict(ways.on_conflict),
            skip_invalid=ways.skip_invalid,
            app_key_file=self.beside(api.app_key_file) if api.app_key_file else None,
            base_url=api.base_url,
            sandbox=api.sandbox,
            account=api.account,
            per_second=api.per_second,
            per_minute=api.per_minute,
            share=api.share,
            timeout_s=api.timeout,
            attempts=api.attempts,
            patience_s=api.patience,
            max_failures=self.limits.max_failures,
            max_rows=self.limits.max_rows,
            report=report,
            before=ways.before,
            overwrite=ways.overwrite,
            canary=ways.canary,
            verify=ways.verify,
            sandbox_state=self.beside(api.sandbox_state) if api.sandbox_state else None,
            deadline_at=deadline_at,
        )

    def reach(self) -> list[str]:
        """Return the options with which other commands reach the same API."""
        api = self.api
        told = {
            "--app-key-file": str(self.beside(api.app_key_file)) if api.app_key_file else "",
            "--base-url": api.base_url or "",
            "--account": api.account,
            "--sandbox-state": str(self.beside(api.sandbox_state)) if api.sandbox_state else "",
        }
        return [word for pair in told.items() if pair[1] for word in pair]

    def rules(self) -> list[str]:
        """Return what is to be set, as ``pull`` takes it."""
        return rules_of(self.set)


def rules_of(told: Mapping[str, str]) -> list[str]:
    """Return ``[set]`` as rules: ``FIELD=TEMPLATE``."""
    return [f"{name}={template}" for name, template in told.items()]


def _check_fields(told: Mapping[str, str], what: str) -> None:
    for name in told:
        if field_named(name) is None:
            raise KeyMistakeError(
                name,
                "no such field. There may be title, description, impact, root_cause, resolution, "
                f"incident_severity, 'field:NAME' and comment, each with {what}.",
            )
