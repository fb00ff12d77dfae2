"""One quota for all that use an account on this machine: a lock, and a ledger.

Whoever sends holds the account's *lock*, so that one run at a time does. The *ledger* tells how
many requests were answered when, in slots of 10 ms over the last minute and a bit, and how
many were on their way. It is a file mapped into memory: a request costs a few stores and no
system call, and what was stored outlives the process, even after kill -9. Each store is one
word, so no kill leaves half of it. The next run starts from there.

An account is known by a hash of its address and key, or of its address and a name that the
user gave it; neither key nor name is stored.

The clock is the system's monotonic one, the same in all processes. It starts anew with the
machine: slots that seem to lie in the future are from before and count no more.

State: one file an account, in the user's state directory. Its holder alone writes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from filelock import lock_descriptor
from platformdirs import user_state_path

from bulk_reset.api.credentials import Credentials, redact
from bulk_reset.core.errors import InputError, LockedError

_POLL_S: Final = 0.5
_SLOT_S: Final = 0.01
_SLOTS: Final = 1 << 13
"""82 seconds: more than the longest window, so that no slot is used again too soon."""
_HOLDER_BYTES: Final = 1 << 12
_STARTED, _ENDED, _FIRST_SLOT = range(3)
"""Places of 8-byte words behind the holder: requests started, requests ended, then the slots."""
_FILE_BYTES: Final = _HOLDER_BYTES + 8 * (_FIRST_SLOT + _SLOTS)
_COUNT_BITS: Final = 24
"""Of a slot's word; the others are its time. More than any machine sends in 10 ms."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds an account."""

    pid: int
    thread: int
    sheet: str
    since: str
    """UTC, to the second."""

    @classmethod
    def me(cls, sheet: str) -> Holder:
        """Return what there is to say of this run."""
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        return cls(os.getpid(), threading.get_ident(), sheet[:200], since)

    @property
    def is_me(self) -> bool:
        """Whether it is this very thread, which would wait for itself for ever."""
        return (self.pid, self.thread) == (os.getpid(), threading.get_ident())

    def __str__(self) -> str:
        return f"process {self.pid} has it for {self.sheet}, since {self.since} UTC"


class AccountLedger:
    """An account of which a run may hold the lock; close it to let the next one in.

    Args:
        name: given by the user to an account with several keys; empty where it has one.
        clock: seconds, the same for every process of the machine.
    """

    def __init__(
        self,
        credentials: Credentials,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.path = _folder() / f"{_hash_of(credentials, name)}.ledger"
        self._map: mmap.mmap | None = None
        self._words = memoryview(b"").cast("Q")
        with self._disk_errors():
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            self._file = os.fdopen(descriptor, "r+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def hold(self, sheet: str) -> bool:
        """Take the lock if nobody has it; tell whether it is held now.

        Raises:
            InputError: the file cannot be locked or written; nothing was sent.
        """
        descriptor = self._file.fileno()
        with self._disk_errors():
            if self._map is not None or not lock_descriptor(descriptor, blocking=False):
                return self._map is not None
            while (missing := _FILE_BYTES - os.fstat(descriptor).st_size) > 0:
                # Written, not skipped: on a full disk a store into a hole would end the process.
                # Again, should only a part have found room: then the disk says what is wrong.
                os.pwrite(descriptor, bytes(missing), _FILE_BYTES - missing)
            self._map = mmap.mmap(descriptor, _FILE_BYTES)
        text = json.dumps(asdict(Holder.me(sheet))).encode()
        self._map[:_HOLDER_BYTES] = text.ljust(_HOLDER_BYTES, b"\0")
        self._words = memoryview(self._map)[_HOLDER_BYTES:_FILE_BYTES].cast("Q")
        return True

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise InputError(
                f"{self.path}: the account's lock cannot be used ({exc.strerror}). Mend that, or "
                "remove the file: then what was sent in the last minute is forgotten."
            ) from exc

    def holder(self) -> Holder | None:
        """Return who holds the lock, or held it last; None where that cannot be known."""
        text = os.pread(self._file.fileno(), _HOLDER_BYTES, 0).rstrip(b"\0")
        with contextlib.suppress(ValueError, TypeError):
            return Holder(**json.loads(text))
        return None

    def ages_s(self) -> list[float]:
        """Return how long ago the requests of the last minute were answered.

        Those that a killed run had on their way count as answered now: they may have
        reached the server a moment ago.
        """
        assert self._map is not None  # noqa: S101  (only who holds it asks)
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
        """A request is about to start."""
        if self._map is not None:
            self._words[_STARTED] += 1

    def answer(self) -> None:
        """A request was answered, or given up."""
        if self._map is None:
            return
        slot = int(self._clock() / _SLOT_S)
        place = _FIRST_SLOT + slot % _SLOTS
        word = self._words[place]
        # First the slot, then that it is no longer on its way: at worst it counts twice.
        self._words[place] = word + 1 if word >> _COUNT_BITS == slot else slot << _COUNT_BITS | 1
        self._words[_ENDED] += 1

    def close(self) -> None:
        """Let the next one in."""
        if self._map is not None:
            self._words.release()
            self._map.close()
            self._map = None
        self._file.close()


def wait_for_account(
    account: AccountLedger, sheet: str, *, waits: bool, notify: Callable[[str], None]
) -> Iterator[float]:
    """Take an account's lock, sooner or later.

    Args:
        sheet: for whoever comes next to read.
        waits: whether to wait for another run to end.
        say: told who has the lock, at first and whenever that changes.

    Yields: seconds to wait before going on, as long as somebody else has it.

    Raises:
        LockedError: somebody else has it, and is not waited for; nothing was sent.
    """
    said = ""
    # Whoever names a sheet by a key finds the name here no more.
    while not account.hold(redact(sheet)):
        holder = account.holder()
        text = f"the account is in use: {holder or 'another run has it'}"
        if holder is not None and holder.is_me:
            raise LockedError(f"{text}. This is the same thread: end that run first.")
        if not waits:
            raise LockedError(f"{text}. Wait until it has ended, or leave out --no-wait.")
        if text != said:
            notify(f"{text}; waiting for it to end")
            said = text
        yield _POLL_S


def _hash_of(credentials: Credentials, name: str) -> str:
    secret = f"name\0{name}" if name else f"key\0{credentials.app_key.reveal()}"
    text = f"{credentials.base_url}\0{secret}"
    return hashlib.blake2b(text.encode(), digest_size=12, person=b"bulk-reset").hexdigest()


def user_state_folder(part: str) -> Path | None:
    """Return the user's folder for a part of the state; None for a user who has no home."""
    try:
        own = user_state_path("bulk-reset") / part
    except RuntimeError:
        return None
    # Older ones take a folder called ~ for it, wherever the process has been started.
    return own if own.is_absolute() else None


def _folder() -> Path:
    """Return a folder for the ledgers: the user's own, or else one for temporary files."""
    own = user_state_folder("accounts")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    spare = Path(tempfile.gettempdir()) / f"bulk-reset-{user}"
    for folder in filter(None, (own, spare)):
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # In the folder for temporary files, anybody may have made it first.
            is_last_written = folder is own or os.name != "posix" or folder.lstat().st_uid == user
            if is_last_written and os.access(folder, os.W_OK):
                return folder
    raise InputError(f"{own or spare}: no folder for the account's lock. Let {spare} be written.")
