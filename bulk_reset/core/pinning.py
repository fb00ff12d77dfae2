"""Pinned fields: a title, description or severity that was edited by hand.

It no longer follows the alerts that are merged into the incident later. Nothing unpins it.

Source: ``manual_overrides`` of the Flashduty Open API's ``IncidentInfo``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from bulk_reset.core.fields import SEVERITY_FIELD

PINNABLE: Final = ("title", "description", SEVERITY_FIELD)
"""The fields that alerts set."""
OVERRIDES: Final = "manual_overrides"
_EFFECT: Final = "(alerts merged later do not change it; an undo does not unpin it)"


def pinned_fields(incident: Mapping[str, Any]) -> frozenset[str]:
    """Return the fields of an incident that were edited by hand."""
    names = incident.get(OVERRIDES)
    found = {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
    if "severity" in found:
        found.add(SEVERITY_FIELD)
    return frozenset(found)


def newly_pinned(fields: Collection[str], incident: Mapping[str, Any]) -> list[str]:
    """Return which of some fields get pinned when they are set."""
    pinned = pinned_fields(incident) if incident.get(OVERRIDES) else ()
    return [name for name in PINNABLE if name in fields and name not in pinned]


def pinning_text(verb: str, counts: Mapping[str, int]) -> str:
    """Return how many incidents have which fields pinned, and what that means."""
    shown = ", ".join(f"{name} {counts[name]:,}" for name in PINNABLE if counts.get(name))
    return f"{verb}: {shown} {_EFFECT}"
