"""The key is shown nowhere, whatever goes wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import clean_environment, write_sheet

SECRET = "k3y/S3CRET+0123456789=="  # noqa: S105  (with what a URL escapes)
TRACES = (SECRET, "k3y%2FS3CRET", "S3CRET")

ENDINGS = {
    "a wrong key": "pass",
    "an error page that quotes the address": (
        "import bulk_reset.client as c, json\n"
        "real = c.read_answer\n"
        "def read_answer(status, headers, content):\n"
        "    body = json.dumps({'request_id': 'r', 'error': {'code': 'InvalidParameter',"
        " 'message': 'nothing at ?app_key=' + KEY}}).encode()\n"
        "    return real(400, {}, body)\n"
        "c.read_answer = read_answer\n"
    ),
    "a crash whose message holds the address": (
        "import bulk_reset.client as c\n"
        "def read_answer(*_):\n"
        "    raise RuntimeError('https://api/incident/reset?app_key=' + KEY)\n"
        "c.read_answer = read_answer\n"
    ),
    "an aiohttp error that holds the address": (
        "import bulk_reset.client as c, aiohttp\n"
        "def read_answer(*_):\n"
        "    raise aiohttp.InvalidURL('https://api/incident/reset?app_key=' + KEY)\n"
        "c.read_answer = read_answer\n"
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_the_key_is_in_no_output_and_no_file(
    ending: str, place: str, start_sandbox: Callable, tmp_path: Path
) -> None:
    """Verbose, crashed or refused: output and every file written are free of the key."""
    sandbox = start_sandbox("--seed-incidents", "3", "--latency", "0")
    folder = tmp_path / "work"
    folder.mkdir()
    write_sheet(folder / "incidents.csv", 3)
    arguments = ["run", "incidents.csv", "--base-url", sandbox.url, "-v", "--attempts", "1"]
    environment = clean_environment()
    if place == "environment":
        environment["FLASHDUTY_APP_KEY"] = SECRET
    else:
        (tmp_path / "key").write_text(SECRET + "\n")
        arguments += ["--app-key-file", str(tmp_path / "key")]
    program = (
        f"import sys; KEY = {SECRET!r}\n{ENDINGS[ending]}\n"
        f"sys.argv = ['bulk-reset', *{arguments!r}]\n"
        "from bulk_reset.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    written = [done.stdout, done.stderr]
    written += [path.read_text(encoding="utf-8") for path in folder.iterdir()]
    assert [trace for trace in TRACES for text in written if trace in text] == []


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
