"""``approve``: sign a saved plan; ``require_approval``: what a run demands of its approvals."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from bulk_reset.core.argument_types import require_path
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option, option_name
from bulk_reset.core.saved_plan import PlanFileError, SavedPlan
from bulk_reset.engine.approval_options import check_note
from bulk_reset.engine.options import Options, PathLike
from bulk_reset.records.approvals import (
    HMAC,
    SSH,
    Approval,
    add_approval,
    approval_path,
    read_approvals,
)
from bulk_reset.records.login import host_name, login_names, user_name
from bulk_reset.records.plan_digest import plan_digest
from bulk_reset.records.signatures import hmac_of, is_hmac_of, sign_by_ssh, ssh_signer

EXPIRES: Final = "24h"
_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def approve(  # noqa: PLR0913  (what is signed)
    plan: PathLike,
    *,
    key: PathLike | None = None,
    hmac_key_file: PathLike | None = None,
    name: str = "",
    note: str = "",
    expires: str = EXPIRES,
) -> Approval:
    """Sign a plan, and add the approval to ``PLAN.approval`` beside it.

    Args:
        key: an SSH key; exactly one of this and ``hmac_key_file``.
        name: of the approver; the login by default.
        expires: the age at which the approval expires: ``24h``, ``7d``.

    Raises:
        InputError: the plan, the key or a value cannot be used; nothing was written.
    """
    require_path("plan", plan)
    if (key is None) == (hmac_key_file is None):
        raise InputError(
            f"{option_name('key')}, {option_name('hmac_key_file')}: use exactly one, for example "
            f"{option('key', '~/.ssh/id_ed25519')}."
        )
    check_note(note)
    path, now_at = Path(plan), int(time.time())
    unsigned = Approval(
        plan=path.name,
        plan_sha256=plan_digest(path),
        name=name or user_name(),
        user=user_name(),
        host=host_name(),
        approved_at=now_at,
        expires_at=now_at + _seconds_of(expires),
        note=note,
        method=SSH if key is not None else HMAC,
    )
    read_approvals(path)  # A file of another program is found before a key asks for a touch.
    if key is not None:
        signature = sign_by_ssh(unsigned.content, Path(key).expanduser())
    else:
        signature = hmac_of(unsigned.content, Path(hmac_key_file or "").expanduser())
    approval = replace(unsigned, signature=signature)
    add_approval(path, approval)
    return approval


def _seconds_of(age: str) -> int:
    found = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", age, re.ASCII)
    if found is None:
        raise InputError(f"{option('expires', age)}: is not an age. Use for example 24h or 7d.")
    return int(found[1]) * _UNITS[found[2]]


def require_approval(
    sheet: object,
    options: Options,
    *,
    label: str = "",
    opened_sha256: str = "",
    now_at: float | None = None,
) -> tuple[Approval, ...]:
    """Return the valid approvals of the plan that a run is about to send; none if none is required.

    Args:
        sheet: what the run was given.
        label: the plan's name in an error, where ``sheet`` is a copy of it.
        opened_sha256: the digest of the plan that is open already; the file may be another by now.
        now_at: UTC epoch seconds; the clock's time when None.

    Raises:
        InputError: no approval is valid, each with the reason; nothing was sent.
    """
    if not options.is_approval_required:
        return ()
    if not isinstance(sheet, str | Path) or str(sheet) == "-":
        raise InputError(
            f"{_required_by(options)}: only a saved plan can be approved. Make one by a plan with "
            f"{option('out', 'FILE.plan')}."
        )
    if options.allowed_signers is None and options.hmac_key_file is None:
        raise InputError(
            f"{_required_by(options)}: needs the keys of the approvers. Use "
            f"{option('allowed_signers', 'FILE')} or {option('hmac_key_file', 'FILE')}."
        )
    _refuse_other_changes(options)
    plan = Path(sheet)
    digest, approvals = plan_digest(plan), read_approvals(plan)
    if opened_sha256 not in {"", digest}:
        raise InputError(f"{plan}: modified after it was opened. Run the command again.")
    check = _Check(options, digest, login_names() | _makers(plan), now_at or time.time())
    checked = [check.of(approval) for approval in approvals]
    valid = tuple(one for one, problem in checked if not problem)
    if not valid:
        problems = [f"{one.name or 'no name'}: {problem}" for one, problem in checked]
        raise InputError(_refusal(Path(label or plan), problems, options))
    return valid


def check_approvals(
    plan: Path, options: Options, now_at: float | None = None
) -> list[tuple[Approval, str]]:
    """Return each approval of a plan, and why a run would not accept it; empty if it would.

    Without the keys of approvers, no signature is verified, and none is accepted.

    Raises:
        InputError: the plan or its approvals cannot be read.
    """
    digest, own_names = plan_digest(plan), login_names() | _makers(plan)
    check = _Check(options, digest, own_names, now_at or time.time())
    return [check.of(approval) for approval in read_approvals(plan)]


def _makers(plan: Path) -> frozenset[str]:
    """Return the login of the user who made a plan, if the plan has it."""
    try:
        return frozenset({SavedPlan.open(plan).header.made_by} - {""})
    except PlanFileError:  # Its hash is correct: what it lacks is reported when it is run.
        return frozenset()


def _refuse_other_changes(options: Options) -> None:
    """Refuse options by which a run changes what the approver did not see.

    Raises:
        InputError: it would overwrite what other users changed since the plan.
    """
    given = {"overwrite": options.overwrite, "before": not options.before}
    for name, is_given in given.items():
        if is_given:
            raise InputError(
                f"{option(name, value=name != 'before')}: would overwrite changes that are not in "
                f"the approved plan. Remove it, or {option_name('require_approval')}."
            )


def _refusal(plan: Path, problems: list[str], options: Options) -> str:
    key = "--key ~/.ssh/id_ed25519" if options.allowed_signers else "--hmac-key-file FILE"
    fix = f"Another user approves it with: bulk-reset approve {shlex.quote(str(plan))} {key}."
    if not problems:
        return f"{plan}: not approved: {approval_path(plan)} is missing or empty. {fix}"
    return f"{plan}: no valid approval: {'; '.join(dict.fromkeys(problems))}. {fix}"


def _required_by(options: Options) -> str:
    return option_name("require_approval" if options.require_approval else "approved_by")


class _Check:
    """Decides about single approvals.

    Args:
        own_names: the logins of the user who runs the plan and of the one who made it.
        now_at: UTC epoch seconds.
    """

    def __init__(
        self, options: Options, digest: str, own_names: frozenset[str], now_at: float
    ) -> None:
        self._options, self._digest = options, digest
        self._own_names = {name.casefold() for name in own_names}
        self._now_at = now_at
        has_keys = options.allowed_signers is not None or options.hmac_key_file is not None
        self._why_unsigned = (
            "the signature is not of an allowed signer"
            if has_keys
            else "not verified, because the keys of the approvers are not configured"
        )

    def of(self, approval: Approval) -> tuple[Approval, str]:
        """Return an approval under its verified name, and why it does not count; empty if it does.

        Its texts are shown only after the signature is verified.
        """
        if approval.plan_sha256 != self._digest:
            return approval, "approved another version of the plan"
        name = self._signer(approval)
        if name is None:
            return approval, self._why_unsigned
        verified = replace(approval, name=name)
        if self._now_at >= approval.expires_at:
            return verified, "the approval has expired"
        allowed = self._options.approved_by
        if allowed and name not in allowed:
            return verified, f"not in {option_name('approved_by')}"
        if not self._options.allow_own_approval and self._is_own(verified):
            return verified, (
                f"an own approval; another user must approve ({option('allow_own_approval')} "
                "allows it)"
            )
        return verified, ""

    def _signer(self, approval: Approval) -> str | None:
        signers, key_file = self._options.allowed_signers, self._options.hmac_key_file
        content = approval.content
        if approval.method == SSH and signers is not None:
            return ssh_signer(content, approval.signature, signers, approval.name)
        if approval.method == HMAC and key_file is not None:
            return approval.name if is_hmac_of(content, approval.signature, key_file) else None
        return None

    def _is_own(self, approval: Approval) -> bool:
        names = {approval.user, approval.name, approval.name.partition("@")[0]}
        return not self._own_names.isdisjoint(name.casefold() for name in names)
