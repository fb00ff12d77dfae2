"""The tables of a job file: source, sending, limits, API, report, notifications, schedule.

pydantic validates each value and rejects unknown keys.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from bulk_reset.core.defaults import (
    ATTEMPTS,
    NUMBERS_SINCE,
    PATIENCE_S,
    PER_MINUTE,
    PER_SECOND,
    TIMEOUT_S,
    Priority,
)
from bulk_reset.core.errors import InputError
from bulk_reset.engine.approval_options import LONGEST_NOTE
from bulk_reset.jobs.job_files.job_value_types import (
    BaseUrl,
    CopyName,
    Duration,
    FilePath,
    FilePattern,
    MetricsPath,
    PositiveDuration,
    SheetPlace,
    Text,
    WebhookUrl,
    check_cron,
)
from bulk_reset.jobs.notify.notify_payload import EXAMPLE, payload_of
from bulk_reset.sheets.file_types import is_remote
from bulk_reset.workflows.incident_query import query_of

_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_HEADERS: Final = frozenset({"content-length", "transfer-encoding", "host", "connection"})
_MAX_ROWS: Final = 1_000
_MAX_CHANGE: Final = 500
"""A job runs unattended: an edit of everything, by a wrong filter or rule, must not be sent."""
"""The default limit, so that a wrong query or sheet cannot update everything."""


class JobTable(BaseModel):
    """A table of a job file: only the keys of its class, only values of their types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PullFrom(JobTable):
    """``[source.pull]``: the incidents as they are when the job runs.

    Its times are relative to the due time, so that a late run selects the same incidents.
    """

    since: Text
    until: Text = "now"
    query: Text = ""
    severity: list[Literal["Critical", "Warning", "Info", "Ok"]] = []
    progress: list[Literal["Triggered", "Processing", "Closed"]] = []
    channel: list[Text] = []
    team: list[int] = []
    num: list[Text] = []
    field: list[Text] = []

    def query_at(self, now: dt.datetime) -> Any:  # noqa: ANN401  (a Query)
        """Return the query for a due time, in its zone.

        Raises:
            InputError: a time is invalid.
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


def _current_name(value: object) -> object:
    """Accept the name that version 0.1.0 had for ``error``."""
    return "error" if value == "mistake" else value


class Source(JobTable):
    """``[source]``: a sheet by its path, the newest of several, or what a pull finds."""

    sheet: SheetPlace | None = None
    newest: FilePattern | None = None
    pull: PullFrom | None = None
    worksheet: Text | None = None
    delimiter: Text | None = None
    encoding: Text | None = None
    header_row: Annotated[int, Field(ge=1)] | None = None
    profile: FilePath | None = None
    rules: FilePath | None = None
    numbers_since: Text = NUMBERS_SINCE
    read_within: PositiveDuration = "10m"
    if_none: Annotated[Literal["error", "nothing"], BeforeValidator(_current_name)] = "error"
    afterwards: Literal["leave", "done"] = "leave"
    settle: Duration = "5s"

    @property
    def is_remote(self) -> bool:
        """Whether the sheet is at an address."""
        return is_remote(self.sheet)

    @model_validator(mode="after")
    def _check_one(self) -> Source:
        given = [name for name in ("sheet", "newest", "pull") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"has {found} of sheet, newest and pull. Use exactly one.")
        if self.is_remote and self.afterwards == "done":
            raise ValueError(
                'afterwards = "done" moves a file, and the sheet is an address. Remove this key.'
            )
        if given == ["pull"]:
            of_sheets = (
                *("worksheet", "delimiter", "encoding", "header_row", "profile", "rules"),
                "numbers_since",
                *("read_within", "afterwards", "settle"),
            )
            wrong = [name for name in of_sheets if name in self.model_fields_set]
            if wrong:
                raise ValueError(f"{wrong[0]} is allowed only with a sheet. Remove this key.")
        return self


class RunSettings(JobTable):
    """``[run]``: how the rows are sent."""

    on_conflict: Literal["error", "last", "in-order"] = "error"
    skip_invalid: bool = False
    overwrite: bool = False
    before: bool = True
    mute_reply: bool = False
    only_unpinned: bool = False
    canary: Annotated[int, Field(ge=1)] | None = None
    verify: bool = False
    note: Annotated[str, Field(max_length=LONGEST_NOTE)] = ""
    approved_by: list[Text] = []
    allowed_signers: FilePath | None = None
    hmac_key_file: FilePath | None = None
    allow_own_approval: bool = False

    @model_validator(mode="after")
    def _check_approval(self) -> RunSettings:
        keys = self.allowed_signers or self.hmac_key_file
        if self.approved_by and not keys:
            raise ValueError("approved_by needs allowed_signers or hmac_key_file. Add one of them.")
        if not self.approved_by and (keys or self.allow_own_approval):
            raise ValueError("approval keys have no effect without approved_by. Add this key.")
        return self

    @model_validator(mode="after")
    def _check_before(self) -> RunSettings:
        readers = [name for name in ("canary", "verify", "overwrite") if getattr(self, name)]
        if not self.before and readers:
            raise ValueError(
                f"{readers[0]} reads current values, and before = false does not read them. "
                "Remove one of the keys."
            )
        return self


class Limits(JobTable):
    """``[limits]``: when a run stops."""

    max_rows: Annotated[int, Field(ge=1)] = _MAX_ROWS
    max_failures: Annotated[int, Field(ge=0)] | str | None = None
    max_change: Annotated[int, Field(ge=0)] | str = _MAX_CHANGE
    max_critical: Annotated[int, Field(ge=0)] | None = None
    max_duration: PositiveDuration | None = None

    @field_validator("max_failures", "max_change")
    @classmethod
    def _check_share(cls, limit: int | str | None) -> int | str | None:
        if not isinstance(limit, str):
            return limit
        found = re.fullmatch(r"(\d{1,9})(%?)", limit, re.ASCII)
        if found is None or (found[2] and int(found[1]) > 100):  # noqa: PLR2004
            raise ValueError("not a number of rows or a percentage. Use for example 20 or '5%'.")
        # A value from the environment is always a text.
        return limit if found[2] else int(limit)


class Api(JobTable):
    """``[api]``: the address, the account, and how much of the quota is used."""

    access_token_file: FilePath | None = None
    app_key_file: FilePath | None = None
    base_url: BaseUrl | None = None
    account: str = ""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    priority: Priority = Priority.NORMAL
    quota_store: Text | None = None
    per_second: Annotated[int, Field(ge=1)] = PER_SECOND
    per_minute: Annotated[int, Field(ge=1)] = PER_MINUTE
    timeout: Annotated[float, Field(gt=0)] = TIMEOUT_S
    attempts: Annotated[int, Field(ge=1)] = ATTEMPTS
    patience: Annotated[float, Field(ge=0)] = PATIENCE_S
    sandbox: bool = False
    sandbox_state: FilePath | None = None

    @model_validator(mode="after")
    def _check_rehearsal(self) -> Api:
        account = self.base_url or self.app_key_file or self.access_token_file
        if (self.sandbox or self.sandbox_state) and account:
            raise ValueError(
                "a sandbox takes no base_url, app_key_file or access_token_file. Remove them."
            )
        return self


class ReportSettings(JobTable):
    """``[report]``: files for people, in addition to those in the run's own folder."""

    html: bool = True
    copy_to: CopyName | None = None
    metrics_file: MetricsPath | None = None


class Notify(JobTable):
    """``[notify]``: who is notified of the result."""

    command: Annotated[list[Text], Field(min_length=1)] | None = None
    webhook: WebhookUrl | None = None
    headers: dict[str, Text] = {}
    payload: Text | None = None
    when: Literal["always", "problem"] = "problem"
    ping_start: WebhookUrl | None = None
    ping_success: WebhookUrl | None = None
    ping_failure: WebhookUrl | None = None

    @property
    def pings(self) -> tuple[str, ...]:
        """The addresses that are pinged, for start, success and failure."""
        return tuple(filter(None, (self.ping_start, self.ping_success, self.ping_failure)))

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name) or name.casefold() in _OWN_HEADERS:
                raise ValueError(f"{name!r} cannot be set. Use a name like X-Token.")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(
                    f"the value of {name} is not printable ASCII text. Remove the rest."
                )
        return headers

    @field_validator("payload")
    @classmethod
    def _check_payload(cls, template: str | None) -> str | None:
        if template is not None:
            payload_of(template, EXAMPLE)
        return template

    @model_validator(mode="after")
    def _check_recipient(self) -> Notify:
        if self.command is None and self.webhook is None and not self.pings:
            raise ValueError("has no recipient. Add command, webhook, or both.")
        for name in ("headers", "payload"):
            if getattr(self, name) and self.webhook is None:
                raise ValueError(f"{name} is allowed only with webhook. Remove this key.")
        return self


class ScheduleTable(JobTable):
    """``[schedule]``: when the job is due."""

    cron: str
    time_zone: str
    jitter: Duration = "0s"
    catch_up: Literal["skip", "once", "all"] = "once"
    catch_up_within: Duration = "12h"
    again_after: PositiveDuration = "15m"
    deadline: str | None = None

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, text: str) -> str:
        if len(text.split()) != 5 or re.search(r"\d{9}", text):  # noqa: PLR2004
            raise ValueError(
                "not a cron expression. Use five fields: minute, hour, day of the month, month, "
                "day of the week; '30 2 * * 1-5' is 02:30 from Monday to Friday."
            )
        check_cron(text)
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
            hint = f"Did you mean {min(near, key=len)}?" if near else "Use a name like Europe/Rome."
            raise ValueError(f"unknown time zone. {hint}") from exc
        return name

    @field_validator("deadline")
    @classmethod
    def _check_deadline(cls, text: str | None) -> str | None:
        if text is not None and not _CLOCK.fullmatch(text):
            raise ValueError("not a time of the day. Use for example '06:00'.")
        return text
