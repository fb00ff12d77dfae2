"""When the comments of a file of failed rows may have been added: a column of that file."""

from __future__ import annotations

from datetime import UTC, datetime

from bulk_reset.sheets.chunk import Chunk
from bulk_reset.sheets.columns import COMMENT_SENT, Columns


def comment_since(chunk: Chunk, columns: Columns) -> dict[int, float]:
    """Return place -> since when an earlier run may have added the comment; epoch seconds."""
    if COMMENT_SENT not in columns.header:
        return {}
    times = chunk.columns[columns.header.index(COMMENT_SENT)]
    return {place: _epoch_of(text) for place, text in enumerate(times) if text}


def _epoch_of(text: str) -> float:
    """Return a time as it was written, or as a spreadsheet shows it; else one before all others."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return 1.0
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
