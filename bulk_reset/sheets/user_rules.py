r"""The user's own rules for the texts of fields, from a TOML file or a profile.

    [title]
    regex = '\[[A-Z]{2,4}\] .+'       # the whole text must match
    forbidden = ["TBD", "密码"]
    must_differ = ["description"]
    fix = "Begin with the region"

    [incident_severity]
    allowed = ["Critical", "Warning"]
    requires = ["root_cause"]

A broken rule is an error of its cell, like those of the API. An empty cell breaks no rule.

A pattern is matched by a library that stops after a given time: no cell makes a check hang.

State: how many matches took too long, of one reading of a sheet.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from bulk_reset.core.actions import ACTION_FIELD
from bulk_reset.core.custom_fields import COMMENT_FIELD
from bulk_reset.core.errors import InputError
from bulk_reset.core.fields import FIELDS, ID_FIELD
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.columns import field_named
from bulk_reset.sheets.pulled_rows import Broken
from bulk_reset.sheets.toml_file import Keys, Problem, TomlFileError, read_toml

_TIMEOUT_S: Final = 0.1
"""For one match; a usual one takes microseconds."""
_MOST_TIMEOUTS: Final = 20
_LISTS: Final = ("allowed", "forbidden", "must_differ", "requires")
_OF_FIELDS: Final = frozenset({"must_differ", "requires"})
_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class FieldRule:
    """The rules of one field.

    Attributes:
        regex: a pattern that the whole text must match.
        allowed: the only texts that are allowed.
        forbidden: words that must not occur, in any case.
        must_differ: fields that must have another text in the same row.
        requires: fields that must be set in the same row.
        fix: what to do, in the user's words; shown instead of the usual fix.
    """

    regex: str = ""
    allowed: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    must_differ: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    fix: str = ""


@dataclass(slots=True)
class UserRules:
    """Rules by field, and what they find in the rows of a sheet."""

    rules: Mapping[str, FieldRule]
    _timeouts: int = field(default=0, compare=False)

    def notices(self, columns: Iterable[str]) -> Iterator[str]:
        """Yield sentences about rules that a sheet with these columns does not need."""
        unused = [name for name in self.rules if name not in set(columns)]
        if unused:
            yield f"rules without a column: {', '.join(unused)}"

    def start(self) -> None:
        """Begin to count the matches that take too long."""
        self._timeouts = 0

    def errors(self, cells: Mapping[str, list[str]], was: Mapping[str, list[str]]) -> Broken:
        """Find cells that break a rule.

        Args:
            cells: field -> texts to send.
            was: field -> pulled values, which a row has where nothing is sent.

        Raises:
            InputError: a pattern takes too long for many texts.
        """
        for name, rule in self.rules.items():
            texts = cells.get(name)
            if texts is None:
                continue
            unique = set(texts) - {""}
            problems: dict[str, tuple[str, str, str]] = {}
            for text in unique:
                found = self._error(name, rule, text)
                if found is not None:
                    problems[text] = found
            if problems:
                for place, text in enumerate(texts):
                    if text in problems:
                        yield place, name, *problems[text]
            yield from _between(name, rule, texts, cells, was)

    def _error(self, name: str, rule: FieldRule, text: str) -> tuple[str, str, str] | None:
        """Return the error of a text alone: kind, problem, fix."""
        if rule.allowed and text not in rule.allowed:
            near = difflib.get_close_matches(text, rule.allowed, 1)
            shown = " or ".join(near or rule.allowed[:_SHOWN])
            return "rule_allowed", f"not an allowed text for {name}", rule.fix or f"Use {shown}"
        if rule.forbidden and (word := _word_in(rule.forbidden, text)):
            return "rule_forbidden", f"contains {word!r}", rule.fix or "Remove the word"
        if not rule.regex:
            return None
        try:
            import regex  # noqa: PLC0415  (takes some milliseconds)

            if regex.compile(rule.regex).fullmatch(text, timeout=_TIMEOUT_S):
                return None
        except TimeoutError:
            self._timeouts += 1
            if self._timeouts > _MOST_TIMEOUTS:
                raise InputError(
                    f"rule {name}.regex: takes too long for {_MOST_TIMEOUTS} texts. Simplify the "
                    "pattern: no repetition within a repetition."
                ) from None
            problem = f"the pattern {one_line(rule.regex)} takes too long for this text"
            return "rule_regex", problem, "Simplify the pattern, or shorten the text"
        problem = f"does not match {one_line(rule.regex)}"
        return "rule_regex", problem, rule.fix or "Write the text as the pattern has it"


def _word_in(words: Sequence[str], text: str) -> str:
    """Return the first of these words that is in a text; empty if none is."""
    low = text.casefold()
    for word in words:
        if word.casefold() not in low:
            continue
        # Chinese has no spaces between words, so only ASCII words have bounds.
        bound = r"(?<![A-Za-z0-9_])", r"(?![A-Za-z0-9_])"
        is_ascii = word.isascii() and word.replace(" ", "").isalnum()
        pattern = f"{bound[0]}{re.escape(word)}{bound[1]}" if is_ascii else re.escape(word)
        if re.search(pattern, text, re.IGNORECASE):
            return word
    return ""


def _between(
    name: str,
    rule: FieldRule,
    texts: Sequence[str],
    cells: Mapping[str, list[str]],
    was: Mapping[str, list[str]],
) -> Broken:
    """Find cells that do not go with other cells of their row."""
    nothing = [""] * len(texts)
    for other in rule.must_differ:
        for place, (one, text) in enumerate(zip(texts, cells.get(other, nothing), strict=True)):
            if one and one.strip() == text.strip():
                fix = rule.fix or "Write another text"
                yield place, name, "rule_differ", f"the same text as {other}", fix
    for other in rule.requires:
        present = cells.get(other, nothing)
        pulled = was.get(other, nothing)
        for place, text in enumerate(texts):
            if text and not present[place].strip() and not pulled[place].strip():
                fix = rule.fix or f"Enter {other} too, or clear the cell"
                yield place, name, "rule_required", f"{other} is not set in this row", fix


# --- Reading ---------------------------------------------------------------------------------


def read_rules(path: Path) -> UserRules:
    """Read a file of rules.

    Raises:
        TomlFileError: it is invalid: every error, each with its line.
        InputError: it cannot be read.
    """
    file = read_toml(path, "file of rules")
    problems: list[Problem] = []
    rules = rules_in(file.tables, (), problems)
    if not rules and not problems:
        problems.append(Problem((), "has no rules. Write [title], and below it a rule."))
    if problems:
        raise TomlFileError(path, file.lines, problems)
    return UserRules(rules)


def rules_in(
    tables: Mapping[str, Any], prefix: Keys, problems: list[Problem]
) -> dict[str, FieldRule]:
    """Return the rules of tables by field; what is wrong is added to ``problems``."""
    found: dict[str, FieldRule] = {}
    for name, table in tables.items():
        keys = (*prefix, name)
        called = _field(keys, problems)
        if not isinstance(table, dict):
            problems.append(Problem(keys, "not a table. Write it in brackets above its rules."))
            continue
        if called in found:
            problems.append(Problem(keys, f"{called} has rules already. Remove one of the tables."))
        values = dict(_values(table, keys, problems))
        if not values.keys() - {"fix"}:
            problems.append(Problem(keys, f"has no rule. Use {', '.join(_NAMES[:-1])}."))
        if called:
            found[called] = FieldRule(**values)
    return found


_NAMES: Final = tuple(one.name for one in fields(FieldRule))


def _values(
    table: Mapping[str, Any], keys: Keys, problems: list[Problem]
) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        place = (*keys, name)
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            text = f"no such rule.{hint} Allowed are {', '.join(_NAMES)}."
            problems.append(Problem(place, text))
        elif name in _LISTS:
            several = [value] if isinstance(value, str) else value
            is_list = isinstance(several, list) and several
            if not is_list or not all(isinstance(one, str) and one for one in several):
                problems.append(Problem(place, 'not a list of texts. Write ["…", "…"].'))
            elif name in _OF_FIELDS:
                named = [_field((*place, one), problems, place) for one in several]
                yield name, tuple(filter(None, named))
            else:
                yield name, tuple(several)
        elif not isinstance(value, str) or not value:
            problems.append(Problem(place, 'not a text. Write it in quotes: "…".'))
        elif name != "regex" or _is_pattern(value, place, problems):
            yield name, value


def _is_pattern(text: str, place: Keys, problems: list[Problem]) -> bool:
    try:
        import regex  # noqa: PLC0415  (takes some milliseconds)

        regex.compile(text)
    except (regex.error, RecursionError, OverflowError) as exc:
        what = one_line(str(exc)).rstrip(".")
        problems.append(Problem(place, f"not a pattern: {what}. Fix it, or escape it with \\."))
        return False
    return True


def _field(keys: Keys, problems: list[Problem], place: Keys | None = None) -> str:
    """Return the field that the last key names; empty after an error."""
    called = field_named(keys[-1])
    if called is None or called == ID_FIELD:
        known = (*FIELDS[1:], ACTION_FIELD, COMMENT_FIELD)
        near = difflib.get_close_matches(keys[-1].casefold(), known, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        text = f"no such field.{hint} Use one of {', '.join(known)} or field:NAME."
        shown = f"{keys[-1]!r}: " if place else ""
        problems.append(Problem(place or keys, shown + text))
        return ""
    return called


def rule_table(rule: FieldRule) -> dict[str, Any]:
    """Return a rule as a table of TOML."""
    values = {name: getattr(rule, name) for name in _NAMES}
    return {name: value for name, value in values.items() if value}
