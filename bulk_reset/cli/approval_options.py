"""Why a run is made and who must have approved its plan: the options of ``run`` for both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bulk_reset.cli.arguments import SAFETY, WHAT
from bulk_reset.cli.shared import OptionValues

NoteOption = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="Why, such as a change number.",
        show_default=False,
        rich_help_panel=WHAT,
    ),
]
HmacKeyFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The key file of approvals without SSH keys.",
        rich_help_panel=SAFETY,
    ),
]
RequireApprovalOption = Annotated[
    bool,
    typer.Option(
        "--require-approval",
        help="Send only a saved plan that another user approved.",
        rich_help_panel=SAFETY,
    ),
]
AllowedSignersOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The SSH keys of approvers, as for ssh-keygen.",
        rich_help_panel=SAFETY,
    ),
]
AllowOwnApprovalOption = Annotated[
    bool,
    typer.Option(
        "--allow-own-approval",
        help="Accept the approval of the user who runs it.",
        rich_help_panel=SAFETY,
    ),
]


def approvals(
    *,
    note: NoteOption = "",
    require_approval: RequireApprovalOption = False,
    allowed_signers: AllowedSignersOption = None,
    hmac_key_file: HmacKeyFileOption = None,
    allow_own_approval: AllowOwnApprovalOption = False,
) -> OptionValues:
    """Return the note and the approval options of a run."""
    return {
        "note": note,
        "require_approval": require_approval,
        "allowed_signers": allowed_signers,
        "hmac_key_file": hmac_key_file,
        "allow_own_approval": allow_own_approval,
    }
