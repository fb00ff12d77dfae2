"""``bulk-reset check``: every mistake of a sheet, before anything is sent."""

from __future__ import annotations

import dataclasses

import typer

from bulk_reset.cli import shared
from bulk_reset.cli.arguments import (
    JsonOption,
    OnConflictOption,
    PerMinuteOption,
    PerSecondOption,
    QuietOption,
    ShareOption,
    SheetArgument,
    VerboseOption,
)
from bulk_reset.cli.console import Output, counted, duration
from bulk_reset.cli.shared import Told, takes_options
from bulk_reset.cli.view import reading
from bulk_reset.core.defaults import PER_MINUTE, PER_SECOND, OnConflict
from bulk_reset.core.errors import ExitCode


@takes_options(read=shared.reading)
def check(
    sheet: SheetArgument,
    *,
    on_conflict: OnConflictOption = OnConflict.ERROR,
    per_second: PerSecondOption = PER_SECOND,
    per_minute: PerMinuteOption = PER_MINUTE,
    share: ShareOption = 1.0,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    read: Told,
) -> None:
    """Check every row of SHEET against the API's rules. Nothing is sent, no key is needed.

    Exit code: 0 all rows can be sent, 2 some cannot or the sheet cannot be read.
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.workflows import check as checking  # noqa: PLC0415  (brings pandas along)

        options = Options(
            **read,
            on_conflict=on_conflict,
            per_second=per_second,
            per_minute=per_minute,
            share=share,
        )
        with reading(output) as on_read:
            callbacks = Callbacks(on_notice=output.notice, on_read=on_read)
            result = checking.check(sheet, options, callbacks)
        code = ExitCode.INPUT if result.row_errors else ExitCode.DONE
        if result.row_errors:
            output.row_errors(result.row_errors)
        wrong = len({row_error.row_number for row_error in result.row_errors})
        sets = ", ".join(f"{name} {count:,}" for name, count in result.fields.items())
        twins = (
            f", {result.skipped:,} skipped (another row sets the same)" if result.skipped else ""
        )
        output.say(f"{result.rows:,} rows: {wrong:,} with mistakes{twins}")
        output.say(f"They set: {sets or 'nothing'}")
        if not wrong:
            output.say(
                f"{counted(result.to_send, 'request')} will take "
                f"{duration(result.estimate_s)} at the least. "
                f"Next: bulk-reset run {sheet}"
            )
        output.json({**dataclasses.asdict(result), "exit_code": int(code)})
    raise typer.Exit(code)
