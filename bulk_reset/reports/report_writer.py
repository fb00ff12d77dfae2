"""The page of a report: made of the report, its before-images and its audit alone.

``NAME.report.html`` beside the report, for looking at in the morning after a nightly job, and for
a change ticket. Nothing is asked of the API, so it can be made whenever the files are there.

What is held in memory are the report's lines and the values of the before-images, as JSON: about
as much as the two files have bytes. Rows are packed and written as they come.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError
from bulk_reset.core.file_hash import hash_file
from bulk_reset.core.json_codec import dumps, loads
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.safe_text import escape_formula
from bulk_reset.records.audit import read_audit
from bulk_reset.records.history import code_of
from bulk_reset.records.previous_values import read_previous_values, why_not_restorable
from bulk_reset.records.report_reader import beside, read_report
from bulk_reset.records.summary import ReportSummary, summarise
from bulk_reset.reports.page_model import PageFacts, Requests
from bulk_reset.reports.page_rows import BLOCK_ROWS, block_of, packed_row, unpacked_row
from bulk_reset.reports.page_sections import MOST_GROUPS
from bulk_reset.reports.report_page import ROWS_AT_ONCE, draw_head, draw_row, draw_tail
from bulk_reset.reports.timeline import find_latency, find_timeline

PAGE: Final = "report.html"
_BEFORE: Final = "before.csv"
_MOST_POINTS: Final = 600
_MOST_LINES: Final = 60
"""Of a chart, and of the table beside it."""
_MARK: Final = b'<meta name="generator" content="bulk-reset'
_NOTHING: Final[dict[str, Any]] = {"link": "", "before": {}, "wrote": {}, "lost": {}}


def write_page(report: str | os.PathLike[str]) -> Path:
    """Write the page of a report; it may be made while a run writes the report.

    Returns: the page, ``NAME.report.html`` beside the report; an older one is replaced.

    Raises:
        InputError: no report, before-images that cannot be read, or the page cannot be written;
            an older one is as it was.
    """
    report = Path(report)
    target = beside(report, PAGE)
    _refuse_other(target)
    summary = summarise(report)
    images = _Images(beside(report, _BEFORE))
    lines = _Lines.of(report)
    facts = _facts(report, summary, images, lines)
    rows = _rows(lines, images, summary)
    first = list(itertools.islice(rows, BLOCK_ROWS))
    with atomic_file(target, like=report) as file:
        file.write(draw_head(facts).encode())
        for row in first[:ROWS_AT_ONCE]:
            file.write(draw_row(unpacked_row(row)).encode() + b"\n")
        for piece in draw_tail(facts, map(block_of, _blocks(first, rows))):
            file.write(piece.encode())
    return target


def _blocks(first: list[str], rows: Iterator[str]) -> Iterator[list[str]]:
    while first:
        yield first
        first = list(itertools.islice(rows, BLOCK_ROWS))


def _refuse_other(target: Path) -> None:
    """See that a page of that name was made here, and is nobody's own."""
    if target.is_file():
        with contextlib.suppress(OSError), target.open("rb") as file:
            if _MARK in file.read(1 << 10):
                return
        raise InputError(
            f"{target}: is there already, and was not made by bulk-reset. Move it away: the page "
            "needs that name."
        )


class _Store:
    """Values by digest, as JSON in one stretch of memory: objects would take ten times as much."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._start_of: dict[bytes, int] = {}

    def put(self, digest: str, value: Mapping[str, Any]) -> None:
        """Keep a value, in place of an older one."""
        self._start_of[bytes.fromhex(digest)] = len(self._bytes)
        try:
            self._bytes += dumps(value)
        except (ValueError, TypeError):  # half of a surrogate pair
            self._bytes += json.dumps(value).encode()
        self._bytes += b"\n"

    def get(self, digest: str) -> Any:  # noqa: ANN401  (JSON)
        """Return a value, None where there is none."""
        start = self._start_of.get(bytes.fromhex(digest))
        if start is None:
            return None
        return loads(bytes(self._bytes[start : self._bytes.index(b"\n", start)]))


class _Images:
    """What stood there before, by digest; of a row that was sent twice, put together.

    Attributes:
        count: of lines.
        lost: values that cannot be restored.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.count, self.lost = path, 0, 0
        self.by_digest = _Store()
        for image in read_previous_values(path) if path.exists() else ():
            self.count += 1
            earlier = self.by_digest.get(image.digest) or _NOTHING
            lost = {
                name: why
                for name, old in image.before.items()
                if (why := why_not_restorable(name, old))
            }
            # A field that the first sending set is not set again by the second.
            values = {
                "link": image.link,
                "before": {**earlier["before"], **image.before},
                "wrote": {**earlier["wrote"], **image.wrote},
                "lost": {**earlier["lost"], **lost},
            }
            self.lost += len(values["lost"]) - len(earlier["lost"])
            self.by_digest.put(image.digest, values)


@dataclass(slots=True)
class _Lines:
    """The report's lines: the last of each row, and the times of all."""

    last: _Store = field(default_factory=_Store)
    row_of: dict[str, int] = field(default_factory=dict)
    starts: array[float] = field(default_factory=lambda: array("d"))
    finishes: array[float] = field(default_factory=lambda: array("d"))
    codes: array[int] = field(default_factory=lambda: array("B"))
    elapsed_s: array[float] = field(default_factory=lambda: array("d"))
    requests: Requests = field(default_factory=lambda: Requests(0, "", ""))

    @classmethod
    def of(cls, report: Path) -> _Lines:
        lines = cls()
        ids: set[int] = set()
        first = last = ""
        for outcome in read_report(report):
            lines.last.put(outcome.digest, outcome._asdict())
            lines.row_of[outcome.digest] = outcome.row_number
            if outcome.started_at:
                lines.starts.append(outcome.started_at)
            if outcome.finished_at:
                lines.finishes.append(outcome.finished_at)
                lines.codes.append(code_of(outcome.status))
            if outcome.attempts and outcome.started_at and outcome.finished_at:
                lines.elapsed_s.append(max(0.0, outcome.finished_at - outcome.started_at))
            if outcome.request_id:
                ids.add(hash(outcome.request_id))
                first, last = first or outcome.request_id, outcome.request_id
        lines.requests = Requests(len(ids), first, last)
        return lines


def _facts(report: Path, summary: ReportSummary, images: _Images, lines: _Lines) -> PageFacts:
    starts, finishes, elapsed_s = (
        np.array(times, np.float64) for times in (lines.starts, lines.finishes, lines.elapsed_s)
    )
    codes = np.array(lines.codes, np.uint8)
    sha256, size_bytes = hash_file(report)
    return PageFacts(
        report=str(report),
        report_sha256=sha256,
        report_bytes=size_bytes,
        made_at=time.time(),
        version=version("bulk-reset"),
        summary=summary,
        runs=tuple(read_audit(report)),
        before=str(images.path) if images.count else "",
        images=images.count,
        lost=images.lost,
        requests=lines.requests,
        drawn=find_timeline(starts, finishes, codes, _MOST_POINTS),
        table=find_timeline(starts, finishes, codes, _MOST_LINES),
        latency=find_latency(elapsed_s),
    )


def _rows(lines: _Lines, images: _Images, summary: ReportSummary) -> Iterator[str]:
    """Yield the text of each row, in the sheet's order."""
    groups = {
        (group.code, group.status): str(place)
        for place, group in enumerate(summary.errors[:MOST_GROUPS])
    }
    for digest in sorted(lines.row_of, key=lines.row_of.__getitem__):
        values = lines.last.get(digest)
        status, fields = Status(values.pop("status")), tuple(values.pop("fields"))
        outcome = Outcome(status=status, fields=fields, **values)
        group = groups.get((escape_formula(outcome.error_code), status), "")
        yield packed_row(outcome, group, images.by_digest.get(digest) or _NOTHING)
