"""Update the translations of the page after a change of its texts: ``make messages``.

New texts are added to each ``web.po`` without a translation, which a person then adds; texts that
are no longer used are removed; ``web.mo`` is written from it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from bulk_reset.web.languages import DOMAIN, ENGLISH, FOLDER, LANGUAGES

_METHODS: Final = [("**.py", "python"), ("templates/**.j2", "jinja2")]
_OPTIONS: Final = {
    "templates/**.j2": {"newstyle_gettext": "true", "trimmed": "true", "silent": "false"}
}
_KEYWORDS: Final = {"_": None, "gettext": None, "ngettext": (1, 2), "mark": None}
_HEADER: Final = """\
# Translations of the page. After a change of its texts: make messages
msgid ""
msgstr ""
"Language: {language}\\n"
"Plural-Forms: {plural_forms}\\n"
"Content-Type: text/plain; charset=utf-8\\n"

"""
TRANSLATED: Final = tuple(language for language in LANGUAGES if language != ENGLISH)
"""Languages that have a file of translations."""


def po_file(language: str) -> Path:
    """Return the file with the translations of a language."""
    return FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def extracted() -> Catalog:
    """Return the texts that are in the code and the templates."""
    catalog = Catalog()
    found = extract_from_dir(
        FOLDER.parent, _METHODS, _OPTIONS, keywords=_KEYWORDS, comment_tags=("translators:",)
    )
    for _file, _line, text, comments, context in found:
        catalog.add(text, auto_comments=comments, context=context)
    return catalog


def read(language: str) -> Catalog:
    """Return the translations of a language; an empty catalogue if there are none yet."""
    path = po_file(language)
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def missing(catalog: Catalog) -> list[Message]:
    """Return the texts of a catalogue that have no translation."""
    return [
        message
        for message in catalog
        if message.id and (not all(_strings(message)) or message.fuzzy)
    ]


def _strings(message: Message) -> tuple[str, ...]:
    return message.string if isinstance(message.string, tuple) else (message.string,)


def as_po(catalog: Catalog) -> bytes:
    """Return a catalogue as the text that people edit."""
    header = _HEADER.format(language=catalog.locale_identifier, plural_forms=catalog.plural_forms)
    file = io.BytesIO(header.encode())
    file.seek(0, io.SEEK_END)
    write_po(
        file,
        catalog,
        width=100,
        no_location=True,
        omit_header=True,
        sort_output=True,
        ignore_obsolete=True,
    )
    return file.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    """Return a catalogue as it is read at run time."""
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def main() -> int:
    """Update every language; return 1 if texts have no translation."""
    template = extracted()
    count = 0
    for language in TRANSLATED:
        catalog = read(language)
        catalog.update(template, no_fuzzy_matching=True)
        path = po_file(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_po(catalog))
        path.with_suffix(".mo").write_bytes(as_mo(catalog))
        for message in missing(catalog):
            sys.stdout.write(f"{path}: no translation of {message.id!r}\n")
            count += 1
    return min(count, 1)


if __name__ == "__main__":
    sys.exit(main())
