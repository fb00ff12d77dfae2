"""A plan is approved by another user, and a run that requires it refuses everything else."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from programs import write_sheet

from bulk_reset import Callbacks, InputError, Options, Outcome, run, run_frame, stream
from bulk_reset.core.plan_writer import PlanWriter
from bulk_reset.core.saved_plan import PlanFooter, PlanHeader
from bulk_reset.records import signatures
from bulk_reset.records.approvals import Approval, approval_path, copy_approvals, read_approvals
from bulk_reset.records.audit import read_audit
from bulk_reset.records.plan_digest import plan_digest
from bulk_reset.reports.report_facts import run_table
from bulk_reset.workflows import approve as approving
from bulk_reset.workflows.approve import approve, require_approval

NOW = 1_800_000_000.0
needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")
_REFUSED = (
    "not a saved plan|a format that this version cannot read|"
    "incomplete or was altered|altered after"
)


def write_plan(path: Path, content: bytes = b"\x1f\x8bsome rows") -> Path:
    """Write a file of the shape of a plan; return it."""
    body = b"bulk-reset plan 1\n" + content + b"\n"
    path.write_bytes(body + b"sha256 " + hashlib.sha256(body).hexdigest().encode() + b"\n")
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return write_plan(tmp_path / "month.plan")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "approval.key"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    return path


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let this user be another one."""

    def log_in(name: str) -> None:
        monkeypatch.setattr(approving, "user_name", lambda: name)
        monkeypatch.setattr(approving, "login_names", lambda: frozenset({name}))

    return log_in


@pytest.fixture
def approved(plan: Path, key_file: Path, logins: Callable[[str], None]) -> Approval:
    """Approve the plan as alice with the key file; bob is logged in afterwards."""
    logins("alice")
    approval = approve(plan, hmac_key_file=key_file, note="CHG-123")
    logins("bob")
    return approval


def ssh_key(path: Path) -> Path:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(words, check=True)
    return path


def signers(path: Path, **keys: Path) -> Path:
    lines = [
        f"{name}@example.com {key.with_suffix('.pub').read_text()}" for name, key in keys.items()
    ]
    path.write_text("".join(lines))
    return path


# --- The digest ------------------------------------------------------------------------------


def test_the_digest_is_that_of_the_last_line(plan: Path) -> None:
    """What is approved is what people compare: the last line of the file."""
    assert plan_digest(plan) == plan.read_bytes().splitlines()[-1].decode().removeprefix("sha256 ")


def test_no_changed_byte_keeps_the_digest(plan: Path) -> None:
    """A byte anywhere, the last line included, is an error and never a digest."""
    content = plan.read_bytes()
    changes = [content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
               for place in range(len(content))]  # fmt: skip
    changes += [content[:length] for length in range(len(content))]
    changes += [content + b"\n", content + content, content[:-1] + b"\r\n"]
    for changed in changes:
        plan.write_bytes(changed)
        with pytest.raises(
            InputError,
            match=_REFUSED,
        ):
            plan_digest(plan)


# --- Signing and verifying -------------------------------------------------------------------


def test_an_approval_by_a_key_file_is_accepted_from_another_user(
    plan: Path, key_file: Path, approved: Approval
) -> None:
    """Name, note and digest are in the approval, and in what the run gets."""
    options = Options(require_approval=True, hmac_key_file=key_file)
    assert require_approval(plan, options) == (approved,)
    assert (approved.name, approved.note, approved.method) == ("alice", "CHG-123", "hmac")
    assert approved.plan_sha256 == plan_digest(plan)
    assert approved.expires_at - approved.approved_at == 86_400
    assert str(approved).startswith("alice (key file), 20")
    assert str(approved).endswith(" UTC: CHG-123")


@needs_ssh
def test_an_approval_by_an_ssh_key_has_the_name_of_its_allowed_signer(
    tmp_path: Path, plan: Path, logins: Callable[[str], None]
) -> None:
    """The name that the approver entered does not count; the key does."""
    alice, mallory = ssh_key(tmp_path / "alice"), ssh_key(tmp_path / "mallory")
    logins("alice")
    approve(plan, key=alice, name="carol")
    options = Options(
        require_approval=True, allowed_signers=signers(tmp_path / "signers", alice=alice)
    )
    logins("bob")
    (found,) = require_approval(plan, options)
    assert (found.name, found.method) == ("alice@example.com", "ssh")

    logins("dave")
    approval_path(plan).unlink()
    approve(plan, key=mallory, name="alice@example.com")
    with pytest.raises(InputError, match="the signature is not of an allowed signer"):
        require_approval(plan, options)


@needs_ssh
def test_the_principal_is_own_even_if_another_login_is_reported(
    tmp_path: Path, plan: Path, logins: Callable[[str], None]
) -> None:
    """Who signs as another user on purpose is still known by the key."""
    key = ssh_key(tmp_path / "bob")
    logins("no-one-in-particular")
    approve(plan, key=key, name="x")
    logins("bob")
    options = Options(require_approval=True, allowed_signers=signers(tmp_path / "s", bob=key))
    with pytest.raises(InputError, match=r"bob@example\.com: an own approval"):
        require_approval(plan, options)
    allowing = dataclasses.replace(options, allow_own_approval=True)
    assert [one.name for one in require_approval(plan, allowing)] == ["bob@example.com"]


@needs_ssh
def test_a_signature_for_another_purpose_is_not_an_approval(
    tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch, logins: Callable[[str], None]
) -> None:
    """A signed commit, for example, is in another namespace."""
    key = ssh_key(tmp_path / "alice")
    logins("alice")
    with monkeypatch.context() as patched:
        patched.setattr(signatures, "NAMESPACE", "git")
        approve(plan, key=key)
    logins("bob")
    options = Options(require_approval=True, allowed_signers=signers(tmp_path / "s", alice=key))
    with pytest.raises(InputError, match="not of an allowed signer"):
        require_approval(plan, options)


def test_without_ssh_keygen_the_error_names_the_other_way(
    tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fix is to install it, or a key file."""
    (tmp_path / "key").write_text("x")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"ssh-keygen: no such program .* hmac_key_file='FILE'"):
        approve(plan, key=tmp_path / "key")
    assert not approval_path(plan).exists()


@needs_ssh
def test_a_file_that_is_no_key_is_an_error_in_one_line(tmp_path: Path, plan: Path) -> None:
    """The reason of ssh-keygen is in the message."""
    (tmp_path / "key").write_text("not a key\n")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(InputError, match="ssh-keygen cannot sign with it") as caught:
        approve(plan, key=tmp_path / "key")
    assert "\n" not in str(caught.value)


# --- What is refused -------------------------------------------------------------------------


def _refusal(plan: Path, options: Options, **more: Any) -> str:  # noqa: ANN401  (of each its own)
    with pytest.raises(InputError) as caught:
        require_approval(plan, options, **more)
    return str(caught.value)


def test_every_reason_to_refuse_is_named(
    plan: Path, key_file: Path, tmp_path: Path, approved: Approval, logins: Callable[[str], None]
) -> None:
    """Missing, expired, own, of another approver or key, and of another plan."""
    options = Options(require_approval=True, hmac_key_file=key_file)
    later = approved.expires_at
    assert "alice: the approval has expired" in _refusal(plan, options, now_at=later)
    assert require_approval(plan, options, now_at=later - 1) == (approved,)
    others = dataclasses.replace(options, approved_by=("carol",))
    assert "alice: not in approved_by" in _refusal(plan, others)
    both = dataclasses.replace(options, approved_by=("carol", "alice"))
    assert require_approval(plan, both) == (approved,)
    other_key = tmp_path / "other.key"
    other_key.write_text("f" * 32)
    foreign = dataclasses.replace(options, hmac_key_file=other_key)
    assert "alice: the signature is not of an allowed signer" in _refusal(plan, foreign)
    logins("Alice")
    assert "alice: an own approval" in _refusal(plan, options)
    logins("bob")

    assert "modified after it was opened" in _refusal(plan, options, opened_sha256="0" * 64)
    same = require_approval(plan, options, opened_sha256=approved.plan_sha256)
    assert same == (approved,)

    write_plan(plan, b"other rows")
    assert "alice: approved another version of the plan" in _refusal(plan, options)
    assert str(plan) in _refusal(plan, options)
    approval_path(plan).unlink()
    text = _refusal(plan, options)
    assert text.startswith(f"{plan}: not approved: {plan}.approval is missing or empty.")
    assert text.endswith(f"bulk-reset approve {plan} --hmac-key-file FILE.")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "carol"},
        {"expires_at": 9_999_999_999},
        {"note": "CHG-999"},
        {"user": "carol"},
        {"plan": "x.plan"},
        {"signature": ""},
        {"signature": "é"},
        {"method": "ssh"},
        {"method": "none"},
    ],
)
def test_an_altered_approval_is_refused(
    plan: Path, key_file: Path, approved: Approval, change: dict[str, Any]
) -> None:
    """All of it is signed: name, time, note and login, too."""
    del approved
    path = approval_path(plan)
    values = json.loads(path.read_text())
    values["approvals"][0] |= change
    path.write_text(json.dumps(values))
    options = Options(require_approval=True, hmac_key_file=key_file)
    assert "the signature is not of an allowed signer" in _refusal(plan, options)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format":"bulk-reset approval","version":2,"approvals":[]}',
        b'{"format":"bulk-reset approval","version":1,"approvals":{}}',
        b'{"format":"bulk-reset approval","version":1,"approvals":[7]}',
        b'{"format":"bulk-reset approval","version":1,"approvals":[{"name":1}]}',
        b" " * (1 << 20) + b"{}",
    ],
)
def test_a_file_that_has_no_approvals_is_refused_and_kept(
    plan: Path, key_file: Path, content: bytes
) -> None:
    """Neither a run nor an approval takes or replaces a file of another program."""
    approval_path(plan).write_bytes(content)
    options = Options(require_approval=True, hmac_key_file=key_file)
    assert "not a file of approvals" in _refusal(plan, options)
    with pytest.raises(InputError, match="not a file of approvals"):
        approve(plan, hmac_key_file=key_file)
    assert approval_path(plan).read_bytes() == content


def test_every_changed_byte_of_an_approval_is_refused(
    plan: Path, key_file: Path, approved: Approval
) -> None:
    """Whatever bit is changed: an error, or the approval as it was signed (white space)."""
    options = Options(require_approval=True, hmac_key_file=key_file)
    content = approval_path(plan).read_bytes()
    for place in range(len(content)):
        approval_path(plan).write_bytes(
            content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        )
        try:
            assert require_approval(plan, options) == (approved,)
        except InputError:
            continue
        assert content[place : place + 1].isspace(), place


@pytest.mark.parametrize("sheet", ["-", pd.DataFrame(), None, 5])
def test_what_is_no_plan_cannot_be_approved(sheet: object, key_file: Path) -> None:
    """Standard input and data frames are refused by the option that requires an approval."""
    options = Options(require_approval=True, hmac_key_file=key_file)
    with pytest.raises(InputError, match="require_approval: only a saved plan can be approved"):
        require_approval(sheet, options)


def test_a_sheet_is_refused_and_nothing_is_sent(tmp_path: Path, key_file: Path) -> None:
    """A run, a run of a data frame and a stream require what they were asked to."""
    sheet = write_sheet(tmp_path / "it.csv", 1)
    options = Options(sandbox=True, require_approval=True, hmac_key_file=key_file)
    with pytest.raises(InputError, match="not a saved plan"):
        run(sheet, options)
    frame = pd.read_csv(sheet, dtype=str)
    with pytest.raises(InputError, match="only a saved plan"):
        run_frame(frame, options)
    with pytest.raises(InputError, match="require_approval"):
        asyncio.run(_first(stream([], options)))
    assert {path.name for path in tmp_path.iterdir()} == {"it.csv", "approval.key"}


async def _first(outcomes: AsyncIterator[Outcome]) -> Outcome:
    return await anext(outcomes)


def test_the_maker_of_a_plan_cannot_approve_it(
    tmp_path: Path, key_file: Path, logins: Callable[[str], None]
) -> None:
    """Also where that user runs it; another user's approval beside it counts."""
    header = PlanHeader("x.csv", "", {}, {}, "0", "sandbox", "", NOW, NOW + 9, made_by="Alice")
    path = tmp_path / "x.plan"
    with path.open("wb") as file:
        PlanWriter(file, header).finish(PlanFooter(0, 0, {}, {}, 0, 0, 0.0, 0))
    logins("alice")
    approve(path, hmac_key_file=key_file)
    logins("carol")
    options = Options(require_approval=True, hmac_key_file=key_file)
    assert "alice: an own approval; another user must approve" in _refusal(path, options)
    allowed = dataclasses.replace(options, allow_own_approval=True)
    assert [one.name for one in require_approval(path, allowed)] == ["alice"]
    logins("bob")
    approve(path, hmac_key_file=key_file)
    logins("carol")
    assert [one.name for one in require_approval(path, options)] == ["bob"]


@pytest.mark.parametrize("more", [{"overwrite": True}, {"before": False}])
def test_an_approved_plan_is_sent_without_overwriting(
    plan: Path, key_file: Path, approved: Approval, more: dict[str, Any]
) -> None:
    """The approver did not see what other users changed since; such rows stay conflicts."""
    options = Options(require_approval=True, hmac_key_file=key_file)
    assert require_approval(plan, options) == (approved,)
    text = _refusal(plan, dataclasses.replace(options, **more))
    assert "would overwrite changes that are not in the approved plan" in text


def test_the_keys_of_the_approvers_are_required(plan: Path) -> None:
    """Without them, any approval would do."""
    assert "needs the keys of the approvers" in _refusal(plan, Options(require_approval=True))
    assert "approved_by: needs" in _refusal(plan, Options(approved_by=("alice",)))
    assert require_approval(plan, Options()) == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "use exactly one"),
        ({"key": "a", "hmac_key_file": "b"}, "use exactly one"),
        ({"hmac_key_file": "no.key"}, "cannot be read"),
        ({"hmac_key_file": "short.key"}, "the key has 5 bytes; the minimum is 16"),
        ({"key": "no"}, "cannot be read"),
        ({"hmac_key_file": "approval.key", "expires": "soon"}, "is not an age"),
        ({"hmac_key_file": "approval.key", "expires": "0h"}, "is not an age"),
        ({"hmac_key_file": "approval.key", "note": "x" * 1_001}, "the maximum is 1,000"),
    ],
)
def test_an_approval_that_cannot_be_made_is_not_written(
    tmp_path: Path,
    plan: Path,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
    words: str,
) -> None:
    """The error names the option and what it takes."""
    assert key_file.exists()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.key").write_text("short\n")
    with pytest.raises(InputError, match=words):
        approve(plan, **values)
    assert not approval_path(plan).exists()


# --- Where it is recorded --------------------------------------------------------------------


def test_approvals_are_kept_together_and_copied_with_the_plan(
    tmp_path: Path, plan: Path, key_file: Path, approved: Approval, logins: Callable[[str], None]
) -> None:
    """Several users approve one plan; a job's copy of it has all of them."""
    logins("carol")
    second = approve(plan, hmac_key_file=key_file)
    copy = shutil.copy(plan, tmp_path / "copy.plan")
    copy_approvals(plan, copy)
    assert read_approvals(copy) == [approved, second]
    logins("bob")
    options = Options(require_approval=True, hmac_key_file=key_file)
    assert require_approval(copy, options) == (approved, second)


def test_the_note_and_the_approvals_are_in_audit_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, approved: Approval
) -> None:
    """Why, and who approved it; the note is no option of the run there."""
    monkeypatch.setattr("bulk_reset.workflows.run.require_approval", lambda *_, **__: (approved,))
    sheet, notices = write_sheet(tmp_path / "it.csv", 1), []
    run(sheet, Options(sandbox=True, note="CHG-123"), Callbacks(on_notice=notices.append))
    (line,) = read_audit(tmp_path / "it.sandbox.report.csv")
    assert (line["note"], line["approvals"]) == ("CHG-123", [approved.facts()])
    assert "signature" not in line["approvals"][0]
    assert line["options"] == {"sandbox": True}
    assert f"{sheet}: approved by {approved}" in notices
    table = run_table(line)
    assert (table["Note"], table["Approved by"]) == ("CHG-123", str(approved))


def test_a_note_is_in_the_audit_of_an_undo(tmp_path: Path) -> None:
    """An undo has a reason of its own; a run without one has no key for it."""
    sheet = write_sheet(tmp_path / "it.csv", 1)
    run(sheet, Options(sandbox=True))
    (line,) = read_audit(tmp_path / "it.sandbox.report.csv")
    assert {"note", "approvals"}.isdisjoint(line)


def test_the_time_of_an_approval_is_now(approved: Approval) -> None:
    """Whole seconds of this machine's clock."""
    assert abs(approved.approved_at - time.time()) < 3600
