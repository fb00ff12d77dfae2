"""The types of single values of a job file: durations, addresses, paths, names, cron expressions.

Each raises ValueError with the problem and the fix. Units: ``*_s`` seconds; durations are
written like ``90s``, ``5m``, ``12h``, ``2d``.
"""

from __future__ import annotations

import datetime as dt
import re
import string
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from bulk_reset.core.errors import InputError
from bulk_reset.sheets.file_types import is_remote
from bulk_reset.sheets.remote.address import RemoteAddress
from bulk_reset.workflows.incident_query import UNITS

_DURATION: Final = re.compile(r"(\d{1,9})\s*([smhdw])", re.ASCII)
_LOOPBACK: Final = re.compile(r"localhost|127(\.\d{1,3}){3}|::1", re.ASCII)
_PLACEHOLDERS: Final = ("date", "time", "job", "run")
"""Placeholders of ``report.copy_to``."""
_LONGEST_S: Final = 366 * 86_400


def seconds_of(text: str) -> int:
    """Return a duration in seconds.

    Raises:
        ValueError: the text is not a duration.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError("not a duration. Use a number and s, m, h, d or w: 90s, 5m, 12h.")
    seconds = int(found[1]) * UNITS[found[2]]
    if seconds > _LONGEST_S:
        raise ValueError("longer than a year. Use a shorter duration.")
    return seconds


def _duration(text: str) -> str:
    seconds_of(text)
    return text


def _positive_duration(text: str) -> str:
    if not seconds_of(text):
        raise ValueError("must not be zero. Use 1m or more.")
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
            "not an allowed address. Use https://… (http:// only for this machine), without a "
            "user name."
        )
    return text


def _api_address(text: str) -> str:
    if set("?#") & set(text):
        raise ValueError("must have only scheme, host and path. The key is never part of it.")
    return _address(text)


def _path(text: str) -> str:
    try:
        Path(text).expanduser()
    except RuntimeError:
        raise ValueError("unknown user. Use the full path.") from None
    if not text.strip() or "\0" in text:
        raise ValueError("not a path. Use the path of the file.")
    return text


def _sheet_place(text: str) -> str:
    """Check a path or the address of a sheet."""
    if not is_remote(text):
        return _path(text)
    try:
        RemoteAddress.of(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


def _pattern(text: str) -> str:
    pattern = Path(_path(text)).expanduser()
    try:
        # Nothing is found there, but an invalid pattern raises all the same.
        next(Path("/nonexistent").glob(str(pattern.relative_to(pattern.anchor))), None)
    except (ValueError, IndexError, NotImplementedError) as exc:
        raise ValueError("not a file pattern. Use for example inbox/*.xlsx.") from exc
    return text


def check_cron(text: str) -> None:
    """Check that a cron expression is ever due; raise ValueError if not."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  (only for jobs with a schedule)

    minute, hour, day, _, weekday = text.split()
    never = "none of these months has such a day. Fix day and month."
    try:
        # First without the months, to tell a syntax error from a day that never occurs.
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


def _copy_name(text: str) -> str:
    try:
        places = list(string.Formatter().parse(_path(text)))
    except ValueError as exc:
        raise ValueError(f"invalid placeholders ({exc}). Fix the braces.") from exc
    for _, place, form, conversion in places:
        if place is not None and (place not in _PLACEHOLDERS or form or conversion):
            allowed = ", ".join(f"{{{one}}}" for one in _PLACEHOLDERS)
            raise ValueError(f"unknown placeholder. Use only {allowed}.")
    if text.endswith(("/", "\\")):
        raise ValueError(
            "not a file name. Use a folder and the start of the names: out/{date}-{job}."
        )
    return text


FilePattern = Annotated[str, AfterValidator(_pattern)]
CopyName = Annotated[str, AfterValidator(_copy_name)]


def _prom(text: str) -> str:
    if Path(_path(text)).suffix != ".prom":
        raise ValueError("the node exporter does not read this name. Use a name ending in .prom.")
    return text


Duration = Annotated[str, AfterValidator(_duration)]
PositiveDuration = Annotated[str, AfterValidator(_positive_duration)]
WebhookUrl = Annotated[str, AfterValidator(_address)]
BaseUrl = Annotated[str, AfterValidator(_api_address)]
FilePath = Annotated[str, AfterValidator(_path)]
SheetPlace = Annotated[str, AfterValidator(_sheet_place)]
Text = Annotated[str, Field(min_length=1)]
MetricsPath = Annotated[str, AfterValidator(_prom)]
