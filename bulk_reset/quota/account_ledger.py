"""The quota of an account, shared by all runs on this machine: a lock and a ledger.

A run holds the account's *lock* while it sends, so that runs send one at a time. The *ledger*
stores how many requests were answered when, in slots of 10 ms over the last 82 s, and how many
were in flight. It is a file mapped into memory: a request costs a few stores and no system call,
and the stores survive the process, even after kill -9. Each store is one word, so a kill leaves
no partial value. The next run starts from there.

An account is identified by a hash of its address and key, or of its address and a name that the
user gave it; neither key nor name is stored. All spellings of an address, a name and a key are one.

The clock is the system's monotonic clock, the same in all processes. It restarts with the
machine: slots in the future are from before a restart and do not count.

State: one file for each account, in the user's state directory. Only the lock's holder writes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from filelock import lock_descriptor
from platformdirs import user_state_path

from bulk_reset.api.base_url import one_host
from bulk_reset.api.credentials import Credentials, redact
from bulk_reset.core.errors import InputError, LockedError
from bulk_reset.core.option_names import option
from bulk_reset.core.temporary_folder import temporary_folder

_POLL_S: Final = 0.5
_SLOT_S: Final = 0.01
_SLOTS: Final = 1 << 13
"""82 seconds: more than the longest window, so that no slot is reused too early."""
_HOLDER_BYTES: Final = 1 << 12
_STARTED, _ENDED, _FIRST_SLOT = range(3)
"""Indexes of 8-byte words after the holder: requests started, requests ended, then the slots."""
_FILE_BYTES: Final = _HOLDER_BYTES + 8 * (_FIRST_SLOT + _SLOTS)
_COUNT_BITS: Final = 24
"""Bits of a slot's word for the count, more than any machine sends in 10 ms; the rest is time."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The run that holds an account's lock."""

    pid: int
    thread: int
    sheet: str
    since: str
    """UTC, to the second."""

    @classmethod
    def current(cls, sheet: str) -> Holder:
        """Return the holder that describes this thread's run."""
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        return cls(os.getpid(), threading.get_ident(), sheet[:200], since)

    @property
    def is_this_thread(self) -> bool:
        """Whether it is this thread, which would wait for itself forever."""
        return (self.pid, self.thread) == (os.getpid(), threading.get_ident())

    def __str__(self) -> str:
        return f"process {self.pid} uses it for {self.sheet}, since {self.since} UTC"


class AccountLedger:
    """An account's lock and ledger; close it to release the lock.

    Args:
        name: the user's name for an account with several keys; empty if it has one key.
        clock: seconds, the same for every process of the machine.
    """

    def __init__(
        self,
        credentials: Credentials,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.path = _folder() / f"{account_hash(credentials, name)}.ledger"
        self._map: mmap.mmap | None = None
        self._words = memoryview(b"").cast("Q")
        with self._disk_errors():
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            self._file = os.fdopen(descriptor, "r+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self, sheet: str) -> bool:
        """Acquire the lock if it is free; return whether it is held now.

        Raises:
            InputError: the file cannot be locked or written; nothing was sent.
        """
        descriptor = self._file.fileno()
        with self._disk_errors():
            if self._map is not None or not lock_descriptor(descriptor, blocking=False):
                return self._map is not None
            while (missing := _FILE_BYTES - os.fstat(descriptor).st_size) > 0:
                # Written, not skipped: on a full disk, a store into a hole would kill the process.
                # Repeated, because a nearly full disk takes a part and raises only then.
                os.pwrite(descriptor, bytes(missing), _FILE_BYTES - missing)
            self._map = mmap.mmap(descriptor, _FILE_BYTES)
        text = json.dumps(asdict(Holder.current(sheet))).encode()
        self._map[:_HOLDER_BYTES] = text.ljust(_HOLDER_BYTES, b"\0")
        self._words = memoryview(self._map)[_HOLDER_BYTES:_FILE_BYTES].cast("Q")
        return True

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise InputError(
                f"{self.path}: the account's lock cannot be used ({exc.strerror}). Fix that, or "
                "remove the file; requests of the last minute are then not counted."
            ) from exc

    def holder(self) -> Holder | None:
        """Return who holds the lock, or held it last; None if unknown."""
        text = os.pread(self._file.fileno(), _HOLDER_BYTES, 0).rstrip(b"\0")
        with contextlib.suppress(ValueError, TypeError):
            return Holder(**json.loads(text))
        return None

    def ages_s(self) -> list[float]:
        """Return how long ago the requests of the last minute were answered.

        In-flight requests of a killed run count as answered now: they may have just reached the
        server.
        """
        assert self._map is not None  # noqa: S101  (called only while the lock is held)
        now = self._clock()
        this_slot = int(now / _SLOT_S)
        ages_s: list[float] = []
        for word in self._words[_FIRST_SLOT:].tolist():
            slot, count = word >> _COUNT_BITS, word & ((1 << _COUNT_BITS) - 1)
            if count and this_slot - _SLOTS < slot <= this_slot:
                ages_s += [max(0.0, now - (slot + 1) * _SLOT_S)] * count
        unanswered = self._words[_STARTED] - self._words[_ENDED]
        for _ in range(unanswered):
            self.answer()
        return ages_s + [0.0] * unanswered

    def start(self) -> None:
        """Count a request that is about to start."""
        if self._map is not None:
            self._words[_STARTED] += 1

    def answer(self) -> None:
        """Count a request that was answered or has failed."""
        if self._map is None:
            return
        slot = int(self._clock() / _SLOT_S)
        place = _FIRST_SLOT + slot % _SLOTS
        word = self._words[place]
        # First the slot, then the end: if killed between them, the request counts twice.
        self._words[place] = word + 1 if word >> _COUNT_BITS == slot else slot << _COUNT_BITS | 1
        self._words[_ENDED] += 1

    def close(self) -> None:
        """Release the lock."""
        if self._map is not None:
            self._words.release()
            self._map.close()
            self._map = None
        self._file.close()


def wait_for_account(
    account: AccountLedger, sheet: str, *, waits: bool, notify: Callable[[str], None]
) -> Iterator[float]:
    """Acquire an account's lock, waiting for other runs.

    Args:
        sheet: stored as the holder's, for other runs to report.
        waits: whether to wait for another run to end.
        notify: called with the holder, at first and whenever it changes.

    Yields: seconds to wait before the next attempt, while another run holds the lock.

    Raises:
        LockedError: another run holds it, and ``waits`` is False; nothing was sent.
    """
    notified = ""
    # Redacted in case the sheet's name contains an app key.
    while not account.hold(redact(sheet)):
        holder = account.holder()
        text = f"the account is in use: {holder or 'by another run'}"
        if holder is not None and holder.is_this_thread:
            raise LockedError(f"{text}. This is the same thread. End that run first.")
        if not waits:
            raise LockedError(
                f"{text}. Wait until that run has ended, or do not use {option('waits', False)}."
            )
        if text != notified:
            notify(f"{text}; waiting for that run to end")
            notified = text
        yield _POLL_S


def account_hash(credentials: Credentials, name: str) -> str:
    """Return the hash that identifies an account: of its address, and its key or its name."""
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    secret = f"name\0{name}" if name else f"key\0{credentials.app_key.reveal().strip()}"
    text = f"{one_host(credentials.base_url)}\0{secret}"
    return hashlib.blake2b(text.encode(), digest_size=12, person=b"bulk-reset").hexdigest()


def permits_path(credentials: Credentials, name: str) -> Path:
    """Return the file of an account's permits on this machine; raises InputError."""
    return _folder() / f"{account_hash(credentials, name)}.permits"


def user_state_folder(part: str) -> Path | None:
    """Return the user's folder for a part of the state; None for a user without a home."""
    try:
        own = user_state_path("bulk-reset") / part
    except RuntimeError:
        return None
    # Older versions of platformdirs return a relative path that starts with ~ in this case.
    return own if own.is_absolute() else None


def _folder() -> Path:
    """Return the folder of the ledgers: in the user's state, or else among temporary files."""
    own = user_state_folder("accounts")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    spare = None
    with contextlib.suppress(InputError):
        spare = temporary_folder() / f"bulk-reset-{user}"
    for folder in filter(None, (own, spare)):
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # In the folder for temporary files, another user may have created it.
            is_ours = folder is own or os.name != "posix" or folder.lstat().st_uid == user
            if is_ours and os.access(folder, os.W_OK):
                return folder
    raise InputError(
        f"{own or spare}: the account's lock cannot be created. Set XDG_STATE_HOME to a folder "
        "that this user can write."
    )
