"""Claims of incidents: two runs of an account never work on one incident at a time.

A run claims the incidents of a batch before it reads their current values, and releases each when
its row has an outcome. Another run that has the same incident waits, and then reads what the
first has written. All incidents of a batch are claimed, or none.

A claim ends by itself when its run has died; the run that resumes it need not wait for that.
Claims are kept where the permits are: on this machine, or on the shared server; runs that use
different stores do not see each other's claims.

State: the claims of one run, used by its event loop and by one thread at a time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

CLAIM_S: Final = 30.0
RENEW_S: Final = 5.0


class ClaimStore(Protocol):
    """Where claims are kept."""

    is_remote: bool

    def claim(
        self, holder: str, wanted: Sequence[str], released: Sequence[str], claim_us: int
    ) -> bool:
        """Release claims, then claim all that is wanted, or nothing where another run has one."""
        ...


class IncidentClaims:
    """The claims of one run; close it to release them.

    Attributes:
        holder: whose claims they are. Claims that a killed run of the same name left are its own.
    """

    def __init__(self, store: ClaimStore, holder: str) -> None:
        self._store, self.holder = store, holder
        self._held: dict[str, int] = {}
        """Incident -> its rows that have no outcome yet."""
        self._released: list[str] = []
        self._calling = threading.Lock()

    @property
    def is_remote(self) -> bool:
        """Whether a call takes long, so that it is made in a thread."""
        return self._store.is_remote

    def claim(self, incident_ids: Iterable[str]) -> bool:
        """Claim the incidents of a batch, and count each; return whether they are claimed now.

        Raises:
            StoreUnreachableError: unknown; call it again.
        """
        ids = list(incident_ids)
        with self._calling:
            if not self._call(sorted(set(ids))):
                return False
            for one in ids:
                self._held[one] = self._held.get(one, 0) + 1
            return True

    def done(self, incident_id: str) -> None:
        """Count a row of an incident as done; the claim is released with the next call."""
        left = self._held.get(incident_id, 0) - 1
        if left > 0:
            self._held[incident_id] = left
        elif left == 0:
            del self._held[incident_id]
            self._released.append(incident_id)

    def renew(self) -> None:
        """Keep what is held, and release what is done; raises StoreUnreachableError."""
        with self._calling:
            if self._held or self._released:
                self._call(sorted(self._held))

    def close(self) -> None:
        """Release everything."""
        with self._calling:
            self._released += self._held
            self._held.clear()
            if self._released:
                self._call(())

    def _call(self, wanted: Sequence[str]) -> bool:
        asked = set(wanted)
        released = [one for one in self._released if one not in self._held and one not in asked]
        count = len(self._released)
        is_claimed = self._store.claim(
            self.holder,
            [_hash(one) for one in wanted],
            [_hash(one) for one in released],
            int(CLAIM_S * 1_000_000),
        )
        del self._released[:count]
        return is_claimed


def _hash(incident_id: str) -> str:
    return hashlib.blake2b(incident_id.encode(), digest_size=12).hexdigest()
