"""The fields of an incident that a sheet can set, their lengths and values.

Source of the fields, lengths and severities: the Flashduty Open API's description of
``POST /incident/reset`` (``UpdateIncidentFieldsRequest``).
"""

from __future__ import annotations

from typing import Final

ID_FIELD: Final = "incident_id"
SEVERITY_FIELD: Final = "incident_severity"
TEXT_LENGTHS: Final[dict[str, tuple[int, int]]] = {
    "title": (3, 200),
    "description": (3, 6144),
    "impact": (3, 6144),
    "root_cause": (3, 6144),
    "resolution": (3, 6144),
}
"""Shortest and longest text of each field, in characters (Unicode code points)."""
SEVERITIES: Final = ("Info", "Warning", "Critical")
SETTABLE_FIELDS: Final = (*TEXT_LENGTHS, SEVERITY_FIELD)
FIELDS: Final = (ID_FIELD, *SETTABLE_FIELDS)
MAX_IDS: Final = 100
"""How many incidents one request may name. Source: the API's pages of the operations."""
