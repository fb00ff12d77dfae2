"""What a run leaves for machines: events in a log, numbers in a file; the options, and keeping it.

Whatever a run ends by, an error or a signal too, is told in both. Nothing of it is imported, and
nothing is done, where neither is wanted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bulk_reset.cli.arguments import LogFileOption, MetricsFileOption
from bulk_reset.cli.console import say_red
from bulk_reset.core.errors import InputError, exit_code_of

if TYPE_CHECKING:
    from bulk_reset.core.callbacks import Callbacks
    from bulk_reset.core.totals import Totals
    from bulk_reset.engine.options import Options
    from bulk_reset.observability.run_log import RunLog


def recording(
    *, log_file: LogFileOption = None, metrics_file: MetricsFileOption = None
) -> Recording:
    """Take the options of every command that sends a sheet."""
    return Recording(log_file, metrics_file)


class Recording:
    """The record of one run, if it is wanted; what there is to tell is kept as it gets known."""

    def __init__(self, log_file: Path | None, metrics_file: Path | None) -> None:
        self._log_file, self._metrics_file = log_file, metrics_file
        self._run_log: RunLog | None = None
        self._command, self._sheet = "", ""
        self._options: Options | None = None
        self._totals: Totals | None = None
        self._exit_code: int | None = None

    @contextlib.contextmanager
    def of(self, command: str, sheet: str) -> Iterator[None]:
        """Record what happens until the block ends, and how it does.

        Raises:
            InputError: the log or the numbers cannot be written; nothing was sent.
        """
        self._command, self._sheet = command, sheet
        if self._metrics_file is not None:
            from bulk_reset.observability.metrics import (  # noqa: PLC0415  (rarely needed)
                check_metrics_file,
            )

            check_metrics_file(self._metrics_file)
        started_at = time.time()
        with contextlib.ExitStack() as stack:
            if self._log_file is not None:
                self._run_log = stack.enter_context(_opened(self._log_file))
            try:
                yield
            except BaseException as error:
                self._tell_error(error)
                raise
            else:
                self._tell_end()
            finally:
                self._write_metrics(started_at)

    def logged(self, options: Options, callbacks: Callbacks) -> Callbacks:
        """Begin with these options; return who looks on now."""
        self._options = options
        if self._run_log is None:
            return callbacks
        from bulk_reset.observability.run_log import logged  # noqa: PLC0415  (rarely needed)

        self._run_log.run_started(self._sheet, options.changed(), command=self._command)
        return logged(callbacks, self._run_log)

    def end(self, totals: Totals | None, exit_code: int) -> None:
        """Take what became of the run; None where nothing was left to send."""
        self._totals, self._exit_code = totals, exit_code

    def _tell_end(self) -> None:
        if self._run_log is None or self._exit_code is None:
            return
        if self._totals is not None:
            self._run_log.run_ended(self._totals, exit_code=self._exit_code)
        else:
            self._run_log.run_exited(self._exit_code)

    def _tell_error(self, error: BaseException) -> None:
        self._exit_code = exit_code_of(error)
        if self._run_log is None:
            return
        if self._options is None:
            self._run_log.run_started(self._sheet, command=self._command)
        if isinstance(error, typer.Exit | SystemExit):
            self._tell_end()
        else:
            self._run_log.run_failed(error)

    def _write_metrics(self, started_at: float) -> None:
        options = self._options
        if self._metrics_file is None or (options is not None and options.dry_run):
            return
        from bulk_reset.observability.metrics import write_metrics  # noqa: PLC0415  (rarely needed)

        try:
            write_metrics(
                self._metrics_file,
                self._totals,
                started_at=started_at,
                ended_at=time.time(),
                exit_code=self._exit_code,
                is_rehearsal=options is not None and options.is_rehearsal,
            )
        except InputError as error:
            # All is sent and reported; only the numbers are those of the run before.
            say_red(str(error))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[RunLog]:
    from uuid import uuid4  # noqa: PLC0415  (rarely needed)

    from bulk_reset.observability.run_log import (  # noqa: PLC0415  (brings structlog)
        LogOutput,
        log_file,
        new_run_log,
    )

    with log_file(path) as file:
        yield new_run_log(LogOutput(file), notify=say_red, run_id=uuid4().hex[:12])
