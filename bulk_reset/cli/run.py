"""``bulk-reset run``: the main job, a spreadsheet in and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli.arguments import (
    DelimiterOption,
    EncodingOption,
    JsonOption,
    MapOption,
    PerMinuteOption,
    PerSecondOption,
    QuietOption,
    ShareOption,
    SheetArgument,
    SheetNameOption,
    VerboseOption,
    mapping_of,
)
from bulk_reset.cli.console import Output
from bulk_reset.cli.summary import show_totals, totals_as_json
from bulk_reset.cli.view import SendingView, reading
from bulk_reset.model import (
    ATTEMPTS,
    PATIENCE_S,
    PER_MINUTE,
    PER_SECOND,
    TIMEOUT_S,
    WORKERS,
    OnConflict,
)

_ROWS = "Which rows"
_SENDING = "Sending"


def run(
    sheet: SheetArgument,
    *,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Do everything but send, and say how long it would take."),
    ] = False,
    sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox", help="Send to an emulated API inside this process; no key is needed."
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The report file.", show_default="NAME.report.csv beside SHEET"
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Send at most N rows; the rest stays pending.",
            rich_help_panel=_ROWS,
        ),
    ] = None,
    skip_invalid: Annotated[
        bool,
        typer.Option(
            "--skip-invalid",
            help="Send the valid rows although others are not.",
            rich_help_panel=_ROWS,
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Send again what failed in an earlier run.",
            rich_help_panel=_ROWS,
        ),
    ] = False,
    on_conflict: Annotated[
        OnConflict,
        typer.Option(
            help="Rows that set one field of one incident to different values.",
            rich_help_panel=_ROWS,
        ),
    ] = OnConflict.ERROR,
    max_failures: Annotated[
        str | None,
        typer.Option(
            metavar="N|N%", help="Stop when more rows than this fail.", rich_help_panel=_ROWS
        ),
    ] = None,
    map: MapOption = [],  # noqa: A002, B006  (the option's name; typer copies it)
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    sheet_name: SheetNameOption = None,
    app_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file with the key in it.",
            show_default="$FLASHDUTY_APP_KEY, then ~/.flashduty/config.yaml",
            rich_help_panel=_SENDING,
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The API's address; HTTPS, or this machine.",
            show_default="https://api.flashcat.cloud",
            rich_help_panel=_SENDING,
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(metavar="N", help="Requests on their way at most.", rich_help_panel=_SENDING),
    ] = WORKERS,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="For one request.", rich_help_panel=_SENDING),
    ] = TIMEOUT_S,
    attempts: Annotated[
        int, typer.Option(metavar="N", help="For one row.", rich_help_panel=_SENDING)
    ] = ATTEMPTS,
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="How long an outage is waited out before the run stops.",
            rich_help_panel=_SENDING,
        ),
    ] = PATIENCE_S,
    per_second: PerSecondOption = PER_SECOND,
    per_minute: PerMinuteOption = PER_MINUTE,
    share: ShareOption = 1.0,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Update the incidents of SHEET, within the quota; what became of each row is reported.

    The same command again goes on where it stopped. Exit code: 0 everything done, 1 some
    rows failed, 2 nothing sent, 3 stopped early, 4 another run writes the report, 130 Ctrl-C,
    143 SIGTERM.
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    mapping = mapping_of(map)
    view = SendingView(output)
    with output.errors():
        from bulk_reset import actions  # noqa: PLC0415  (brings pandas and aiohttp along)
        from bulk_reset.options import Options, Watcher  # noqa: PLC0415

        options = Options(
            mapping=mapping,
            delimiter=delimiter,
            encoding=encoding,
            sheet_name=sheet_name,
            on_conflict=on_conflict,
            skip_invalid=skip_invalid,
            app_key_file=app_key_file,
            base_url=base_url,
            sandbox=sandbox,
            per_second=per_second,
            per_minute=per_minute,
            share=share,
            workers=workers,
            timeout_s=timeout,
            attempts=attempts,
            patience_s=patience,
            limit=limit,
            max_failures=max_failures,
            retry_failed=retry_failed,
            report=report,
            dry_run=dry_run,
        )
        with reading(output) as on_read:
            watcher = Watcher(output.notice, on_read, view.update)
            try:
                totals = actions.run(sheet, options, watcher, handles_signals=True)
            finally:
                view.close()
        show_totals(output, totals, sheet)
        output.json(totals_as_json(totals))
    raise typer.Exit(totals.exit_code)
