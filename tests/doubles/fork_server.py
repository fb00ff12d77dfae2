"""Start ``bulk-reset`` as a process within milliseconds: a fork that has its modules imported.

One server process for each test process imports the modules once and forks for each command. A
fork is a process of its own: it has its own file descriptors, environment, folder, signals and
exit code. Tests of what happens before or during the imports start ``python -m bulk_reset``.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, Final, TextIO

import bulk_reset

_PRELOADED: Final = (
    *(module.name for module in pkgutil.walk_packages(bulk_reset.__path__, "bulk_reset.")),
    *("openpyxl", "orjson", "pandas", "rich.progress", "rich.table", "typer.rich_utils"),
    *("uvloop", "xlsxwriter"),
)
_CONTEXT: Final = multiprocessing.get_context("forkserver")


class Forked:
    """A ``bulk-reset`` process, with the part of ``subprocess.Popen`` that the tests use.

    Attributes:
        pid: its process id.
        stdout, stderr: pipes from the process.

    Args:
        arguments: the arguments of ``bulk-reset``.
        folder: its working directory.
        environment: its whole environment.
        stdin: the text on its standard input.
        terminal: a file descriptor to use for all three streams instead of pipes.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        stdin: str | None = None,
        terminal: int | None = None,
    ) -> None:
        self.args = ["bulk-reset", *arguments]
        self.stdout, out = _pipe()
        self.stderr, err = _pipe()
        with tempfile.TemporaryFile() as source:
            source.write((stdin or "").encode())
            source.seek(0)
            used = (source.fileno(), out, err) if terminal is None else (terminal,) * 3
            streams = [DupFd(number) for number in used]
            self._process = _CONTEXT.Process(
                target=_run,
                args=(self.args, str(folder), dict(environment), streams, _coverage_file()),
                daemon=True,
            )
            _start_server(environment)
            self._process.start()
        os.close(out)
        os.close(err)
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both streams to their end, and wait for the end of the process."""
        ends_at = time.monotonic() + (1e9 if timeout is None else timeout)
        texts: dict[str, str] = {}

        def read(name: str, stream: TextIO) -> None:
            texts[name] = "" if stream.closed else stream.read()
            stream.close()

        readers = [
            threading.Thread(target=read, args=pair, daemon=True)
            for pair in (("out", self.stdout), ("err", self.stderr))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(ends_at - time.monotonic())
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(max(0.0, ends_at - time.monotonic()))
        return texts["out"], texts["err"]


def _pipe() -> tuple[TextIO, int]:
    reading_end, writing_end = os.pipe()
    return os.fdopen(reading_end, encoding="utf-8"), writing_end


def _start_server(environment: Mapping[str, str]) -> None:
    """Start the server, with an environment that does not depend on the test session."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    # A fork keeps only the current thread, so the server should have no others.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        forkserver.set_forkserver_preload(list(_PRELOADED))
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _coverage_file() -> str | None:
    """Return the file of the coverage that is being measured; None if it is not."""
    module = sys.modules.get("coverage")
    measured = module.Coverage.current() if module is not None else None
    return str(Path(measured.config.data_file).absolute()) if measured is not None else None


def _run(
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    streams: list[Any],
    coverage_file: str | None,
) -> None:
    """Run ``bulk-reset`` with these arguments in the forked process."""
    for number, stream in enumerate(streams):
        descriptor = stream.detach()
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = _writer(1, "strict")
    sys.stderr = sys.__stderr__ = _writer(2, "backslashreplace")
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.argv = arguments
    from bulk_reset.__main__ import main  # noqa: PLC0415  (only in the fork)

    if coverage_file is None:
        main()
        return
    from coverage import Coverage  # noqa: PLC0415  (only where it is measured)

    package = str(Path(bulk_reset.__file__).parent)
    measured = Coverage(coverage_file, data_suffix=True, branch=True, source=[package])
    measured.start()
    try:
        main()
    finally:
        measured.stop()
        measured.save()


def _writer(number: int, errors: str) -> TextIO:
    raw = open(number, "wb", closefd=False)  # noqa: SIM115  (open until the process ends)
    is_line_by_line = number == 2 or raw.isatty()
    return io.TextIOWrapper(raw, "utf-8", errors=errors, line_buffering=is_line_by_line)
