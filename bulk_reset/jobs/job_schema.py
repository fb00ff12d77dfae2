"""The tables of a job file: where the rows come from, how they are sent, when, and who is told.

pydantic knows what each key takes, and refuses every key that is not here.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bulk_reset.core.defaults import ATTEMPTS, PATIENCE_S, PER_MINUTE, PER_SECOND, TIMEOUT_S
from bulk_reset.core.errors import InputError
from bulk_reset.jobs.job_value_types import (
    BaseUrl,
    CopyName,
    Duration,
    FilePath,
    FilePattern,
    MetricsPath,
    Text,
    WebhookUrl,
    check_cron,
    seconds_of,
)
from bulk_reset.workflows.incident_query import query_of

_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_MOST_ROWS: Final = 1_000
"""What a job may send unless it says otherwise: so many surprise nobody."""


class JobTable(BaseModel):
    """A table of a job file: no key but those of its class, no type but theirs."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PullFrom(JobTable):
    """``[source.pull]``: the incidents as they are when the job is due.

    Times in it are relative to when the job is due, so that a late run means the same incidents.
    """

    since: Text
    until: Text = "now"
    query: str = ""
    severity: list[Literal["Critical", "Warning", "Info", "Ok"]] = []
    progress: list[Literal["Triggered", "Processing", "Closed"]] = []
    channel: list[Text] = []
    team: list[int] = []
    num: list[Text] = []
    field: list[Text] = []

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


class Source(JobTable):
    """``[source]``: a sheet by its path, the newest of several, or what a pull finds."""

    sheet: FilePath | None = None
    newest: FilePattern | None = None
    pull: PullFrom | None = None
    worksheet: Text | None = None
    delimiter: Text | None = None
    encoding: Text | None = None
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


class RunSettings(JobTable):
    """``[run]``: how the rows are sent."""

    on_conflict: Literal["error", "last", "in-order"] = "error"
    skip_invalid: bool = False
    overwrite: bool = False
    before: bool = True
    canary: Annotated[int, Field(ge=1)] | None = None
    verify: bool = False

    @model_validator(mode="after")
    def _check_looks(self) -> RunSettings:
        looks = [name for name in ("canary", "verify", "overwrite") if getattr(self, name)]
        if not self.before and looks:
            raise ValueError(f"before = false does not look, and {looks[0]} has to. Leave one out.")
        return self


class Limits(JobTable):
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


class Api(JobTable):
    """``[api]``: where it is, who asks, and how much of the quota is used."""

    app_key_file: FilePath | None = None
    base_url: BaseUrl | None = None
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


class ReportSettings(JobTable):
    """``[report]``: what is left for people, beside what the run's own folder keeps."""

    html: bool = True
    copy_to: CopyName | None = None
    metrics_file: MetricsPath | None = None


class Notify(JobTable):
    """``[notify]``: who is told what became of it."""

    command: Annotated[list[Text], Field(min_length=1)] | None = None
    webhook: WebhookUrl | None = None
    when: Literal["always", "problem"] = "problem"

    @model_validator(mode="after")
    def _check_somebody(self) -> Notify:
        if self.command is None and self.webhook is None:
            raise ValueError("tells nobody. Say a command, a webhook, or both.")
        return self


class ScheduleTable(JobTable):
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
        check_cron(text)
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
