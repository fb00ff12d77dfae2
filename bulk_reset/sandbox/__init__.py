"""The incident API emulated on this machine: for rehearsals, for tests and for faults on demand.

It shares no code with the rest of the package, so that client and sandbox cannot share a
bug. A request passes the modules in this order: ``server`` (HTTP, latency, broken
connections), ``api`` (key, quota, faults, operations, envelopes), ``windows`` (the quota),
``faults`` (the script), ``rules``, ``field_rules``, ``listing`` and ``timeline`` (what a request
may say),
``incidents`` (what there is). ``state`` and ``journal`` keep the incidents in files; ``page``
draws the numbers; ``codes`` are the API's errors.

    sandbox = Sandbox(SandboxConfig(seed_incidents=100))
    async with sandbox.serve() as base_url:
        ...
    print(sandbox.stats())

``Sandbox`` is imported when it is first asked for, because it brings aiohttp along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulk_reset.sandbox.config import SandboxConfig
from bulk_reset.sandbox.faults import Fault, load_faults
from bulk_reset.sandbox.field_rules import fields_beside, fields_file, load_fields
from bulk_reset.sandbox.journal import StateError

if TYPE_CHECKING:
    from bulk_reset.sandbox.server import Sandbox

__all__ = [
    "Fault",
    "Sandbox",
    "SandboxConfig",
    "StateError",
    "fields_beside",
    "fields_file",
    "load_faults",
    "load_fields",
]


def __getattr__(name: str) -> object:
    """Import ``Sandbox`` on first use, so that reading a faults file needs no server."""
    if name != "Sandbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bulk_reset.sandbox.server import Sandbox  # noqa: PLC0415 - the point of this function

    return Sandbox
