"""Sessions: a link that works once is exchanged for a cookie.

Units: ``*_s`` seconds of the monotonic clock.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_BYTES: Final = 32
IDLE_S: Final = 8 * 3600.0
"""A session without a request ends after so long."""


@dataclass(slots=True)
class Session:
    """A browser that was let in.

    Attributes:
        form_token: what requests that change something must send in a header.
        language: chosen on the page; empty for the browser's own.
    """

    used_s: float
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(_BYTES), repr=False)
    language: str = ""


class Sessions:
    """The sessions of a server, in memory only: they end with the process.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[bytes, Session] = {}
        self._link_token = ""

    def new_link_token(self) -> str:
        """Return a token for a link; an earlier one no longer works."""
        self._link_token = secrets.token_urlsafe(_BYTES)
        return self._link_token

    def begin(self, link_token: str) -> str | None:
        """Exchange the token of a link for the secret of a session; None if it does not match."""
        own, self._link_token = self._link_token, ""
        if not own or not secrets.compare_digest(own.encode(), link_token.encode()):
            self._link_token = own
            return None
        secret = secrets.token_urlsafe(_BYTES)
        self._sessions[_hash(secret)] = Session(self._clock())
        return secret

    def find(self, secret: str) -> Session | None:
        """Return the session of a cookie; None if there is none or it has ended."""
        key, now_s = _hash(secret), self._clock()
        session = self._sessions.get(key)
        if session is None:
            return None
        if now_s - session.used_s > IDLE_S:
            del self._sessions[key]
            return None
        session.used_s = now_s
        return session


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
