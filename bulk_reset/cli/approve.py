"""``bulk-reset approve``: sign a saved plan, so that another user may run it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli import next_steps
from bulk_reset.cli.approval_options import HmacKeyFileOption, NoteOption
from bulk_reset.cli.arguments import JsonOption, QuietOption, VerboseOption
from bulk_reset.cli.console import Output


def approve(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A saved plan.", show_default=False)],
    *,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The SSH key to sign with.")
    ] = None,
    hmac_key_file: HmacKeyFileOption = None,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Your name among the allowed signers.", show_default="the login"
        ),
    ] = "",
    note: NoteOption = "",
    expires: Annotated[
        str, typer.Option(metavar="AGE", help="When the approval expires, such as 24h.")
    ] = "24h",
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Approve PLAN: sign its SHA-256, your name, the time and a note.

    The approval is written to PLAN.approval. A run with --require-approval needs it.

    Examples:
        bulk-reset approve incidents.plan --key ~/.ssh/id_ed25519 --note "CHG-123"
        bulk-reset approve incidents.plan --hmac-key-file key --name alice

    Exit codes:
        0  the plan is approved
        2  the plan or the key cannot be used
    """
    output = Output(is_json=json, is_quiet=quiet, verbose=verbose)
    with output.errors():
        from bulk_reset.records.approvals import approval_path  # noqa: PLC0415
        from bulk_reset.workflows import approve as approving  # noqa: PLC0415

        approval = approving.approve(
            plan, key=key, hmac_key_file=hmac_key_file, name=name, note=note, expires=expires
        )
        path = approval_path(plan)
        expires_at = datetime.fromtimestamp(approval.expires_at, UTC)
        output.line(f"SHA-256 of the plan: {approval.plan_sha256}")
        output.line(f"Approved by {approval}; expires {expires_at:%Y-%m-%d %H:%M} UTC")
        output.line(f"Approval: {path}")
        signers = {"allowed-signers": "allowed_signers"} if key is not None else {}
        another = next_steps.other_command(
            "run", plan, without={"note"}, plus={"require-approval": "", **signers}
        )
        output.line(f"Next, as another user: {another}")
        output.json({**approval.facts(), "approval": str(path), "exit_code": 0})
