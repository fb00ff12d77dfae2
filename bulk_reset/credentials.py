"""Where the key comes from, and how it is kept out of sight.

In this order: a file named by ``--app-key-file``, the environment's ``FLASHDUTY_APP_KEY``,
the provider's own ``~/.flashduty/config.yaml``. There is no option that takes the key itself:
other users of the machine can read a command line.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

from bulk_reset.errors import CredentialsError

DEFAULT_BASE_URL: Final = "https://api.flashcat.cloud"
"""Source: ``servers`` of the Flashduty Open API's description."""
KEY_VARIABLE: Final = "FLASHDUTY_APP_KEY"
CONFIG_FILE: Final = "~/.flashduty/config.yaml"
_SEEN: Final[list[str]] = []
"""This process's keys as they may be written, the longest first: one may be part of another."""
_SHORTEST_SECRET: Final = 6
_LONGEST_FILE: Final = 1 << 16
_IN_QUERY: Final = re.compile(r"(app_key=)[^&\s'\"<>)]+")


def _forms(text: str) -> set[str]:
    """Return a text as URLs, pages and JSON write it, in whatever way they escape."""
    in_url = {quote(text, safe=""), quote(text), quote_plus(text), html.escape(text)}
    in_url |= {re.sub("%..", lambda code: code[0].lower(), form) for form in in_url}
    in_json = json.dumps(text)[1:-1]
    return {text, *in_url, *(quote(form) for form in in_url), in_json, in_json.replace("/", "\\/")}


class AppKey:
    """A key that shows itself to nobody who does not ask by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) >= _SHORTEST_SECRET and text not in _SEEN:
            _SEEN.extend(_forms(text))
            _SEEN.sort(key=len, reverse=True)

    def reveal(self) -> str:
        """Return the key itself; for the request's URL only."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "<AppKey hidden>"

    def __reduce__(self) -> str:
        raise TypeError("a key is not to be stored")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client needs to know about the account.

    Attributes:
        source: where the key was found, in words.
        notice: what the user should know about that place, or nothing.
    """

    app_key: AppKey
    base_url: str
    source: str
    notice: str = ""


def find_credentials(
    *,
    app_key_file: Path | None = None,
    base_url: str | None = None,
    environ: Mapping[str, str] | None = None,
    config_file: Path | None = None,
) -> Credentials:
    """Find the key, and the address it belongs to.

    An address in the provider's configuration counts only with the key that stands there.

    Args:
        environ: instead of this process's environment.

    Raises:
        CredentialsError: no key, or a file that does not hold one; nothing was sent.
    """
    # No local here or below holds the key as text: a traceback may show them all.
    if app_key_file is not None:
        found = AppKey(_read(app_key_file).reveal().strip())
        return _made(found, base_url, str(app_key_file), notice=_notice(app_key_file))
    found = AppKey((os.environ if environ is None else environ).get(KEY_VARIABLE, "").strip())
    if found:
        return _made(found, base_url, f"${KEY_VARIABLE}")
    path = config_file or Path(os.path.expanduser(CONFIG_FILE))  # noqa: PTH111  (never raises)
    if os.path.exists(path):  # noqa: PTH110  (a directory that is closed to us raises nothing)
        found, configured = _read_config(path)
        if found:
            address = base_url or (str(configured) if configured else None)
            return _made(found, address, str(path), notice=_notice(path))
    raise CredentialsError(
        "no app key found. Put it into the environment as FLASHDUTY_APP_KEY, or into a file and "
        f"say --app-key-file FILE, or into {CONFIG_FILE} as app_key. "
        "To try without a key: --sandbox."
    )


def _made(key: AppKey, base_url: str | None, source: str, *, notice: str = "") -> Credentials:
    if not _is_key(key):
        raise CredentialsError(f"{source}: not an app key. It is one line without spaces.")
    return Credentials(key, base_url or DEFAULT_BASE_URL, source, notice)


def _is_key(key: AppKey) -> bool:
    text = key.reveal()
    return len(text.split()) == 1 and text.isprintable()


def _notice(path: Path) -> str:
    """Return a warning where other users of the machine can read the key."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    if os.name != "posix" or not stat.S_ISREG(mode) or not mode & (stat.S_IRGRP | stat.S_IROTH):
        return ""
    return f"{path}: other users of this machine can read the key. Say chmod 600 {path}"


def _read(path: Path) -> AppKey:
    """Return what stands in a file."""
    try:
        with path.open("rb") as file:
            # Not decoded strictly: the exception would hold the file's bytes, and so the key.
            found = AppKey(file.read(_LONGEST_FILE).decode("utf-8-sig", errors="replace"))
    except OSError as exc:
        raise CredentialsError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    if "\ufffd" in found.reveal():
        raise CredentialsError(f"{path}: not text. It should hold the app key, alone.")
    return found


def _read_config(path: Path) -> tuple[AppKey, object]:
    """Return the key and the address of the provider's configuration."""
    import yaml  # noqa: PLC0415  (only who keeps the key there pays for it)

    content = _read(path)
    with contextlib.suppress(yaml.YAMLError):
        # BaseLoader leaves text as it is: a key of digits is no number.
        config = yaml.load(content.reveal(), Loader=yaml.BaseLoader)  # noqa: S506  (makes plain text only)
        if not isinstance(config, dict):
            return AppKey(""), None
        key = config.get("app_key") or ""
        # What is no text is no key, and is said to be none.
        return AppKey(key.strip() if isinstance(key, str) else "\n"), config.get("base_url")
    # Raised out here: the exception quotes the file, with the key in it.
    raise CredentialsError(f"{path}: not YAML. It should hold app_key: YOUR_KEY.")


def redact(text: str) -> str:
    """Return the text without any key that this process has seen: the last resort."""
    for key in _SEEN:
        text = text.replace(key, "****")
    # However else it may be escaped: after its name in a query it is a key.
    return _IN_QUERY.sub(r"\1****", text) if "app_key" in text else text
