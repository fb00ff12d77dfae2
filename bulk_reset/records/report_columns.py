"""The columns of the report file, in their order.

``report_file`` writes a value for each of them; a new column needs one there. The reader finds
columns by name. The last one is the digest, by which a resume finds rows.
"""

from __future__ import annotations

from typing import Final

COLUMNS: Final = (
    "row",
    "incident_id",
    "status",
    "fields",
    "attempts",
    "throttled",
    "http_status",
    "error_code",
    "error_message",
    "request_id",
    "started_at",
    "finished_at",
    "digest",
)
BOM: Final = "\ufeff"
HEADER: Final = (BOM + ",".join(COLUMNS) + "\n").encode()
