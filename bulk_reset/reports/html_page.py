"""Pages as HTML: templates, stylesheets, scripts and the security policy of both pages.

A page is one self-contained file that makes no network requests. Its Content-Security-Policy
names the hash of its stylesheet and of each script, so that nothing else can run in it.

One rule escapes every text: a template's output first loses the characters that act or cannot be
seen (``shown``), then HTML's special characters are escaped. Only files of this package and
base64 are inserted as they are.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import PurePath
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bulk_reset.core.counting import counted, duration
from bulk_reset.core.safe_text import shown
from bulk_reset.reports.row_list import BLOCK_ROWS, FIRST_ROWS, RowList

_WHITE_SPACE_ONLY: Final = re.compile("[ \u3000\t\n]+")
_SIGN_OF_SPACE: Final = str.maketrans({" ": "␣", "\u3000": "␣", "\t": "⇥", "\n": "↵\n"})
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Design:
    """The files a kind of page is made of: a template, and ``assets`` in their order."""

    template: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]


def render(
    design: Design,
    sheet: str,
    statuses: dict[str, str],
    rows: RowList,
    **values: Any,  # noqa: ANN401  (what the template shows)
) -> Iterator[str]:
    """Yield a page, piece by piece.

    Args:
        statuses: name -> meaning, in the order that ``ListRow.status`` counts.
        rows: all added; its blocks are read while the page is written.
    """
    style = "\n".join(map(_asset, design.styles))
    texts = [_asset(name) for name in design.scripts]
    settings = {
        "statuses": [{"name": name, "meaning": text} for name, text in statuses.items()],
        "csv": f"{PurePath(sheet).stem or 'rows'}.rows.csv",
        "block_rows": BLOCK_ROWS,
        "kinds": [kind._asdict() for kind in rows.kinds],
    }
    return (
        environment()
        .get_template(design.template)
        .generate(
            version=version("bulk-reset"),
            policy=_policy(style, texts),
            style=Markup(style),  # noqa: S704  (a file of this package, as the scripts are)
            scripts=[Markup(text) for text in texts],  # noqa: S704
            blocks=(Markup(block) for block in rows.blocks()),  # noqa: S704  (base64)
            kind_of=Markup(rows.kind_of()),  # noqa: S704  (base64)
            settings=settings,
            sheet=sheet,
            statuses=settings["statuses"],
            first_rows=rows.first_rows,
            first_count=FIRST_ROWS,
            field_names=list(rows.fields),
            **values,
        )
    )


@cache
def environment() -> Environment:
    """Return the templates' environment, with the rule that escapes every text."""
    environment = Environment(
        loader=PackageLoader("bulk_reset.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_without_active_characters,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.filters.update(
        counted=counted,
        duration=duration,
        milliseconds=milliseconds,
        number=lambda value: f"{value:,}",
        span=span,
        utc=utc,
        visible_space=_visible_space,
    )
    return environment


@cache
def _asset(name: str) -> str:
    return files("bulk_reset.reports").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(style: str, scripts: Iterable[str]) -> str:
    return (
        f"default-src 'none'; style-src {_hash(style)}; "
        f"script-src {' '.join(map(_hash, scripts))}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _without_active_characters(value: object) -> object:
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _visible_space(text: str) -> str:
    """Return a changed text; white space alone becomes visible signs."""
    return text.translate(_SIGN_OF_SPACE) if _WHITE_SPACE_ONLY.fullmatch(text) else text


def span(seconds: int) -> str:
    """Return a length of time in its largest whole unit: ``5 minutes``."""
    for unit_s, name in ((_HOUR_S, "hour"), (_MINUTE_S, "minute")):
        if seconds % unit_s == 0:
            return counted(seconds // unit_s, name)
    return counted(seconds, "second")


def milliseconds(value: float) -> str:
    """Return a number of milliseconds; the upper limit of an open range is "no limit"."""
    return "no limit" if value == math.inf else f"{value:,.12g}"


def utc(at: object) -> str:
    """Return a time for people; empty where there is none."""
    if not isinstance(at, int | float) or not at:
        return ""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
