"""``bulk-reset schedule``: a process that runs jobs when they are due."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulk_reset.cli.arguments import QuietOption, StateDirOption, VerboseOption
from bulk_reset.cli.console import Output
from bulk_reset.cli.streams import is_terminal
from bulk_reset.errors import ExitCode

if TYPE_CHECKING:
    from bulk_reset.job import Job
    from bulk_reset.journal import Journal
    from bulk_reset.run_records import RunRecord, StateFolder
    from bulk_reset.scheduling import Scheduling


def schedule(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of job files.", show_default=False)
    ],
    *,
    once: Annotated[bool, typer.Option("--once", help="Run what is due now, and end.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=65535,
            help="Answer /metrics and /healthz on this port of this machine; 0 takes a free one.",
        ),
    ] = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run the jobs of a folder when they are due, one at a time for each account.

    Changed files are read again, a broken one keeps nobody else from being run, and what was
    missed while it was down is dealt with as each job says. SIGTERM and Ctrl-C end the runs
    softly; they are gone on with at the next start. Exit code: 0, 2 no such folder, 4 another
    schedule has the state; with --once, the worst of the runs'.
    """
    output = Output(is_quiet=quiet, verbose=verbose)
    with output.errors():
        from filelock import FileLock, Timeout  # noqa: PLC0415

        from bulk_reset.errors import LockedError  # noqa: PLC0415
        from bulk_reset.run_records import StateFolder  # noqa: PLC0415
        from bulk_reset.scheduling import Scheduling  # noqa: PLC0415  (brings APScheduler along)

        state = StateFolder(state_dir)
        children = Children(state, is_quiet=quiet)
        scheduling = Scheduling(folder.absolute(), state, journal_on_stderr(output), children.start)
        try:
            with FileLock(state.path / "schedule.lock", timeout=0, mode=0o600):
                code = asyncio.run(_live(scheduling, children, once=once, port=port))
        except Timeout as exc:
            raise LockedError(
                f"{state.path}: another schedule has it. End that one, or say --state-dir DIR."
            ) from exc
    raise typer.Exit(code)


class Children:
    """Runs, each in a process of its own: one that dies takes nobody along."""

    def __init__(self, state: StateFolder, *, is_quiet: bool) -> None:
        self._state, self._is_quiet = state, is_quiet
        self._running: set[asyncio.subprocess.Process] = set()
        self._is_ending = False

    async def start(self, job: Job, record: RunRecord) -> int:
        """Run a job to its end; return its exit code."""
        if self._is_ending:
            return ExitCode.TERMINATED
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bulk_reset", "job", "run", str(job.path)),
            *("--run", record.id, "--state-dir", str(self._state.path)),
            *(("--quiet",) if self._is_quiet else ()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            # A Ctrl-C is passed on once, by us, not by the terminal as well.
            start_new_session=True,
        )
        self._running.add(process)
        try:
            if self._is_ending:
                process.terminate()
            return await process.wait()
        finally:
            self._running.discard(process)

    def end(self) -> None:
        """Let all end softly; told again, at once."""
        self._is_ending = True
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()


async def _live(scheduling: Scheduling, children: Children, *, once: bool, port: int | None) -> int:
    """Run until somebody says to end, or nothing is due any more."""
    ending = asyncio.Event()

    def end() -> None:
        ending.set()
        children.end()

    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, end)
    with _seen_from_outside(scheduling, port):
        if once:
            work = asyncio.create_task(scheduling.once())
            await asyncio.wait(
                {work, asyncio.create_task(ending.wait())}, return_when=asyncio.FIRST_COMPLETED
            )
            if ending.is_set():
                await scheduling.drain()
                return ExitCode.TERMINATED
            return await work
        scheduling.open()
        await ending.wait()
        scheduling.journal.info("draining", runs=len(scheduling.busy))
        await scheduling.drain()
        scheduling.journal.info("schedule ended")
    return ExitCode.DONE


@contextlib.contextmanager
def _seen_from_outside(scheduling: Scheduling, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    from bulk_reset.metrics_server import MetricsServer  # noqa: PLC0415  (rarely needed)
    from bulk_reset.schedule_metrics import healthz, metrics  # noqa: PLC0415

    server = MetricsServer(port, lambda: metrics(scheduling), lambda: healthz(scheduling))
    scheduling.journal.info("listening", address=f"http://127.0.0.1:{server.port}")
    try:
        yield
    finally:
        server.close()


def journal_on_stderr(output: Output) -> Journal:
    """Return where events go: to be read on a terminal, JSON lines elsewhere."""
    from bulk_reset.journal import Sink, new_journal  # noqa: PLC0415  (brings structlog along)

    if output.is_quiet:
        return new_journal()
    return new_journal(Sink(sys.stderr, is_human=is_terminal(sys.stderr)))
