"""``notify.payload``: a template that makes the JSON which a chat service expects."""

from __future__ import annotations

import json
from typing import Any, Final

from bulk_reset.core.safe_text import one_line

EXAMPLE: Final[dict[str, Any]] = {
    "text": "nightly: 2 of 3 rows done (exit code 1)",
    "id": "20261128T023000Z-nightly",
    "job": "nightly",
    "job_file": "/jobs/nightly.toml",
    "due_at": "2026-11-28T02:30:00+00:00",
    "state": "ended",
    "is_scheduled": True,
    "started_at": "2026-11-28T02:30:01+00:00",
    "ended_at": "2026-11-28T02:31:01+00:00",
    "deadline_at": None,
    "exit_code": 1,
    "stop": "",
    "words": "2 of 3 rows done",
    "rows": 3,
    "counts": {"updated": 2, "failed": 1},
    "requests": 4,
    "source": "/jobs/in.csv",
    "sheet": "/state/runs/20261128T023000Z-nightly/in.csv",
    "sheet_sha256": "",
    "report": "/state/runs/20261128T023000Z-nightly/in.report.csv",
    "page": "",
    "connect": [],
    "notified": "",
    "version": "",
    "row_errors": [],
    "source_modified_ns": 0,
    "not_moved": "",
    "missed": 0,
    "last_due_at": None,
    "note": "CHG-123",
    "approved_by": ["alice (SSH key), 2026-11-28 02:00 UTC: CHG-123"],
}
"""What a template is checked with: the keys that every notification has."""


def payload_of(template: str, content: dict[str, Any]) -> bytes:
    """Return the JSON to send.

    Args:
        template: Jinja2; its variables are the keys of ``content``. ``tojson`` quotes a text.

    Raises:
        ValueError: the template fails, or its result is not JSON.
    """
    from jinja2 import StrictUndefined  # noqa: PLC0415  (rarely needed)
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    try:
        text = environment.from_string(template).render(content)
    except Exception as exc:  # a template can raise anything
        raise ValueError(f"{one_line(str(exc)).rstrip('.')}. Fix the template.") from exc
    try:
        json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ValueError(
            "does not make JSON. Write {{ text | tojson }}, without quotes around it."
        ) from exc
    return text.encode(errors="replace")
