"""``bulk-reset check``: every error of a sheet, before anything is sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulk_reset.cli import next_steps, shared
from bulk_reset.cli.arguments import (
    OUTPUT,
    JsonOption,
    OnConflictOption,
    QuietOption,
    SheetArgument,
    VerboseOption,
)
from bulk_reset.cli.connection_options import PerMinuteOption, PerSecondOption, ShareOption
from bulk_reset.cli.console import Output
from bulk_reset.cli.remote_sheet import local_sheet
from bulk_reset.cli.shared import OptionValues, takes_options
from bulk_reset.cli.view import ProgressView
from bulk_reset.core.counting import counted, duration
from bulk_reset.core.defaults import PER_MINUTE, PER_SECOND, OnConflict
from bulk_reset.core.errors import ExitCode, SheetError

if TYPE_CHECKING:
    from bulk_reset.core.row_error import RowError
    from bulk_reset.workflows.check import CheckResult

SarifOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write the errors as SARIF 2.1.0, for CI.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
XlsxOption = Annotated[
    bool,
    typer.Option(
        "--xlsx",
        help="Write NAME.check.xlsx: your sheet, each error at its cell.",
        rich_help_panel=OUTPUT,
    ),
]
SaveProfileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        help="Write how SHEET was read as a new profile.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]


@takes_options(read=shared.reading)
def check(
    sheet: SheetArgument,
    *,
    on_conflict: OnConflictOption = OnConflict.ERROR,
    per_second: PerSecondOption = PER_SECOND,
    per_minute: PerMinuteOption = PER_MINUTE,
    share: ShareOption = 1.0,
    sarif: SarifOption = None,
    xlsx: XlsxOption = False,
    save_profile: SaveProfileOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    read: OptionValues,
) -> None:
    """Check every row of SHEET against the API's rules; nothing is sent.

    No key is needed.

    Examples:
        bulk-reset check incidents.xlsx
        bulk-reset check incidents.csv --map title="New title" --xlsx
        bulk-reset check log.xlsx --map title=Alarm --save-profile log.profile.toml

    Exit codes:
        0  all rows are valid
        2  some rows are invalid, or the sheet cannot be read
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.workflows import check as checking  # noqa: PLC0415  (imports pandas)

        sheet = local_sheet(sheet, "check", output)
        options = Options(
            **read,
            on_conflict=on_conflict,
            per_second=per_second,
            per_minute=per_minute,
            share=share,
        )
        view = ProgressView(output)
        try:
            callbacks = Callbacks(on_notice=output.notice, on_read=view.rows_read)
            copy = _copy_of(sheet) if xlsx else None
            result = checking.check(sheet, options, callbacks, save_profile=save_profile, xlsx=copy)
        except SheetError as error:
            if sarif is not None:
                _write_sarif(sarif, sheet, (), [error])
            raise
        finally:
            view.close()
        code = ExitCode.INPUT if result.row_errors else ExitCode.DONE
        if result.row_errors:
            output.row_errors(result.row_errors)
        _show(result, output, sheet)
        if sarif is not None:
            _write_sarif(sarif, sheet, result.header, result.row_errors)
            output.line(f"SARIF: {sarif}")
        if copy is not None:
            output.line(f"Copy with the errors: {copy}")
        if save_profile is not None:
            output.line(f"Profile: {save_profile}")
        output.json({**dataclasses.asdict(result), "exit_code": int(code)})
    raise typer.Exit(code)


def _copy_of(sheet: str) -> Path:
    """Return the name of the copy with the errors."""
    return Path("stdin.check.xlsx") if sheet == "-" else Path(sheet).with_suffix(".check.xlsx")


def _write_sarif(
    path: Path, sheet: str, header: Sequence[str], errors: Iterable[RowError | SheetError]
) -> None:
    from bulk_reset.reports.sarif_file import write_sarif  # noqa: PLC0415  (rarely needed)

    write_sarif(path, sheet, header, errors)


def _show(result: CheckResult, output: Output, sheet: str) -> None:
    invalid = len({row_error.row_number for row_error in result.row_errors})
    duplicates = f", {result.skipped:,} duplicate and not sent" if result.skipped else ""
    fields = ", ".join(f"{name} {count:,}" for name, count in result.fields.items())
    not_edited = f", {result.not_edited:,} not edited since the pull" if result.not_edited else ""
    output.line(f"{counted(result.rows, 'row')}: {invalid:,} invalid{duplicates}{not_edited}")
    output.line(f"Fields to update: {fields or 'none'}")
    if not invalid and result.to_send:
        verb = "takes" if result.to_send == 1 else "take"
        output.line(
            f"{counted(result.to_send, 'request')} {verb} at least {duration(result.estimate_s)}."
        )
        output.line(f"Next: {next_steps.run_of(sheet)}")
