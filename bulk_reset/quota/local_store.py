"""The permit ledger in a file of this machine: for runs of one user, with nothing to set up.

It is a database of SQLite: a call is one transaction, which survives the death of its process.
The clock is the system's monotonic clock, the same in all processes. It restarts with the
machine; the ledger's time then continues from where it was.

State: one file for each account. Every process has its own connection, which its threads use one
at a time. A file that was removed meanwhile is made again: the ledger has then lost its memory.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.errors import InputError, RunError
from bulk_reset.quota.permit_ledger import (
    Lease,
    LedgerState,
    Meta,
    PermitAnswer,
    PermitLedger,
    PermitRequest,
    first_of,
)
from bulk_reset.quota.permit_store import StoreUnreachableError

_BUSY_S: Final = 0.5
"""No longer, because it holds up the event loop. Calls take less than a millisecond."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS state(id INTEGER PRIMARY KEY CHECK (id = 1), text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS claims(
  id TEXT PRIMARY KEY, holder TEXT NOT NULL, until INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cooling(at INTEGER PRIMARY KEY, count INTEGER NOT NULL);
"""


_LISTED: Final = "(SELECT value FROM json_each(?))"
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_REMOVED: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR})
"""The old file is removed, or a run that has it open uses the journal of the new one."""
_PRIMARY: Final = 0xFF
"""The bits of an error code that are not details."""


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1_000


class _SqlCooling:
    """Permits whose request was answered, in a table."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def add(self, at_us: int, count: int) -> None:
        self._database.execute(
            "INSERT INTO cooling VALUES (?, ?) ON CONFLICT(at) DO UPDATE SET count = count + ?",
            (at_us, count, count),
        )

    def used(self, since_us: int) -> int:
        query = "SELECT coalesce(sum(count), 0) FROM cooling WHERE at > ?"
        return int(self._database.execute(query, (since_us,)).fetchone()[0])

    def first(self, since_us: int, count: int = 1) -> int | None:
        query = "SELECT at, count FROM cooling WHERE at > ? ORDER BY at"
        return first_of(self._database.execute(query, (since_us,)), count)

    def trim(self, until_us: int) -> None:
        self._database.execute("DELETE FROM cooling WHERE at <= ?", (until_us,))


class LocalStore:
    """The ledger of one account in a file.

    Args:
        clock: microseconds, the same for every process of the machine.

    Raises:
        InputError: the file cannot be used; nothing was sent.
    """

    is_remote = False

    def __init__(self, path: Path, clock: Callable[[], int] = _monotonic_us) -> None:
        self.path, self._clock, self._is_used = path, clock, False
        self.can_be_new = True
        self._using = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._place = (0, 0)
        # A file that is locked now is opened by the first call that finds it free.
        with contextlib.suppress(StoreUnreachableError), self._errors():
            self._open()

    def _open(self) -> sqlite3.Connection:
        """Return the connection to the file that has the name now."""
        with contextlib.suppress(FileNotFoundError):
            if self._database is not None and self._place == _place(self.path):
                return self._database
        self.close()
        journal = self.path.with_name(f"{self.path.name}-journal")
        if journal.exists() and not self.path.exists():
            # The file was removed: what is sent by runs that are active now is unknown.
            self.can_be_new = False
        self.path.touch(mode=0o600)
        place = _place(self.path)
        database = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            # A journal that is not synced survives the process, though not always a power cut.
            # It stays as small as the file; a write-ahead log would grow to megabytes.
            database.execute("PRAGMA journal_mode = PERSIST")
            database.execute("PRAGMA synchronous = OFF")
            database.executescript(_TABLES)
        except sqlite3.Error:
            database.close()
            raise
        self._database, self._place = database, place
        return database

    def exchange(self, request: PermitRequest) -> PermitAnswer:
        """Serve one call; raises InputError, or RunError after the first."""
        with self._transaction() as database:
            ledger, is_own = self._load(database)
            request = request if is_own else replace(request, can_be_new=False)
            answer = ledger.exchange(request, self._clock())
            self._save(database, ledger)
        self._is_used = True
        return answer

    def claim(
        self, holder: str, wanted: Sequence[str], released: Sequence[str], claim_us: int
    ) -> bool:
        """Release claims, then claim all that is wanted, or nothing where another run has one."""
        with self._transaction() as run:
            now = self._clock()
            # Claims from before a restart of the machine are later than any that is made now.
            run.execute("DELETE FROM claims WHERE until <= ? OR until > ?", (now, now + claim_us))
            # A list is one value: a statement for each would take a tenth of a fast run's time.
            if released:
                query = f"DELETE FROM claims WHERE holder = ? AND id IN {_LISTED}"  # noqa: S608
                run.execute(query, (holder, json.dumps(released)))
            query = f"SELECT 1 FROM claims WHERE holder != ? AND id IN {_LISTED} LIMIT 1"  # noqa: S608
            if run.execute(query, (holder, json.dumps(wanted))).fetchone():
                return False
            run.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)",
                [(one, holder, now + claim_us) for one in wanted],
            )
        return True

    def state(self) -> LedgerState:
        """Return what is stored, and change nothing."""
        with self._transaction() as database:
            ledger, _ = self._load(database)
            cooling = database.execute("SELECT at, count FROM cooling").fetchall()
            return LedgerState(ledger.meta, ledger.leases, tuple(cooling), self._clock())

    def _load(self, database: sqlite3.Connection) -> tuple[PermitLedger, bool]:
        """Return the ledger, and whether the state is that of this file.

        After a file was removed, SQLite may restore pages of the old one from its journal into
        the new one. Such a state is older than what runs have seen, and counts as none.
        """
        row = database.execute("SELECT text FROM state").fetchone()
        state: dict[str, Any] = json.loads(row[0]) if row else {"meta": {}, "leases": {}}
        is_own = state.get("file", self._place[1]) == self._place[1]
        if not is_own:
            state = {"meta": {"epochs": state["meta"]["epochs"]}, "leases": {}}
        leases = {
            holder: Lease(**{**values, "limits": tuple(values["limits"])})
            for holder, values in state["leases"].items()
        }
        return PermitLedger(_SqlCooling(database), Meta(**state["meta"]), leases), is_own

    def _save(self, database: sqlite3.Connection, ledger: PermitLedger) -> None:
        leases = {holder: asdict(lease) for holder, lease in ledger.leases.items()}
        state = {"meta": asdict(ledger.meta), "leases": leases, "file": self._place[1]}
        database.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (json.dumps(state),))

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._using, self._errors():
            database = self._open()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, TypeError, KeyError) as exc:
            code = getattr(exc, "sqlite_errorcode", 0) & _PRIMARY
            if code in _BUSY:
                raise StoreUnreachableError(
                    f"{self.path}: the account's permits are locked by another program. Close it."
                ) from exc
            if code in _REMOVED and self._is_used:
                # The next call opens the file that has the name then.
                self.close()
                raise StoreUnreachableError(
                    f"{self.path}: the account's permits were removed while runs use them. Leave "
                    "the file in place."
                ) from exc
            why = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            # Later on, some rows may have been sent: the run stops, and can be resumed.
            kind = RunError if self._is_used else InputError
            raise kind(
                f"{self.path}: the account's permits cannot be stored ({why}). Fix that, or remove "
                "the file; the next run then waits until what was sent counts no more."
            ) from exc


def _place(path: Path) -> tuple[int, int]:
    """Return what differs between two files of one name."""
    found = path.stat()
    return found.st_dev, found.st_ino
