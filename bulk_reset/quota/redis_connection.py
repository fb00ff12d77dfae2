"""Opens a client of Redis or Valkey from its address; the password is never part of the address.

The password comes from the environment variable ``BULK_RESET_REDIS_PASSWORD``, or from the file
that ``BULK_RESET_REDIS_PASSWORD_FILE`` names. An address with a password in it is refused, because
other users of the machine can read command lines.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from bulk_reset.api.credentials import AppKey, redact
from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option_name
from bulk_reset.core.safe_text import one_line
from bulk_reset.quota.permit_store import StoreUnreachableError

if TYPE_CHECKING:
    import redis

PASSWORD_VARIABLE: Final = "BULK_RESET_REDIS_PASSWORD"  # noqa: S105  (a name)
PASSWORD_FILE_VARIABLE: Final = "BULK_RESET_REDIS_PASSWORD_FILE"  # noqa: S105  (a name)
_TIMEOUT_S: Final = 5.0
_MOST_BYTES: Final = 1 << 12
_EXAMPLE: Final = "Use redis://HOST:PORT/DATABASE, or rediss:// for TLS."


def open_redis(
    url: str,
    name: str = "quota_store",
    *,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> redis.Redis:
    """Return a client; it connects at the first call.

    Args:
        name: the option that the address comes from, for errors.
        environ: the process's own environment when None.
        timeout_s: for a connection, and for the answer to a call.

    Raises:
        InputError: the address or the password cannot be used, or the extra is not installed.
    """
    check_url(url, name)
    try:
        import redis  # noqa: PLC0415  (an extra)
    except ImportError:
        raise InputError(
            f"{option_name(name)}: the package redis is not installed. Use "
            "pip install 'bulk-reset[shared]'."
        ) from None
    try:
        return redis.Redis.from_url(
            url.strip(),
            password=_password(os.environ if environ is None else environ),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=None,  # the caller decides; a call that is repeated unseen could count twice
            decode_responses=True,
        )
    except (ValueError, TypeError, redis.RedisError) as exc:
        raise InputError(f"{option_name(name)}: {_text(exc)}. {_EXAMPLE}") from None


@contextlib.contextmanager
def redis_errors(url: str, name: str = "quota_store") -> Iterator[None]:
    """Turn errors of a client into those of this package.

    Raises:
        StoreUnreachableError: no answer; try again later.
        InputError: the server refused the password, or the user may not do this.
    """
    import redis  # noqa: PLC0415  (an extra)

    where = f"{option_name(name)} {shown_url(url)}"
    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as exc:
        raise InputError(
            f"{where}: the server refused the login ({_text(exc)}). Set {PASSWORD_VARIABLE} or "
            f"{PASSWORD_FILE_VARIABLE}."
        ) from None
    except (redis.RedisError, OSError) as exc:
        text = _text(exc)
        if text.startswith(("NOAUTH", "WRONGPASS", "Authentication required")):
            raise InputError(
                f"{where}: the server requires a password. Set {PASSWORD_VARIABLE} or "
                f"{PASSWORD_FILE_VARIABLE}."
            ) from None
        raise StoreUnreachableError(
            f"{where}: no usable answer ({text}). Check that the server runs and can be reached."
        ) from None


def shown_url(url: str) -> str:
    """Return an address for messages: without user, password and query."""
    parts = urlsplit(url)
    return one_line(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def check_url(url: str, name: str) -> SplitResult:
    """Return an address in parts; raises InputError where it is none, or has a password."""
    where = option_name(name)
    try:
        parts = urlsplit(url.strip())
        has_password, _port = parts.password is not None, parts.port
    except ValueError:
        raise InputError(f"{where}: not an address. {_EXAMPLE}") from None
    if has_password or "password" in parts.query:
        # The address is not repeated, because the password is in it.
        raise InputError(
            f"{where}: the address contains a password. Remove it, and set {PASSWORD_VARIABLE} or "
            f"{PASSWORD_FILE_VARIABLE}."
        )
    if parts.scheme not in {"redis", "rediss", "unix"} or not (parts.hostname or parts.path):
        raise InputError(f"{where}: not an address of Redis or Valkey. {_EXAMPLE}")
    return parts


def _password(environ: Mapping[str, str]) -> str | None:
    text = environ.get(PASSWORD_VARIABLE, "")
    path = environ.get(PASSWORD_FILE_VARIABLE, "")
    if not text and path:
        try:
            with open_input(Path(path), accepts_pipe=True) as file:
                text = file.read(_MOST_BYTES).decode("utf-8-sig").strip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            why = getattr(exc, "strerror", None) or "not text"
            raise InputError(
                f"{PASSWORD_FILE_VARIABLE}: {one_line(path)} cannot be read ({why}). Check the "
                "name and the permissions."
            ) from None
    # Registered as a secret, so that it is removed from every output.
    return AppKey(text).reveal() if text else None


def _text(error: BaseException) -> str:
    return redact(one_line(str(error))).rstrip(".")
