"""A profile applied to the rows of one sheet: which columns it uses, and the texts that it makes.

In this order: white space is removed, rows are ignored, templates make the text of fields, values
are mapped. Dates and numbers have their text already, see ``cell_formats``. A template sees the
cells of the sheet, without white space around them, and before values are mapped.

State: counts of what was changed, of the last reading of the sheet.
"""

from __future__ import annotations

import difflib
import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bulk_reset.core.counting import counted
from bulk_reset.core.fields import ID_FIELD
from bulk_reset.core.look_alikes import plain_name
from bulk_reset.sheets.cell_formats import CellFormat
from bulk_reset.sheets.cell_rules import CONTROL
from bulk_reset.sheets.chunk import Chunk, Origin, ProfileFault
from bulk_reset.sheets.columns import bind, field_named
from bulk_reset.sheets.profile import Profile, ProfileError
from bulk_reset.sheets.toml_file import Keys, Problem

if TYPE_CHECKING:
    from bulk_reset.sheets.row_templates import RowTemplate

TEMPLATE_COLUMN: Final = "{} (template)"
"""The name of a column that a template makes."""
_NAMES_SHOWN: Final = 12


class ProfileRows:
    """A profile for the header of one sheet.

    Args:
        mapping: columns that were given besides; they replace those of the profile.

    Attributes:
        columns: the columns of the fields; those that templates make are behind the sheet's.
        formats: 0-based column -> format of its dates and numbers.

    Raises:
        ProfileError: it names columns that the sheet does not have; nothing was sent.
    """

    def __init__(
        self,
        profile: Profile,
        header: tuple[str, ...],
        mapping: Mapping[str, str],
        label: str,
        *,
        is_pulled: bool = False,
    ) -> None:
        self._profile, self._header, self._label = profile, header, label
        self._problems: list[Problem] = []
        given = {field_named(name) for name in mapping}
        own = {
            name: header[position]
            for name, column in profile.columns.items()
            if name not in given
            and (position := self._position(("columns", name), column)) is not None
        }
        templates = {name: text for name, text in profile.templates.items() if name not in given}
        self._templates = list(self._bound_templates(templates))
        self.formats = self._bound_formats()
        self._ignored = self._bound_ignored()
        self._refuse()
        made = {name: TEMPLATE_COLUMN.format(name) for name in templates}
        made_from = {
            name: positions for name, (_, positions) in zip(templates, self._templates, strict=True)
        }
        columns = bind(
            (*header, *made.values()),
            {**own, **made, **mapping},
            label,
            is_pulled=is_pulled,
            also_used={place for places in made_from.values() for place in places},
        )
        self.columns = replace(
            columns, made_from=made_from, mapped_values=frozenset(profile.values)
        )
        for name in profile.values:
            if name not in columns.position:
                fix = f"Add [columns] {name}, or remove [values.{name}]."
                self._add(("values", name), f"no column for it in {label}. {fix}")
        self._refuse()
        self._counts: Counter[str] = Counter()
        mapped = (text for texts in profile.values.values() for text in texts.values())
        self._may_make_controls = any(map(CONTROL.search, mapped)) or any(
            template.may_make_controls for template, _ in self._templates
        )

    def start(self) -> None:
        """Begin to count what is changed."""
        self._counts.clear()

    def notices(self) -> Iterator[str]:
        """Yield sentences about what was changed since ``start``."""
        ignored = {
            rule: count for rule, count in self._counts.items() if rule.startswith("ignore.")
        }
        if ignored:
            shown = ", ".join(f"{rule} {count:,}" for rule, count in ignored.items())
            yield f"{counted(sum(ignored.values()), 'row')} ignored by the profile: {shown}"
        made = {rule: count for rule, count in self._counts.items() if rule not in ignored}
        if made:
            rules = [f"{rule} {count:,}" for rule, count in made.items()]
            more = f" and {len(rules) - _NAMES_SHOWN} more" if len(rules) > _NAMES_SHOWN else ""
            shown = ", ".join(rules[:_NAMES_SHOWN])
            yield f"{counted(sum(made.values()), 'cell')} changed by the profile: {shown}{more}"

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the rows as they are sent."""
        origins: list[Origin] = list(self._formatted(chunk))
        columns = list(chunk.columns)
        if self._profile.trim:
            origins += self._trim(columns)
        chunk = self._without_ignored(replace(chunk, columns=columns, origins=tuple(origins)))
        columns, origins = list(chunk.columns), list(chunk.origins)
        faults: dict[tuple[int, int], ProfileFault] = {}
        for name, (template, positions) in zip(
            self.columns.made_from, self._templates, strict=True
        ):
            rule, at = f"templates.{name}", len(columns)
            texts, problems = template.texts([columns[one] for one in positions])
            columns.append(texts)
            origins.append(Origin(at, rule, None, texts))
            self._counts[rule] += len(texts) - texts.count("")
            faults |= self._faults(chunk, at, rule, positions, problems)
        for name, texts_of in self._profile.values.items():
            at = self.columns.position[name]
            before = columns[at]
            columns[at] = after = list(map(texts_of.get, before, before))
            rule = f"values.{name}"
            origins.append(Origin(at, rule, before, after))
            self._count(rule, before, after)
        return replace(
            chunk,
            columns=columns,
            origins=tuple(origins),
            profile_faults=faults,
            may_have_controls=chunk.may_have_controls or self._may_make_controls,
        )

    def _count(self, rule: str, before: Sequence[str], after: Sequence[str]) -> None:
        if changed := sum(map(operator.ne, before, after)):
            self._counts[rule] += changed

    def _formatted(self, chunk: Chunk) -> Iterator[Origin]:
        if not chunk.formatted:
            return
        for position in self.formats:
            cells = chunk.columns[position]
            given = [(number, position) in chunk.formatted for number in chunk.numbers]
            # What the cell contained is no text, so there is none before it.
            before = ["" if is_given else text for text, is_given in zip(cells, given, strict=True)]
            rule = f"formats.{self._header[position]}"
            self._counts[rule] += sum(given)
            yield Origin(position, rule, before, cells)

    def _trim(self, columns: list[list[str]]) -> Iterator[Origin]:
        """Remove the white space around all used texts, in place."""
        from_templates = {place for _, places in self._templates for place in places}
        used = {*self.columns.position.values(), *from_templates, *self._ignored}
        for position in sorted(one for one in used if one < len(columns)):
            before = columns[position]
            after = list(map(str.strip, before))
            if before != after:
                columns[position] = after
                self._count("source.trim", before, after)
                yield Origin(position, "source.trim", before, after)

    def _without_ignored(self, chunk: Chunk) -> Chunk:
        ignored: set[int] = set()
        rules: list[tuple[str, int, frozenset[str]]] = [
            (f"ignore.values.{self._header[position]}", position, texts)
            for position, texts in self._ignored.items()
        ]
        if self._profile.ignore_blank_id:
            rules.append(("ignore.blank_id", self.columns.position[ID_FIELD], frozenset({""})))
        for rule, position, texts in rules:
            cells = chunk.columns[position]
            if texts.isdisjoint(map(str.strip, cells)):
                continue
            found = {at for at, text in enumerate(cells) if text.strip() in texts} - ignored
            self._counts[rule] += len(found)
            ignored |= found
        if not ignored:
            return chunk
        return chunk.rows_at([at for at in range(len(chunk.numbers)) if at not in ignored], ())

    def _faults(
        self,
        chunk: Chunk,
        at: int,
        rule: str,
        positions: Sequence[int],
        problems: Mapping[int, str],
    ) -> dict[tuple[int, int], ProfileFault]:
        """Return the cells for which a template has no text, or an uncertain one."""
        faults = {
            (chunk.numbers[place], at): ProfileFault(
                "template", f"{rule}: {problem}", f"Fix {rule} in the profile, or the row"
            )
            for place, problem in problems.items()
        }
        if chunk.odd_cells:
            numbers = set(chunk.numbers)
            for (number, position), problem in chunk.odd_cells.items():
                if position in positions and number in numbers:
                    name = self._header[position]
                    faults[number, at] = ProfileFault(
                        "cell_type",
                        f"{rule} uses {name!r}: {problem}",
                        "Format the cell as Text, or add its format to [formats] of the profile",
                    )
        return faults

    def _add(self, keys: Keys, text: str) -> None:
        self._problems.append(Problem(keys, text))

    def _refuse(self) -> None:
        if self._problems:
            raise ProfileError(self._profile, self._problems)

    def _position(self, keys: Keys, name: str) -> int | None:
        """Return the column of a name; None after an error."""
        header = self._header
        found = [at for at, one in enumerate(header) if one == name]
        found = found or [
            at for at, one in enumerate(header) if plain_name(one) == plain_name(name)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            what = f"{self._label} has {len(found)} columns {name!r}. Rename all but one."
            self._add(keys, what)
            return None
        near = difflib.get_close_matches(name, header, 1)
        names = ", ".join(filter(None, header[:_NAMES_SHOWN]))
        fix = f"Did you mean {near[0]!r}?" if near else f"The columns are {names}."
        self._add(keys, f"no column {name!r} in {self._label}. {fix}")
        return None

    def _bound_templates(
        self, templates: Mapping[str, str]
    ) -> Iterator[tuple[RowTemplate, tuple[int, ...]]]:
        if not templates:
            return
        from bulk_reset.sheets.row_templates import RowTemplate  # noqa: PLC0415  (Jinja2)

        for name, text in templates.items():
            template = RowTemplate.of(text)
            found = [self._position(("templates", name), one) for one in template.columns]
            yield template, tuple(one for one in found if one is not None)

    def _bound_formats(self) -> dict[int, CellFormat]:
        return {
            position: CellFormat.of(text)
            for name, text in self._profile.formats.items()
            if (position := self._position(("formats", name), name)) is not None
        }

    def _bound_ignored(self) -> dict[int, frozenset[str]]:
        return {
            position: frozenset(texts)
            for name, texts in self._profile.ignore_values.items()
            if (position := self._position(("ignore", "values", name), name)) is not None
        }
