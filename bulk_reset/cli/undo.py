"""``bulk-reset undo``: set again what stood there before a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli import shared
from bulk_reset.cli.arguments import (
    CanaryOption,
    MaxFailuresOption,
    OverwriteOption,
    VerifyOption,
    WorkersOption,
    YesOption,
)
from bulk_reset.cli.plan import PlanView
from bulk_reset.cli.record import Recording, recording
from bulk_reset.cli.shared import CommonOptions, takes_options
from bulk_reset.cli.summary import show_lost, show_totals, totals_as_json
from bulk_reset.cli.view import SendingView
from bulk_reset.core.defaults import WORKERS
from bulk_reset.core.errors import ExitCode


@takes_options(asked=shared.common_options, record=recording)
def undo(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="The report of a run.")],
    *,
    yes: YesOption = False,
    canary: CanaryOption = None,
    verify: VerifyOption = False,
    overwrite: OverwriteOption = False,
    max_failures: MaxFailuresOption = None,
    workers: WorkersOption = WORKERS,
    asked: CommonOptions,
    record: Recording,
) -> None:
    """Set again what stood in the incidents before the run of REPORT.

    First the plan, then a question (--yes answers it). Only what still is as the run wrote it is
    restored; what cannot be is listed. An undo is a run: it has a report, goes on where it
    stopped, and can itself be undone. Exit codes as of run; 3 too where nobody said yes.
    """
    output = asked.output
    view = SendingView(output)
    with output.errors(), record.of("undo", str(report)):
        from bulk_reset.core.callbacks import Callbacks  # noqa: PLC0415
        from bulk_reset.engine.options import Options  # noqa: PLC0415
        from bulk_reset.workflows import undo as undoing  # noqa: PLC0415  (brings pandas along)

        options = Options(
            **asked.options,
            canary=canary,
            verify=verify,
            overwrite=overwrite,
            max_failures=max_failures,
            workers=workers,
        )
        callbacks = Callbacks(
            on_notice=output.notice,
            on_progress=view.update,
            on_looked=view.looked,
            confirm=lambda text: view.confirm(text, says_yes=yes),
        )
        callbacks = record.logged(options, callbacks)
        plan = PlanView(output)
        try:
            undone = undoing.undo(
                report, options, callbacks, plan.add, plan.show, handles_signals=True
            )
        finally:
            view.close()
        show_lost(output, undone.undo_sheet)
        code = ExitCode.DONE
        if undone.totals is None:
            if undone.is_confirmed:
                output.say("Nothing was left to restore.")
            else:
                output.say("Nothing was sent: nobody said yes. Next: the same again with --yes")
                code = ExitCode.STOPPED
        else:
            show_totals(output, undone.totals, str(undone.undo_sheet.sheet))
            code = undone.totals.exit_code
            output.say(f"To undo this: bulk-reset undo {undone.undo_sheet.report}")
        if undone.undo_sheet.not_known and code is ExitCode.DONE:
            code = ExitCode.NOT_ALL
        record.end(undone.totals, code)
        output.json(
            {
                **(totals_as_json(undone.totals) if undone.totals else {}),
                "lost": [dataclasses.asdict(one) for one in undone.undo_sheet.lost],
                "not_known": undone.undo_sheet.not_known,
                "exit_code": int(code),
            }
        )
    raise typer.Exit(code)
