"""What a store of the permit ledger must do, and the error of one that does not answer."""

from __future__ import annotations

from typing import Protocol

from bulk_reset.core.errors import UnansweredError
from bulk_reset.quota.incident_claims import ClaimStore
from bulk_reset.quota.permit_ledger import LedgerState, PermitAnswer, PermitRequest


class StoreUnreachableError(UnansweredError):
    """The store does not answer; what was asked may or may not be done."""


class Store(ClaimStore, Protocol):
    """Where the ledger and the claims are kept."""

    can_be_new: bool

    def exchange(self, request: PermitRequest) -> PermitAnswer:
        """Serve one call; raises StoreUnreachableError or InputError."""
        ...

    def state(self) -> LedgerState:
        """Return what is stored, and change nothing; raises as ``exchange``."""
        ...

    def close(self) -> None:
        """Close it."""
