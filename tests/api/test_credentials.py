"""The key: found in the order that is documented, and shown by nothing."""

from __future__ import annotations

import copy
import functools
import html
import json
import os
import pickle
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_reset import Options, stream
from bulk_reset.api import credentials
from bulk_reset.api.credentials import (
    CONFIG_FILE,
    DEFAULT_BASE_URL,
    KEY_VARIABLE,
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    AppKey,
    Credentials,
    find_credentials,
    redact,
    redact_values,
)
from bulk_reset.core.errors import CredentialsError, InputError
from bulk_reset.engine.connection import find_account

KEY = "k3y-S3CRET-0123456789"
ELSEWHERE = "https://gateway.example"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with a key file and a configuration, each with a key of its own."""
    (tmp_path / "key").write_text("from-the-file\n")
    (tmp_path / "config.yaml").write_text(f"app_key: from-the-config\nbase_url: {ELSEWHERE}\n")
    return tmp_path


def facts(found: Credentials) -> tuple[str, str, str]:
    return found.app_key.reveal(), found.base_url, found.source


def found_in(
    content: bytes, tmp_path: Path, *, as_config: bool = False, environ: Mapping[str, str] = {}
) -> Credentials:
    path = tmp_path / "it"
    path.write_bytes(content)
    if as_config:
        return find_credentials(environ=environ, config_file=path)
    return find_credentials(app_key_file=path, environ=environ)


def test_a_named_file_comes_before_the_environment_and_the_configuration(home: Path) -> None:
    """An option of this run takes precedence over settings for all runs."""
    found = find_credentials(
        app_key_file=home / "key",
        environ={KEY_VARIABLE: "from-the-environment"},
        config_file=home / "config.yaml",
    )
    assert facts(found) == ("from-the-file", DEFAULT_BASE_URL, str(home / "key"))


def test_the_environment_comes_before_the_configuration(home: Path) -> None:
    """The configuration's address is not mixed with another place's key."""
    found = find_credentials(
        environ={KEY_VARIABLE: " from-the-environment\n"}, config_file=home / "config.yaml"
    )
    assert facts(found) == ("from-the-environment", DEFAULT_BASE_URL, "$FLASHDUTY_APP_KEY")


def test_an_access_token_is_preferred_to_a_key(home: Path) -> None:
    """The option comes first, then the variables; a key's file is an option, too."""
    (home / "token").write_text("from-the-token-file\n")
    both = {TOKEN_VARIABLE: " a-token ", KEY_VARIABLE: "a-key"}
    named = {TOKEN_FILE_VARIABLE: str(home / "token"), KEY_VARIABLE: "a-key"}
    found = [
        find_credentials(environ=both, config_file=home / "config.yaml"),
        find_credentials(environ=named),
        find_credentials(environ=both, access_token_file=home / "token"),
        find_credentials(environ={}, app_key_file=home / "key", access_token_file=home / "token"),
        find_credentials(environ=both, app_key_file=home / "key"),
    ]
    assert [(*facts(one), one.is_token) for one in found] == [
        ("a-token", DEFAULT_BASE_URL, "$FLASHDUTY_ACCESS_TOKEN", True),
        ("from-the-token-file", DEFAULT_BASE_URL, str(home / "token"), True),
        ("from-the-token-file", DEFAULT_BASE_URL, str(home / "token"), True),
        ("from-the-token-file", DEFAULT_BASE_URL, str(home / "token"), True),
        ("from-the-file", DEFAULT_BASE_URL, str(home / "key"), False),
    ]


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({TOKEN_VARIABLE: "two words"}, "$FLASHDUTY_ACCESS_TOKEN: not an access token. A token"),
        ({TOKEN_VARIABLE: "t\u00f6ken"}, "$FLASHDUTY_ACCESS_TOKEN: not an access token. A token"),
        ({TOKEN_FILE_VARIABLE: "nowhere/at-all"}, "$FLASHDUTY_ACCESS_TOKEN_FILE: no such file."),
    ],
)
def test_what_is_no_token_is_refused(environ: dict[str, str], says: str) -> None:
    """No key is used in its place."""
    with pytest.raises(CredentialsError) as raised:
        find_credentials(environ={**environ, KEY_VARIABLE: "a-key"})
    assert str(raised.value).startswith(says)


@pytest.mark.parametrize("environ", [{}, {KEY_VARIABLE: ""}, {KEY_VARIABLE: " \n"}])
def test_the_configurations_key_comes_with_its_address(home: Path, environ: dict[str, str]) -> None:
    """Who uses the provider's own client needs to set up nothing; an empty variable is none."""
    found = find_credentials(environ=environ, config_file=home / "config.yaml")
    assert facts(found) == ("from-the-config", ELSEWHERE, str(home / "config.yaml"))


def test_an_address_that_was_asked_for_counts_everywhere(home: Path) -> None:
    """An option overrules a file."""
    found = find_credentials(
        base_url="https://asked.example", environ={}, config_file=home / "config.yaml"
    )
    assert facts(found) == (
        "from-the-config",
        "https://asked.example",
        str(home / "config.yaml"),
    )


def test_the_configuration_is_read_from_the_home_directory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is the one that the provider's own client writes to."""
    monkeypatch.setenv("HOME", str(home))
    (home / ".flashduty").mkdir()
    path = (home / "config.yaml").rename(home / ".flashduty" / "config.yaml")
    assert facts(find_credentials(environ={})) == ("from-the-config", ELSEWHERE, str(path))


@pytest.mark.parametrize(
    "config", [None, b"", b"base_url: https://x.example\n", b"app_key:\n", b"- app_key\n", b"word"]
)
def test_no_key_anywhere_names_every_place_where_it_may_be(
    config: bytes | None, tmp_path: Path
) -> None:
    """A new user reads all ways at once."""
    path = tmp_path / "config.yaml"
    if config is not None:
        path.write_bytes(config)
    with pytest.raises(CredentialsError) as caught:
        find_credentials(environ={}, config_file=path)
    assert str(caught.value) == (
        "no app key found. Set the environment variable FLASHDUTY_APP_KEY or "
        f"FLASHDUTY_ACCESS_TOKEN, or use app_key_file='FILE', or add app_key to {CONFIG_FILE}. "
        "To try without a key, use sandbox=True."
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows users in another way")
def test_a_user_without_a_home_gets_the_error_for_a_missing_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a container with a made-up user, the message is the same as anywhere."""

    def no_user(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", no_user)
    with pytest.raises(CredentialsError, match=r"^no app key found\."):
        find_credentials(environ={})


@pytest.mark.parametrize(
    "content", [b"%s", b"%s\n", b"\xef\xbb\xbf%s\r\n", b"\n\n  %s\t\n", "%s\u2028".encode()]
)
def test_a_key_file_written_by_any_editor_is_read(content: bytes, tmp_path: Path) -> None:
    """Byte order marks, blank lines and line ends of Windows are no part of a key."""
    found = found_in(content % KEY.encode(), tmp_path)
    assert facts(found) == (KEY, DEFAULT_BASE_URL, str(tmp_path / "it"))


@pytest.mark.parametrize(
    ("value", "key"), [(KEY, KEY), (f"'{KEY}'", KEY), ("0123456", "0123456"), ("1_000", "1_000")]
)
def test_a_key_in_the_configuration_is_text_whatever_it_looks_like(
    value: str, key: str, tmp_path: Path
) -> None:
    """A key of digits is not taken for a number and changed."""
    content = f"last_used: 2026-99-99\napp_key: {value}\n".encode()
    assert facts(found_in(content, tmp_path, as_config=True)) == (
        key,
        DEFAULT_BASE_URL,
        str(tmp_path / "it"),
    )


NOT_A_KEY = "not an app key. A key is one line without spaces."
NOT_TEXT = "not text. The file must contain only the app key."
NOT_YAML = "not YAML. The file must contain app_key: YOUR_KEY."


@pytest.mark.parametrize(
    ("content", "as_config", "expected"),
    [
        (b"", False, NOT_A_KEY),
        (b" \r\n", False, NOT_A_KEY),
        (b"app_key: " + KEY.encode(), False, NOT_A_KEY),
        (KEY.encode() + b"\n" + KEY.encode(), False, NOT_A_KEY),
        (KEY.encode() + b"\x00", False, NOT_A_KEY),
        (b"\xff\xfe" + KEY.encode("utf-16-le"), False, NOT_TEXT),
        (KEY.encode() + b"\xff", False, NOT_TEXT),
        (KEY.encode() + b"\xff", True, NOT_TEXT),
        (b"app_key: {" + KEY.encode(), True, NOT_YAML),
        (b"app_key: !!python/name:" + KEY.encode() + b"\n\t", True, NOT_YAML),
        (b"app_key: [" + KEY.encode() + b"]", True, NOT_A_KEY),
        (b"app_key: two " + KEY.encode(), True, NOT_A_KEY),
    ],
)
def test_what_is_no_key_is_refused_without_showing_it(
    content: bytes, expected: str, tmp_path: Path, *, as_config: bool
) -> None:
    """The file is named, what is in it is not: not even in the chain of causes."""
    with pytest.raises(CredentialsError) as caught:
        found_in(content, tmp_path, as_config=as_config)
    error = caught.value
    assert str(error) == f"{tmp_path / 'it'}: {expected}"
    assert (error.__cause__, error.__context__) == (None, None)
    assert KEY not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("content", "as_config", "expected"),
    [
        (KEY.encode() * 500_000, False, "too large. The file must contain only the app key."),
        (
            b"app_key: x\n" + b"#" * 10_000_000,
            True,
            "too large. The file must contain only the app key.",
        ),
        (b"[" * 60_000, True, NOT_YAML),
        (b"{app_key: " * 6_000, True, NOT_YAML),
        (bytes(range(256)), False, NOT_TEXT),
        (b"\0" * 100, False, NOT_A_KEY),
    ],
    ids=["10 MB", "10 MB of YAML", "deep", "deeper", "binary", "nothing but zeros"],
)
def test_a_file_that_is_something_else_is_refused_at_once(
    content: bytes, expected: str, tmp_path: Path, *, as_config: bool
) -> None:
    """A slip in the name costs neither memory nor a traceback."""
    with pytest.raises(CredentialsError) as caught:
        found_in(content, tmp_path, as_config=as_config)
    assert str(caught.value) == f"{tmp_path / 'it'}: {expected}"


def test_a_key_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    """A slip in the name never falls back to another key."""
    with pytest.raises(CredentialsError) as caught:
        find_credentials(app_key_file=tmp_path, environ={KEY_VARIABLE: KEY})
    assert str(caught.value) == f"{tmp_path}: cannot be read (Is a directory). Check the name."


def test_a_key_that_was_given_for_the_name_of_a_file_is_not_repeated() -> None:
    """It is wrong to give it on the command line; it is not made worse."""
    with pytest.raises(CredentialsError) as caught:
        find_credentials(app_key_file=Path(KEY), environ={KEY_VARIABLE: "another-key"})
    assert str(caught.value) == (
        "app_key_file: no such file. Use the name of a file that contains the app key."
    )
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_key_may_come_through_a_pipe(tmp_path: Path) -> None:
    """As from ``--app-key-file <(pass show the-key)``; others cannot read it, so no warning."""
    pipe = tmp_path / "it"
    os.mkfifo(pipe, 0o666)
    with ThreadPoolExecutor(1) as executor:
        writing = executor.submit(pipe.write_text, f"{KEY}\n")
        found = find_credentials(app_key_file=pipe, environ={})
        writing.result()
    assert (found.app_key.reveal(), found.warning) == (KEY, "")


@pytest.mark.parametrize("as_config", [False, True])
@pytest.mark.parametrize(
    ("mode", "is_open"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)]
)
def test_a_key_that_others_can_read_is_warned_of(
    mode: int, tmp_path: Path, *, is_open: bool, as_config: bool
) -> None:
    """The warning names the file and the fix; the run continues."""
    path = tmp_path / "it is"
    path.write_text(f"app_key: {KEY}" if as_config else KEY)
    path.chmod(mode)
    named = {"config_file": path} if as_config else {"app_key_file": path}
    found = find_credentials(environ={}, **named)
    warning = f"{path}: other users can read the app key. Use: chmod 600 '{path}'"
    assert (found.app_key.reveal(), found.warning) == (KEY, warning if is_open else "")


def test_a_key_from_the_environment_causes_no_warning() -> None:
    """Other users cannot read that."""
    assert find_credentials(environ={KEY_VARIABLE: KEY}).warning == ""


async def test_a_warning_reaches_the_user(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, command: Callable
) -> None:
    """The command prints it on standard error, and a program gets it as a notice."""
    path = tmp_path / "it"
    path.write_text(KEY)
    path.chmod(0o644)
    (tmp_path / "incidents.csv").write_text("id,title\n69da451e0000000000000001,Renamed\n")
    done = command("run", "incidents.csv", "--app-key-file", path, "--dry-run", "--json", key=None)
    warning = f"{path}: other users can read the app key. Use: chmod 600 {path}"
    assert (done.returncode, warning in done.stderr, warning in done.stdout) == (0, True, False)

    options = Options(app_key_file=path, base_url="https://gateway.example")
    assert [outcome async for outcome in stream([], options)] == []
    assert [record.message for record in caplog.records] == [warning]


@pytest.mark.parametrize(
    "address", ["http://gateway.example", f"https://user:{KEY}@gateway.example", "gateway.example"]
)
def test_an_address_in_the_configuration_is_checked_like_any(
    address: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the file, not an option, and does not repeat the address."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    path = home / ".flashduty" / "config.yaml"
    path.parent.mkdir()
    path.write_text(json.dumps({"app_key": "from-the-config", "base_url": address}))
    with pytest.raises(InputError) as caught:
        find_account(Options())
    assert str(caught.value).startswith(f"{path}: base_url")
    assert KEY not in str(caught.value)
    # What is asked for overrules it, and is what is blamed.
    assert find_account(Options(base_url=ELSEWHERE)).base_url == ELSEWHERE
    with pytest.raises(InputError, match=r"^base_url"):
        find_account(Options(base_url="http://gateway.example"))


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{!r}".format])
def test_a_key_is_shown_only_by_reveal(show) -> None:  # noqa: ANN001
    """Logs, debuggers and error pages see that there is a key, and no more."""
    key = AppKey(KEY)
    assert show(key) == "<AppKey hidden>"
    assert KEY not in show(Credentials(key, ELSEWHERE, "a test"))
    assert key.reveal() == KEY


@pytest.mark.parametrize("store", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_key_cannot_be_stored(store) -> None:  # noqa: ANN001
    """No cache, no queue and no crash dump takes it along."""
    with pytest.raises(TypeError, match=r"^an app key cannot be pickled$"):
        store(AppKey(KEY))


ODD = "k3y/with+odd=signs&'\"<x>"


def escape_controls(text: str, number: int) -> str:
    """Return a text escaped in a way of programs, by number."""
    ways: list[Callable[[str], str]] = [
        lambda text: quote(text, safe=""),
        lambda text: quote(text, safe="/'").replace("%2B", "%2b"),
        lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
        lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
        lambda text: "".join(f"\\u{ord(c):04X}" for c in text),
        lambda text: re.sub(r"\W", lambda c: f"\\x{ord(c[0]):02x}", text),
        html.escape,
        lambda text: re.sub(r"\W", lambda c: f"&#{ord(c[0])};", text),
        lambda text: "".join(f"&#x{ord(c):x};" for c in text),
    ]
    return ways[number % len(ways)](text)


@given(st.lists(st.integers(0, 8), max_size=4), st.sampled_from(["", "GET /?x&app_key=", "%2"]))
def test_a_text_with_a_key_in_it_is_shown_without(ways: list[int], before: str) -> None:
    """The last resort: however it is escaped, four times over, and nothing else is changed."""
    AppKey(ODD)
    text = functools.reduce(escape_controls, ways, ODD)
    assert redact(f"{before}{text} <b>100 %</b>") == f"{before}**** <b>100 %</b>"


def test_every_key_in_a_text_is_hidden() -> None:
    """Several keys, one that is part of another, one twice, and one that was never used."""
    AppKey(KEY), AppKey(KEY[3:-3]), AppKey(ODD)
    text = f"{KEY} and {ODD}, {KEY}{KEY}; ?app_key=cut-off-k&x=1 \\u003fapp_key%3Dcut-off-k2&amp;x"
    assert redact(text) == (
        "**** and ****, ********; ?app_key=****&x=1 \\u003fapp_key%3D****&amp;x"
    )


def test_a_key_is_removed_from_every_text_of_a_value() -> None:
    """Names of objects are texts as well; numbers and the value's shape stay."""
    AppKey(KEY)
    escaped = "".join(f"\\u{ord(c):04x}" for c in KEY)
    value = {"a": [KEY, 5, None, {KEY: True}], "b": f"see {escaped}."}
    assert redact_values(value) == {"a": ["****", 5, None, {"****": True}], "b": "see ****."}


PIECES = st.sampled_from(
    [KEY, *(f"\\u{ord(c):04x}" for c in KEY[:3]), KEY[3:], quote(KEY), "\\", "%4", "1", "&amp", ";"]
)


@given(values=st.lists(st.lists(PIECES, max_size=6).map("".join), max_size=4))
def test_texts_that_are_searched_together_lose_what_each_of_them_loses(values: list[str]) -> None:
    """No end of a text hides a key in the next one."""
    AppKey(KEY)
    assert redact_values({"texts": values}) == {"texts": [redact(one) for one in values]}


def test_a_text_full_of_escapes_but_without_a_key_is_not_mapped_character_by_character(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a character was before unescaping takes much memory and is rarely needed."""
    AppKey(KEY)
    monkeypatch.setattr(credentials, "_unescaped", None)
    for text in ("\\u4e2d" * 1024, "&nbsp;" * 1024, "100 % \\\\server\\share & more"):
        assert redact(text) == text


def test_a_text_without_a_key_stays_as_it_is() -> None:
    """A short word that happens to be a key does not blot out ordinary text."""
    AppKey("-"), AppKey("abc")
    for text in ("abc - an update", "100 % of \\u002f &amp; %41", "&notanentity; \\"):
        assert redact(text) == text
