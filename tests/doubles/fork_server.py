"""The command as a process that starts in some 30 ms, because its modules are imported already.

A process of the test session imports them once and forks for every command. What is forked is a
process like any other: with its own file descriptors, environment, folder, signals and exit code.
Tests of what happens before the modules are imported start ``python -m bulk_reset`` instead.
"""

from __future__ import annotations

import io
import multiprocessing
import os
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

_PRELOADED: Final = (
    "bulk_reset.cli",
    "bulk_reset.workflows.run",
    "bulk_reset.workflows.plan",
    "bulk_reset.workflows.pull",
    "bulk_reset.workflows.verify",
    "bulk_reset.reports.report_page",
    "bulk_reset.reports.plan_page",
    "bulk_reset.reports.answer_workbook",
    "bulk_reset.jobs",
    "bulk_reset.jobs.job_run",
    "bulk_reset.jobs.schedule_process",
    "bulk_reset.observability.metrics_server",
    "bulk_reset.sandbox.server",
    "openpyxl",
    "orjson",
    "pandas",
    "rich.progress",
    "rich.table",
    "typer.rich_utils",
    "uvloop",
    "xlsxwriter",
)
_CONTEXT: Final = multiprocessing.get_context("forkserver")


class Forked:
    """A running command, with the part of ``subprocess.Popen`` that the tests use.

    Attributes:
        pid: its process id.
        stdout: what it prints; a pipe.
        stderr: what it reports; a pipe.

    Args:
        arguments: those of ``bulk-reset``.
        folder: where it runs.
        environment: all of its environment.
        stdin: the text that it reads; none by default.
        terminal: a descriptor that is used for all three streams instead.
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
                target=_run, args=(self.args, str(folder), dict(environment), streams), daemon=True
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
        """Wait until it has ended, and return its exit code."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both streams to their end and wait for the exit code."""
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
    ours, theirs = os.pipe()
    return os.fdopen(ours, encoding="utf-8"), theirs


def _start_server(environment: Mapping[str, str]) -> None:
    """Start the process that forks, with an environment that imports cannot be misled by."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    # A fork has no threads but its own, so the server should have none either.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        forkserver.set_forkserver_preload(list(_PRELOADED))
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(
    arguments: list[str], folder: str, environment: dict[str, str], streams: list[Any]
) -> None:
    """Be ``bulk-reset`` with these arguments: what the forked process does."""
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
    from bulk_reset.__main__ import main  # noqa: PLC0415  (here alone; the tests' process is none)

    main()


def _writer(number: int, errors: str) -> TextIO:
    raw = open(number, "wb", closefd=False)  # noqa: SIM115  (open until the end)
    is_line_by_line = number == 2 or raw.isatty()
    return io.TextIOWrapper(raw, "utf-8", errors=errors, line_buffering=is_line_by_line)
