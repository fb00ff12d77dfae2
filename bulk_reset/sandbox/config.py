"""What a sandbox is started with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from bulk_reset.sandbox.faults import Fault


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """The quota, the latency, the incidents and the faults of one sandbox.

    Attributes:
        per_second: requests admitted in a second, reads and writes together; at least 1.
        per_minute: requests admitted in a minute; at least 1.
        window_kind: how both windows are counted.
        latency_s: the round trip; half of it passes before a request is counted, half
            before its answer is sent.
        seed_incidents: how many incidents are there at the start (see ``incidents.seeded``).
        first_start_at: when the first of them started, UTC epoch seconds; 2026-01-01 unless
            told otherwise.
        seed_step_s: how much later each of them started than the one before; at least 0.
        accepts_any_id: whether an incident is created for any unknown valid ID, so that a
            real sheet can be rehearsed.
        app_key: the key that requests have to bring; not a secret.
        access_token: the token that they may bring in its place; not a secret.
        fields: the custom fields of the account, as ``/field/list`` answers them (see
            ``field_rules``); none to accept every name.
        faults: scripted faults, the first that matches acts.
        state: a file that the incidents are kept in (see ``state``). Where it exists, they are
            taken from it, and nothing is seeded.
    """

    per_second: int = 50
    per_minute: int = 1000
    window_kind: Literal["sliding", "fixed"] = "sliding"
    latency_s: float = 0.02
    seed_incidents: int = 0
    first_start_at: int = 1_767_225_600
    seed_step_s: int = 60
    accepts_any_id: bool = False
    app_key: str = "sandbox-key"
    access_token: str = "sandbox-token"  # noqa: S105 - see above
    fields: tuple[dict[str, Any], ...] = ()
    faults: tuple[Fault, ...] = ()
    state: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what no sandbox could keep."""
        least_of = {"per_second": 1, "per_minute": 1, "seed_incidents": 0, "seed_step_s": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: found {getattr(self, name)}. Give {least} or more.")
        if not 0 <= self.latency_s < math.inf:
            raise ValueError(f"latency_s: found {self.latency_s}. Give 0 seconds or more.")
        if self.window_kind not in ("sliding", "fixed"):
            raise ValueError(f"window_kind: found {self.window_kind!r}. Give sliding or fixed.")
