"""The proxy of a request: from the usual variables, honoured or refused, never passed over.

``HTTPS_PROXY`` (``HTTP_PROXY`` for plain HTTP), else ``ALL_PROXY``, else the system's settings;
``NO_PROXY`` lists hosts that need none. Names in lower case win. aiohttp's own ``trust_env`` is not
used: it ignores proxies that it does not support, and sends what it finds in ``~/.netrc``.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from bulk_reset.api.base_url import LOOPBACK
from bulk_reset.core.errors import InputError

_SCHEMES: Final = frozenset({"http", "https"})
_PORT_OF: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: its address without the user, and the header that names the user."""

    url: URL
    headers: dict[str, str] = field(default_factory=dict, repr=False)


def proxy_of(address: str) -> Proxy | None:
    """Return the proxy for an address; None where it is reached directly.

    Raises:
        InputError: it is not an address, or of a kind that is not supported.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    # A proxy cannot reach this machine's loopback address.
    if host in LOOPBACK or _is_excluded(host, parts.port or _PORT_OF.get(parts.scheme, 0)):
        return None
    proxies = getproxies()
    kind = parts.scheme if parts.scheme in proxies else "all"
    text = proxies.get(kind, "").strip()
    return _parsed(text, _variable(kind), host) if text else None


def proxy_arguments(address: str) -> dict[str, Any]:
    """Return the arguments of aiohttp for the proxy of an address; raises as ``proxy_of``."""
    proxy = proxy_of(address)
    return {} if proxy is None else {"proxy": proxy.url, "proxy_headers": proxy.headers}


def _parsed(text: str, variable: str, host: str) -> Proxy:
    fix = f"Use http://HOST:PORT or https://HOST:PORT, or add {host} to NO_PROXY."
    scheme, sign, _ = text.partition("://")
    # The text itself is not repeated: it may have a password.
    if (
        sign
        and scheme.lower() not in _SCHEMES
        and re.fullmatch(r"[a-z0-9+.-]{1,20}", scheme.lower())
    ):
        raise InputError(f"{variable}: a proxy of the kind {scheme} is not supported. {fix}")
    with contextlib.suppress(ValueError):
        url = URL(text)
        if sign and url.host and url.scheme in _SCHEMES and url.port:
            plain = url.with_user(None).with_path("/")
            if url.user is None:
                return Proxy(plain)
            word = base64.b64encode(f"{url.user}:{url.password or ''}".encode()).decode()
            return Proxy(plain, {"Proxy-Authorization": f"Basic {word}"})
    raise InputError(f"{variable}: not the address of a proxy. {fix}")


def _variable(kind: str) -> str:
    """Return the name of the variable that has a proxy."""
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), "the system's proxy")


def _is_excluded(host: str, port: int) -> bool:
    text = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    patterns = re.split(r"[\s,]+", text.strip().lower())
    return any(_matches(pattern, host, port) for pattern in patterns) or bool(proxy_bypass(host))


def _matches(pattern: str, host: str, port: int) -> bool:
    """Return whether a pattern means a host: its name, its domain, or its network."""
    if pattern == "*":
        return True
    with contextlib.suppress(ValueError):
        return ip_address(host) in ip_network(pattern.strip("[]"), strict=False)
    name, sign, of_port = pattern.rpartition(":")
    if sign and of_port.isdecimal():
        if int(of_port) != port:
            return False
        pattern = name
    pattern = pattern.strip("[]").removeprefix("*").removeprefix(".").removesuffix(".")
    return bool(pattern) and (host == pattern or host.endswith(f".{pattern}"))
