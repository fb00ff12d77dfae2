"""Reading the pages that reports write: their elements, their rows, one row as HTML."""

from __future__ import annotations

import base64
import gzip
import json
import re
import struct
from html.parser import HTMLParser
from typing import Any

from markupsafe import Markup

from bulk_reset.reports.html_page import environment
from bulk_reset.reports.row_list import CELL_END, PART_END, ROW_END, FieldChange, ListRow


class Seen(HTMLParser):
    """What a browser creates from a page: elements, attributes, and the text of rows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "article":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        """Note a text of a row."""
        if self.rows and "script" not in self.tags[-1]:
            self.rows[-1] += data


def row_html(row: ListRow, statuses: dict[str, str]) -> str:
    """Return a row as the template writes it."""
    named = [{"name": name, "meaning": meaning} for name, meaning in statuses.items()]
    module = environment().get_template("rows.html.j2").module
    html = module.row(row, named)  # type: ignore[attr-defined]
    assert isinstance(html, Markup)
    return str(html)


def articles(page: str) -> list[str]:
    """Return the rows that a page shows at first, as HTML."""
    return re.findall(r"<article.*?</article>", page, re.DOTALL)


def packed_rows(page: str) -> list[ListRow]:
    """Return all rows of a page, as its script unpacks them."""
    blocks = re.findall(r'class="rows">([\w+/=]+)</script>', page)
    settings = re.search(r'id="settings">(.*?)</script>', page)
    (numbers,) = re.findall(r'id="kinds">([\w+/=]+)</script>', page)
    assert settings
    kinds = json.loads(settings[1])["kinds"]
    kind_of = [kinds[number] for (number,) in struct.iter_unpack("<I", unpacked(numbers))]
    texts = [row for block in blocks for row in unpacked(block).decode().split(ROW_END)[:-1]]
    return [_row(text, kind) for text, kind in zip(texts, kind_of, strict=True)]


def unpacked(block: str) -> bytes:
    """Return the content of a packed block of a page."""
    return gzip.decompress(base64.b64decode(block))


def _row(text: str, kind: dict[str, Any]) -> ListRow:
    searched, others = text.split(PART_END)
    *cells, values = _split(searched, 6)
    link, note, marks = _split(others, 2)
    fields = tuple(
        FieldChange(*values[4 * n : 4 * n + 3], values[4 * n + 3] if mark else None, lost)
        for n, (mark, lost) in enumerate(zip(marks[::2], marks[1::2], strict=True))
    )
    assert [field.field for field in fields] == kind["fields"]
    return ListRow._make([*cells, fields, kind["status"], kind["group"], link, note])


def _split(text: str, first: int) -> list[Any]:
    """Return the first cells, then a list of the rest."""
    cells = text.split(CELL_END)
    return [*cells[:first], cells[first:]]


def policy_of(page: Seen) -> str:
    """Return the Content-Security-Policy of a page."""
    (policy,) = (v for _, v in page.attributes if v and v.startswith("default-src"))
    return policy
