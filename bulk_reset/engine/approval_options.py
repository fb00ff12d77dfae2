"""Options of a run that say why it is made, and who must have approved its plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bulk_reset.core.argument_types import require
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option_name
from bulk_reset.engine.option_group import OptionGroup, PathOption

LONGEST_NOTE: Final = 1_000
"""Characters of a note: it is shown in tables."""


@dataclass(frozen=True, kw_only=True)
class ApprovalOptions(OptionGroup):
    """Why a run is made, and who must have approved its plan.

    Attributes:
        note: why, for example a change number: in the audit, the page and the log.
        require_approval: send only a saved plan with a valid approval of another user.
        approved_by: the approvers of which one must have approved; requires an approval.
        allowed_signers: the file with the SSH keys of approvers (``man ssh-keygen``).
        hmac_key_file: the key of approvals that are not signed by an SSH key.
        allow_own_approval: accept the approval of the user who runs the plan or made it.
    """

    note: str = ""
    require_approval: bool = False
    approved_by: tuple[str, ...] = ()
    allowed_signers: PathOption = PathOption()
    hmac_key_file: PathOption = PathOption()
    allow_own_approval: bool = False

    def _check(self) -> None:
        check_note(self.note)
        if isinstance(self.approved_by, str) or not all(map(str.strip, self.approved_by)):
            raise InputError(
                f"{option_name('approved_by')}: must be a list of names, none of them empty."
            )

    @property
    def is_approval_required(self) -> bool:
        """Whether only an approved plan is sent."""
        return self.require_approval or bool(self.approved_by)


def check_note(note: object) -> None:
    """Check a note: why a run is made, or a plan is approved.

    Raises:
        InputError: it is no text, or too long for a line of a table.
    """
    require("note", note, str, "a text")
    if len(str(note)) > LONGEST_NOTE:
        raise InputError(
            f"{option_name('note')}: {len(str(note)):,} characters; the maximum is "
            f"{LONGEST_NOTE:,}. Use a shorter text, such as a change number."
        )
