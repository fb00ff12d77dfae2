"""The key is shown nowhere, whatever goes wrong."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FAST, SandboxProcess, clean_environment, run_sandbox, write_sheet

SECRET = "k3y/S3CRET+0123456789=="  # noqa: S105  (with what a URL escapes)
TRACES = (SECRET, "S3CRET")

ANSWER = (
    "import bulk_reset.client as c, json, html\n"
    "from urllib.parse import quote, quote_plus\n"
    "real = c.read_answer\n"
    "def read_answer(status, headers, content):\n"
    "    body = json.dumps({'request_id': %s, 'error': {'code': 'InvalidParameter',"
    " 'message': %s}}).encode()\n"
    "    return real(400, {}, body)\n"
    "c.read_answer = read_answer\n"
)
RAISE = (
    "import bulk_reset.client as c, aiohttp\n"
    "def read_answer(*_):\n"
    "    raise %s('https://api/incident/reset?app_key=' + KEY)\n"
    "c.read_answer = read_answer\n"
)
SHOW_ALL = (
    "import bulk_reset.client as c, bulk_reset.cli.run as r, traceback\n"
    "import bulk_reset.actions as actions\n"
    "from rich.console import Console\n"
    "from bulk_reset.errors import BulkResetError\n"
    "real, secret = actions.run, KEY\n"
    "del KEY\n"
    "def run(*arguments, **options):\n"
    "    try:\n"
    "        return real(*arguments, **options)\n"
    "    except BaseException as error:\n"
    "        error.__traceback__ = error.__traceback__.tb_next\n"
    "        traceback.TracebackException.from_exception(error, capture_locals=True).print()\n"
    "        Console(stderr=True, width=9999).print_exception(show_locals=True)\n"
    "        raise\n"
    "actions.run = run\n"
)
ENDINGS = {
    "a wrong key": "pass",
    "an error page that quotes the address": ANSWER % ("'r'", "'nothing at ?app_key=' + KEY"),
    "an answer with the key in its id": ANSWER % ("KEY", "'no'"),
    "an answer with the key alone": ANSWER % ("'r'", "KEY"),
    "an answer with the key in a URL": ANSWER % ("'r'", "quote(KEY, safe='')"),
    "an answer with the key in a form": ANSWER % ("'r'", "quote_plus(KEY)"),
    "an answer with the key in a URL in a URL": ANSWER % ("'r'", "quote(quote(KEY, safe=''))"),
    "an answer with the key in a page": ANSWER % ("'r'", "html.escape(KEY)"),
    "an answer with the key in JSON": ANSWER % ("'r'", "json.dumps(KEY).replace('/', '\\\\/')"),
    "a crash whose message holds the address": RAISE % "RuntimeError",
    "an aiohttp error that holds the address": RAISE % "aiohttp.InvalidURL",
    "all locals of a mistake shown": SHOW_ALL + "import bulk_reset.sending as s\ns.Quota = None\n",
    "all locals of a request shown": SHOW_ALL + "c.read_answer = None\n",
    "no connection": "sys.argv[:] = [one.replace(URL, DEAD) for one in sys.argv]\n",
}
MODES = {"plain": [], "debugging": ["-X", "dev", "-X", "faulthandler", "-W", "always"]}


CASES = [
    *itertools.product(ENDINGS, ["environment"], MODES),
    *itertools.product(["a wrong key"], ["file", "configuration"], ["debugging"]),
]


@pytest.mark.parametrize(("ending", "place", "mode"), CASES)
def test_the_key_is_in_no_output_and_no_file(
    ending: str, place: str, mode: str, tmp_path: Path, own_sandbox: SandboxProcess
) -> None:
    """Verbose, crashed or refused: output and every file written are free of the key."""
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    (home / ".flashduty").mkdir(parents=True)
    write_sheet(folder / "incidents.csv", 3)
    arguments = ["run", "incidents.csv", "--base-url", own_sandbox.url, "-v", "--attempts", "1"]
    arguments += ["--patience", "0", *FAST]
    environment = clean_environment(HOME=str(home), XDG_STATE_HOME=str(folder / "state"))
    if place == "environment":
        environment["FLASHDUTY_APP_KEY"] = SECRET
    elif place == "configuration":
        (home / ".flashduty" / "config.yaml").write_text(f"app_key: {SECRET}\n")
    else:
        (tmp_path / "key").write_text(SECRET + "\n")
        arguments += ["--app-key-file", str(tmp_path / "key")]
    program = (
        f"import sys; KEY, URL, DEAD = {SECRET!r}, {own_sandbox.url!r}, 'http://127.0.0.1:9'\n"
        f"sys.argv = ['bulk-reset', *{arguments!r}]\n{ENDINGS[ending]}\n"
        "from bulk_reset.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, *MODES[mode], "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert ("TypeError" in done.stderr and "locals" in done.stderr) == ("all locals" in ending)
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    outputs = [done.stdout, done.stderr, *names]
    outputs += [content.decode("utf-8", "replace") for content in written]
    assert [trace for trace in TRACES for text in outputs if trace in text] == []


@pytest.fixture(scope="module")
def own_sandbox() -> Iterator[SandboxProcess]:
    """Share one sandbox, which refuses the key."""
    with run_sandbox("--seed-incidents", "3", "--latency", "0", *FAST) as sandbox:
        yield sandbox


def test_a_crash_leaves_no_image_of_the_memory() -> None:
    """A core file would hold the key; the command has none written."""
    program = (
        "import sys, resource\nfrom bulk_reset.cli import main\nsys.argv = ['x', '--version']\n"
        "try:\n    main()\nfinally:\n    print(resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "(0, 0)"


def test_the_key_is_not_in_the_list_of_processes(
    own_sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """Other users of the machine see the command line of a run, and no key in it."""
    (tmp_path / "key").write_text(SECRET)
    command = [sys.executable, "-m", "bulk_reset", "run", "-", "--app-key-file", "key"]
    process = subprocess.Popen(
        [*command, "--base-url", own_sandbox.url],
        cwd=tmp_path,
        env=clean_environment(TMPDIR=str(tmp_path)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not list(tmp_path.glob("bulk-reset-*.csv")):
        assert process.poll() is None
    line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    variables = Path(f"/proc/{process.pid}/environ").read_bytes()
    process.communicate(b"id,title\n")
    assert b"--app-key-file" in line
    assert SECRET.encode() not in line + variables


def test_no_option_takes_a_key() -> None:
    """Other users of the machine can read a command line, so no key can stand there."""
    done = subprocess.run(
        [sys.executable, "-m", "bulk_reset", "run", "--help"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert [word for word in done.stdout.split() if "key" in word and word.startswith("--")] == [
        "--app-key-file"
    ]
