"""Downloads the sheet of an address into a file, within limits of size and time.

Redirects are followed here, one by one, so that none leads to an unencrypted address. Messages
have no text of other libraries, which may name the whole address.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import urlsplit

from yarl import URL

from bulk_reset.api.proxy import proxy_arguments
from bulk_reset.core.errors import InputError
from bulk_reset.sheets.file_types import ODS, PARQUET, TEXT_EXTENSIONS, WORKBOOK, XLSB, kind_of
from bulk_reset.sheets.remote.address import RemoteAddress, require_safe

if TYPE_CHECKING:
    import aiohttp

MAX_BYTES: Final = 500_000_000
TIMEOUT_S: Final = 600.0
_CONNECT_S: Final = 30.0
_SILENCE_S: Final = 60.0
_BLOCK_BYTES: Final = 1 << 18
_MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_OK: Final = 200
_SIGN_IN: Final = frozenset({401, 403})
_NOT_FOUND: Final = frozenset({404, 410})
_PAGE: Final = "a web page"
_GOOGLE_FIX: Final = 'Share the sheet with "Anyone with the link", or download it and use the file.'
_SIGN_IN_FIX: Final = "Use a link that needs no sign-in, or download the sheet and use the file."
_DOWNLOAD_FIX: Final = "Download the sheet and use the file."
_ENDING_OF: Final = {WORKBOOK: ".xlsx", XLSB: ".xlsb", ODS: ".ods", PARQUET: ".parquet"}


async def download(address: RemoteAddress, target: Path) -> None:
    """Write the file of an address into ``target``.

    Raises:
        InputError: it cannot be read, or is too large; ``target`` is incomplete.
    """
    with target.open("wb") as file:
        writer = _BoundedWriter(address, file)
        if urlsplit(address.url).scheme in {"http", "https"}:
            await _download_web(address, writer)
        else:
            await asyncio.to_thread(_download_store, address, writer)


def ending_of(address: RemoteAddress, file: Path) -> str:
    """Return the ending for a downloaded file, by its content.

    Raises:
        InputError: it is no sheet, for example a page that asks to sign in.
    """
    kind, fix = kind_of(file)
    if kind in _ENDING_OF:
        return _ENDING_OF[kind]
    if kind == _PAGE:
        fix = _GOOGLE_FIX if address.is_google else _SIGN_IN_FIX
        raise InputError(
            f"{address.shown}: the answer is a web page, not a sheet. It may be a page that asks "
            f"to sign in. {fix}"
        )
    if kind:
        raise InputError(f"{address.shown}: the file is {kind}, not a sheet. {fix}")
    own = Path(urlsplit(address.url).path).suffix.lower()
    return own if own in TEXT_EXTENSIONS else ".csv"


class _BoundedWriter:
    """Writes blocks up to the limits of size and time; reports what is exceeded."""

    def __init__(self, address: RemoteAddress, file: BinaryIO) -> None:
        self._address, self._file = address, file
        self._bytes, self._ends_at = 0, time.monotonic() + TIMEOUT_S

    def write(self, block: bytes) -> None:
        self._bytes += len(block)
        if self._bytes > MAX_BYTES:
            raise InputError(
                f"{self._address.shown}: larger than {MAX_BYTES / 1e6:,.0f} MB. {_DOWNLOAD_FIX}"
            )
        if time.monotonic() > self._ends_at:
            raise too_slow(self._address)
        self._file.write(block)


def too_slow(address: RemoteAddress) -> InputError:
    """Return the error of a server that does not answer in time."""
    return InputError(
        f"{address.shown}: no complete answer in time. Try again later, or download the sheet and "
        "use the file."
    )


# --- https:// --------------------------------------------------------------------------------


async def _download_web(address: RemoteAddress, writer: _BoundedWriter) -> None:
    import aiohttp  # noqa: PLC0415  (rarely needed)

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
    try:
        # Without trust_env: it would also send passwords of ~/.netrc.
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await _follow(session, address, writer)
    except TimeoutError as exc:
        raise too_slow(address) from exc
    except (aiohttp.ClientSSLError, ssl.SSLError) as exc:
        raise InputError(
            f"{address.shown}: its certificate cannot be verified. Set SSL_CERT_FILE to the "
            "certificates that you trust, or download the sheet and use the file."
        ) from exc
    except (aiohttp.ClientError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        raise InputError(
            f"{address.shown}: cannot be read ({reason}). Check the address and the network."
        ) from exc


async def _follow(
    session: aiohttp.ClientSession, address: RemoteAddress, writer: _BoundedWriter
) -> None:
    url = URL(address.url)
    for _ in range(_MOST_REDIRECTS + 1):
        proxy = proxy_arguments(str(url))
        async with session.get(url, allow_redirects=False, **proxy) as answer:
            location = answer.headers.get("Location", "")
            if answer.status not in _REDIRECTS or not location:
                _require_success(answer.status, address)
                async for block in answer.content.iter_chunked(_BLOCK_BYTES):
                    writer.write(block)
                return
        url = url.join(URL(location))
        require_safe(url, address)
    raise InputError(f"{address.shown}: redirects too often. Use the address of the file itself.")


def _require_success(status: int, address: RemoteAddress) -> None:
    if status == _OK:
        return
    if status in _SIGN_IN:
        fix = _GOOGLE_FIX if address.is_google else _SIGN_IN_FIX
        raise InputError(f"{address.shown}: access denied (HTTP {status}). {fix}")
    if status in _NOT_FOUND:
        raise InputError(f"{address.shown}: not found (HTTP {status}). Check the address.")
    raise InputError(f"{address.shown}: cannot be read (HTTP {status}). Try again later.")


# --- s3:// -----------------------------------------------------------------------------------


def _download_store(address: RemoteAddress, writer: _BoundedWriter) -> None:
    try:
        import fsspec  # noqa: PLC0415  (an extra)

        system, path = fsspec.core.url_to_fs(address.url)
    except ImportError as exc:
        raise InputError(
            f"{address.shown}: needs the extra 'remote'. Install it: "
            "pip install 'bulk-reset[remote]'."
        ) from exc
    except Exception as exc:
        raise _store_error(address, exc) from exc
    try:
        with system.open(path, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                writer.write(block)
    except InputError:
        raise
    except Exception as exc:  # of the store's own library
        raise _store_error(address, exc) from exc


def _store_error(address: RemoteAddress, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{address.shown}: not found. Check bucket and name.")
    if isinstance(error, PermissionError):
        return InputError(
            f"{address.shown}: access denied. Check the credentials of this user for the bucket."
        )
    return InputError(
        f"{address.shown}: cannot be read ({type(error).__name__}). Check the address, the "
        "credentials and the network."
    )
