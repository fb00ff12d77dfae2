"""Read back what a run wrote, and compare: is it there?

What a run wrote stands in its before-images, what became of its rows in its report. Rows whose
outcome is unknown are settled by what stands there now, with a line more in the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.custom_fields import COMMENT_FIELD, is_same, live_value
from bulk_reset.core.errors import InputError
from bulk_reset.core.outcome import Outcome, Status
from bulk_reset.core.totals import Mismatch, Verification
from bulk_reset.engine.connection import Connection, in_new_loop
from bulk_reset.engine.incident_reader import open_incident_reader
from bulk_reset.engine.options import Options
from bulk_reset.records.previous_values import PreviousValues, read_previous_values
from bulk_reset.records.report_file import Report
from bulk_reset.records.report_reader import beside, read_report

BEFORE: Final = "before.csv"
_WRITTEN: Final = frozenset({Status.UPDATED, Status.UNKNOWN, Status.UNCHANGED})
Field = tuple[str, str]
"""incident_id, field"""


def verify_report(
    path: Path,
    connection: Connection,
    options: Options,
    on_read: Callable[[int, int], None] = lambda _, __: None,
    first_image: int = 0,
) -> Verification:
    """Read back what the rows of a report wrote.

    Args:
        on_read: told how many incidents were read, of how many.
        first_image: where in the file of before-images to begin; 0 for all of it.

    Raises:
        InputError: no report, or no before-images beside it.
        LockedError: a run is writing the report, which has rows to settle.
        RunError: the incidents cannot be read.
    """
    before_path = beside(path, BEFORE)
    last = {outcome.digest: outcome for outcome in read_report(path)}
    if not before_path.exists():
        if not any(outcome.status in _WRITTEN and outcome.attempts for outcome in last.values()):
            return Verification(str(path), 0, ())
        raise InputError(
            f"{before_path}: no such file, so nobody knows what {path} wrote: its run went "
            "without a look (--no-before), or the file was moved."
        )
    images = list(read_previous_values(before_path, first_image))
    expected, of_row = _expected(images, last)
    found, links, requests = _read(expected, connection, options, on_read)
    mismatches = tuple(
        Mismatch(image.row_number, *key, image.wrote[key[1]], found.get(key), links.get(key[0], ""))
        for key, image in expected.items()
        if not is_same(found.get(key), image.wrote[key[1]])
    )
    wrong = {(mismatch.incident_id, mismatch.field) for mismatch in mismatches}
    settled = _settle(path, last, of_row, wrong)
    not_known = unsettled_rows = 0
    if not first_image:
        has_image = {image.digest for image in images}
        not_known = sum(
            outcome.status is Status.UPDATED and outcome.digest not in has_image
            for outcome in last.values()
        )
        unsettled_rows = sum(o.status is Status.UNKNOWN for o in last.values())
        unsettled_rows -= sum(settled.values())
    unsettled = {digest for digest in of_row if last.get(digest, _NONE).status is Status.UNKNOWN}
    return Verification(
        str(path),
        len(of_row),
        tuple(m for m in mismatches if expected[m.incident_id, m.field].digest not in unsettled),
        settled,
        not_known,
        requests,
        unsettled_rows,
    )


def _read(
    fields: Iterable[Field],
    connection: Connection,
    options: Options,
    on_read: Callable[[int, int], None],
) -> tuple[dict[Field, Any], dict[str, str], int]:
    """Return what fields hold now, the pages of their incidents, and how many requests it took."""
    names: dict[str, list[str]] = {}
    for incident_id, name in fields:
        names.setdefault(incident_id, []).append(name)
    found: dict[Field, Any] = {}
    links: dict[str, str] = {}

    async def read() -> int:
        async with open_incident_reader(connection, options) as reader:
            done = 0
            async for incidents in reader.each(list(names)):
                done += len(incidents)
                on_read(done, len(names))
                for incident_id, incident in incidents.items():
                    links[incident_id] = str(incident.get("detail_url") or "")
                    for name in names[incident_id]:
                        found[incident_id, name] = live_value(incident, name)
            return reader.quota.requests

    return found, links, in_new_loop(read) if names else 0


_NONE: Final = Outcome(0, "", Status.PENDING, (), "")


def _expected(
    images: Iterable[PreviousValues], last: Mapping[str, Outcome]
) -> tuple[dict[Field, PreviousValues], dict[str, set[Field]]]:
    """Return who wrote each field last, and the fields that each row wrote last."""
    expected: dict[Field, PreviousValues] = {}
    for image in images:
        if last.get(image.digest, _NONE).status in _WRITTEN:
            expected |= {(image.incident_id, name): image for name in image.wrote}
    of_row: dict[str, set[Field]] = {}
    for key, image in expected.items():
        of_row.setdefault(image.digest, set()).add(key)
    return expected, of_row


def _settle(
    path: Path,
    last: Mapping[str, Outcome],
    of_row: Mapping[str, set[Field]],
    wrong: set[Field],
) -> dict[Status, int]:
    """Add a line to the report for each row whose outcome was unknown."""
    unknown = [
        digest
        for digest in of_row
        if last[digest].status is Status.UNKNOWN
        # It waits for what is unknown, so it was not added, and cannot be read back either.
        if COMMENT_FIELD not in last[digest].fields or of_row[digest] & wrong
    ]
    settled: dict[Status, int] = {}
    if not unknown:
        return settled
    with Report(path) as report:
        for digest in unknown:
            outcome = last[digest]
            differing = sorted(name for _, name in of_row[digest] & wrong)
            status = Status.FAILED if differing else Status.UPDATED
            text = f"not applied ({', '.join(differing)})" if differing else "applied"
            report.write(
                outcome._replace(
                    status=status,
                    error_code=outcome.error_code if differing else "",
                    error_message=f"{outcome.error_message}; read back: {text}".lstrip("; "),
                    finished_at=time.time(),
                )
            )
            settled[status] = settled.get(status, 0) + 1
        report.flush()
        report.sync()
    return settled
