"""Texts from below the page, in its language: errors of cells with their fixes, results of rows.

The packages below write English. A phrase here is such a text with places for its values; a text
that is no phrase is shown as it is.
"""

from __future__ import annotations

import functools
import gettext
import re
from typing import Final


def mark(text: str) -> str:
    """Return a text that is translated when it is shown; the catalogues find it by this name."""
    return text


_PHRASES: Final = (
    # Errors of an id.
    mark("the incident ID is missing"),
    mark("Enter the ID, or remove the row"),
    mark("a spreadsheet converted the ID to a number, and digits are lost"),
    mark("Format the column as Text, then paste the ID again from its source"),
    mark("the link contains no incident ID"),
    mark("the link contains %(ids)s incident IDs"),
    mark("Use the ID of one incident"),
    mark("1 character; an ID has %(digits)s"),
    mark("%(count)s characters; an ID has %(digits)s"),
    mark("Copy the whole ID"),
    mark("an ID contains only the digits 0-9 and the letters a-f"),
    mark("Copy the ID again from its source"),
    # Errors of a text.
    mark("the formula failed with %(text)s"),
    mark("Enter the text itself, or clear the cell"),
    mark("a formula of a spreadsheet around the text"),
    mark('Remove =" and the " at the end'),
    mark("contains the control character %(code)s at position %(position)s"),
    mark("Remove it, or clear the cell"),
    mark("contains only spaces"),
    mark("contains only invisible characters"),
    mark("Clear the cell"),
    mark("1 character; the minimum is %(shortest)s"),
    mark("%(count)s characters; the minimum is %(shortest)s"),
    mark("Enter at least %(shortest)s characters, or clear the cell"),
    mark("%(count)s characters; the maximum is %(longest)s"),
    mark("Shorten it by 1 character"),
    mark("Shorten it by %(count)s characters"),
    # Errors of a severity.
    mark("not a severity"),
    mark("the severity Ok cannot be set"),
    mark("Use Info, Warning or Critical, or clear the cell"),
    mark("Use %(severity)s"),
    # Errors of a custom field.
    mark("not valid JSON"),
    mark('Use for example ["a", "b"], 5, true, or "a" for a text'),
    mark("contains an incomplete character"),
    mark("Enter the complete character"),
    mark("null cannot be set"),
    mark("Clear the cell to leave the field unchanged"),
    # Errors of the type of a cell.
    mark("the cell contains a number, not text"),
    mark("the cell contains a number with a special format, not text"),
    mark("the cell contains a date or time, not text"),
    mark("Format the cell as Text, then enter the text"),
    mark("merged with a cell above it"),
    mark("merged with a cell to its left"),
    mark("Unmerge the cells, then enter the text in each"),
    mark("the formula was never calculated"),
    mark("Save the workbook in a spreadsheet program, or enter the text itself"),
    # Errors of a row.
    mark("the row has no field to update"),
    mark("Fill in a field, or remove the row"),
    mark("the row repeats the header"),
    mark("Remove the row"),
    mark("the row has %(cells)s cells, the header has %(width)s"),
    mark("row %(row)s sets %(field)s of the same incident to another value"),
    mark("duplicate of row %(row)s"),
    mark("overridden by row %(row)s, the last row for these fields"),
    mark("the pulled values of this row were changed or moved"),
    mark("the pulled values of this row are missing"),
    mark("Pull again, or move the row to a sheet of its own"),
    # Names of results.
    mark("updated"),
    mark("unchanged"),
    mark("duplicate"),
    mark("skipped"),
    mark("failed"),
    mark("conflict"),
    mark("unknown"),
    mark("pending"),
    mark("rejected"),
    mark("update"),
    mark("missing"),
    # Meanings of results.
    mark("confirmed by the API"),
    mark("no change needed; not sent"),
    mark("duplicate of another row; not sent"),
    mark("invalid; not sent"),
    mark("rejected by the API or not applied"),
    mark("modified since the pull; skipped"),
    mark("sent; result unconfirmed"),
    mark("not processed"),
    mark("not edited since the pull; not sent"),
    # Meanings of a plan's rows.
    mark("will be updated"),
    mark("will be acknowledged"),
    mark("will be resolved"),
    mark("will be reopened"),
    mark("modified since the pull; will be skipped"),
    mark("no such incident"),
    mark("no change needed; will not be sent"),
    mark("invalid; will not be sent"),
    mark("duplicate of another row; will not be sent"),
    mark("not selected; will not be sent"),
    mark("not edited since the pull; will not be sent"),
    # Questions of a run, and what it waits for.
    mark("Canary passed: %(count)s rows sent and verified. %(rows)s rows remain."),
    mark("Canary passed: %(count)s rows sent and verified. 1 row remains."),
    mark("Canary passed: 1 row sent and verified. %(rows)s rows remain."),
    mark("Canary passed: 1 row sent and verified. 1 row remains."),
    mark("%(count)s incidents will be restored."),
    mark("1 incident will be restored."),
    mark("API unavailable; retrying"),
    # Why an approval does not count.
    mark("approved another version of the plan"),
    mark("not verified, because the keys of the approvers are not configured"),
    mark("the signature is not of an allowed signer"),
    mark("the approval has expired"),
    mark("an own approval; another user must approve (--allow-own-approval allows it)"),
    # Errors of a file.
    mark("%(name)s: the file is empty. Add a header line and rows."),
    mark("%(name)s: no rows below the header. Add a row for each incident."),
    mark("%(name)s: the plan expired at %(time)s. Make the plan again."),
    mark("%(name)s: the plan was altered after it was made. Make the plan again."),
    mark(
        "%(name)s: made for another account. Use the key of that account (or its --account), or "
        "make the plan again."
    ),
    # How a sheet was read.
    mark("read worksheet %(name)s, header in row %(row)s"),
    mark("read worksheet %(name)s"),
    mark("read as %(encoding)s, %(delimiter)s-separated, header in row %(row)s"),
    mark("read as %(encoding)s, %(delimiter)s-separated"),
    mark("not used: %(columns)s"),
    mark("1 blank row ignored"),
    mark("%(rows)s blank rows ignored"),
)
_PLACE: Final = re.compile(r"%\\\((\w+)\\\)s")
_NUMBER: Final = frozenset(
    ("ids", "digits", "count", "shortest", "longest", "row", "rows", "cells", "width", "position")
)


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile(_PLACE.sub(_group, re.escape(phrase)), re.DOTALL), phrase)
        for phrase in _PHRASES
        if "%(" in phrase
    ]


def _group(place: re.Match[str]) -> str:
    return f"(?P<{place[1]}>{'[0-9,]+' if place[1] in _NUMBER else '.+'})"


def translated(text: str, translations: gettext.NullTranslations) -> str:
    """Return a text of the page or from below it in the language of the translations."""
    if type(translations) is gettext.NullTranslations or not text:
        return text
    if (found := translations.gettext(text)) != text:
        return found
    for pattern, phrase in _patterns():
        if match := pattern.fullmatch(text):
            return translations.gettext(phrase) % match.groupdict()
    return text


def explained(text: str, translations: gettext.NullTranslations) -> str:
    """Return an error in the language of the translations; one without any gets a lead-in."""
    found = translated(text, translations)
    if found != text or not text or type(translations) is gettext.NullTranslations:
        return found
    return translations.gettext(_LEAD_IN) % {"text": text}


_LEAD_IN: Final = mark("The program reported in English: %(text)s")
