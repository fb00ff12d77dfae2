"""Where the key comes from, and how it is kept out of sight.

In this order: a file named by ``--app-key-file``, the environment's ``FLASHDUTY_APP_KEY``,
the provider's own ``~/.flashduty/config.yaml``. There is no option that takes the key itself:
other users of the machine can read a command line.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.errors import CredentialsError

DEFAULT_BASE_URL: Final = "https://api.flashcat.cloud"
"""Source: ``servers`` of the Flashduty Open API's description."""
KEY_VARIABLE: Final = "FLASHDUTY_APP_KEY"
CONFIG_FILE: Final = "~/.flashduty/config.yaml"
_MOST_BYTES: Final = 1 << 16
"""More than any key, or any configuration with a key in it, has."""
_SEEN: Final[list[str]] = []
"""This process's keys."""
_SHORTEST_SECRET: Final = 6
_DEEPEST: Final = 5
"""So many times over a key may be escaped and is still known."""
_ESCAPE: Final = re.compile(
    # As URLs, JSON (and Python), and HTML write a character.
    r"%([0-9a-f]{2})|\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|(.))|&#?\w{1,31};",
    re.IGNORECASE | re.DOTALL,
)
_IN_QUERY: Final = re.compile(r"app_key=([^&\s'\"<>)]+)")


class AppKey:
    """A key that shows itself to nobody who does not ask by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) >= _SHORTEST_SECRET and text not in _SEEN:
            _SEEN.append(text)

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
    warning: str = ""
    """What is wrong with how the key is kept, in a sentence; empty where nothing is."""


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
        environ: the process's own when None.

    Raises:
        CredentialsError: no key, or a file that does not hold one; nothing was sent.
    """
    try:
        return _found(app_key_file, base_url, environ, config_file)
    except CredentialsError as exc:
        # Without the way here: a traceback that shows variables would show the files' text.
        error = exc.with_traceback(None)
    raise error


def _found(
    app_key_file: Path | None,
    base_url: str | None,
    environ: Mapping[str, str] | None,
    config_file: Path | None,
) -> Credentials:
    environ = os.environ if environ is None else environ
    if app_key_file is not None:
        text, warning = _read(app_key_file)
        return _made(text, base_url, f"{app_key_file}", warning)
    if environ.get(KEY_VARIABLE, "").strip():
        return _made(environ[KEY_VARIABLE], base_url, f"${KEY_VARIABLE}")
    path = config_file or Path(os.path.expanduser(CONFIG_FILE))  # noqa: PTH111  (never raises)
    if os.path.exists(path):  # noqa: PTH110  (a directory that is closed to us raises nothing)
        config, warning = _read_config(path)
        if key := config.get("app_key"):
            key = key if isinstance(key, str) else ""
            configured = config.get("base_url")
            address = base_url or (str(configured) if configured else None)
            return _made(key, address, str(path), warning)
    raise CredentialsError(
        "no app key found. Put it into the environment as FLASHDUTY_APP_KEY, or into a file and "
        f"say --app-key-file FILE, or into {CONFIG_FILE} as app_key. "
        "To try without a key: --sandbox."
    )


def _made(text: str, base_url: str | None, source: str, warning: str = "") -> Credentials:
    key = text.strip()
    if not key or len(key.split()) > 1 or not key.isprintable():
        raise CredentialsError(f"{source}: not an app key. It is one line without spaces.")
    return Credentials(AppKey(key), base_url or DEFAULT_BASE_URL, source, warning)


def _read(path: Path) -> tuple[str, str]:
    """Return a file's text, and a warning where other users can read it too."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        # Its name is not repeated: it may be the key itself, given by mistake.
        raise CredentialsError(
            "--app-key-file: no such file. It takes the name of a file with the key in it."
        ) from None
    except OSError as exc:
        raise CredentialsError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    if len(content) > _MOST_BYTES:
        raise CredentialsError(f"{path}: too large. It should hold the app key, alone.")
    # Not decoded strictly: the exception would hold the file's bytes, and so the key.
    text = content.decode("utf-8-sig", errors="replace")
    if "\ufffd" in text:
        raise CredentialsError(f"{path}: not text. It should hold the app key, alone.")
    is_open = os.name == "posix" and stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH)
    fix = f"chmod 600 {shlex.quote(str(path))}"
    return text, f"{path}: other users can read the key. Say: {fix}" if is_open else ""


def _read_config(path: Path) -> tuple[dict[str, Any], str]:
    import yaml  # noqa: PLC0415  (only who keeps the key there pays for it)

    text, warning = _read(path)
    with contextlib.suppress(yaml.YAMLError, RecursionError):
        # BaseLoader leaves text as it is: a key of digits is no number.
        config = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  (makes plain text only)
        return (config, warning) if isinstance(config, dict) else ({}, "")
    # Raised out here: the exception quotes the file, with the key in it.
    raise CredentialsError(f"{path}: not YAML. It should hold app_key: YOUR_KEY.")


def redact(text: str) -> str:
    """Return the text without any key that this process has seen: the last resort.

    A key is known as it is, and escaped as URLs, JSON and HTML do, several times over too. After
    its name in a query it is known by that.
    """
    found = _keys_in(text)
    if _ESCAPE.search(text):
        plain, places = text, list(range(len(text) + 1))
        for _ in range(_DEEPEST):
            plain, places = _unescaped(plain, places)
            found += [(places[start], places[end]) for start, end in _keys_in(plain)]
    if not found:
        return text
    parts, shown = [], 0
    for start, end in sorted(found):
        if end > shown:
            parts.append(f"{text[shown:start]}****" if start >= shown else "")
            shown = end
    return "".join(parts) + text[shown:]


def _keys_in(text: str) -> list[tuple[int, int]]:
    spans = [found.span(1) for found in _IN_QUERY.finditer(text)] if "app_key=" in text else []
    for key in _SEEN:
        start = text.find(key)
        while start >= 0:
            spans.append((start, start + len(key)))
            start = text.find(key, start + 1)
    return spans


def _unescaped(text: str, places: list[int]) -> tuple[str, list[int]]:
    """Return a text escaped once less.

    Args:
        places: of each character, and of the end, the place in the text that is to be shown.
    """
    from html import unescape  # noqa: PLC0415  (rarely needed)

    parts: list[str] = []
    moved: list[int] = []
    done = 0
    for escape in _ESCAPE.finditer(text):
        number = escape[1] or escape[2] or escape[3]
        plain = chr(int(number, 16)) if number else escape[4] or unescape(escape[0])
        parts += text[done : escape.start()], plain
        moved += places[done : escape.start()] + [places[escape.start()]] * len(plain)
        done = escape.end()
    parts.append(text[done:])
    return "".join(parts), moved + places[done:]
