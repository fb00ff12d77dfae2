"""Reading the pages that reports write: their elements, their rows, one row as HTML."""

from __future__ import annotations

import base64
import gzip
import re
from html.parser import HTMLParser

from markupsafe import Markup

from bulk_reset.reports.html_page import environment
from bulk_reset.reports.row_list import ROW_END, ListRow, unpacked


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
    texts = [gzip.decompress(base64.b64decode(block)).decode() for block in blocks]
    return [unpacked(row) for text in texts for row in text.split(ROW_END)]


def policy_of(page: Seen) -> str:
    """Return the Content-Security-Policy of a page."""
    (policy,) = (v for _, v in page.attributes if v and v.startswith("default-src"))
    return policy
