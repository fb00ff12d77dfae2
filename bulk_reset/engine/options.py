"""Options of a check, a run, a plan, a verification or a pull, in groups.

``Options`` has all of them. A function that needs one group only takes that group.

Units: ``*_s`` seconds, ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final

from bulk_reset.core.defaults import (
    ATTEMPTS,
    NUMBERS_SINCE,
    PATIENCE_S,
    PER_MINUTE,
    PER_SECOND,
    TIMEOUT_S,
    WORKERS,
    OnConflict,
    Priority,
)
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.row_ranges import RowRanges
from bulk_reset.engine.approval_options import ApprovalOptions
from bulk_reset.engine.option_group import OptionGroup, PathLike, PathOption, empty_option
from bulk_reset.engine.retry_policy import RetryPolicy
from bulk_reset.quota.windows import Window, windows_of

__all__ = [
    "ApprovalOptions",
    "ConnectionOptions",
    "Options",
    "PathLike",
    "QuotaOptions",
    "ReadingOptions",
    "SafetyOptions",
    "SelectionOptions",
    "SendingOptions",
]


_ANY_SHEET: Final = 10**9
"""More rows than a sheet has."""


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(OptionGroup):
    """How a sheet is read and checked.

    Attributes:
        mapping: field -> name of its column, where the names differ.
        delimiter, encoding, sheet_name: auto-detected when None.
        header_row: the 1-based row of the header; auto-detected when None.
        corrections: a file with cells that replace those of the sheet; see ``sheets.corrections``.
        profile: the file of a profile; the one beside the sheet when None. Other options win.
        rules: a file with the user's own rules; those of the profile when None.
        on_conflict: what to do with rows that set one field to different values.
        skip_invalid: send the valid rows although others are invalid.
        max_rows: stop before sending if the sheet has more rows.
        numbers_since: short numbers are those of incidents that started since; where the sheet has
            no times.
    """

    mapping: dict[str, str] = field(default_factory=dict)
    delimiter: str | None = None
    encoding: str | None = None
    sheet_name: str | None = None
    header_row: int | None = None
    corrections: PathOption = PathOption()
    profile: PathOption = PathOption()
    rules: PathOption = PathOption()
    on_conflict: OnConflict = OnConflict.ERROR
    skip_invalid: bool = False
    max_rows: int | None = None
    numbers_since: str = NUMBERS_SINCE

    def _check(self) -> None:
        _require_positive("header_row", self.header_row)
        _require_positive("max_rows", self.max_rows)
        for name in ("encoding", "sheet_name", "delimiter", "numbers_since"):
            if getattr(self, name) == "":
                raise empty_option(name)
        if not all(column.strip() for column in self.mapping.values()):
            raise empty_option("mapping")


@dataclass(frozen=True, kw_only=True)
class SendingOptions(OptionGroup):
    """What is sent and how.

    Attributes:
        limit: send up to so many rows; the others stay pending.
        retry_failed: send again what failed in an earlier run.
        mute_reply: add comments without calling the account's webhooks for them.
        report: the report file; beside the sheet when None.
        workers: up to so many requests are in flight.
        attempts: up to so many for one row.
        patience_s: how long an outage is waited out before the run stops.
        deadline_at: when the run stops; the rest stays pending.
    """

    limit: int | None = None
    retry_failed: bool = False
    mute_reply: bool = False
    report: PathOption = PathOption()
    workers: int = WORKERS
    attempts: int = ATTEMPTS
    patience_s: float = PATIENCE_S
    deadline_at: float | None = None

    def _check(self) -> None:
        _require_positive("limit", self.limit)
        _require_positive("workers", self.workers)
        self.policy()
        if self.patience_s < 0:
            raise InputError(f"{_given('patience_s', self.patience_s)}: must be 0 seconds or more.")

    def policy(self) -> RetryPolicy:
        """Return how often a request is sent."""
        return RetryPolicy(attempts=self.attempts)


@dataclass(frozen=True, kw_only=True)
class SafetyOptions(OptionGroup):
    """What protects incidents from a wrong sheet.

    Attributes:
        before: read incidents before their rows are sent: rows that need no change are not sent,
            values that were modified since the pull are conflicts, and previous values are kept
            in a file beside the report.
        overwrite: send conflicts too.
        canary: send so many rows first, spread over the sheet, and verify them.
        verify: verify what was written when all is sent.
        max_failures: stop when more rows fail; a number, or a share of the rows like ``5%``.
    """

    before: bool = True
    overwrite: bool = False
    canary: int | None = None
    verify: bool = False
    max_failures: int | str | None = None

    def _check(self) -> None:
        _require_positive("canary", self.canary)
        self.failure_limit(1)
        if not self.before and (self.canary or self.verify or self.overwrite):
            names = ", ".join(map(option_name, ("canary", "verify", "overwrite")))
            raise InputError(
                f"{option('before', value=False)}: {names} read incidents. Remove one of them."
            )

    def failure_limit(self, rows: int) -> float:
        """Return how many of so many rows may fail before the run stops."""
        return _row_limit("max_failures", self.max_failures, rows)


@dataclass(frozen=True, kw_only=True)
class SelectionOptions(OptionGroup):
    """Which rows and fields are sent; the others stay as they are.

    Attributes:
        only_rows: row numbers, such as ``2-40,77``.
        only_fields: only these fields of every row.
        where, exclude_where: expressions over ``old``, ``new`` and ``row``.
        only_unpinned: leave out rows with a field that was edited by hand before.
        max_change: refuse to send if more rows will change; a number, or a share like ``30%``.
        max_critical: refuse to send if more Critical incidents will change.
    """

    only_rows: str | None = None
    only_fields: tuple[str, ...] = ()
    where: str | None = None
    exclude_where: str | None = None
    only_unpinned: bool = False
    max_change: int | str | None = None
    max_critical: int | None = None

    def _check(self) -> None:
        self.selected_rows()
        self.change_limit(1)
        for name in ("where", "exclude_where"):
            if getattr(self, name) is not None and not getattr(self, name).strip():
                raise empty_option(name)
        if isinstance(self.only_fields, str) or not all(map(str.strip, self.only_fields)):
            raise InputError(f"{option_name('only_fields')}: must be a list of names of fields.")
        if self.max_critical is not None and self.max_critical < 0:
            raise InputError(f"{option('max_critical', self.max_critical)}: must be 0 or more.")

    def selected_rows(self) -> RowRanges | None:
        """Return the rows of ``only_rows``; None for all."""
        if self.only_rows is None:
            return None
        try:
            return RowRanges.of(self.only_rows)
        except ValueError as exc:
            raise InputError(
                f"{option('only_rows', self.only_rows)}: {exc}. Use rows as Excel shows them, such "
                "as 2-40,77."
            ) from None

    def change_limit(self, rows: int) -> float:
        """Return how many of so many rows may change."""
        return _row_limit("max_change", self.max_change, rows)

    def reads_first(self, rows: int = _ANY_SHEET) -> bool:
        """Return whether the incidents of so many rows are all read before anything is sent."""
        given = (self.where, self.exclude_where, self.max_critical)
        is_conditional = self.only_unpinned or any(one is not None for one in given)
        return is_conditional or rows > self.change_limit(rows)


@dataclass(frozen=True, kw_only=True)
class QuotaOptions(OptionGroup):
    """How much of the account's quota is used.

    Attributes:
        per_second, per_minute: the account's limits.
        share: the part of them that this run uses, in (0, 1].
        priority: how permits are divided with other runs of the account.
        quota_store: the address of a server of Redis or Valkey, for runs on several machines;
            this machine's own file when None.
    """

    per_second: int = PER_SECOND
    per_minute: int = PER_MINUTE
    share: float = 1.0
    priority: Priority = Priority.NORMAL
    quota_store: str | None = None

    def _check(self) -> None:
        self.windows()
        if self.priority not in tuple(Priority):
            names = ", ".join(Priority)
            raise InputError(f"{option('priority', self.priority)}: unknown. Use {names}.")
        if self.quota_store is not None:
            from bulk_reset.quota.redis_connection import check_url  # noqa: PLC0415  (the ledger)

            check_url(self.quota_store, "quota_store")

    def windows(self) -> tuple[Window, ...]:
        """Return the windows of the quota that this run may use."""
        return windows_of(self.per_second, self.per_minute, self.share)


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions(OptionGroup):
    """Which API a run uses: the account's, a sandbox, or none (``dry_run``).

    Attributes:
        access_token_file: a file with an access token alone in it; used before a key.
        app_key_file: a file with the key alone in it; else the environment, else the
            provider's configuration.
        base_url: the API's address; HTTPS, or this machine.
        account: a name for an account that has several keys: they share its quota.
        exclusive: send only while no other run of the account is active; wait for that.
        waits: wait for other runs; without it, another active run is an error.
        sandbox: send to an emulated API inside this process; no key is needed.
        sandbox_state: like ``sandbox``, with its incidents kept in this file.
        dry_run: do everything but send.
        timeout_s: for one request.
    """

    access_token_file: PathOption = PathOption()
    app_key_file: PathOption = PathOption()
    base_url: str | None = None
    account: str = ""
    exclusive: bool = False
    waits: bool = True
    sandbox: bool = False
    sandbox_state: PathOption = PathOption()
    dry_run: bool = False
    timeout_s: float = TIMEOUT_S

    def _check(self) -> None:
        if self.base_url is not None and not self.base_url.strip():
            # It must not be replaced by the production API.
            raise empty_option("base_url")
        if self.timeout_s <= 0:
            raise InputError(f"{_given('timeout_s', self.timeout_s)}: must be more than 0 seconds.")
        keys = ("app_key_file", "access_token_file")
        wrong = [name for name in ("base_url", *keys) if getattr(self, name)]
        if self.is_rehearsal and wrong:
            name = "sandbox" if self.sandbox else "sandbox_state"
            last = "access_token_file" if "access_token_file" in wrong else "app_key_file"
            raise InputError(
                f"{option_name(name)}: cannot be combined with {option_name('base_url')} or "
                f"{option_name(last)}. Remove them."
            )

    @property
    def is_rehearsal(self) -> bool:
        """Whether everything goes to an emulated API inside this process."""
        return self.sandbox or self.sandbox_state is not None


@dataclass(frozen=True, kw_only=True)
class Options(
    ReadingOptions,
    SendingOptions,
    SafetyOptions,
    ApprovalOptions,
    SelectionOptions,
    QuotaOptions,
    ConnectionOptions,
):
    """All options, each by its name; see the groups for what they mean.

    Raises:
        InputError: a value that cannot be used; the message names the option and what it takes.
    """

    # Declared again, because mypy gives an inherited field the type that its __set__ takes.
    profile: PathOption = PathOption()
    rules: PathOption = PathOption()
    report: PathOption = PathOption()
    access_token_file: PathOption = PathOption()
    app_key_file: PathOption = PathOption()
    sandbox_state: PathOption = PathOption()
    allowed_signers: PathOption = PathOption()
    hmac_key_file: PathOption = PathOption()

    def changed(self) -> dict[str, Any]:
        """Return option -> value of those that are not at their default."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            one.name: values[one.name]
            for one in fields(self)
            if values[one.name]
            != (one.default if one.default_factory is MISSING else one.default_factory())
        }


def _row_limit(name: str, limit: int | str | None, rows: int) -> float:
    """Return how many of so many rows a limit allows."""
    if limit is None:
        return float("inf")
    text = str(limit).strip()
    number = text.removesuffix("%")
    if not number.isdecimal():
        raise InputError(
            f"{option(name, text)}: not a number of rows. Use a number, or a share of the rows "
            "like 5%."
        )
    return rows * int(number) / 100 if text.endswith("%") else int(number)


def _require_positive(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise InputError(f"{option(name, value)}: must be 1 or more.")


def _given(name: str, seconds: float) -> str:
    """Return an option with its seconds, without needless decimals."""
    return option(name, int(seconds) if seconds == int(seconds) else seconds)
