"""The address of the API: validated before a key is ever sent to it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from yarl import URL

from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option_name

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST: Final = re.compile(r"[A-Za-z0-9_.:-]+")


def check_base_url(text: str, where: str = "") -> str:
    """Return the address without a slash at its end.

    Args:
        where: where it was given, for errors; the option ``base_url`` if empty.

    Raises:
        InputError: not HTTPS (plain HTTP is allowed only to this machine), it contains a query
            or a user name, where a key might be, or a host that may look like another one.
    """
    where = where or option_name("base_url")
    address = text.strip()
    if not address.isprintable():
        address = ""
    if set("?#@") & set(address):
        raise InputError(
            f"{where}: must have only scheme, host and path. The key is never part of it."
        )
    scheme, host, ascii_host = _scheme_and_host(address)
    if not host or scheme not in {"http", "https"}:
        raise InputError(f"{where}: not an address. Use for example https://api.flashcat.cloud.")
    if host != ascii_host:
        raise InputError(
            f"{where}: the host resolves to {ascii_host}. If that is intended, use that form."
        )
    if scheme == "http" and host not in LOOPBACK:
        raise InputError(f"{where} http://{host}: sends the key unencrypted. Use https://.")
    return address.rstrip("/")


def _scheme_and_host(address: str) -> tuple[str, str, str]:
    """Return both in lower case, and the host in ASCII; empty if there can be no such host."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
        # Both would raise later, in the middle of a run: yarl, and the resolver.
        URL(address)
        ascii_host = host.encode("idna").decode()
    except ValueError:
        return "", "", ""
    is_host = _HOST.fullmatch(ascii_host) and len(address.split()) == 1
    return (parts.scheme, host, ascii_host) if is_host else ("", "", "")
