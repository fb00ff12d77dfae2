"""The sandbox's page: its numbers as a table, which the page itself refreshes.

Self-contained: it makes no requests but to the sandbox's own ``/_stats``. Its policy names the
hashes of its stylesheet and script; every value is escaped by the template, and set as text by
the script.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

if TYPE_CHECKING:
    from bulk_reset.sandbox.config import SandboxConfig

_NUMBERS: Final = (
    ("requests", "Requests", "received"),
    ("admitted", "Admitted", "with a valid key and within the quota"),
    ("throttled", "Throttled", "over the quota: HTTP 429, not applied"),
    ("unauthorized", "Unauthorized", "key missing or wrong"),
    ("faults", "Faults", "answered by a scripted fault"),
    ("peak_1s", "Peak, 1 s", "most requests in any second"),
    ("peak_60s", "Peak, 60 s", "most requests in any 60 seconds"),
    ("incidents", "Incidents", "in the sandbox"),
    ("incidents_updated", "Incidents updated", "updated at least once"),
    ("applied", "Updates applied", "updates that took effect"),
    ("applied_more_than_once", "Updated repeatedly", "incidents updated at least twice"),
    ("most_applied", "Most updates", "of one incident"),
)


@cache
def _file(name: str) -> str:
    return files("bulk_reset.sandbox").joinpath("page_files", name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("bulk_reset.sandbox", "page_files"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html.j2")


def page_policy() -> str:
    """Return the Content-Security-Policy to send with the page."""
    style, script = (
        base64.b64encode(hashlib.sha256(_file(name).encode()).digest()).decode()
        for name in ("page.css", "page.js")
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def draw_page(stats: dict[str, Any], config: SandboxConfig) -> str:
    """Return the page with the present numbers."""
    return _template().render(
        style=Markup(_file("page.css")),  # noqa: S704  (a file of this package, as the script is)
        script=Markup(_file("page.js")),  # noqa: S704
        config=config,
        numbers=_NUMBERS,
        stats=stats,
        codes=stats["by_code"] or {"none": 0},
    )
