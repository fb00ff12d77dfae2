"""Pages as HTML: templates in the reader's language, in which every text is escaped.

Texts lose the characters that act or cannot be seen (``shown``) before HTML's special characters
are escaped, as in the pages of reports.
"""

from __future__ import annotations

import functools
from gettext import NullTranslations
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bulk_reset.core.safe_text import shown
from bulk_reset.web.assets import PREFIX
from bulk_reset.web.languages import LANGUAGES, preferred_language, translations
from bulk_reset.web.phrases import explained, translated
from bulk_reset.web.security import SESSION, TOKEN_HEADER


def language_of(request: web.Request) -> str:
    """Return the language that was chosen in the session, else the one the browser prefers."""
    session = request.get(SESSION)
    chosen = session.language if session is not None else ""
    return chosen or preferred_language(request.headers.get("Accept-Language", ""))


def texts_of(request: web.Request) -> NullTranslations:
    """Return the texts of the language of a request."""
    return translations(language_of(request))


def page(request: web.Request, template: str, **values: Any) -> web.Response:  # noqa: ANN401
    """Return a page.

    Args:
        values: what the template shows.
    """
    language = language_of(request)
    html = _environment(language).get_template(template)
    text = html.render(
        language=language,
        languages=LANGUAGES,
        token_header=TOKEN_HEADER,
        form_token=request[SESSION].form_token,
        assets=PREFIX,
        **values,
    )
    return web.Response(text=text, content_type="text/html", charset="utf-8")


@functools.cache
def _environment(language: str) -> Environment:
    """Return the templates of a language."""
    made = Environment(
        loader=PackageLoader("bulk_reset.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        extensions=["jinja2.ext.i18n"],
    )
    texts = translations(language)
    made.install_gettext_translations(texts, newstyle=True)  # type: ignore[attr-defined]
    made.filters["phrase"] = lambda text: translated(text, texts)
    made.filters["explained"] = lambda text: explained(text, texts)
    made.policies["ext.i18n.trimmed"] = True
    return made


def _shown(value: object) -> object:
    """Return what a template inserts, without characters that act or cannot be seen.

    Markup, too: a translated text with a user's text in it is markup already.
    """
    text = shown(str(value))
    return Markup(text) if isinstance(value, Markup) else text  # noqa: S704  (it was before)
