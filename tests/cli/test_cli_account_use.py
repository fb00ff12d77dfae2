"""``bulk-reset account``: what it prints, and that it changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import KEY

from bulk_reset.api.credentials import AppKey, Credentials
from bulk_reset.core.defaults import Priority
from bulk_reset.engine.account import open_store
from bulk_reset.quota.account_ledger import permits_path
from bulk_reset.quota.permit_share import PermitShare
from bulk_reset.quota.windows import windows_of

Command = Callable[..., "subprocess.CompletedProcess[str]"]
URL = "https://account-use.example"
WHOSE = Credentials(AppKey(KEY), URL, "a test")
FREE = [
    {"window_s": 1.0, "limit": 50, "used": 0, "held": 0},
    {"window_s": 60.0, "limit": 1000, "used": 0, "held": 0},
]


@pytest.fixture
def run() -> Iterator[PermitShare]:
    """Begin a run of the account in this process, with a hostile name."""
    label = "十月\x1b[31m.xlsx"
    share = PermitShare(
        open_store(WHOSE, None, ""), windows_of(), priority=Priority.HIGH, label=label
    )
    with contextlib.closing(share):
        share.exchange(5_000)
        share.take()
        share.rejected, share.waited_s = 2, 61.0
        share.exchange(5_000)
        yield share


def test_an_unused_account_is_shown_and_no_file_is_made(command: Command) -> None:
    """Before the first run all of the quota is free."""
    path = permits_path(WHOSE, "unused")
    done = command("account", "--base-url", URL, "--account", "unused", "--json")

    assert (done.returncode, path.exists()) == (0, False)
    assert json.loads(done.stdout) == {
        "base_url": URL,
        "store": "this machine",
        "windows": FREE,
        "runs": [],
        "rejected": 0,
        "losses": 0,
        "closed_s": 0.0,
        "exit_code": 0,
    }


def test_a_run_is_shown_with_its_share(command: Command, run: PermitShare) -> None:
    """The table names the run; its name reaches the terminal without what it would obey."""
    done = command("account", "--base-url", URL)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    [shown] = [line for line in lines if "十月" in line]

    assert (done.returncode, run.failure) == (0, None), done.stderr
    assert lines[:2] == [f"Account at {URL}; permits are kept on this machine.", "1 run uses it:"]
    assert "\x1b" not in done.stdout
    assert f" {socket.gethostname()} {os.getpid()} " in shown
    assert shown.endswith(" high 5,000 20 1 min 01 s 2")
    assert lines[-3:] == [
        "1 minute 0 20 1,000",
        "",
        "2 requests rejected by the API (429) so far.",
    ]


def test_a_store_that_does_not_answer_is_an_error(command: Command, tmp_path: Path) -> None:
    """It is named, with what to do."""
    store = f"unix://{tmp_path}/none.sock"
    done = command("account", "--base-url", URL, "--quota-store", store)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: --quota-store {store}: no usable answer (")
    assert "Check that the server runs and can be reached." in done.stderr
