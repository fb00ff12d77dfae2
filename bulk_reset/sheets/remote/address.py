"""The address of a sheet: what may be read, and how it is shown.

An address may have a secret: a password before the host, a signature in its query. So only scheme,
host and path are shown, logged and recorded.

Source of the export link of Google Sheets: the addresses that its menu "Download" opens.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from yarl import URL

from bulk_reset.api.base_url import LOOPBACK
from bulk_reset.core.errors import InputError
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.file_types import is_remote

_WEB: Final = frozenset({"http", "https"})
_STORES: Final = frozenset({"s3"})
_GOOGLE: Final = re.compile(r"/spreadsheets(?:/u/[0-9]+)?/d/([A-Za-z0-9_-]{10,100})(?:/.*)?")
_GOOGLE_HOST: Final = "docs.google.com"
_LONGEST_NAME: Final = 60
_UNSAFE: Final = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """The address of a sheet.

    Attributes:
        shown: scheme, host and path alone.
        name: a name for its copy, without an ending.
        is_google: whether it is the export link of a Google Sheet.
    """

    url: str = field(repr=False)
    shown: str
    name: str
    is_google: bool = False

    @classmethod
    def of(cls, text: str) -> RemoteAddress:
        """Read an address.

        Raises:
            InputError: it is not one, or of a type that is not read.
        """
        scheme = urlsplit(text.strip()).scheme if is_remote(text) else ""
        try:
            url = URL(text.strip())
            host, _ = url.raw_host or "", url.port
        except ValueError:
            host = ""
        if scheme not in _WEB | _STORES:
            raise InputError(
                f"{one_line(scheme or text)[:40]}: sheets are not read from such an address. Use "
                "https://, s3:// or a file."
            )
        if not host or not text.isprintable() or len(text.split()) != 1:
            raise InputError(
                f"{scheme}://: not an address. Use for example https://example.com/incidents.csv."
            )
        if scheme == "http" and host not in LOOPBACK:
            raise InputError(f"{shown_of(url)}: is read unencrypted. Use https://.")
        google = _GOOGLE.fullmatch(url.path) if host == _GOOGLE_HOST else None
        if google is not None:
            return _google_sheet(url, google[1])
        path = PurePosixPath(unquote(url.path))
        stem = _UNSAFE.sub("_", path.stem).strip("._")[:_LONGEST_NAME]
        return cls(str(url), shown_of(url), stem or "sheet")


def shown_of(url: URL) -> str:
    """Return scheme, host and path of an address, in printable characters."""
    port = f":{url.explicit_port}" if url.explicit_port else ""
    return one_line(f"{url.scheme}://{url.host or ''}{port}{url.path}")


def require_safe(url: URL, origin: RemoteAddress) -> None:
    """Refuse an address that a server redirects to, if it is not encrypted.

    Raises:
        InputError: it is plain HTTP, and not to this machine.
    """
    is_plain_loopback = url.scheme == "http" and url.raw_host in LOOPBACK
    was_plain = origin.url.startswith("http://")
    if url.scheme != "https" and not (is_plain_loopback and was_plain):
        raise InputError(
            f"{origin.shown}: redirects to {shown_of(url)}, which is not encrypted. Use the "
            "address of the file itself."
        )


def _google_sheet(url: URL, key: str) -> RemoteAddress:
    """Return the address that exports a worksheet as CSV; the first one if none is chosen."""
    chosen = {**parse_qs(url.raw_query_string), **parse_qs(url.raw_fragment)}.get("gid", [""])[0]
    gid = chosen if chosen.isascii() and chosen.isdecimal() else ""
    query = {"format": "csv"} | ({"gid": gid} if gid else {})
    export = URL.build(
        scheme="https", host=_GOOGLE_HOST, path=f"/spreadsheets/d/{key}/export", query=query
    )
    digest = hashlib.sha256(f"{key} {gid}".encode()).hexdigest()[:8]
    return RemoteAddress(str(export), shown_of(export), f"google-sheet-{digest}", is_google=True)
