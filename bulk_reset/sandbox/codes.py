"""The API's error codes, each with the HTTP status that it is answered with.

Source: the Flashduty Open API's ``ErrorCode``. ``ResourceNotFound`` really is a 400.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

HTTP_STATUS: Final[dict[str, int]] = {
    "InvalidParameter": 400,
    "BadRequest": 400,
    "InvalidContentType": 400,
    "ResourceNotFound": 400,
    "NoLicense": 400,
    "ReferenceExist": 400,
    "Unauthorized": 401,
    "BalanceNotEnough": 402,
    "AccessDenied": 403,
    "RouteNotFound": 404,
    "MethodNotAllowed": 405,
    "UndonedOrderExist": 409,
    "EntityTooLarge": 413,
    "RequestLocked": 423,
    "RequestVerifyRequired": 428,
    "DangerousOperation": 428,
    "RequestTooFrequently": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
}


class ApiError(Exception):
    """A request that is answered with an error's envelope.

    Attributes:
        code: a key of ``HTTP_STATUS``.
        status: the HTTP status, the code's own unless told otherwise.
        headers: sent along with the answer.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.code, self.message = code, message
        self.status = HTTP_STATUS[code] if status is None else status
        self.headers = dict(headers or {})
        super().__init__(message)
