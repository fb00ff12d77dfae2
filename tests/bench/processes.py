"""The processes of the benchmarks: how they are started, measured and stopped.

Each measurement is a process of its own, so that no run warms up another. Client and server have
a core each where the machine and the system allow it.

``python -c`` imports from the working directory first: when the benchmarks are started from
another checkout, the bulk_reset of that checkout is measured.

Units: ``*_s`` seconds, ``*_bytes`` bytes of peak resident memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
KEY: Final = "bench-key"
QUOTA_LIFTED: Final = ("--per-second", "100000", "--per-minute", "6000000")
_PROGRAM: Final = "from bulk_reset.cli import main; main()"
# None in sys.modules makes an import fail, as if the package were not installed.
_WITHOUT_FAST: Final = "import sys; sys.modules['uvloop'] = sys.modules['orjson'] = None; "
_STOP_S: Final = 10


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of a command, from its start to its exit."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    stdout: str


def our_command(*arguments: str | Path, is_fast: bool = True) -> list[str]:
    """Return the command line of bulk-reset; without ``is_fast``, uvloop and orjson are hidden."""
    program = _PROGRAM if is_fast else _WITHOUT_FAST + _PROGRAM
    return [sys.executable, "-c", program, *map(str, arguments)]


def our_run(sheet: Path, url: str, report: Path, *more: str, is_fast: bool = True) -> list[str]:
    """Return the command line of a run without a quota, with a result in JSON."""
    return our_command(
        *("run", sheet, "--base-url", url, "--report", report, "--json", *more, *QUOTA_LIFTED),
        is_fast=is_fast,
    )


def environment(home: str = "/nonexistent") -> dict[str, str]:
    """Return an environment with a key, without a proxy and without the user's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": home, "PYTHONUTF8": "1", "FLASHDUTY_APP_KEY": KEY}


def measure(command: Sequence[str], *, exit_code: int = 0) -> Measured:
    """Run a command and measure it.

    Args:
        exit_code: the expected exit code.

    Raises:
        RuntimeError: it failed; the text ends with its output.
    """
    # A new home folder: state that a run keeps must not slow down the next one.
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-S", str(HERE / "measure_command.py"), *command],
            env=environment(home),
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        )
    stdout, _, line = done.stdout.removesuffix("\n").rpartition("\n")
    facts = json.loads(line)
    if facts["exit_code"] != exit_code:
        output = f"{stdout[-1000:]}\n{done.stderr[-2000:]}"
        raise RuntimeError(f"{' '.join(command)}: exit code {facts['exit_code']}: {output}")
    return Measured(facts["seconds"], facts["cpu_s"], facts["peak_bytes"], stdout)


# --- Where processes run ---------------------------------------------------------------------


def cores() -> tuple[int, int] | None:
    """Return a core for the server and one for the client; None if there is only one."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    # First and last: adjacent numbers are often two threads of one core.
    return (usable[0], usable[-1]) if len(usable) > 1 else None


def where() -> str:
    """Return a text about the cores of client and server."""
    pair = cores()
    if pair is not None:
        return f"server on core {pair[0]}, client on core {pair[1]}"
    if hasattr(os, "sched_getaffinity"):
        return "client and server share one core, so all results are too low"
    return "processes are not pinned to cores, so results vary more"


@contextlib.contextmanager
def on_core(number: int | None) -> Iterator[None]:
    """Start processes on one core; child processes inherit it."""
    if number is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure_as_client(command: Sequence[str]) -> Measured:
    """Run a command on the client's core and measure it; raises as ``measure``."""
    pair = cores()
    with on_core(pair[1] if pair else None):
        return measure(command)


# --- The server ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a server since its start."""

    cpu_s: float
    requests: int

    def __sub__(self, earlier: Work) -> Work:
        """Return the work since then."""
        return Work(self.cpu_s - earlier.cpu_s, self.requests - earlier.requests)


class Server:
    """A running fast_server.py; ``serving`` starts one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{self._read()}"

    def work(self) -> Work:
        """Return its work so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Work(**self._read())

    def _read(self) -> Any:  # noqa: ANN401  (JSON)
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[Server]:
    """Run a server on its core until the block ends; for its arguments see ``fast_server``."""
    pair = cores()
    with on_core(pair[0] if pair else None):
        process = subprocess.Popen(
            [sys.executable, str(HERE / "fast_server.py"), *arguments],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        yield Server(process)
    finally:
        try:
            # Closes its standard input, and then it ends.
            process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate(timeout=_STOP_S)
