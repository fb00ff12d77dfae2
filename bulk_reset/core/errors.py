"""All errors, sorted by what the caller can do next.

* ``InputError``: nothing was sent; fix the sheet, the options or the key, and start again.
* ``RequestError``: one request failed; it never leaves the engine, which turns it into an outcome.
* ``RunError``: the run failed; finished rows are in the report, the others are pending.

An invalid cell is data (a ``RowError``, a rejected outcome), not an exception. A message reads
``WHERE: WHAT is wrong. HOW to fix it.`` No message contains a URL's query, because the key is
in it. Every error can be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from bulk_reset.core.counting import counted
from bulk_reset.core.option_names import command, option

if TYPE_CHECKING:
    from bulk_reset.core.row_error import RowError


class ExitCode(IntEnum):
    """The exit codes of the command. Scripts compare them, so a number never changes."""

    DONE = 0
    """Every row is done, or pending because of a limit that was requested."""
    NOT_ALL = 1
    """The run ended; some rows failed, were rejected, are in conflict or are unknown."""
    INPUT = 2
    """Nothing was sent: the sheet, the options or the key are invalid or missing."""
    STOPPED = 3
    """The run stopped early (credentials, outage, too many failures); rows are pending."""
    LOCKED = 4
    """Another run uses the same report, or the same account and waiting is turned off."""
    CHANGES = 5
    """A plan, with ``--exit-code``: rows will be updated, and nothing prevents it."""
    INTERNAL = 70
    """An error in bulk-reset itself (EX_SOFTWARE of sysexits.h)."""
    HUNG_UP = 129
    """The terminal was closed (SIGHUP); rows are pending."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C; rows are pending."""
    TERMINATED = 143
    """Stopped by SIGTERM; rows are pending."""


_NO_OPTIONS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to do about an error: a function of this package, and the command of the same name.

    The command line makes a complete command of it, with the options that were given.

    Attributes:
        purpose: what it is for: ``To restore its changes``.
        name: of the function and of the command: ``undo``.
        arguments: of both.
        options: of the command: key -> value.
    """

    purpose: str
    name: str
    arguments: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return it as a sentence."""
        return f"{self.purpose}: {command(self.name, self.arguments, self.options)}."


class BulkResetError(Exception):
    """The base class of every error that this package raises.

    Attributes:
        next_steps: what to do about it, where that is a command; ``str(error)`` has it, too.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL
    topic: ClassVar[str] = ""
    """The page of the manual that explains the error; empty if there is none."""
    next_steps: tuple[NextStep, ...] = ()

    def __str__(self) -> str:
        """Return the message and the next steps."""
        return " ".join([self.message, *map(str, self.next_steps)])

    @property
    def message(self) -> str:
        """The message without the next steps."""
        return super().__str__()

    def with_next(
        self, purpose: str, name: str, *arguments: object, options: Mapping[str, str] = _NO_OPTIONS
    ) -> Self:
        """Add a next step; return the error."""
        self.next_steps += (NextStep(purpose, name, tuple(map(str, arguments)), dict(options)),)
        return self

    def lines(self) -> list[str]:
        """Return the message; an error that has several has each as a line."""
        return [self.message]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state, because constructors take facts instead of the message."""
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(
    kind: type[BulkResetError], args: tuple[Any, ...], state: dict[str, Any]
) -> BulkResetError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class InputError(BulkResetError):
    """The sheet, the options or the key cannot be used; nothing was sent."""

    exit_code = ExitCode.INPUT
    topic = "options"


class SheetError(InputError):
    """The sheet cannot be read as a table of incidents."""

    topic = "sheets"


class NoRowsError(SheetError):
    """The sheet has a header but no rows."""


class SheetChangedError(SheetError):
    """The sheet was modified after it was checked; the rest of it is not sent."""


class IncompleteSheetError(SheetError):
    """The sheet is still being written; it can be sent later."""


class MissingColumnError(SheetError):
    """A required column is missing from the sheet's header."""

    def __init__(self, field: str, header: tuple[str, ...], path: str, hint: str = "") -> None:
        self.field, self.header, self.path = field, header, path
        found = ", ".join(repr(name) for name in header[:20]) or "no names"
        fix = f"Rename the column, or use {option('mapping', {field: 'COLUMN NAME'})}."
        super().__init__(f"{path}: no column for {field}; the header has {found}. {hint or fix}")


class InvalidRowsError(SheetError):
    """Some rows are invalid, and the run was not allowed to skip them.

    Attributes:
        row_errors: every error, in the sheet's order.
        rows: number of rows in the sheet, without blank rows.
    """

    def __init__(self, path: str, row_errors: tuple[RowError, ...], rows: int) -> None:
        self.path, self.row_errors, self.rows = path, row_errors, rows
        invalid = len({row_error.row_number for row_error in row_errors})
        are, them = ("is", "it") if invalid == 1 else ("are", "them")
        super().__init__(
            f"{path}: {invalid:,} of {counted(rows, 'row')} {are} invalid; nothing was sent. "
            f"Fix {them}, or use {option('skip_invalid')} to send the other rows."
        )


class CredentialsError(InputError):
    """No usable key was found."""

    topic = "key"


class RequestError(BulkResetError):
    """One request failed; it becomes an outcome or another attempt.

    Attributes:
        code: the API's error code, or a code of bulk-reset in lower case (``timeout``, ``html``).
        http_status: the response's status; 0 without a response.
        request_id: the API's id of the request; empty if unknown.
        retry_after_s: seconds the server asked to wait; None if it did not.
    """

    is_retryable: ClassVar[bool] = False
    may_be_applied: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str,
        http_status: int = 0,
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        self.code, self.http_status, self.request_id = code, http_status, request_id
        self.retry_after_s = retry_after_s
        super().__init__(message)


class PermanentError(RequestError):
    """The API rejected this row, and will reject it again unless it is changed."""


class TransientError(RequestError):
    """The server reported a temporary problem; the same request may succeed later."""

    is_retryable = True


class ConnectError(TransientError):
    """No connection: nothing was applied, and the row is not the cause."""


class ThrottledError(TransientError):
    """Quota exceeded (HTTP 429); not applied. All requests wait, and no attempt is counted."""


class UnknownOutcomeError(RequestError):
    """The request was sent but no readable response arrived; it may have been applied."""

    is_retryable = True
    may_be_applied = True


class FatalError(RequestError):
    """No row can succeed: the key, the account, a permission or the address is wrong."""


class AccessError(FatalError):
    """Something before the API refuses requests: TLS, a redirect, a page of a proxy.

    Nothing was applied. Once requests have succeeded, it is an outage and not a wrong address.
    """


class RunError(BulkResetError):
    """The run cannot start or continue; finished rows are in the report."""

    exit_code = ExitCode.STOPPED


class UnansweredError(RunError):
    """The API could not be read: it is down or unreachable. Try again later."""

    topic = "troubleshooting"


class LockedError(RunError):
    """Another run uses the same report or the same account."""

    exit_code = ExitCode.LOCKED
    topic = "troubleshooting"


class StoppedError(RunError):
    """The run stopped early; rows without a line in the report are pending.

    Attributes:
        frame: the result of ``run_frame`` so far; None for other functions.
    """

    def __init__(self, message: str, frame: Any = None) -> None:  # noqa: ANN401  (a DataFrame)
        self.frame = frame
        super().__init__(message)


class InternalError(BulkResetError):
    """Totals do not match: an error in bulk-reset, to be reported."""


SYSTEM_ERRORS: Final = (OSError, MemoryError)
"""Errors of the machine, such as a full disk, and not of this program."""


def of_system(error: OSError | MemoryError) -> RunError:
    """Return an error of the machine as one of this package."""
    where = getattr(error, "filename", None) or "this machine"
    what = getattr(error, "strerror", None) or str(error) or "out of memory"
    return RunError(
        f"{where}: {what}. Fix that (for example free disk space), then run the same command again."
    )


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code of a command that ended with this exception."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, SYSTEM_ERRORS):
        return ExitCode.STOPPED
    # BulkResetError and typer.Exit have exit_code; SystemExit, raised on SIGTERM, has code.
    code = getattr(error, "exit_code", getattr(error, "code", None))
    return ExitCode(code) if code in tuple(ExitCode) else ExitCode.INTERNAL
