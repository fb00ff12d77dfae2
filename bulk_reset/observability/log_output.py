"""Where events are written: as JSON for programs, or as a line for people.

Before an event is written, every app key of this process is removed from it, and for people also
every control character that a terminal would interpret.

State: the outputs that still work belong to the ``_Writer``, and so to one log and those bound
to it. Nothing of structlog is configured globally: a program may have several logs, and logging
of its own.
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
from bulk_reset.core.input_file import open_input, open_output
from bulk_reset.core.option_names import option
from bulk_reset.core.safe_text import escape_controls, one_line

_KEYS: Final = ("at", "level", "event")
"""The first keys of every line, in this order."""
_LONGEST_TEXT: Final = 2_000
_LONGEST_LINE_BYTES: Final = 1 << 16
_Event = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class LogOutput:
    """Where events are written.

    Attributes:
        file: closed by the caller.
        is_human: a line for people instead of JSON.
        has_colour: whether a line for people may have colours.
    """

    file: IO[str]
    is_human: bool = False
    has_colour: bool = False


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[IO[str]]:
    """Open a file to append events as JSON, until the block ends.

    Raises:
        InputError: it cannot be written, or it is not a log of bulk-reset.
    """
    try:
        _refuse_foreign(path)
        file = open_output(path)
    except OSError as exc:
        raise InputError(
            f"{option('log_file', str(path))}: "
            f"cannot be written ({exc.strerror or exc}). Use another file."
        ) from exc
    try:
        yield file
    finally:
        # An error of a full disk was reported when the event was written.
        with contextlib.suppress(OSError):
            file.close()


def new_log(
    outputs: tuple[LogOutput, ...], notify: Callable[[str], None], clock: Callable[[], datetime]
) -> Any:  # noqa: ANN401  (structlog's own, which has no one type)
    """Return a logger whose events go to all outputs.

    It never raises: an output that fails is dropped, which is logged to the others.

    Args:
        notify: called with a sentence when an output is dropped.
        clock: UTC.
    """

    def stamp(_: object, __: str, event: _Event) -> _Event:
        event["at"] = clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event

    return structlog.wrap_logger(
        _Writer(outputs, notify, stamp),
        processors=[structlog.processors.add_log_level, stamp, _clean, _as_argument],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        context_class=dict,
    )


class _Writer:
    """Writes the events of structlog to the outputs that still work."""

    def __init__(
        self,
        outputs: tuple[LogOutput, ...],
        notify: Callable[[str], None],
        stamp: Callable[[object, str, _Event], _Event],
    ) -> None:
        self._outputs = [(output, _renderer(output)) for output in outputs]
        self._notify, self._stamp = notify, stamp

    def info(self, event: _Event) -> None:
        """Write an event to every output."""
        lost = [output for output, render in self._outputs if not _write(output, render(event))]
        for output in lost:
            self._outputs = [(one, render) for one, render in self._outputs if one is not output]
            name = str(getattr(output.file, "name", "a log"))
            loss: _Event = {"level": "warning", "event": "log_output_lost", "log": name}
            self.info(_clean(None, "", self._stamp(None, "", loss)))
            self._notify(f"{name}: can no longer be written; the log ends there")

    warning = error = info


def _renderer(output: LogOutput) -> Callable[[_Event], str]:
    encoding = getattr(output.file, "encoding", None) or "utf-8"
    if not output.is_human:
        return lambda event: _as_json(event, encoding)
    console = structlog.dev.ConsoleRenderer(
        colors=output.has_colour, sort_keys=False, timestamp_key="at"
    )

    def as_line(event: _Event) -> str:
        line = str(console(None, "", {key: _readable(value) for key, value in event.items()}))
        return line.encode(encoding, "backslashreplace").decode(encoding)

    return as_line


def _as_json(event: _Event, encoding: str) -> str:
    line = escape_controls(json.dumps(event, ensure_ascii=False))
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        # A character that the encoding lacks, or half of a surrogate pair from a corrupt sheet.
        return escape_controls(json.dumps(event))
    return line


def _write(output: LogOutput, line: str) -> bool:
    """Write a line; return whether that succeeded."""
    try:
        output.file.write(f"{line}\n")
        output.file.flush()
    except (OSError, ValueError):  # ValueError: it is closed
        return False
    return True


def _clean(_: object, __: str, event: _Event) -> _Event:
    """Return the event with plain values, without app keys, the common keys first."""
    first = {key: event[key] for key in _KEYS if key in event}
    return {redact(key): _plain(value) for key, value in {**first, **event}.items()}


def _as_argument(_: object, __: str, event: _Event) -> tuple[tuple[_Event], dict[str, Any]]:
    return (event,), {}


def _plain(value: object) -> Any:  # noqa: ANN401  (JSON)
    """Return a value as JSON has it; a text redacted and shortened."""
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


def _readable(value: Any) -> Any:  # noqa: ANN401  (JSON)
    """Return a value for people, on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{one_line(str(key))} {_readable(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "; ".join(str(_readable(one)) for one in value)
    return one_line(value) if isinstance(value, str) else value


def _refuse_foreign(path: Path) -> None:
    """Raise InputError if the file exists and holds something other than events."""
    if not path.is_file():
        return
    with open_input(path) as file:
        line = file.readline(_LONGEST_LINE_BYTES)
        is_complete = not line or _last_byte(file) == b"\n"
    with contextlib.suppress(ValueError, RecursionError):
        event = json.loads(line) if line else dict.fromkeys(_KEYS)
        if isinstance(event, dict) and event.keys() >= set(_KEYS):
            if not is_complete:  # cut off by a crash; the next line must not be lost with it
                with path.open("ab") as file:
                    file.write(b"\n")
            return
    raise InputError(
        f"{option('log_file', str(path))}: "
        f"not a log of bulk-reset; the file was not changed. Use another file."
    )


def _last_byte(file: IO[bytes]) -> bytes:
    file.seek(-1, 2)
    return file.read(1)
