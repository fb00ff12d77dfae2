"""Everything that can go wrong, sorted by what the caller can do next.

* ``InputError``: nothing was sent; mend the sheet, the options or the key, and start again.
* ``RequestError``: one request; it never leaves the engine, which turns it into an outcome.
* ``RunError``: the run as a whole; what was done stands in the report, the rest is pending.

A bad cell is data (a mistake, a rejected outcome), not an exception. A message reads
``where: what was found. What to do.`` No message ever holds a URL's query, where the key is.
Every error can be pickled.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from bulk_reset.core.row_error import RowError


class ExitCode(IntEnum):
    """What the command's exit status says to a script."""

    DONE = 0
    """Every row is done, or held back because a limit was asked for."""
    NOT_ALL = 1
    """The run ended, but some rows failed, were rejected or have an unknown outcome."""
    INPUT = 2
    """Nothing was sent: the sheet, the options or the key are wrong or missing."""
    STOPPED = 3
    """The run stopped early (credentials, outage, too many failures); rows are pending."""
    LOCKED = 4
    """Another run is writing the same report, or has the account and is not waited for."""
    INTERNAL = 70
    """A mistake in bulk-reset itself (EX_SOFTWARE of sysexits.h)."""
    HUNG_UP = 129
    """The terminal was closed (SIGHUP); rows are pending."""
    INTERRUPTED = 130
    """Ctrl-C; rows are pending."""
    TERMINATED = 143
    """SIGTERM; rows are pending."""


class BulkResetError(Exception):
    """The root of every error that this package raises."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL
    topic: ClassVar[str] = ""
    """The page of the manual that says more; empty where none does."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state, because constructors take facts rather than the message."""
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(
    kind: type[BulkResetError], args: tuple[Any, ...], state: dict[str, Any]
) -> BulkResetError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class InputError(BulkResetError):
    """The sheet, the options or the key are not usable; nothing was sent."""

    exit_code = ExitCode.INPUT


class SheetError(InputError):
    """The sheet cannot be read as a table of incidents."""

    topic = "sheets"


class NoRowsError(SheetError):
    """The sheet has a header and no rows."""


class MissingColumnError(SheetError):
    """A column that the run needs is absent from the sheet's header."""

    def __init__(self, field: str, header: tuple[str, ...], path: str, hint: str = "") -> None:
        self.field, self.header, self.path = field, header, path
        found = ", ".join(repr(name) for name in header[:20]) or "nothing"
        super().__init__(
            f"{path}: no column for {field}; the header has {found}. "
            + (hint or f'Rename the column, or say --map {field}="NAME OF THE COLUMN".')
        )


class InvalidRowsError(SheetError):
    """Some rows break the API's rules, and the run was not asked to go on without them.

    Attributes:
        mistakes: every mistake, in the sheet's order.
        rows: how many rows the sheet has, blank ones not counted.
    """

    def __init__(self, path: str, row_errors: tuple[RowError, ...], rows: int) -> None:
        self.path, self.row_errors, self.rows = path, row_errors, rows
        bad_rows = len({row_error.row_number for row_error in row_errors})
        super().__init__(
            f"{path}: {bad_rows} of {rows} rows cannot be sent, so nothing was. "
            "Mend them, or say --skip-invalid to send the others."
        )


class CredentialsError(InputError):
    """No key was found where a key may come from."""

    topic = "key"


class RequestError(BulkResetError):
    """One request did not succeed; becomes an outcome or another attempt.

    Attributes:
        code: the API's error code, or a word of ours in lower case (``timeout``, ``html``).
        http_status: the answer's status, 0 where no answer came.
        request_id: the API's id of the request, empty where there is none.
        retry_after_s: seconds the server asked to wait, None where it did not.
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
    """The server refused this row; it will refuse it again as it is."""


class TransientError(RequestError):
    """The server is in trouble and said so; the same request may succeed later."""

    is_retryable = True


class ConnectError(TransientError):
    """No connection, so nothing was applied and the row is not to blame."""


class ThrottledError(TransientError):
    """Over the quota (HTTP 429); not applied. Everybody waits, and no attempt is spent."""


class UnknownOutcomeError(RequestError):
    """The request went out and no readable answer came; it may have been applied."""

    is_retryable = True
    may_be_applied = True


class FatalError(RequestError):
    """No row can succeed: the key, the account, the permission or the address is wrong."""


class RunError(BulkResetError):
    """The run as a whole cannot start or go on; what was done stands in the report."""

    exit_code = ExitCode.STOPPED


class UnansweredError(RunError):
    """The API could not be read: it is down, or out of reach. The same may do later."""


class LockedError(RunError):
    """Another run is writing the same report, or has the account."""

    exit_code = ExitCode.LOCKED


class StoppedError(RunError):
    """The run stopped early; the rows not reported are pending.

    Attributes:
        frame: what ``run_frame`` would have returned, None elsewhere.
    """

    def __init__(self, message: str, frame: Any = None) -> None:  # noqa: ANN401  (a DataFrame)
        self.frame = frame
        super().__init__(message)


class InternalError(BulkResetError):
    """The books do not balance: a mistake in this package, to be reported."""


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code that a command deserves which was ended by this."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    # Ours and typer's have the one; SystemExit, by which SIGTERM ends a command, the other.
    code = getattr(error, "exit_code", getattr(error, "code", None))
    return ExitCode(code) if code in tuple(ExitCode) else ExitCode.INTERNAL
