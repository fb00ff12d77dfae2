"""Every process of the bench: where it runs, how it is started, what it took, how it ends.

Each thing measured is a process of its own, so that no run warms another. Client and server
have a core each where the machine and its system allow it.

Python started with ``-c`` looks in the working directory first: start the bench from another
checkout, and that one's bulk_reset is measured.

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
class Spent:
    """What a command took, from its start to its exit."""

    seconds: float
    peak_bytes: int
    stdout: str


def ours(*arguments: str | Path, is_fast: bool = True) -> list[str]:
    """Return the command line of bulk-reset; without ``is_fast``, uvloop and orjson are hidden."""
    program = _PROGRAM if is_fast else _WITHOUT_FAST + _PROGRAM
    return [sys.executable, "-c", program, *map(str, arguments)]


def our_run(sheet: Path, url: str, report: Path, *more: str, is_fast: bool = True) -> list[str]:
    """Return the command line of a run with the quota lifted and JSON as its result."""
    return ours(
        *("run", sheet, "--base-url", url, "--report", report, "--json", *more, *QUOTA_LIFTED),
        is_fast=is_fast,
    )


def environment(home: str = "/nonexistent") -> dict[str, str]:
    """Return an environment with the bench's key, no proxy, and nothing of the user's own."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": home, "PYTHONUTF8": "1", "FLASHDUTY_APP_KEY": KEY}


def spend(command: Sequence[str], *, exit_code: int = 0) -> Spent:
    """Run a command to its end and measure it.

    Args:
        exit_code: that it should end with.

    Raises:
        RuntimeError: it failed; the text ends with what it said.
    """
    # A home of its own: what one run keeps there for the next must not slow that one down.
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-S", str(HERE / "spent.py"), *command],
            env=environment(home),
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        )
    stdout, _, line = done.stdout.removesuffix("\n").rpartition("\n")
    facts = json.loads(line)
    if facts["exit_code"] != exit_code:
        said = f"{stdout[-1000:]}\n{done.stderr[-2000:]}"
        raise RuntimeError(f"{' '.join(command)}: exit code {facts['exit_code']}: {said}")
    return Spent(facts["seconds"], facts["peak_bytes"], stdout)


# --- Where processes run ---------------------------------------------------------------------


def cores() -> tuple[int, int] | None:
    """Return a core for the server and one for the client, None where there are no two."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = sorted(os.sched_getaffinity(0))
    # First and last: neighbours are often two threads of one core.
    return (usable[0], usable[-1]) if len(usable) > 1 else None


def where() -> str:
    """Return in words where client and server run."""
    pair = cores()
    if pair is not None:
        return f"server on core {pair[0]}, client on core {pair[1]}"
    if hasattr(os, "sched_getaffinity"):
        return "only one core: server and client share it, so every figure is too low"
    return "this system pins no process to a core, so figures vary more"


@contextlib.contextmanager
def on_core(number: int | None) -> Iterator[None]:
    """Start processes on one core: what is started inherits it from the very first moment."""
    if number is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def spend_as_client(command: Sequence[str]) -> Spent:
    """Run a command on the client's core to its end and measure it; raises as ``spend``."""
    pair = cores()
    with on_core(pair[1] if pair else None):
        return spend(command)


# --- The server ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Work:
    """What a server has done since it was started."""

    cpu_s: float
    requests: int

    def __sub__(self, earlier: Work) -> Work:
        """Return what was done since then."""
        return Work(self.cpu_s - earlier.cpu_s, self.requests - earlier.requests)


class Server:
    """A fast_server.py in a process of its own; use ``serving`` to get one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{self._read()}"

    def work(self) -> Work:
        """Return what it has done so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Work(**self._read())

    def _read(self) -> Any:  # noqa: ANN401  (JSON)
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Start a server on its core, and end it whatever happens."""
    pair = cores()
    with on_core(pair[0] if pair else None):
        process = subprocess.Popen(
            [sys.executable, str(HERE / "fast_server.py")],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        yield Server(process)
    finally:
        try:
            # Closes its standard input, which is what it ends at.
            process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate(timeout=_STOP_S)
