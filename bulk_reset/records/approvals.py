"""``P.plan.approval``: who approved a saved plan, as one JSON file with a list.

What is signed is ``Approval.content``: all of an approval but its signature, the digest of the
plan among it. This is the file's only writer and reader.

Units: ``*_at`` UTC epoch seconds.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError
from bulk_reset.core.input_file import open_input

SSH, HMAC = "ssh", "hmac"
_FORMAT: Final = "bulk-reset approval"
_VERSION: Final = 1
_MOST_BYTES: Final = 1 << 20
_LATEST_AT: Final = 1e11
"""Seconds: the year 5138."""
_METHODS: Final = {SSH: "SSH key", HMAC: "key file"}


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval of a plan.

    Attributes:
        plan: the name of the plan's file when it was approved.
        plan_sha256: the digest of the plan; see ``plan_digest``.
        name: the approver; of a verified SSH signature, the principal of the allowed signers.
        user, host: the approver's login and machine, as the approver's machine reported them.
        approved_at, expires_at: whole seconds.
        note: why, for example a change number.
        method: ``ssh`` or ``hmac``.
        signature: by that method; see ``signatures``.
    """

    plan: str
    plan_sha256: str
    name: str
    user: str
    host: str
    approved_at: int
    expires_at: int
    note: str
    method: str
    signature: str = ""

    @property
    def content(self) -> bytes:
        """What is signed: canonical JSON."""
        values = dataclasses.asdict(self) | {"format": _FORMAT, "version": _VERSION}
        del values["signature"]
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()

    def facts(self) -> dict[str, Any]:
        """Return what the audit and the record of a job keep: all but the signature."""
        values = dataclasses.asdict(self)
        del values["signature"]
        return values

    def __str__(self) -> str:
        """Return who approved it and when: ``alice (SSH key), 2026-11-28 14:00 UTC: CHG-1``."""
        return text_of(self.facts())


def text_of(facts: dict[str, Any]) -> str:
    """Return an approval of the audit in a line; see ``Approval.__str__``."""
    method = _METHODS.get(str(facts.get("method")), "unknown method")
    text, at = f"{facts.get('name')} ({method})", facts.get("approved_at")
    if isinstance(at, int | float) and 0 <= at < _LATEST_AT:
        text += f", {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
    return f"{text}: {facts['note']}" if facts.get("note") else text


def approval_path(plan: Path) -> Path:
    """Return where the approvals of a plan are."""
    return plan.with_name(f"{plan.name}.approval")


def read_approvals(plan: Path) -> list[Approval]:
    """Return the approvals of a plan in their order; their signatures are not verified.

    Raises:
        InputError: the file cannot be read, or is not a file of approvals.
    """
    path = approval_path(plan)
    try:
        with open_input(path) as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be read ({exc.strerror or exc}). Make the file readable for this user."
        ) from exc
    approvals = _parsed(content)
    if approvals is None:
        raise InputError(
            f"{path}: not a file of approvals of this version of bulk-reset; it was not changed. "
            "Move it away, and approve the plan again."
        )
    return approvals


def _parsed(content: bytes) -> list[Approval] | None:
    try:
        values = json.loads(content) if len(content) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or set(values) != {"format", "version", "approvals"}:
        return None
    items = values["approvals"]
    if (values["format"], values["version"]) != (_FORMAT, _VERSION) or not isinstance(items, list):
        return None
    approvals = [_approval_of(one) for one in items]
    found = [one for one in approvals if one is not None]
    return found if len(found) == len(approvals) else None


def _approval_of(values: object) -> Approval | None:
    kinds = {one.name: int if one.name.endswith("_at") else str for one in _FIELDS}
    if not isinstance(values, dict) or set(values) != set(kinds):
        return None
    if any(type(values[name]) is not kind for name, kind in kinds.items()):
        return None
    approval = Approval(**values)
    times = (approval.approved_at, approval.expires_at)
    return approval if all(0 <= at < _LATEST_AT for at in times) else None


_FIELDS: Final = dataclasses.fields(Approval)


def copy_approvals(plan: Path, copy: Path) -> None:
    """Copy the approvals of a plan to those of its copy, which may have another name.

    Raises:
        InputError: they cannot be read or written.
    """
    approvals = read_approvals(plan)
    if approvals:
        _write(copy, approvals)


def add_approval(plan: Path, approval: Approval) -> Path:
    """Add an approval to those of a plan; return their file.

    Raises:
        InputError: the file is another one, or cannot be written; it is unchanged.
    """
    return _write(plan, [*read_approvals(plan), approval])


def _write(plan: Path, approvals: list[Approval]) -> Path:
    path = approval_path(plan)
    items = [dataclasses.asdict(one) for one in approvals]
    values = {"format": _FORMAT, "version": _VERSION, "approvals": items}
    with atomic_file(path, like=plan) as file:
        file.write(json.dumps(values, indent=1).encode() + b"\n")
    return path
