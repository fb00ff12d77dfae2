"""What an answer of the API means: a success, or one of the kinds of ``RequestError``.

Source of the codes and envelopes: the Flashduty Open API (``ErrorCode``, ``SuccessEnvelope``,
``ErrorResponse``): the code decides, the HTTP status is informational.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from bulk_reset.api.credentials import redact
from bulk_reset.core.errors import (
    AccessError,
    FatalError,
    PermanentError,
    RequestError,
    ThrottledError,
    TransientError,
    UnknownOutcomeError,
)
from bulk_reset.core.json_codec import loads
from bulk_reset.core.option_names import option_name
from bulk_reset.core.safe_text import one_line

_LONGEST_TEXT: Final = 1_000
"""Characters kept of a message: it becomes a cell of the report."""
_LONGEST_INPUT: Final = 1 << 16
_EARLIEST_EPOCH_S: Final = 1e9
_ROW_CODES: Final = frozenset(
    {"InvalidParameter", "BadRequest", "InvalidContentType", "ReferenceExist"}
    | {"ResourceNotFound", "EntityTooLarge"}
)
_FATAL_CODES: Final = {
    "Unauthorized": "the app key or token is missing, wrong or expired. Check it in the console",
    "AccessDenied": "the key's owner needs the permission Incidents Manage",
    "BalanceNotEnough": "the account's balance is too low",
    "NoLicense": "the account has no licence for this operation",
    "UndonedOrderExist": "the account has an unfinished order",
    "RequestLocked": "the account is locked after repeated failures. Wait, then run again",
    "RequestVerifyRequired": "the account requires a second factor",
    "DangerousOperation": "the account requires a second factor",
    "RouteNotFound": "wrong address. Check {base_url}",
    "MethodNotAllowed": "wrong address. Check {base_url}",
}
_TRANSIENT_CODES: Final = frozenset({"InternalError", "ServiceUnavailable"})
_THROTTLED_CODE: Final = "RequestTooFrequently"
_ROW_STATUSES: Final = frozenset({400, 406, 411, 413, 414, 415, 417, 422, 431})
"""Without a code of the API, only these statuses can be caused by the request's own text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer of the API."""

    http_status: int
    request_id: str
    data: Any = field(repr=False)
    date: str = field(default="", repr=False, compare=False)
    """The header ``Date``: the server's clock, to the second."""


def read_answer(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """Return a successful answer.

    Raises:
        RequestError: the answer reports an error, or is not an answer of the API.
    """
    envelope = _envelope(content)
    request_id = _text(envelope.get("request_id") or headers.get("Flashcat-Request-Id", ""))
    error = envelope.get("error")
    if error is None and 200 <= status < 300 and "request_id" in envelope:  # noqa: PLR2004
        return Answer(status, request_id, envelope.get("data"), headers.get("Date", ""))
    retry_after_s = requested_wait_s(headers)
    if error is None:
        raise _unreadable(status, content, request_id, retry_after_s)
    if not isinstance(error, dict):
        error = {"code": "", "message": error}
    code = _text(error.get("code") or f"HTTP {status}")
    kind = _kind_of(code, status)
    message = _text(error.get("message") or code)
    if kind is FatalError:
        hint = _FATAL_CODES.get(code, "no row can succeed")
        message = f"{message.rstrip('.')} ({hint.format(base_url=option_name('base_url'))})"
    raise kind(
        message,
        code=code,
        http_status=status,
        request_id=request_id,
        retry_after_s=retry_after_s if kind.is_retryable else None,
    )


def _text(value: object) -> str:
    """Return a text of the server as one line that any file can hold, without app keys."""
    if isinstance(value, str) and value.isascii() and value.isalnum():
        return redact(value[:_LONGEST_INPUT])[:_LONGEST_TEXT]  # most ids of requests
    # JSON can contain half a surrogate pair, which UTF-8 cannot.
    line = one_line(str(value).encode("utf-8", "replace").decode())
    return redact(line[:_LONGEST_INPUT])[:_LONGEST_TEXT]


def _envelope(content: bytes) -> dict[str, Any]:
    try:
        envelope = loads(content)
    except (ValueError, RecursionError):
        return {}
    return envelope if isinstance(envelope, dict) else {}


def _kind_of(code: str, status: int) -> type[RequestError]:
    if code in _ROW_CODES or code in _FATAL_CODES:
        return PermanentError if code in _ROW_CODES else FatalError
    if code == _THROTTLED_CODE or status == 429:  # noqa: PLR2004
        return ThrottledError
    if code in _TRANSIENT_CODES or status >= 500:  # noqa: PLR2004
        return TransientError
    if status < 300:  # noqa: PLR2004  (a success with an unknown error code)
        return UnknownOutcomeError
    if status in {401, 402}:
        return FatalError
    # An unknown code: a forbidden request is more likely the work of a gateway than of a row.
    return TransientError if status in {403, 423} else PermanentError


def _unreadable(
    status: int, content: bytes, request_id: str, retry_after_s: float | None
) -> RequestError:
    """Return the error for an answer that is not the API's: a proxy's page, cut JSON, nothing."""
    base_url = option_name("base_url")
    looks_html = content.lstrip()[:1] == b"<"
    what = "empty" if not content.strip() else "HTML" if looks_html else "not the API's JSON"
    message = f"HTTP {status}: the answer is {what}"
    kind: type[RequestError] = UnknownOutcomeError
    if status == 429:  # noqa: PLR2004
        kind = ThrottledError
    elif 300 <= status < 400:  # noqa: PLR2004
        kind, message = AccessError, f"HTTP {status}: redirects are not followed. Check {base_url}"
    elif status in {401, 404, 405, 407}:
        kind, message = AccessError, f"{message}. Check {base_url} and the proxy"
    elif status in _ROW_STATUSES:
        kind = PermanentError
    elif 400 <= status < 500 and status != 408:  # noqa: PLR2004
        kind = TransientError
    return kind(
        message,
        code=f"HTTP {status}",
        http_status=status,
        request_id=request_id,
        retry_after_s=retry_after_s if kind.is_retryable or kind is AccessError else None,
    )


def requested_wait_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that the server asks to wait; None if it does not.

    ``Retry-After`` comes first; else ``X-RateLimit-Reset``, in which some servers send the
    remaining seconds and others the end of the window in epoch seconds. Times are those of the
    server, so they are compared with its own ``Date`` if it sends one.
    """
    now = _date(headers.get("Date", "")) or now
    seconds = parse_retry_after(headers.get("Retry-After"), now)
    if seconds is not None:
        return seconds
    seconds = parse_retry_after(headers.get("X-RateLimit-Reset"), now)
    if seconds is None or seconds < _EARLIEST_EPOCH_S:
        return seconds
    return max(0.0, seconds - (now or datetime.now(UTC)).timestamp())


def server_ahead_s(date: str) -> float:
    """Return by how many seconds a server's clock is ahead of this machine's; 0 if unknown."""
    at = _date(date)
    return at.timestamp() - time.time() if at is not None else 0.0


def parse_retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds of a Retry-After header: a number or an HTTP date."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdecimal():
        return float(text)
    at = _date(text)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds()) if at else None


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
