"""The address of the API: validated before a key is ever sent to it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from yarl import URL

from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option_name

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORT_OF: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[A-Za-z0-9_.:-]+")


def check_base_url(text: str, where: str = "") -> str:
    """Return the address in its one spelling; see ``canonical``.

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
    return canonical(address)


def canonical(address: str) -> str:
    """Return one spelling of an address, so that one account has one quota and one report.

    Scheme and host are in lower case, without the scheme's own port, without a dot after the host
    and slashes at the end. Other texts are returned unchanged.
    """
    try:
        url = URL(address.strip())
        port = url.explicit_port
    except ValueError:
        return address
    if not url.scheme or not url.raw_host:
        return address
    host = url.raw_host.lower().removesuffix(".")
    host = f"[{host}]" if ":" in host else host
    is_default = port in {None, _PORT_OF.get(url.scheme)}
    path = re.sub("/{2,}", "/", url.raw_path).rstrip("/")
    return f"{url.scheme}://{host}{'' if is_default else f':{port}'}{path}"


def one_host(address: str) -> str:
    """Return an address in which every name of this machine is the same one."""
    address = canonical(address)
    url = URL(address)
    return canonical(str(url.with_host("127.0.0.1"))) if url.raw_host in LOOPBACK else address


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
