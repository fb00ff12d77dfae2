"""Where events are written: as JSON for programs, or as a line for people.

On its way to a sink an event loses every key of this process, whatever a text was made of, and
for people whatever a terminal would obey.

State: what sinks are left belongs to the outlet, and so to one journal and those bound to it.
Nothing of structlog is configured globally: journals may live side by side, in a program that
has logs of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import IO, Any, Final

import structlog

from bulk_reset.api.credentials import redact
from bulk_reset.core.errors import InputError
from bulk_reset.core.safe_text import escape_controls, one_line

_KEYS: Final = ("at", "level", "event")
"""They begin every line, in this order."""
_LONGEST_TEXT: Final = 2_000
_LONGEST_LINE_BYTES: Final = 1 << 16
_Event = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class LogOutput:
    """Where events are written.

    Attributes:
        file: stays the caller's to close.
        is_human: a line for people, else JSON.
        has_colour: whether a line for people may have colours.
    """

    file: IO[str]
    is_human: bool = False
    has_colour: bool = False


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[IO[str]]:
    """Open a file that events are added to as JSON, until the block ends.

    Raises:
        InputError: it cannot be written, or it holds something else.
    """
    try:
        _refuse_foreign(path)
        file = path.open("a", encoding="utf-8", newline="\n")
    except OSError as exc:
        raise InputError(
            f"--log-file {path}: cannot be written ({exc.strerror or exc}). Choose another name."
        ) from exc
    try:
        yield file
    finally:
        # What a full disk did not take was said when it was written.
        with contextlib.suppress(OSError):
            file.close()


def new_log(
    outputs: tuple[LogOutput, ...], notify: Callable[[str], None], clock: Callable[[], datetime]
) -> Any:  # noqa: ANN401  (structlog's own, which has no one type)
    """Return a logger whose events go to all of the sinks.

    No error comes out of it: a sink that cannot be written is dropped, and the others are told.

    Args:
        say: told, in a sentence, of a sink that is dropped.
        clock: UTC.
    """

    def stamp(_: object, __: str, event: _Event) -> _Event:
        event["at"] = clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event

    return structlog.wrap_logger(
        _Outlet(outputs, notify, stamp),
        processors=[structlog.processors.add_log_level, stamp, _clean, _hand_over],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        context_class=dict,
    )


class _Outlet:
    """What structlog hands its events to: the sinks that are left."""

    def __init__(
        self,
        outputs: tuple[LogOutput, ...],
        notify: Callable[[str], None],
        stamp: Callable[[object, str, _Event], _Event],
    ) -> None:
        self._sinks = [(output, _renderer(output)) for output in outputs]
        self._say, self._stamp = notify, stamp

    def info(self, event: _Event) -> None:
        """Write an event to every sink."""
        lost = [output for output, render in self._sinks if not _is_written(output, render(event))]
        for output in lost:
            self._sinks = [(one, render) for one, render in self._sinks if one is not output]
            name = str(getattr(output.file, "name", "a log"))
            loss: _Event = {"level": "warning", "event": "log_output_lost", "log": name}
            self.info(_clean(None, "", self._stamp(None, "", loss)))
            self._say(f"{name}: cannot be written any more, so the log ends there")

    warning = error = info


def _renderer(output: LogOutput) -> Callable[[_Event], str]:
    encoding = getattr(output.file, "encoding", None) or "utf-8"
    if not output.is_human:
        return lambda event: _as_json(event, encoding)
    console = structlog.dev.ConsoleRenderer(
        colors=output.has_colour, sort_keys=False, timestamp_key="at"
    )

    def as_line(event: _Event) -> str:
        line = str(console(None, "", {key: _spoken(value) for key, value in event.items()}))
        return line.encode(encoding, "backslashreplace").decode(encoding)

    return as_line


def _as_json(event: _Event, encoding: str) -> str:
    line = escape_controls(json.dumps(event, ensure_ascii=False))
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        # Not its letters; or half of a surrogate pair, from a broken sheet.
        return escape_controls(json.dumps(event))
    return line


def _is_written(output: LogOutput, line: str) -> bool:
    try:
        output.file.write(f"{line}\n")
        output.file.flush()
    except (OSError, ValueError):  # ValueError: it is closed
        return False
    return True


def _clean(_: object, __: str, event: _Event) -> _Event:
    """Return the event in plain values, without any key, what all have in common first."""
    first = {key: event[key] for key in _KEYS if key in event}
    return {redact(key): _plain(value) for key, value in {**first, **event}.items()}


def _hand_over(_: object, __: str, event: _Event) -> tuple[tuple[_Event], dict[str, Any]]:
    return (event,), {}


def _plain(value: object) -> Any:  # noqa: ANN401  (JSON)
    """Return a value as JSON has it; a text without any key in it, and not too long."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    text = redact(str(value))
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _spoken(value: Any) -> Any:  # noqa: ANN401  (JSON)
    """Return a value as people read it, on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{one_line(str(key))} {_spoken(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "; ".join(str(_spoken(one)) for one in value)
    return one_line(value) if isinstance(value, str) else value


def _refuse_foreign(path: Path) -> None:
    """See that a file holds events, if it is there and holds anything; else raise InputError."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        line = file.readline(_LONGEST_LINE_BYTES)
        ends_well = not line or _last_byte(file) == b"\n"
    with contextlib.suppress(ValueError):
        event = json.loads(line) if line else dict.fromkeys(_KEYS)
        if isinstance(event, dict) and event.keys() >= set(_KEYS):
            if not ends_well:  # cut off by a crash; the next line is not to be lost with it
                with path.open("ab") as file:
                    file.write(b"\n")
            return
    raise InputError(
        f"--log-file {path}: holds something else than a log of bulk-reset. Choose another name."
    )


def _last_byte(file: IO[bytes]) -> bytes:
    file.seek(-1, 2)
    return file.read(1)
