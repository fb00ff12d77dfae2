"""``bulk-reset run``: the main job, a spreadsheet in and a report out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bulk_reset.cli.arguments import (
    AccountOption,
    AppKeyFileOption,
    AttemptsOption,
    BaseUrlOption,
    CanaryOption,
    DelimiterOption,
    DryRunOption,
    EncodingOption,
    FromPullOption,
    HeaderRowOption,
    JsonOption,
    LimitOption,
    MapOption,
    MaxFailuresOption,
    NoBeforeOption,
    NoWaitOption,
    OnConflictOption,
    OverwriteOption,
    PatienceOption,
    PerMinuteOption,
    PerSecondOption,
    PlanOption,
    QuietOption,
    ReportOption,
    RetryFailedOption,
    SandboxOption,
    SandboxStateOption,
    SetOption,
    ShareOption,
    SheetArgument,
    SheetNameOption,
    SkipInvalidOption,
    TimeoutOption,
    VerboseOption,
    VerifyOption,
    WorkersOption,
    YesOption,
    mapping_of,
)
from bulk_reset.cli.console import Output, say_red
from bulk_reset.cli.plan import PlanView
from bulk_reset.cli.pull import pull_first
from bulk_reset.cli.summary import show_totals, totals_as_json
from bulk_reset.cli.view import SendingView, reading
from bulk_reset.errors import ExitCode
from bulk_reset.model import (
    ATTEMPTS,
    PATIENCE_S,
    PER_MINUTE,
    PER_SECOND,
    TIMEOUT_S,
    WORKERS,
    OnConflict,
)

if TYPE_CHECKING:
    from bulk_reset.options import Options, Watcher


def run(
    sheet: SheetArgument,
    *,
    dry_run: DryRunOption = False,
    sandbox: SandboxOption = False,
    sandbox_state: SandboxStateOption = None,
    report: ReportOption = None,
    limit: LimitOption = None,
    skip_invalid: SkipInvalidOption = False,
    retry_failed: RetryFailedOption = False,
    on_conflict: OnConflictOption = OnConflict.ERROR,
    max_failures: MaxFailuresOption = None,
    no_before: NoBeforeOption = False,
    overwrite: OverwriteOption = False,
    canary: CanaryOption = None,
    yes: YesOption = False,
    verify: VerifyOption = False,
    plan: PlanOption = False,
    from_pull: FromPullOption = None,
    set: SetOption = [],  # noqa: A002, B006  (the option's name; typer copies it)
    map: MapOption = [],  # noqa: A002, B006  (the option's name; typer copies it)
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    sheet_name: SheetNameOption = None,
    header_row: HeaderRowOption = None,
    app_key_file: AppKeyFileOption = None,
    base_url: BaseUrlOption = None,
    workers: WorkersOption = WORKERS,
    timeout: TimeoutOption = TIMEOUT_S,
    attempts: AttemptsOption = ATTEMPTS,
    patience: PatienceOption = PATIENCE_S,
    per_second: PerSecondOption = PER_SECOND,
    per_minute: PerMinuteOption = PER_MINUTE,
    share: ShareOption = 1.0,
    account: AccountOption = "",
    no_wait: NoWaitOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Update the incidents of SHEET, within the quota; what became of each row is reported.

    The same command again goes on where it stopped. Exit code: 0 everything done, 1 some
    rows failed, 2 nothing sent, 3 stopped early, 4 another run has the report or the account,
    129 terminal closed, 130 Ctrl-C, 143 SIGTERM.
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
            header_row=header_row,
            on_conflict=on_conflict,
            skip_invalid=skip_invalid,
            app_key_file=app_key_file,
            base_url=base_url,
            sandbox=sandbox,
            per_second=per_second,
            per_minute=per_minute,
            share=share,
            account=account,
            waits=not no_wait,
            workers=workers,
            timeout_s=timeout,
            attempts=attempts,
            patience_s=patience,
            limit=limit,
            max_failures=max_failures,
            retry_failed=retry_failed,
            report=report,
            dry_run=dry_run,
            before=not no_before,
            overwrite=overwrite,
            canary=canary,
            verify=verify,
            sandbox_state=sandbox_state,
        )
        with reading(output) as on_read:
            watcher = Watcher(
                output.notice,
                on_read,
                view.update,
                view.looked,
                confirm=lambda text: view.confirm(text, says_yes=yes),
            )
            pull_first(sheet, from_pull, set, options, watcher)
            if plan and not _is_planned(sheet, options, watcher, output):
                raise typer.Exit(ExitCode.STOPPED)
            try:
                totals = actions.run(sheet, options, watcher, handles_signals=True)
            finally:
                view.close()
        if totals.mistakes and not quiet:
            output.mistakes(totals.mistakes)
        show_totals(output, totals, sheet)
        output.json(totals_as_json(totals))
    raise typer.Exit(totals.exit_code)


def _is_planned(sheet: str, options: Options, watcher: Watcher, output: Output) -> bool:
    """Show what would change; tell whether to go on."""
    from bulk_reset import actions  # noqa: PLC0415

    shown = PlanView(output)
    totals = actions.plan(sheet, options, watcher, shown.add)
    shown.show(totals)
    left = totals.counts.get("update", 0)
    if left and not watcher.confirm(f"{left:,} rows are to be sent."):
        say_red("Nothing was sent: nobody said yes. Next: the same again with --yes")
        return False
    return True
