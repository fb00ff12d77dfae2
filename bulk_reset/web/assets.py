"""Styles and scripts of the page: files of this package, each with a type from our own table.

The system's table of types is not used, because other programs can change it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from aiohttp import web

PREFIX: Final = "/assets/"
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOLDERS: Final = (
    ("bulk_reset.reports", "assets", ("base.css",)),
    ("bulk_reset.web", "assets", ("page.css", "page.js")),
    ("bulk_reset.web", "assets/vendor", ("htmx.min.js",)),
)


class Asset(NamedTuple):
    """A file that every page uses."""

    content: bytes
    content_type: str


@cache
def assets() -> dict[str, Asset]:
    """Return the files by their names."""
    return {
        name: Asset(files(package).joinpath(folder, name).read_bytes(), _TYPES[ending])
        for package, folder, names in _FOLDERS
        for name in names
        for ending in [name.rpartition(".")[2]]
    }


async def show_asset(request: web.Request) -> web.Response:
    """Return a file; only names of the table exist."""
    asset = assets().get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    return web.Response(body=asset.content, content_type=asset.content_type, charset="utf-8")
