"""The page's languages: the one that a browser prefers, and complete translations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.mofile import read_mo
from refresh_catalogues import TRANSLATED, as_po, extracted, missing, po_file, read

from bulk_reset.web.languages import preferred_language, translations

_PLACES = re.compile(r"%\(\w+\)[a-z]|</?\w+[^>]*>|&\w+;|`[^`]*`|--[a-z-]+")
"""What a translation must keep: values, elements, commands, options."""


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh_CN"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("en;q=0.5, zh-Hans-CN", "zh_CN"),
        ("fr-FR,fr;q=0.9,zh;q=0.3,en;q=0.2", "zh_CN"),
        ("zh-TW", "en"),
        ("zh-TW,zh;q=0.9", "zh_CN"),
        ("zh-CN;q=0,en;q=0.1", "en"),
        ("de", "en"),
        ("*", "en"),
        ("zh;q=one", "en"),
        ("zh;q=nan", "en"),
        ("zh_CN", "en"),
        (",;,-;q=;=" * 500, "en"),
    ],
)
def test_the_language_that_a_browser_prefers_is_used(header: str, language: str) -> None:
    """The best of those that exist, by the weights of the header; English otherwise."""
    assert preferred_language(header) == language


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_has_a_translation(language: str) -> None:
    """No text of the code or the templates is missing, none is kept that is no longer used."""
    catalog, used = read(language), extracted()
    ids = {message.id for message in used if message.id}
    assert ids
    assert {message.id for message in catalog if message.id} == ids, "use make messages"
    assert [message.id for message in missing(catalog)] == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_values_and_elements_of_its_text(language: str) -> None:
    """A value that is lost is lost for the reader; a misspelled one fails when it is shown."""
    for message in read(language):
        if message.id:
            ids = message.id if isinstance(message.id, tuple) else (message.id,)
            texts = message.string if isinstance(message.string, tuple) else (message.string,)
            for text in texts:
                assert sorted(_PLACES.findall(text)) == sorted(_PLACES.findall(ids[-1])), text


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_catalogue_is_compiled_from_the_translations(language: str) -> None:
    """What is read at run time is what people edit, and the file is as ``make messages`` has it."""
    path = po_file(language)
    with path.with_suffix(".mo").open("rb") as file:
        compiled = {_key(one.id): _key(one.string) for one in read_mo(file) if one.id}
    catalog = read(language)
    assert compiled == {_key(one.id): _key(one.string) for one in catalog if one.id}
    assert as_po(catalog).decode() == path.read_text(encoding="utf-8")
    message = next(one for one in catalog if isinstance(one.id, str) and one.id)
    assert translations(language).gettext(message.id) == message.string


def test_english_is_shown_as_it_is_written(tmp_path: Path) -> None:
    """English needs no catalogue."""
    assert translations("en").gettext(str(tmp_path)) == str(tmp_path)


def _key(message: object) -> str:
    """Return a text, or the first of a message that has a plural."""
    return str(message[0] if isinstance(message, list | tuple) else message)
