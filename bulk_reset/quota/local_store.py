"""The permit ledger in a file of this machine: for runs of one user, with nothing to set up.

It is a database of SQLite: a call is one transaction, which survives the death of its process.
The clock is the system's monotonic clock, the same in all processes. It restarts with the
machine; the ledger's time then continues from where it was.

State: one file for each account. Every process has its own connection, which its threads use one
at a time.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.errors import InputError, RunError
from bulk_reset.quota.permit_ledger import (
    Lease,
    Meta,
    PermitAnswer,
    PermitLedger,
    PermitRequest,
)

_BUSY_S: Final = 5.0
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS state(id INTEGER PRIMARY KEY CHECK (id = 1), text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS claims(id TEXT PRIMARY KEY, holder TEXT NOT NULL, until INTEGER);
CREATE TABLE IF NOT EXISTS cooling(at INTEGER PRIMARY KEY, count INTEGER NOT NULL);
"""


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

    def first(self, since_us: int) -> int | None:
        query = "SELECT min(at) FROM cooling WHERE at > ?"
        found = self._database.execute(query, (since_us,)).fetchone()[0]
        return None if found is None else int(found)

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
    can_be_new = True

    def __init__(self, path: Path, clock: Callable[[], int] = _monotonic_us) -> None:
        self.path, self._clock, self._is_used = path, clock, False
        self._using = threading.Lock()
        with self._errors():
            path.touch(mode=0o600)
            self._database = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            # A journal that is not synced survives the process, though not always a power cut.
            # It stays as small as the file; a write-ahead log would grow to megabytes.
            self._database.execute("PRAGMA journal_mode = PERSIST")
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.executescript(_TABLES)

    def exchange(self, request: PermitRequest) -> PermitAnswer:
        """Serve one call; raises InputError, or RunError after the first."""
        with self._errors(), self._transaction():
            ledger = self._load()
            answer = ledger.exchange(request, self._clock())
            self._save(ledger)
        self._is_used = True
        return answer

    def claim(
        self, holder: str, wanted: Sequence[str], released: Sequence[str], claim_us: int
    ) -> bool:
        """Release claims, then claim all that is wanted, or nothing where another run has one."""
        with self._errors(), self._transaction():
            now, run = self._clock(), self._database
            # Claims from before a restart of the machine are later than any that is made now.
            run.execute("DELETE FROM claims WHERE until <= ? OR until > ?", (now, now + claim_us))
            run.executemany(
                "DELETE FROM claims WHERE id = ? AND holder = ?",
                [(one, holder) for one in released],
            )
            for one in wanted:
                query = "SELECT 1 FROM claims WHERE id = ? AND holder != ?"
                if run.execute(query, (one, holder)).fetchone():
                    return False
            run.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)",
                [(one, holder, now + claim_us) for one in wanted],
            )
        return True

    def state(self) -> PermitLedger:
        """Return the state as it is, with the ledger's time now; nothing is changed."""
        with self._errors():
            return self._load()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _load(self) -> PermitLedger:
        row = self._database.execute("SELECT text FROM state").fetchone()
        state: dict[str, Any] = json.loads(row[0]) if row else {"meta": {}, "leases": {}}
        leases = {
            holder: Lease(**{**values, "limits": tuple(values["limits"])})
            for holder, values in state["leases"].items()
        }
        return PermitLedger(_SqlCooling(self._database), Meta(**state["meta"]), leases)

    def _save(self, ledger: PermitLedger) -> None:
        leases = {holder: asdict(lease) for holder, lease in ledger.leases.items()}
        text = json.dumps({"meta": asdict(ledger.meta), "leases": leases})
        self._database.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (text,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._using:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, TypeError, KeyError) as exc:
            why = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            # Later on, some rows may have been sent: the run stops, and can be resumed.
            kind = RunError if self._is_used else InputError
            raise kind(
                f"{self.path}: the account's permits cannot be stored ({why}). Fix that, or remove "
                "the file; requests of the last minute are then not counted."
            ) from exc
