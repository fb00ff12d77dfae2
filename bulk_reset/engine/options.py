"""Options: how a sheet is read, checked and sent; an argument of every action."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from bulk_reset.core.defaults import (
    ATTEMPTS,
    PATIENCE_S,
    PER_MINUTE,
    PER_SECOND,
    TIMEOUT_S,
    WORKERS,
    OnConflict,
)
from bulk_reset.core.errors import InputError
from bulk_reset.engine.retry_policy import RetryPolicy
from bulk_reset.quota.limiter import Window, windows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a sheet is read, checked and sent; each is the option of the command line.

    Attributes:
        mapping: field -> name of its column, where the names do not tell.
        delimiter, encoding, sheet_name: found by themselves when None.
        header_row: the 1-based row of the header; found by itself when None.
        on_conflict: what to do with rows that set one field to different values.
        skip_invalid: send the valid rows although others are not.
        app_key_file: a file with the key alone in it; else the environment, else the
            provider's configuration.
        base_url: the API's address; HTTPS, or this machine.
        sandbox: send to an emulated API inside this process; no key is needed.
        account: a name for an account that several keys belong to: they share its quota.
        waits: wait while another run on this machine sends with the same account.
        per_second, per_minute: the account's limits; ``share`` of them is used, in (0, 1].
        workers: requests on their way at most.
        timeout_s: for one request.
        attempts: for one row.
        patience_s: how long an outage is waited out before the run stops.
        limit: send at most so many rows; the rest stays pending.
        max_failures: stop when more rows fail; a number, or a share of the rows like ``5%``.
        retry_failed: send again what failed in an earlier run.
        report: the report file; beside the sheet when None.
        dry_run: do everything but send.
        before: look at incidents before their rows are sent: what is so already is not sent,
            what somebody has changed since the sheet was made is held back, and what stood
            there is kept in a file beside the report.
        overwrite: send also what somebody has changed since the sheet was made.
        canary: send so many rows first, spread over the sheet, and read them back.
        verify: read back what was written when all is sent.
        sandbox_state: like ``sandbox``, with its incidents kept in this file.
        max_rows: a sheet with more rows is a mistake, and nothing of it is sent.
        deadline_at: when the run stops, UTC epoch seconds; the rest stays pending.
    """

    mapping: dict[str, str] = field(default_factory=dict)
    delimiter: str | None = None
    encoding: str | None = None
    sheet_name: str | None = None
    header_row: int | None = None
    on_conflict: OnConflict = OnConflict.ERROR
    skip_invalid: bool = False
    app_key_file: Path | None = None
    base_url: str | None = None
    sandbox: bool = False
    account: str = ""
    waits: bool = True
    per_second: int = PER_SECOND
    per_minute: int = PER_MINUTE
    share: float = 1.0
    workers: int = WORKERS
    timeout_s: float = TIMEOUT_S
    attempts: int = ATTEMPTS
    patience_s: float = PATIENCE_S
    limit: int | None = None
    max_failures: int | str | None = None
    retry_failed: bool = False
    report: Path | None = None
    dry_run: bool = False
    before: bool = True
    overwrite: bool = False
    canary: int | None = None
    verify: bool = False
    sandbox_state: Path | None = None
    max_rows: int | None = None
    deadline_at: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InputError: names the option and what it takes.
        """
        self.windows()
        self.policy()
        self.failure_limit(1)
        for name, value in (
            ("--workers", self.workers),
            ("--limit", self.limit),
            ("--header-row", self.header_row),
            ("--canary", self.canary),
            ("--max-rows", self.max_rows),
        ):
            if value is not None and value < 1:
                raise InputError(f"{name} {value}: must be 1 or more.")
        if self.timeout_s <= 0:
            raise InputError(f"--timeout {self.timeout_s:g}: must be more than 0 seconds.")
        if self.patience_s < 0:
            raise InputError(f"--patience {self.patience_s:g}: must be 0 seconds or more.")
        if not self.before and (self.canary or self.verify or self.overwrite):
            raise InputError(
                "--no-before: --canary, --verify and --overwrite look at incidents. Leave one out."
            )
        if self.is_rehearsal and (self.base_url or self.app_key_file):
            raise InputError("--sandbox needs no --base-url and no --app-key-file. Leave them out.")

    @property
    def is_rehearsal(self) -> bool:
        """Whether all goes to an emulated API inside this process."""
        return self.sandbox or self.sandbox_state is not None

    def windows(self) -> tuple[Window, ...]:
        """Return the windows of the quota that this run may use."""
        return windows_of(self.per_second, self.per_minute, self.share)

    def policy(self) -> RetryPolicy:
        """Return how often a row is tried."""
        return RetryPolicy(attempts=self.attempts)

    def failure_limit(self, rows: int) -> float:
        """Return how many rows may fail before the run stops."""
        if self.max_failures is None:
            return float("inf")
        text = str(self.max_failures).strip()
        number = text.removesuffix("%")
        if not number.isdecimal():
            raise InputError(f"--max-failures {text}: say a number of rows, or a share like 5%.")
        return rows * int(number) / 100 if text.endswith("%") else int(number)

    def changed(self) -> dict[str, Any]:
        """Return option -> value of those that are not at their default."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            one.name: values[one.name]
            for one in fields(self)
            if values[one.name]
            != (one.default if one.default_factory is MISSING else one.default_factory())
        }
