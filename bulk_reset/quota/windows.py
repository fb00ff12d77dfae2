"""The windows of an account's quota, and the shortest time that requests take under them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bulk_reset.core.defaults import PACE, PER_MINUTE, PER_SECOND
from bulk_reset.core.errors import InputError
from bulk_reset.core.option_names import option_name

_MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Window:
    """A limit: up to ``limit`` requests in any ``window_s`` seconds."""

    limit: int
    window_s: float

    def __post_init__(self) -> None:
        if self.limit < 1 or self.window_s <= 0:
            raise InputError(
                f"quota of {self.limit} in {self.window_s:g} s: invalid. Use 1 request or more, in "
                "more than 0 s."
            )

    def __str__(self) -> str:
        if self.window_s == _MINUTE_S:
            return "minute window"
        return PACE if self.window_s <= 1 else f"{self.window_s:g} s window"


def windows_of(
    per_second: int = PER_SECOND, per_minute: int = PER_MINUTE, share: float = 1.0
) -> tuple[Window, ...]:
    """Return the account's windows, scaled to the share of them that this run may use.

    Raises:
        InputError: a limit below 1, or a share that is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(
            f"{option_name('share')} {share:g}: out of range. Use more than 0 and up to 1."
        )
    if per_second < 1 or per_minute < 1:
        names = f"{option_name('per_second')}, {option_name('per_minute')}"
        raise InputError(f"{names}: too small. Use 1 or more.")
    return (
        Window(max(1, int(per_second * share)), 1.0),
        Window(max(1, int(per_minute * share)), 60.0),
    )


def ideal_s(requests: int, windows: tuple[Window, ...]) -> float:
    """Return the shortest time from the first to the last start, in seconds, with a full quota."""
    *wide, narrow = sorted(windows, key=lambda window: window.window_s, reverse=True)
    spacing_s = narrow.window_s / narrow.limit
    left, seconds = max(0, requests - 1), 0.0
    for window in wide:
        full, left = divmod(left, window.limit)
        seconds += full * max(window.window_s, window.limit * spacing_s)
    return seconds + left * spacing_s
