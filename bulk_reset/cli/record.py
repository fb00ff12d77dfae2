"""The log file and the metrics file of a run: the options, and writing both.

Every end of a run is recorded, by an error or a signal as well. Without the options nothing is
imported and nothing is written.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bulk_reset.cli.arguments import LogFileOption, MetricsFileOption
from bulk_reset.cli.console import print_error
from bulk_reset.core.errors import InputError, RunError, exit_code_of

if TYPE_CHECKING:
    from bulk_reset.core.callbacks import Callbacks
    from bulk_reset.core.totals import Totals
    from bulk_reset.engine.options import Options
    from bulk_reset.observability.run_log import RunLog
    from bulk_reset.quota.account_use import AccountUse


def recording(
    *, log_file: LogFileOption = None, metrics_file: MetricsFileOption = None
) -> Recording:
    """Return the options of every command that sends a sheet."""
    return Recording(log_file, metrics_file)


class Recording:
    """The records of one run; its facts are kept as they become known."""

    def __init__(self, log_file: Path | None, metrics_file: Path | None) -> None:
        self._log_file, self._metrics_file = log_file, metrics_file
        self._run_log: RunLog | None = None
        self._command, self._sheet = "", ""
        self._options: Options | None = None
        self._totals: Totals | None = None
        self._exit_code: int | None = None

    @contextlib.contextmanager
    def of(self, command: str, sheet: str) -> Iterator[None]:
        """Record the events of the block, and how it ends.

        Raises:
            InputError: a file cannot be written; nothing was sent.
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
                self._record_error(error)
                raise
            else:
                self._record_end()
            finally:
                self._write_metrics(started_at)

    def logged(self, options: Options, callbacks: Callbacks) -> Callbacks:
        """Record the options; return callbacks that also write the log."""
        self._options = options
        if self._run_log is None:
            return callbacks
        from bulk_reset.observability.run_log import logged  # noqa: PLC0415  (rarely needed)

        self._run_log.run_started(self._sheet, options.changed(), command=self._command)
        return logged(callbacks, self._run_log)

    def end(self, totals: Totals | None, exit_code: int) -> None:
        """Record the result of the run; ``totals`` is None where nothing was sent."""
        self._totals, self._exit_code = totals, exit_code

    def _record_end(self) -> None:
        if self._run_log is None or self._exit_code is None:
            return
        if self._totals is not None:
            self._run_log.run_ended(self._totals, exit_code=self._exit_code)
        else:
            self._run_log.run_exited(self._exit_code)

    def _record_error(self, error: BaseException) -> None:
        self._exit_code = exit_code_of(error)
        if self._run_log is None:
            return
        if self._options is None:
            self._run_log.run_started(self._sheet, command=self._command)
        if isinstance(error, typer.Exit | SystemExit):
            self._record_end()
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
                account=_account_of(options),
            )
        except InputError as error:
            # All rows are sent and reported; only the metrics are those of the run before.
            print_error(str(error))


def _account_of(options: Options | None) -> AccountUse | None:
    """Return who uses the account now; None in a rehearsal, or where its store does not answer."""
    if options is None or options.is_rehearsal:
        return None
    from bulk_reset.engine.account import read_account  # noqa: PLC0415  (rarely needed)
    from bulk_reset.engine.connection import find_account  # noqa: PLC0415  (imports aiohttp)

    with contextlib.suppress(InputError, RunError):
        return read_account(find_account(options), options)
    return None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[RunLog]:
    from uuid import uuid4  # noqa: PLC0415  (rarely needed)

    from bulk_reset.observability.run_log import (  # noqa: PLC0415  (brings structlog)
        LogOutput,
        log_file,
        new_run_log,
    )

    with log_file(path) as file:
        yield new_run_log(LogOutput(file), notify=print_error, run_id=uuid4().hex[:12])
