"""Terminals, pipes and signals in any state: the rows are done and reported all the same.

A user may close the window, cut the pipe, fill the disk or press Ctrl-C repeatedly.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import (
    FAST,
    KEY,
    QUICK,
    Begin,
    SandboxProcess,
    clean_environment,
    read_csv,
    run_python,
    write_sheet,
)
from terminal import rest_of, seen_on_a_terminal

from bulk_reset.core.outcome import Stop, StopReason
from bulk_reset.engine.stop_signals import stop_on_signals

NOISE = re.compile(r"Traceback|Exception|BrokenPipe|Errno")
ROWS = 30


@pytest.fixture
def arguments(start_sandbox: Callable[..., SandboxProcess], tmp_path: Path) -> list[str]:
    """Return the command of a run that takes a moment, and does not ask."""
    sandbox = start_sandbox("--seed-incidents", str(ROWS), *QUICK)
    write_sheet(tmp_path / "incidents.csv", ROWS)
    command = [sys.executable, "-m", "bulk_reset", "run", "incidents.csv"]
    return [*command, "--base-url", sandbox.url, *FAST, "--yes"]


def is_whole(report: Path) -> bool:
    """Return whether a report has one line for every row, and nothing else."""
    return Counter(line["status"] for line in read_csv(report)) == {"updated": ROWS}


def shell(
    script: str, arguments: list[str], folder: Path, stdin: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as a line of the shell does that has it as its arguments."""
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", *arguments],
        cwd=folder,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY),
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- Pipes and files -------------------------------------------------------------------------

REDIRECTIONS = {
    "output cut": ">&0 </dev/null",
    "both cut": ">&0 2>&0 </dev/null",
    "output closed": ">&-",
    "errors closed": "2>&-",
    "input closed": "<&-",
    "all closed": "<&- >&- 2>&-",
    "output on a full disk": ">/dev/full",
    "both on a full disk": ">/dev/full 2>&1",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirection", "more"),
    [
        *((redirection, []) for redirection in REDIRECTIONS),
        ("both cut", ["--json"]),
        ("both cut", ["--verbose"]),
        ("output on a full disk", ["--json"]),
    ],
)
def test_output_that_cannot_be_written_changes_nothing(
    redirection: str, more: list[str], arguments: list[str], tmp_path: Path
) -> None:
    """Every row is done and reported, and the exit code is that of the run."""
    reading, writing = os.pipe()
    os.close(reading)  # as `head` does when it has seen enough
    try:
        done = shell(
            f'exec "$@" {REDIRECTIONS[redirection]}', [*arguments, *more], tmp_path, writing
        )
    finally:
        os.close(writing)
    assert done.returncode == 0, done.stderr
    assert is_whole(tmp_path / "incidents.report.csv")
    assert not NOISE.search(done.stdout + done.stderr)


def test_an_error_without_any_output_still_sets_the_exit_code(tmp_path: Path) -> None:
    """A script learns from the exit code alone that nothing was sent."""
    command = [sys.executable, "-m", "bulk_reset", "check", "gone.csv", "--json"]
    done = shell('exec "$@" >&- 2>&-', command, tmp_path)
    assert done.returncode == 2


# --- Terminals -------------------------------------------------------------------------------


def test_a_terminal_gets_colours(arguments: list[str], tmp_path: Path) -> None:
    """The counter-example to the next one."""
    code, seen = seen_on_a_terminal(arguments[3:], tmp_path, TERM="xterm-256color")
    assert (code, re.findall(r"\x1b\[32mupdated", seen)) == (0, ["\x1b[32mupdated"])


def test_a_notice_has_a_line_of_its_own(arguments: list[str], tmp_path: Path) -> None:
    """The live line of the progress is removed before."""
    code, seen = seen_on_a_terminal(arguments[3:], tmp_path, TERM="xterm-256color")
    before, _, _ = seen.partition("pinned by this run")
    assert (code, "Sending" in before) == (0, True)
    assert before.endswith(("\n", "\x1b[2K")), before[-80:]


@pytest.mark.parametrize("ending", ["done", "error", "invalid"])
@pytest.mark.parametrize(
    ("environment", "forbidden"),
    [({"TERM": "dumb"}, "\x1b"), ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "\x1b[3")],
    ids=["dumb", "no colour"],
)
def test_a_terminal_without_colours_gets_none(
    environment: dict[str, str],
    forbidden: str,
    ending: str,
    arguments: list[str],
    tmp_path: Path,
) -> None:
    """No escape codes on a dumb terminal, no colours if NO_COLOR is set."""
    if ending == "error":
        arguments = [*arguments, "--limit", "0"]
    if ending == "invalid":
        (tmp_path / "incidents.csv").write_text("id,title\n1,x\n")
    code, seen = seen_on_a_terminal(arguments[3:], tmp_path, **environment)
    assert code == (0 if ending == "done" else 2)
    assert forbidden not in seen
    assert re.search("error:|updated", seen)


@pytest.mark.parametrize("columns", [1, 20, 40])
def test_a_narrow_terminal_wraps_lines(columns: int, arguments: list[str], tmp_path: Path) -> None:
    """A run works in a terminal of any width."""
    code, seen = seen_on_a_terminal(arguments[3:], tmp_path, columns, TERM="xterm")
    assert (code, NOISE.search(seen)) == (0, None)
    assert is_whole(tmp_path / "incidents.report.csv")


OWN_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.parametrize(("is_closed", "code"), [(False, 130), (True, 129)])
def test_ctrl_c_and_a_closed_window_leave_a_complete_report(
    is_closed: bool,
    code: int,
    start_sandbox: Callable[..., SandboxProcess],
    tmp_path: Path,
) -> None:
    """While the progress is shown on a terminal: what was sent is reported."""
    sandbox = start_sandbox("--seed-incidents", "500", *QUICK[:4])
    write_sheet(tmp_path / "incidents.csv", 500)
    command = ["-m", "bulk_reset", "run", "incidents.csv", "--yes", "--base-url", sandbox.url]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL, *command],
        cwd=tmp_path,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY, TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while b"/500" not in seen or sandbox.get("/_stats")["applied"] < 10:
        seen += os.read(ours, 1 << 16)
    if not is_closed:
        os.write(ours, b"\x03")
        seen += rest_of(ours)
    os.close(ours)
    assert process.wait(timeout=30) == code
    lines = read_csv(tmp_path / "incidents.report.csv")
    assert 10 <= len(lines) == sandbox.get("/_stats")["applied"] < 500
    if not is_closed:
        assert b"stopped: Ctrl-C. " in seen
        assert seen.rfind(HIDDEN) < seen.rfind(SHOWN), "the cursor is hidden"
        assert not NOISE.search(seen.decode())


HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"


# --- Signals ---------------------------------------------------------------------------------


class Listening:
    """A double of an engine that records its calls."""

    def __init__(self) -> None:
        self.stopped: Stop | None = None
        self.results: asyncio.Queue[str] = asyncio.Queue()

    def stop(self, stop: Stop) -> None:
        """Record a stop."""
        self.stopped = stop
        self.results.put_nowait(stop.reason.value)

    def abort(self) -> None:
        """Record an abort."""
        self.results.put_nowait("abort")


@pytest.fixture
def _own_signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_own_signals")
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGINT, StopReason.INTERRUPTED),
        (signal.SIGTERM, StopReason.TERMINATED),
        (signal.SIGHUP, StopReason.HUNG_UP),
    ],
)
async def test_the_first_signal_stops_and_each_further_one_aborts(
    number: signal.Signals, reason: StopReason
) -> None:
    """The first one stops gracefully, the others at once."""
    engine = Listening()
    with stop_on_signals(engine):  # type: ignore[arg-type]
        for results in (reason.value, "abort", "abort"):
            os.kill(os.getpid(), number)
            assert await asyncio.wait_for(engine.results.get(), 10) == results
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.usefixtures("_own_signals")
async def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    """A signal that is ignored at the start has no effect."""
    engine = Listening()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals(engine):  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(engine.results.get(), 10) == "terminated"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_repeated_ctrl_c_leaves_a_complete_report(
    begin: Begin, start_sandbox: Callable[..., SandboxProcess], tmp_path: Path
) -> None:
    """The report has what was done, the exit code is 130, and there is no traceback."""
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{"requests": [5], "hang": True}]))
    sandbox = start_sandbox("--seed-incidents", "2000", *QUICK[:4], "--faults", str(faults))
    write_sheet(tmp_path / "incidents.csv", 2_000)
    process = begin("run", "incidents.csv", "--base-url", sandbox.url)
    while sandbox.get("/_stats")["applied"] < 10:
        assert process.poll() is None
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        sandbox.get("/_stats")
    out, err = process.communicate(timeout=30)
    lines = read_csv(tmp_path / "incidents.report.csv")
    assert process.returncode == 130
    assert not NOISE.search(out + err)
    # A Ctrl-C may also come while the summary is printed, after the end of the run.
    pending = f"{2_000 - len(lines):,} rows are pending"
    assert pending in err or err.endswith("Stopped by Ctrl-C.\n")
    assert sum(line["status"] == "unknown" for line in lines) >= 1


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, "Stopped by Ctrl-C.\n"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGHUP, 129, ""),
    ],
)
def test_a_signal_while_the_sheet_is_read_sends_nothing(
    number: signal.Signals, code: int, message: str, tmp_path: Path
) -> None:
    """The command exits at once, and removes its temporary files."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bulk_reset", "run", "-", "--base-url", "http://127.0.0.1:9"],
        cwd=tmp_path,
        env=clean_environment(FLASHDUTY_APP_KEY=KEY, TMPDIR=str(tmp_path)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("bulk-reset-*.csv")):
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "", message)
    assert list(tmp_path.iterdir()) == []


EARLY = """
import os, signal, sys
def interrupt(event, arguments):
    if event == "import" and arguments[0] == sys.argv[-1]:
        os.kill(os.getpid(), signal.SIGINT)
from bulk_reset.__main__ import main
sys.addaudithook(interrupt)
main()
"""


@pytest.mark.parametrize("module", ["typer", "rich.console", "numpy", "aiohttp"])
def test_ctrl_c_while_modules_are_imported_is_no_traceback(module: str, tmp_path: Path) -> None:
    """Ctrl-C right after the start prints no traceback."""
    write_sheet(tmp_path / "incidents.csv", 3)
    command = ["run", "incidents.csv", "--sandbox", "--account", module]
    done = run_python("-c", EARLY, *command, folder=tmp_path)
    assert (done.returncode, NOISE.search(done.stdout + done.stderr)) == (130, None)


def run_program(
    program: str, arguments: list[str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a program of Python that has the command's arguments."""
    return run_python("-c", program, *arguments, folder=folder, FLASHDUTY_APP_KEY=KEY)


LAST = """
import atexit, os, signal, sys
number = int(sys.argv.pop())
atexit.register(os.kill, os.getpid(), number)
from bulk_reset.__main__ import main
main()
"""


IN_A_TEXT = """
import sys
class Finder:
    def find_spec(self, name, *_):
        if name == "rich.console":
            exec("raise KeyboardInterrupt")
sys.meta_path.insert(0, Finder())
from bulk_reset.__main__ import main
main()
"""


def test_ctrl_c_within_code_of_a_library_has_the_same_exit_code(tmp_path: Path) -> None:
    """Python itself would end by the signal, which is another code for a program that waits."""
    write_sheet(tmp_path / "incidents.csv", 3)
    done = run_program(IN_A_TEXT, ["run", "incidents.csv", "--sandbox"], tmp_path)
    assert (done.returncode, NOISE.search(done.stderr)) == (130, None)


def test_warnings_as_errors_change_nothing(tmp_path: Path) -> None:
    """PYTHONWARNINGS=error is for programmers: a library's warning is neither printed nor fatal."""
    write_sheet(tmp_path / "incidents.csv", 3)
    program = (
        "import warnings, bulk_reset.cli.console as console\n"
        "notice = console.Output.notice\n"
        "console.Output.notice = lambda *a: (warnings.warn('of a library'), notice(*a))\n"
        "from bulk_reset.__main__ import main\nmain()\n"
    )
    more = ("-W", "error", "-c", program, "check", "incidents.csv")
    done = run_python(*more, folder=tmp_path)
    assert (done.returncode, "of a library" in done.stderr) == (0, False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_the_last_line_changes_nothing(
    number: signal.Signals, arguments: list[str], tmp_path: Path
) -> None:
    """Everything is printed, and the exit code does not change."""
    done = run_program(LAST, [*arguments[3:], str(int(number))], tmp_path)
    assert (done.returncode, NOISE.search(done.stderr)) == (0, None)
    assert is_whole(tmp_path / "incidents.report.csv")


LATE = """
import sys
import bulk_reset.workflows.run_session as running
def write_failed(*_, **__):
    raise KeyboardInterrupt
running.write_failed = write_failed
from bulk_reset.cli import main
main()
"""


def test_ctrl_c_at_the_end_leaves_a_complete_report(arguments: list[str], tmp_path: Path) -> None:
    """Every row is reported, although the file of failed rows is not written."""
    done = run_program(LATE, [*arguments[3:]], tmp_path)
    assert (done.returncode, NOISE.search(done.stderr)) == (130, None)
    assert is_whole(tmp_path / "incidents.report.csv")
