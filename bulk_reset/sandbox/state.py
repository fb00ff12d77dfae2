"""The incidents of a sandbox in a file, with which the next sandbox starts.

A state is what ``GET /_incidents`` answers: a JSON object of the incidents by their ids, each with
all of its values, ``applied`` and ``comments``. It is written with one incident on a line and all
keys in order, so that two states differ in the lines of the incidents that differ. What came by
way of requests (quota, peaks, faults, statistics) is no part of it.

The file is replaced as a whole: for any reader, and whenever the machine stops, there is the
old state or the new one. Changes since are in the ``journal`` beside it. It belongs to one sandbox
at a time: what others write to it meanwhile is overwritten.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from bulk_reset.sandbox.incidents import blank
from bulk_reset.sandbox.journal import StateError, changes_since
from bulk_reset.sandbox.rules import is_id, kind_of, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bulk_reset.sandbox.incidents import Incident

_VALUES: Final = tuple(blank("0" * 24, 0))
_HINT: Final = "Give a file that a sandbox has saved, or one that does not exist yet."


def load_state(path: Path) -> dict[str, Incident] | None:
    """Read a state, with the changes that a sandbox made to it before it was killed.

    Returns:
        The incidents by id, each with ``applied`` and, where there are some, ``comments``; None
        if there is no file.

    Raises:
        StateError: the file cannot be read, or is no state; the text says where and why.
    """
    if path.exists() and not path.is_file():  # reading a pipe waits for another program
        raise StateError(f"{path}: not a regular file. {_HINT}")
    try:
        content = path.read_bytes()
        state = parse_json(content.decode("utf-8-sig"))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StateError(f"{path}: cannot be read ({exc.strerror}). {_HINT}") from exc
    except (ValueError, RecursionError) as exc:
        raise StateError(f"{path}: not JSON in UTF-8 ({exc}). {_HINT}") from exc
    if not isinstance(state, dict):
        raise StateError(f"{path}: found {kind_of(state)}, not a sandbox's state. {_HINT}")
    for incident_id, incident in state.items():
        for error in _errors_in(incident_id, incident):
            raise StateError(f"{path}: incident {incident_id!r}: {error}. {_HINT}")
    for change in changes_since(path, hashlib.sha256(content).hexdigest()):
        incident_id = change.get("incident_id") if isinstance(change, dict) else None
        if isinstance(incident_id, str) and not any(_errors_in(incident_id, change)):
            state[incident_id] = change
    return state


def save_state(path: Path, incidents: dict[str, Incident]) -> str:
    """Replace the state in a file; a link still leads to it.

    Args:
        incidents: as ``Incidents.snapshot`` returns them.

    Returns: the SHA-256 of the file.

    Raises:
        StateError: it cannot be written; the file is as it was.
    """
    lines = ",\n".join(
        f"{json.dumps(incident_id)}: {json.dumps(incident, ensure_ascii=False, sort_keys=True)}"
        for incident_id, incident in sorted(incidents.items())
    )
    # Half of a surrogate pair is no UTF-8; with a backslash it is the JSON for itself.
    content = f"{{\n{lines}\n}}\n".encode(errors="backslashreplace")
    target = path.resolve()
    fresh = target.with_name(f"{target.name}.tmp")
    try:
        fresh.unlink(missing_ok=True)
        mode = target.stat().st_mode & 0o666 if target.exists() else 0o666
        with open(fresh, "xb", opener=lambda path, flags: os.open(path, flags, mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except OSError as exc:
        raise StateError(f"{path}: cannot be written ({exc.strerror}). Give another file.") from exc
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    return hashlib.sha256(content).hexdigest()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_COUNT: Final = (_is_count, "a whole number of 0 or more")
_TEXT: Final = (lambda value: isinstance(value, str), "a text")
_TEXTS: Final = (_are_texts, "a list of texts")
# What the operations reckon with. Elsewhere any kind is right: the published examples show null
# where the schema has arrays.
_NEEDED: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "channel_id": _COUNT,
    "start_time": _COUNT,
    "updated_at": _COUNT,
    "applied": _COUNT,
    "title": _TEXT,
    "description": _TEXT,
    "incident_severity": _TEXT,
    "progress": _TEXT,
    "num": _TEXT,
    "manual_overrides": _TEXTS,
    "comments": _TEXTS,
    "fields": (lambda value: isinstance(value, dict), "an object"),
}


def _errors_in(incident_id: str, incident: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Yield what is wrong with one incident of a state."""
    if not is_id(incident_id) or incident_id != incident_id.lower():
        yield "an id has 24 hexadecimal characters, in lower case"
    if not isinstance(incident, dict):
        yield f"found {kind_of(incident)} for an object"
        return
    if missing := [name for name in _VALUES if name not in incident]:
        yield f"{', '.join(missing)}: missing"
    if incident.get("incident_id") != incident_id:
        yield "incident_id is another one"
    for name, (is_right, allowed) in _NEEDED.items():
        if name in incident and not is_right(incident[name]):
            yield f"{name}: found {kind_of(incident[name])} for {allowed}"
