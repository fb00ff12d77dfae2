"""Where the key comes from, and how it is kept out of sight.

In this order: a file named by ``--app-key-file``, the environment's ``FLASHDUTY_APP_KEY``,
the provider's own ``~/.flashduty/config.yaml``. There is no option that takes the key itself:
other users of the machine can read a command line.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bulk_reset.errors import CredentialsError

DEFAULT_BASE_URL: Final = "https://api.flashcat.cloud"
"""Source: ``servers`` of the Flashduty Open API's description."""
KEY_VARIABLE: Final = "FLASHDUTY_APP_KEY"
CONFIG_FILE: Final = "~/.flashduty/config.yaml"
_SEEN: Final[list[str]] = []
"""This process's keys as they may be written, the longest first: one may be part of another."""
_SHORTEST_SECRET: Final = 6
_IN_QUERY: Final = re.compile(r"(app_key=)[^&\s'\"<>)]+")


class AppKey:
    """A key that shows itself to nobody who does not ask by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) >= _SHORTEST_SECRET and text not in _SEEN:
            _SEEN.extend({text, quote(text, safe="")})
            _SEEN.sort(key=len, reverse=True)

    def reveal(self) -> str:
        """Return the key itself; for the request's URL only."""
        return self._text

    def __repr__(self) -> str:
        return "<AppKey hidden>"

    def __reduce__(self) -> str:
        raise TypeError("a key is not to be stored")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client needs to know about the account."""

    app_key: AppKey
    base_url: str
    source: str
    """Where the key was found, in words."""


def find_credentials(
    *,
    app_key_file: Path | None = None,
    base_url: str | None = None,
    environ: Mapping[str, str] = os.environ,
    config_file: Path | None = None,
) -> Credentials:
    """Find the key, and the address it belongs to.

    An address in the provider's configuration counts only with the key that stands there.

    Raises:
        CredentialsError: no key, or a file that does not hold one; nothing was sent.
    """
    if app_key_file is not None:
        text = _read(app_key_file)
        return _made(text, base_url, f"{app_key_file}", None)
    if environ.get(KEY_VARIABLE, "").strip():
        return _made(environ[KEY_VARIABLE], base_url, f"${KEY_VARIABLE}", None)
    path = config_file or Path(os.path.expanduser(CONFIG_FILE))  # noqa: PTH111  (never raises)
    if os.path.exists(path):  # noqa: PTH110  (a directory that is closed to us raises nothing)
        config = _read_config(path)
        if key := config.get("app_key"):
            key = key if isinstance(key, str) else ""
            return _made(key, base_url, str(path), config.get("base_url"))
    raise CredentialsError(
        "no app key found. Put it into the environment as FLASHDUTY_APP_KEY, or into a file and "
        f"say --app-key-file FILE, or into {CONFIG_FILE} as app_key. "
        "To try without a key: --sandbox."
    )


def _made(text: str, base_url: str | None, source: str, configured: object) -> Credentials:
    key = text.strip()
    if not key or len(key.split()) > 1 or not key.isprintable():
        raise CredentialsError(f"{source}: not an app key. It is one line without spaces.")
    address = base_url or (str(configured) if configured else DEFAULT_BASE_URL)
    return Credentials(AppKey(key), address, source)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise CredentialsError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    # Not decoded strictly: the exception would hold the file's bytes, and so the key.
    text = content.decode("utf-8-sig", errors="replace")
    if "\ufffd" in text:
        raise CredentialsError(f"{path}: not text. It should hold the app key, alone.")
    return text


def _read_config(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415  (only who keeps the key there pays for it)

    text = _read(path)
    with contextlib.suppress(yaml.YAMLError):
        # BaseLoader leaves text as it is: a key of digits is no number.
        config = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  (makes plain text only)
        return config if isinstance(config, dict) else {}
    # Raised out here: the exception quotes the file, with the key in it.
    raise CredentialsError(f"{path}: not YAML. It should hold app_key: YOUR_KEY.")


def redact(text: str) -> str:
    """Return the text without any key that this process has seen: the last resort."""
    for key in _SEEN:
        text = text.replace(key, "****")
    # However else it may be escaped: after its name in a query it is a key.
    return _IN_QUERY.sub(r"\1****", text) if "app_key" in text else text
