"""The app key or access token: where it is found, and how it is kept out of every output.

Searched in this order: the files of ``--access-token-file`` and ``--app-key-file``, the environment
variables ``FLASHDUTY_ACCESS_TOKEN``, ``FLASHDUTY_ACCESS_TOKEN_FILE`` and ``FLASHDUTY_APP_KEY``, the
provider's own ``~/.flashduty/config.yaml``. No option takes a secret itself, because other users of
the machine can read command lines.

A token is sent in a header, a key in the URL. Both are secrets, and both are an ``AppKey`` here.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.errors import CredentialsError
from bulk_reset.core.input_file import open_input
from bulk_reset.core.option_names import option, option_name

DEFAULT_BASE_URL: Final = "https://api.flashcat.cloud"
"""Source: ``servers`` of the Flashduty Open API's description."""
KEY_VARIABLE: Final = "FLASHDUTY_APP_KEY"
TOKEN_VARIABLE: Final = "FLASHDUTY_ACCESS_TOKEN"  # noqa: S105  (its name)
TOKEN_FILE_VARIABLE: Final = f"{TOKEN_VARIABLE}_FILE"
SECRET_VARIABLES: Final = frozenset({KEY_VARIABLE, TOKEN_VARIABLE})
"""The variables that hold a secret."""
CONFIG_FILE: Final = "~/.flashduty/config.yaml"
_MOST_BYTES: Final = 1 << 16
"""More than any file with an app key has."""
_SEEN: Final[list[str]] = []
"""The app keys and access tokens of this process."""
_SHORTEST_SECRET: Final = 6
_MAX_ESCAPES: Final = 5
"""A key that was escaped this many times over is still recognised."""
_ESCAPE: Final = re.compile(
    # Escapes of URLs, JSON (and Python), and HTML.
    r"%[0-9a-f]{2}|\\(?:u[0-9a-f]{4}|x[0-9a-f]{2}|.)|&#?\w{1,31};",
    re.IGNORECASE | re.DOTALL,
)
_IN_QUERY: Final = re.compile(r"app_key=([^&\s'\"<>)]+)")


class AppKey:
    """An app key or access token, which is shown only by ``reveal``."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) >= _SHORTEST_SECRET and text not in _SEEN:
            _SEEN.append(text)

    def reveal(self) -> str:
        """Return the secret itself; for the request's URL or header only."""
        return self._text

    def __repr__(self) -> str:
        return "<AppKey hidden>"

    def __reduce__(self) -> str:
        raise TypeError("an app key cannot be pickled")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The app key or access token of an account, and the address of its API."""

    app_key: AppKey
    base_url: str
    source: str
    """Where the key was found."""
    warning: str = ""
    """A sentence if other users can read the key's file; else empty."""
    is_token: bool = False
    """Whether ``app_key`` is an access token, sent in a header and not in the URL."""


def find_credentials(
    *,
    access_token_file: Path | None = None,
    app_key_file: Path | None = None,
    base_url: str | None = None,
    environ: Mapping[str, str] | None = None,
    config_file: Path | None = None,
) -> Credentials:
    """Find the access token or the app key, and the address it belongs to.

    An address in the provider's configuration is used only with the key from the same file.

    Args:
        environ: the process's own environment when None.

    Raises:
        CredentialsError: no key found, or a file without one; nothing was sent.
    """
    try:
        if app_key_file is None or access_token_file is not None:
            token = _found_token(access_token_file, base_url, environ)
            if token is not None:
                return token
        return _found(app_key_file, base_url, environ, config_file)
    except CredentialsError as exc:
        # Without its traceback: tools that print variables would print the file's text.
        error = exc.with_traceback(None)
    raise error


def _found_token(
    path: Path | None, base_url: str | None, environ: Mapping[str, str] | None
) -> Credentials | None:
    """Return the access token; None if there is none."""
    environ = os.environ if environ is None else environ
    if path is None and environ.get(TOKEN_VARIABLE, "").strip():
        found = _made(environ[TOKEN_VARIABLE], base_url, f"${TOKEN_VARIABLE}", what="access token")
        return replace(found, is_token=True)
    named = environ.get(TOKEN_FILE_VARIABLE, "").strip()
    if path is None and not named:
        return None
    option_called = f"${TOKEN_FILE_VARIABLE}" if path is None else option_name("access_token_file")
    text, warning = _read(Path(named) if path is None else path, option_called)
    found = _made(text, base_url, f"{path or named}", warning, what="access token")
    return replace(found, is_token=True)


def _found(
    app_key_file: Path | None,
    base_url: str | None,
    environ: Mapping[str, str] | None,
    config_file: Path | None,
) -> Credentials:
    environ = os.environ if environ is None else environ
    if app_key_file is not None:
        text, warning = _read(app_key_file, option_name("app_key_file"))
        return _made(text, base_url, f"{app_key_file}", warning)
    if environ.get(KEY_VARIABLE, "").strip():
        return _made(environ[KEY_VARIABLE], base_url, f"${KEY_VARIABLE}")
    path = config_file or Path(os.path.expanduser(CONFIG_FILE))  # noqa: PTH111  (never raises)
    if os.path.exists(path):  # noqa: PTH110  (never raises, even without permission)
        config, warning = _read_config(path)
        if key := config.get("app_key"):
            key = key if isinstance(key, str) else ""
            configured = config.get("base_url")
            if base_url is None and configured is not None and not str(configured).strip():
                raise CredentialsError(
                    f"{path}: base_url is empty. Set the API's address, or remove the line."
                )
            address = base_url if base_url is not None or not configured else str(configured)
            return _made(key, address, str(path), warning)
    raise CredentialsError(
        "no app key found. Set the environment variable FLASHDUTY_APP_KEY or "
        f"{TOKEN_VARIABLE}, or use {option('app_key_file', 'FILE')}, or add app_key to "
        f"{CONFIG_FILE}. To try without a key, use {option('sandbox')}."
    )


def _made(
    text: str, base_url: str | None, source: str, warning: str = "", what: str = "app key"
) -> Credentials:
    key = text.strip()
    if not key or len(key.split()) > 1 or not key.isprintable():
        word = what.rsplit(maxsplit=1)[-1]
        raise CredentialsError(f"{source}: not an {what}. A {word} is one line without spaces.")
    if what != "app key" and not key.isascii():
        raise CredentialsError(f"{source}: not an {what}. A token has ASCII characters only.")
    address = DEFAULT_BASE_URL if base_url is None else base_url
    return Credentials(AppKey(key), address, source, warning)


def _read(path: Path, given_by: str = "") -> tuple[str, str]:
    """Return a file's text, and a warning if other users can read it."""
    try:
        with open_input(path, accepts_pipe=True) as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        # The name is not repeated: it may be the key itself, given by accident.
        raise CredentialsError(
            f"{given_by or path}: no such file. Use the name of a file that contains the "
            f"{'access token' if 'token' in given_by.lower() else 'app key'}."
        ) from None
    except OSError as exc:
        raise CredentialsError(f"{path}: cannot be read ({exc.strerror}). Check the name.") from exc
    if len(content) > _MOST_BYTES:
        raise CredentialsError(f"{path}: too large. The file must contain only the app key.")
    # Not decoded strictly: the exception would contain the file's bytes, and so the key.
    text = content.decode("utf-8-sig", errors="replace")
    if "\ufffd" in text:
        raise CredentialsError(f"{path}: not text. The file must contain only the app key.")
    is_open = os.name == "posix" and stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH)
    fix = f"chmod 600 {shlex.quote(str(path))}"
    return text, f"{path}: other users can read the app key. Use: {fix}" if is_open else ""


def _read_config(path: Path) -> tuple[dict[str, Any], str]:
    import yaml  # noqa: PLC0415  (rarely needed)

    text, warning = _read(path)
    with contextlib.suppress(yaml.YAMLError, RecursionError):
        # BaseLoader makes no numbers: a key may consist of digits.
        config = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  (makes plain text only)
        return (config, warning) if isinstance(config, dict) else ({}, "")
    # Raised here, not chained: the YAML error quotes the file with the key in it.
    raise CredentialsError(f"{path}: not YAML. The file must contain app_key: YOUR_KEY.")


def redact(text: str) -> str:
    """Return the text without any app key that this process has used: the last line of defence.

    A key is recognised as it is, and escaped by URLs, JSON and HTML, also several times over.
    The value of ``app_key`` in a query is always removed.
    """
    if not _may_have_key(text):
        return text
    found = _keys_in(text)
    plain, places = text, list(range(len(text) + 1))
    for _ in range(_MAX_ESCAPES):
        plain, places = _unescaped(plain, places)
        found += [(places[start], places[end]) for start, end in _keys_in(plain)]
    parts, shown = [], 0
    for start, end in sorted(found):
        if end > shown:
            parts.append(f"{text[shown:start]}****" if start >= shown else "")
            shown = end
    return "".join(parts) + text[shown:]


def redact_values(value: Any) -> Any:  # noqa: ANN401  (JSON)
    """Return a value of JSON in which every text is redacted, names of objects included.

    Raises:
        RecursionError: it is nested too deeply.
    """
    texts: list[str] = []
    _add_texts(value, texts)
    # Searched together, which is much faster. No escape continues beyond the line break between.
    return _redacted(value) if _may_have_key("\n".join(texts)) else value


def _add_texts(value: Any, texts: list[str]) -> None:  # noqa: ANN401  (JSON)
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, dict):
        texts += value
        for one in value.values():
            _add_texts(one, texts)
    elif isinstance(value, list):
        for one in value:
            _add_texts(one, texts)


def _redacted(value: Any) -> Any:  # noqa: ANN401  (JSON)
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(name): _redacted(one) for name, one in value.items()}
    return [_redacted(one) for one in value] if isinstance(value, list) else value


def _may_have_key(text: str) -> bool:
    """Return whether a key is in a text, without finding out where, which is much slower."""
    for _ in range(_MAX_ESCAPES):
        if _keys_in(text):
            return True
        if not ("%" in text or "\\" in text or "&" in text):
            return False
        plain = _ESCAPE.sub(lambda escape: _plain(escape[0]), text)
        if plain == text:
            return False
        text = plain
    return bool(_keys_in(text))


def _keys_in(text: str) -> list[tuple[int, int]]:
    spans = [found.span(1) for found in _IN_QUERY.finditer(text)] if "app_key=" in text else []
    for key in _SEEN:
        start = text.find(key)
        while start >= 0:
            spans.append((start, start + len(key)))
            start = text.find(key, start + 1)
    return spans


def _unescaped(text: str, places: list[int]) -> tuple[str, list[int]]:
    """Return a text with one level of escapes removed.

    Args:
        places: the index of each character, and of the end, in the original text.
    """
    parts: list[str] = []
    moved: list[int] = []
    done = 0
    for escape in _ESCAPE.finditer(text):
        plain = _plain(escape[0])
        parts += text[done : escape.start()], plain
        moved += places[done : escape.start()] + [places[escape.start()]] * len(plain)
        done = escape.end()
    parts.append(text[done:])
    return "".join(parts), moved + places[done:]


@functools.lru_cache(maxsize=1024)
def _plain(escape: str) -> str:
    """Return what an escape stands for."""
    if escape[0] == "&":
        from html import unescape  # noqa: PLC0415  (rarely needed)

        return unescape(escape)
    digits = escape[1:] if escape[0] == "%" else escape[2:]
    return chr(int(digits, 16)) if digits else escape[1]
