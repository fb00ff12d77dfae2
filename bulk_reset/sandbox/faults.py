r"""Scripted faults: which requests go wrong, and how.

A faults file is a JSON list of rules; for each request the first rule that matches acts::

    [
      {"every": 10, "error": "RequestTooFrequently", "headers": {"Retry-After": "2"}},
      {"incident_id": "69da451e0000000000000003", "arrivals": [1, 2], "error": "InternalError"},
      {"requests": [40], "reset": "after", "delay_s": 0.5},
      {"path": "/incident/list-by-ids", "times": 1, "html": 502}
    ]

Which requests; every key given has to agree:

* ``path``: of the operation, ``/incident/reset`` unless told otherwise.
* ``incident_id``: of the request's body, in either case; a list of one id will do.
* ``arrivals``: a list of 1-based numbers: the how-manieth request for its incident id this is.
* ``requests``: a list of 1-based numbers: the how-manieth request on the path this is.
* ``every``: n for every n-th request on the path.
* ``times``: act so often at most.

Requests that bring a wrong key or are over the quota are not numbered and meet no fault.

What happens; exactly one:

* ``error``: a code of the API, answered in its envelope with its HTTP status, or with
  ``status``. A ``Retry-After`` is there only if ``headers`` has it. Not applied.
* ``html``: an HTTP status; a proxy's page is answered with it. Not applied.
* ``body``: a raw text to answer, with ``status`` (200 unless told otherwise). Not applied.
* ``cut``: true; applied, and the answer's JSON breaks off in the middle.
* ``empty``: true; applied, and the answer is 200 with nothing in it.
* ``reset``: ``"before"`` or ``"after"`` applying, the TCP connection is reset.
* ``hang``: true; not applied and never answered.

``headers`` (an object of texts) go with ``error``, ``html`` and ``body``; ``delay_s`` (seconds)
goes with everything and is waited after applying, on top of the latency. A request that is wrong
in itself gets its own failure where the fault would have applied it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from bulk_reset.sandbox.codes import HTTP_STATUS
from bulk_reset.sandbox.list_files import read_list
from bulk_reset.sandbox.rules import is_id, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ACTIONS: Final = ("error", "html", "body", "cut", "empty", "reset", "hang")
MAX_DELAY_S: Final = 3600
_LISTS: Final = ("arrivals", "requests")
_FINAL_STATUSES: Final = range(200, 600)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
# They frame the message: another value would break the connection in ways of its own.
_FRAMING_HEADERS: Final = ("connection", "content-length", "transfer-encoding")
_GOES_WITH: Final = {"status": ("error", "body"), "headers": ("error", "html", "body")}


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule; its attributes are the keys of the faults file, left out where None or false.

    Raises:
        ValueError: a value is not allowed, the actions are not exactly one, or an option
            goes with none of them.
    """

    path: str = "/incident/reset"
    incident_id: str | None = None
    arrivals: tuple[int, ...] | None = None
    requests: tuple[int, ...] | None = None
    every: int | None = None
    times: int | None = None
    error: str | None = None
    html: int | None = None
    body: str | None = None
    cut: bool = False
    empty: bool = False
    reset: Literal["before", "after"] | None = None
    hang: bool = False
    status: int | None = None
    headers: Mapping[str, str] | None = field(default=None, hash=False)
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        """Check every value, then that they go together."""
        for key in fields(self):
            value, (is_allowed, allowed) = getattr(self, key.name), _ALLOWED[key.name]
            if value is not key.default and not is_allowed(value):
                # As the file says it: true, not True.
                found = json.dumps(value, ensure_ascii=False, default=repr)
                raise ValueError(f"key {key.name!r}: found {found}. Give {allowed}.")
        actions = [name for name in ACTIONS if getattr(self, name) not in (None, False)]
        if len(actions) != 1:
            raise ValueError(
                f"found {' and '.join(actions) or 'nothing'} to do. "
                f"Give exactly one of {', '.join(ACTIONS)}."
            )
        for name, partners in _GOES_WITH.items():
            if getattr(self, name) is not None and actions[0] not in partners:
                raise ValueError(
                    f"key {name!r}: found beside {actions[0]!r}. "
                    f"It goes with {', '.join(partners)} only."
                )


def _is_number(value: object) -> bool:
    return type(value) is int and value >= 1


def _are_numbers(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_number, value))


def _is_status(value: object) -> bool:
    return type(value) is int and value in _FINAL_STATUSES


def _is_delay(value: object) -> bool:
    return type(value) in (int, float) and 0 <= cast("float", value) <= MAX_DELAY_S


def _are_headers(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_header, value.keys(), value.values()))


def _is_header(name: str, text: object) -> bool:
    return (
        isinstance(text, str)
        # A line break would end the header and begin another.
        and text.isprintable()
        and _HEADER_NAME.fullmatch(name) is not None
        and name.lower() not in _FRAMING_HEADERS
    )


_TRUE_ONLY: Final = (lambda value: type(value) is bool, "true, or leave the key out")
_NUMBERS: Final = (_are_numbers, "a list of whole numbers of 1 or more")
_NUMBER: Final = (_is_number, "a whole number of 1 or more")
_STATUS: Final = (_is_status, "an HTTP status from 200 to 599")
_ALLOWED: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "path": (
        lambda value: isinstance(value, str) and value.startswith("/"),
        "a path that begins with /, such as /incident/reset",
    ),
    "incident_id": (is_id, "an id of 24 hexadecimal characters"),
    "arrivals": _NUMBERS,
    "requests": _NUMBERS,
    "every": _NUMBER,
    "times": _NUMBER,
    "error": (
        lambda value: isinstance(value, str) and value in HTTP_STATUS,
        f"one of {', '.join(HTTP_STATUS)}",
    ),
    "html": _STATUS,
    "body": (lambda value: isinstance(value, str), "a text"),
    "cut": _TRUE_ONLY,
    "empty": _TRUE_ONLY,
    "reset": (lambda value: value in ("before", "after"), "before or after"),
    "hang": _TRUE_ONLY,
    "status": _STATUS,
    "headers": (_are_headers, "an object of texts, none of them about connection or length"),
    "delay_s": (_is_delay, f"seconds from 0 to {MAX_DELAY_S}"),
}


def load_faults(path: Path) -> tuple[Fault, ...]:
    """Read a faults file, in the format that this module describes.

    Raises:
        ValueError: the file cannot be read or a rule is wrong; the text says which rule
            (1-based), which key, what was found and what is allowed.
    """
    rules = read_list(path, "rules")
    return tuple(_read_rule(rule, f"{path}: rule {n}") for n, rule in enumerate(rules, start=1))


def _read_rule(rule: object, where: str) -> Fault:
    if not isinstance(rule, dict):
        raise ValueError(f'{where}: found {kind_of(rule)}. Give an object: {{"key": value, ...}}.')  # noqa: TRY004 - a file's content, not a caller's type
    known = [one.name for one in fields(Fault)]
    for name in rule:
        if name not in known:
            raise ValueError(f"{where}, key {name!r}: not known. The keys are {', '.join(known)}.")
    values: dict[str, Any] = {
        name: tuple(value) if name in _LISTS and isinstance(value, list) else value
        for name, value in rule.items()
    }
    try:
        return Fault(**values)
    except ValueError as exc:
        raise ValueError(f"{where}, {exc}") from exc


class FaultScript:
    """Decides which fault, if any, a request meets.

    State: how many requests came on each path and for each incident id, and how often each
    fault acted; only ``next_fault`` changes it.
    """

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults = faults
        self._requests: Counter[str] = Counter()
        self._arrivals: Counter[tuple[str, str]] = Counter()
        self._acted: Counter[int] = Counter()

    def __repr__(self) -> str:
        return f"<FaultScript {len(self._faults)} rules, acted {self.acted} times>"

    @property
    def acted(self) -> int:
        """How many requests met a fault."""
        return self._acted.total()

    def next_fault(self, path: str, incident_id: str) -> Fault | None:
        """Number a request and return the first fault that matches it.

        Args:
            path: the request's path.
            incident_id: in lower case, empty if the request is about none.
        """
        self._requests[path] += 1
        self._arrivals[path, incident_id] += 1
        for index, fault in enumerate(self._faults):
            if self._matches(index, fault, path, incident_id):
                self._acted[index] += 1
                return fault
        return None

    def _matches(self, index: int, fault: Fault, path: str, incident_id: str) -> bool:
        number, arrival = self._requests[path], self._arrivals[path, incident_id]
        return (
            fault.path == path
            and (fault.incident_id is None or fault.incident_id.lower() == incident_id)
            and (fault.arrivals is None or bool(incident_id and arrival in fault.arrivals))
            and (fault.requests is None or number in fault.requests)
            and (fault.every is None or number % fault.every == 0)
            and (fault.times is None or self._acted[index] < fault.times)
        )
