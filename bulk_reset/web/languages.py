"""The languages of the page: English is in the code, others are gettext catalogues.

``locale/LANGUAGE/LC_MESSAGES/web.po`` has the translations, ``web.mo`` the same in the form that
is read here. After a change of a text: ``make messages``.
"""

from __future__ import annotations

import functools
import gettext
from pathlib import Path
from typing import Final

ENGLISH: Final = "en"
LANGUAGES: Final = {ENGLISH: "English", "zh_CN": "中文"}
"""Code -> name of the language in that language, as the switch shows it."""
DOMAIN: Final = "web"
FOLDER: Final = Path(__file__).parent / "locale"
_ACCEPTED: Final = {
    "en": ENGLISH,
    "zh": "zh_CN",
    "zh-cn": "zh_CN",
    "zh-sg": "zh_CN",
    "zh-hans": "zh_CN",
}
"""Beginnings of language tags that browsers send -> language."""
_MOST: Final = 20


def preferred_language(accept_language: str) -> str:
    """Return the language that a browser prefers among those of the page; English if none."""
    ranked: list[tuple[float, str]] = []
    for part in accept_language.split(",")[:_MOST]:
        tag, _, parameter = part.strip().lower().partition(";")
        quality = _quality(parameter)
        language = _language(tag.strip())
        if language and quality > 0:
            ranked.append((quality, language))
    return max(ranked, key=lambda one: one[0], default=(0.0, ENGLISH))[1]


def _language(tag: str) -> str:
    """Return the language of the longest beginning of a tag that is known; empty if none.

    Traditional Chinese is not taken for simplified; browsers send plain ``zh`` after it.
    """
    parts = tag.split("-")
    if parts[0] == "zh" and len(parts) > 1:
        return _ACCEPTED.get("-".join(parts[:2]), "")
    return _ACCEPTED.get(parts[0], "")


def _quality(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(1.0, max(0.0, float(value)))
    except ValueError:
        return 0.0


@functools.cache
def translations(language: str) -> gettext.NullTranslations:
    """Return the texts of a language; those of English are the ones in the code."""
    if language == ENGLISH:
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, FOLDER, [language])
