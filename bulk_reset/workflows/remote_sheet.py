"""``fetch``: the sheet of an address as a file beside the reports, with a record of its reading.

The copy is what is checked, planned and sent, so that all of them have the same rows, and a run can
be resumed, verified and undone without the address. The record says when it was read and what for:
a sheet that has changed since it was planned is not sent.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bulk_reset.core.atomic_file import atomic_file
from bulk_reset.core.errors import InputError
from bulk_reset.core.file_hash import FileHash, hash_file
from bulk_reset.core.json_codec import dumps, loads
from bulk_reset.core.temporary_folder import temporary_folder
from bulk_reset.engine.event_loop import in_new_loop
from bulk_reset.sheets.remote.address import RemoteAddress
from bulk_reset.sheets.remote.download import download, ending_of

PLAN, RUN = "plan", "run"
_RECORD: Final = ".source.json"
_MAX_RECORD_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What a copy was read from.

    Attributes:
        address: scheme, host and path.
        read_at: ISO 8601, in UTC.
        read_for: the command.
    """

    address: str
    sha256: str
    size_bytes: int
    read_at: str
    read_for: str


def fetch(
    text: str,
    folder: Path,
    read_for: str,
    notify: Callable[[str], None] = lambda _: None,
) -> Path:
    """Copy the sheet of an address into a folder; return the copy.

    Args:
        text: the address.
        read_for: the command.

    Raises:
        InputError: it cannot be read; or it has changed since it was planned, and is to be sent;
            or there is another file of that name, which is not changed.
    """
    address = RemoteAddress.of(text)
    temporary = temporary_folder() / f"bulk-reset-{secrets.token_hex(8)}"
    try:
        temporary.touch(mode=0o600, exist_ok=False)
        in_new_loop(lambda: download(address, temporary))
        found = hash_file(temporary)
        if not found.size_bytes:
            raise InputError(f"{address.shown}: the file is empty. Check the address.")
        target = folder / f"{address.name}.remote{ending_of(address, temporary)}"
        earlier = _earlier(target, address)
        changed = earlier is not None and earlier.sha256 != found.sha256
        if changed and earlier is not None:
            _notice_change(earlier, target, read_for, notify)
        if changed or earlier is None:
            with temporary.open("rb") as source, atomic_file(target, like=temporary) as file:
                shutil.copyfileobj(source, file)
    except OSError as exc:
        raise InputError(
            f"{address.shown}: cannot be copied ({exc.strerror or exc}). Free disk space, or make "
            "the current folder writable."
        ) from exc
    finally:
        temporary.unlink(missing_ok=True)
    _write_record(target, address, found, read_for)
    notify(
        f"{address.shown}: {found.size_bytes:,} bytes, SHA-256 {found.sha256[:16]}…, kept as "
        f"{target}"
    )
    return target


def source_of(copy: Path | None) -> SourceRecord | None:
    """Return what a sheet was copied from; None if it is no copy, or was edited since."""
    record = None if copy is None else _read_record(copy)
    is_same = record is not None and copy is not None and hash_file(copy).sha256 == record.sha256
    return record if is_same else None


def _notice_change(
    earlier: SourceRecord, target: Path, read_for: str, notify: Callable[[str], None]
) -> None:
    """Report a sheet that has changed; one that was planned is not sent.

    Raises:
        InputError: it was planned, and is to be sent now.
    """
    if earlier.read_for == PLAN and read_for == RUN:
        raise InputError(
            f"{earlier.address}: changed since it was planned ({earlier.read_at}); nothing was "
            f"sent. Plan it again, or run {target}, which is what was planned."
        )
    notify(f"{earlier.address}: changed since it was read ({earlier.read_at})")


def _earlier(target: Path, address: RemoteAddress) -> SourceRecord | None:
    """Return the record of a copy that is there; None if there is none.

    Raises:
        InputError: the file is of another origin, or was edited.
    """
    if not target.exists():
        return None
    record = _read_record(target)
    if record is None or record.address != address.shown:
        whose = "was not read from this address" if record is None else f"is of {record.address}"
        raise InputError(
            f"{target}: already exists and {whose}. Move or rename it; the copy needs that name."
        )
    if hash_file(target).sha256 != record.sha256:
        raise InputError(
            f"{target}: edited since it was read from {address.shown}. Run {target} itself to send "
            "the edits, or rename it to read the address again."
        )
    return record


def _record_of(target: Path) -> Path:
    return target.with_name(target.name + _RECORD)


def _read_record(target: Path) -> SourceRecord | None:
    try:
        path = _record_of(target)
        if path.stat().st_size > _MAX_RECORD_BYTES:
            return None
        record = SourceRecord(**loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    texts = (record.address, record.sha256, record.read_at, record.read_for)
    return record if all(isinstance(one, str) for one in texts) else None


def _write_record(target: Path, address: RemoteAddress, found: FileHash, read_for: str) -> None:
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    record = SourceRecord(address.shown, found.sha256, found.size_bytes, now, read_for)
    with atomic_file(_record_of(target), like=target) as file:
        file.write(dumps(asdict(record)) + os.linesep.encode())
