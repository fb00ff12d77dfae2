"""Actions: acknowledge, resolve or reopen an incident, as the column ``action`` of a sheet.

An action is done when the incident's progress is the one that it leads to, so it is compared,
read back and undone like the value of a field.

Source: the Flashduty Open API's ``AckIncidentRequest``, ``ResolveIncidentRequest`` and
``ReopenIncidentRequest``. It has no operation that takes an acknowledgement back.
"""

from __future__ import annotations

import difflib
from typing import Final

from bulk_reset.core.look_alikes import plain_name

ACTION_FIELD: Final = "action"
PROGRESS_FIELD: Final = "progress"
"""The value of an incident that an action changes."""
TRIGGERED: Final = "Triggered"
PROCESSING: Final = "Processing"
CLOSED: Final = "Closed"
PROGRESS_AFTER: Final = {"ack": PROCESSING, "resolve": CLOSED, "reopen": TRIGGERED}
"""Action -> the progress that it leads to."""
_OPEN: Final = (TRIGGERED, PROCESSING)
_NAMES: Final = {
    "ack": "acknowledge, acknowledged, acked, Processing, 认领, 确认, 处理中",
    "resolve": "resolved, close, Closed, 解决, 关闭, 已解决, 已关闭",
    "reopen": "reopened, Triggered, 重开, 重新打开, 待处理",
}
_ACTION_OF: Final = {
    plain_name(name): action
    for action, names in _NAMES.items()
    for name in (action, *names.split(", "))
}
PLANNED: Final = {
    "ack": "will be acknowledged",
    "resolve": "will be resolved",
    "reopen": "will be reopened",
}
"""What a plan says of an action."""


def action_named(text: str) -> str | None:
    """Return the action that a word means, in any case of its letters; None if it means none."""
    return _ACTION_OF.get(plain_name(text))


def nearest_action(text: str) -> str | None:
    """Return the action whose word is most like a text; None if none is."""
    close = difflib.get_close_matches(plain_name(text), _ACTION_OF, n=1)
    return _ACTION_OF[close[0]] if close else None


def action_to(progress: object) -> str | None:
    """Return the action that leads to a progress."""
    return next((name for name, after in PROGRESS_AFTER.items() if after == progress), None)


def is_reached(progress: object, wanted: object) -> bool:
    """Return whether nothing is left to do for a wanted progress: to reopen is to be not closed."""
    return progress == wanted or (wanted == TRIGGERED and progress in _OPEN)


def undoing_action(before: object, after: object) -> str:
    """Return the action that undoes a change of progress; empty where the API has none."""
    if after == CLOSED:
        return "reopen"
    return "resolve" if before == CLOSED else ""
