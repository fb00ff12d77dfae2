"""The connection to Redis or Valkey: addresses, passwords and clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_reset.api.credentials import redact
from bulk_reset.core.errors import InputError
from bulk_reset.quota.permit_store import StoreUnreachableError
from bulk_reset.quota.redis_connection import (
    PASSWORD_FILE_VARIABLE,
    PASSWORD_VARIABLE,
    open_redis,
    redis_errors,
    shown_url,
)

SECRET = "a-word-of-redis"  # noqa: S105  (of a test)
FIX = f"Remove it, and set {PASSWORD_VARIABLE} or {PASSWORD_FILE_VARIABLE}."


@pytest.mark.parametrize(
    ("url", "message"),
    {
        "redis://:secret-word@h": f"the address contains a password. {FIX}",
        "redis://h?password=secret-word": f"the address contains a password. {FIX}",
        "http://h": "not an address of Redis or Valkey. Use redis://HOST:PORT/DATABASE, or "
        "rediss:// for TLS.",
        "redis://h:99999": "not an address. Use redis://HOST:PORT/DATABASE, or rediss:// for TLS.",
    }.items(),
)
def test_an_address_that_cannot_be_used_is_refused(url: str, message: str) -> None:
    """The error names the option and the fix, and never repeats a password."""
    with pytest.raises(InputError) as caught:
        open_redis(url)
    assert str(caught.value) == f"quota_store: {message}"


def test_the_password_of_a_file_is_used_and_removed_from_every_output(tmp_path: Path) -> None:
    """The password reaches the server, and is redacted like an app key."""
    file = tmp_path / "密码.txt"
    file.write_text(f"{SECRET}\n")
    client = open_redis("redis://h", environ={PASSWORD_FILE_VARIABLE: str(file)})

    assert client.get_connection_kwargs()["password"] == SECRET
    assert redact(f"sent {SECRET}") == "sent ****"
    with pytest.raises(InputError, match="cannot be read"):
        open_redis("redis://h", environ={PASSWORD_FILE_VARIABLE: str(tmp_path / "none")})


def test_a_server_that_does_not_answer_is_named_without_its_login() -> None:
    """The error is one that a later attempt may solve."""
    url = "redis://user@127.0.0.1:1/0"
    with pytest.raises(StoreUnreachableError) as caught, redis_errors(url):
        open_redis(url, timeout_s=1).ping()

    assert str(caught.value).startswith("quota_store redis://127.0.0.1:1/0: no usable answer (")
    assert shown_url(url) == "redis://127.0.0.1:1/0"
