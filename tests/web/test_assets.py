"""What the page is made of is in the package: nothing is fetched, and others' code is as it was."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import bulk_reset.web

FOLDER = Path(bulk_reset.web.__file__).parent
VENDOR = FOLDER / "assets" / "vendor"
LIST = "vendor.json"
_ADDRESS = re.compile(r"(?:https?:|wss?:)?//[\w.-]+\.[a-z]{2,}", re.IGNORECASE)
_NAMES = re.compile(r"//www\.w3\.org/")
"""Names of XML vocabularies, which are never requested."""
_INLINE = re.compile(
    r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:|hx-on", re.IGNORECASE
)


def test_code_of_others_is_as_they_published_it() -> None:
    """Each file has its package, version, licence and hash, and no other file is there."""
    listed = json.loads((VENDOR / LIST).read_bytes())
    found = {path.name for path in VENDOR.iterdir()} - {LIST}
    assert found == set(listed)
    assert [one for one in listed.values() if not (one["package"] and one["version"])] == []
    hashes = {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in listed}
    assert hashes == {name: one["sha256"] for name, one in listed.items()}
    licences = {one["package"] for name, one in listed.items() if "LICENSE" in name}
    assert licences == {one["package"] for one in listed.values()}


def test_no_page_names_another_host() -> None:
    """Templates, styles and scripts request nothing from elsewhere, and have no inline code."""
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in [*FOLDER.rglob("*.j2"), *FOLDER.rglob("*.css"), *FOLDER.rglob("*.js")]
        if path.parent != VENDOR
    }
    assert texts
    others = {
        path.name: [one for one in _ADDRESS.findall(text) if not _NAMES.search(one)]
        for path, text in texts.items()
    }
    assert {name: one for name, one in others.items() if one} == {}
    pages = {
        path.name: _INLINE.findall(text) for path, text in texts.items() if path.suffix == ".j2"
    }
    assert {name: one for name, one in pages.items() if one} == {}
