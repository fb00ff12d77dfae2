"""What single values of a job file may be: durations, addresses, paths, names, cron expressions.

Each raises ValueError with what is wrong and what to write. Units: ``*_s`` seconds; durations
are written like ``90s``, ``5m``, ``12h``, ``2d``.
"""

from __future__ import annotations

import datetime as dt
import re
import string
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from bulk_reset.workflows.incident_query import UNITS

_DURATION: Final = re.compile(r"(\d{1,9})\s*([smhdw])", re.ASCII)
_LOOPBACK: Final = re.compile(r"localhost|127(\.\d{1,3}){3}|::1", re.ASCII)
_PLACES: Final = ("date", "time", "job", "run")
"""What may stand in braces in a name."""
_LONGEST_S: Final = 366 * 86_400


def seconds_of(text: str) -> int:
    """Return a duration in seconds.

    Raises:
        ValueError: it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError("not a duration. Write a number and s, m, h, d or w: 90s, 5m, 12h.")
    seconds = int(found[1]) * UNITS[found[2]]
    if seconds > _LONGEST_S:
        raise ValueError("longer than a year. Write less.")
    return seconds


def _duration(text: str) -> str:
    seconds_of(text)
    return text


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    is_plain = text.isprintable() and not set(" \\@") & set(text)
    is_safe = text.startswith("https://") or (
        text.startswith("http://") and _LOOPBACK.fullmatch(host)
    )
    if not (host and is_plain and is_safe):
        raise ValueError(
            "not an address that may be used. Write https://… (or this machine), without a user."
        )
    return text


def _api_address(text: str) -> str:
    if set("?#") & set(text):
        raise ValueError("scheme, host and path only. The key is never part of it.")
    return _address(text)


def _path(text: str) -> str:
    try:
        Path(text).expanduser()
    except RuntimeError:
        raise ValueError("nobody of that name has a home here. Write the path in full.") from None
    if not text.strip() or "\0" in text:
        raise ValueError("not a path. Write where the file is.")
    return text


def _pattern(text: str) -> str:
    pattern = Path(_path(text)).expanduser()
    try:
        # Where nothing is, nothing is found, and a pattern that is none is told all the same.
        next(Path("/nonexistent").glob(str(pattern.relative_to(pattern.anchor))), None)
    except (ValueError, IndexError, NotImplementedError) as exc:
        raise ValueError("not a pattern for files. Write it like inbox/*.xlsx.") from exc
    return text


def check_cron(text: str) -> None:
    """See that a cron expression means some moment; else raise ValueError."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  (a job without does without)

    minute, hour, day, _, weekday = text.split()
    never = "no month that is meant has such a day. Mend day and month."
    try:
        # Without its months first: what is wrong then is wrong in itself.
        CronSim(f"{minute} {hour} {day} * {weekday}", dt.datetime.now(dt.UTC))
        try:
            next(CronSim(text, dt.datetime.now(dt.UTC)))
        except CronSimError as exc:
            if "day" in str(exc):
                raise ValueError(never) from exc
            raise
        except StopIteration:
            raise ValueError(never) from None
    except CronSimError as exc:
        raise ValueError(
            f"not a cron expression ({str(exc).lower()}). Minutes are 0-59, hours 0-23, days "
            "1-31, months 1-12, days of the week 0-7 or mon-sun."
        ) from exc


def _named(text: str) -> str:
    try:
        places = list(string.Formatter().parse(_path(text)))
    except ValueError as exc:
        raise ValueError(f"not a name that can be filled in ({exc}).") from exc
    for _, place, form, conversion in places:
        if place is not None and (place not in _PLACES or form or conversion):
            taken = ", ".join(f"{{{one}}}" for one in _PLACES)
            raise ValueError(f"not a name that can be filled in. In braces it takes {taken}.")
    if text.endswith(("/", "\\")):
        raise ValueError("not a name. Write a folder and how the names begin: out/{date}-{job}.")
    return text


FilePattern = Annotated[str, AfterValidator(_pattern)]
CopyName = Annotated[str, AfterValidator(_named)]


def _prom(text: str) -> str:
    if Path(_path(text)).suffix != ".prom":
        raise ValueError("not a name that the node exporter reads. Let it end in .prom.")
    return text


Duration = Annotated[str, AfterValidator(_duration)]
WebhookUrl = Annotated[str, AfterValidator(_address)]
BaseUrl = Annotated[str, AfterValidator(_api_address)]
FilePath = Annotated[str, AfterValidator(_path)]
Text = Annotated[str, Field(min_length=1)]
MetricsPath = Annotated[str, AfterValidator(_prom)]
