"""Reads a worksheet's XML for facts that calamine does not report.

calamine returns an empty cell if a formula's result is an error or was never calculated, and a
plain number if Excel shows ``500%``; it does not report hidden rows. It also allocates a full
grid up to the last cell. So a worksheet is scanned before it is read, see ``worksheet_scan``, and
parsed only if the scan cannot find everything.

Source of the markup (``<c r="B7" s="3" t="e"><f>A9</f><v>#REF!</v></c>``): ECMA-376 part 1,
18.3.1 (cells) and 18.8 (styles). A workbook that no program has calculated has formulas without a
value (openpyxl) or with the value 0 (XlsxWriter, Apache POI).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, Final

from bulk_reset.sheets.workbooks.xml_parts import DamagedError, local_name, parse

NEVER_CALCULATED: Final = "the formula was never calculated"
SPECIAL_FORMAT: Final = "the cell contains a number with a special format, not text"
PLAIN_FORMATS: Final = ("0", "1", "49")
"""Ids of the formats General, ``0`` and ``@``, which show a whole number as its digits."""
PLAIN_CODES: Final = frozenset({"", "general", "0", "@"})
_MAX_COLUMNS: Final = 1 << 14
_MAX_NAMES: Final = 1_000
_MAX_ARRAY_COLUMNS: Final = 1 << 20
"""Of all array formulas together; a larger number is not intended."""


@dataclass(frozen=True, slots=True)
class ErrorCell:
    """A cell whose text is uncertain for a reason that calamine does not report.

    Attributes:
        text: ``#REF!``, ``#N/A`` … or the formula that was never calculated; of a number, empty.
        is_number: whether this applies only if calamine reads the cell as a number, not a date.
    """

    text: str
    problem: str
    is_number: bool = False


Places = dict[int, list[tuple[int, ErrorCell]]]
"""row_number -> (0-based column of the worksheet, cell) of its uncertain cells."""


@dataclass(slots=True)
class WorksheetFacts:
    """What a parsed worksheet contains.

    Attributes:
        rows: the last row.
        columns: the number of columns up to the last one.
        hidden_rows: number of hidden rows with cells.
        errors: the uncertain cells.
    """

    rows: int = 0
    columns: int = 0
    hidden_rows: int = 0
    errors: Places = field(default_factory=dict)


def read_facts(
    file: IO[bytes], odd_styles: frozenset[int], *, is_calculated: bool
) -> WorksheetFacts:
    """Parse a worksheet.

    Args:
        odd_styles: the cell styles that do not show a whole number as its digits.
        is_calculated: whether a formula's result 0 is certain.

    Raises:
        DamagedError: the XML is invalid.
    """
    parser = CellParser(odd_styles, is_calculated=is_calculated)
    parse(file, parser.start, parser.end, parser.text)
    return parser.facts


class CellParser:
    """Collects the facts while a worksheet is parsed; called for every tag, so it is short.

    State: the position of the last cell; the value and formula of the open cell; the cells that
    array formulas fill.
    """

    def __init__(self, odd_styles: frozenset[int], *, is_calculated: bool) -> None:
        self.facts = WorksheetFacts()
        self._odd_styles = frozenset(map(str, odd_styles))
        self._is_calculated = is_calculated
        self._row = self._column = 0
        self._cell: dict[str, str] = {}
        self._pieces: dict[str, list[str]] = {}
        self._open: list[str] | None = None
        self._is_row_hidden = False
        self._arrays = _ArrayFormulas()
        self._shared: dict[tuple[int, str, str], tuple[int, ErrorCell]] = {}
        self._local_names = _LocalNames()

    @property
    def has_arrays(self) -> bool:
        """Whether there was an array formula for several cells."""
        return self._arrays.columns > 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Handle a start tag; see ``xml_parts.parse``."""
        own = self._local_names[name]
        if own == "c":
            self._start_cell(attributes)
        elif own in {"v", "f"}:
            self._open = self._pieces.setdefault(own, [])
            if ":" in attributes.get("ref", "") and attributes.get("t") in {"array", "dataTable"}:
                self._arrays.add(attributes["ref"])
        elif own == "row":
            # A row or a cell without a position follows the one before.
            place = attributes.get("r")
            self._row = self._row + 1 if place is None else _number_of(place)
            self._column = 0
            self._is_row_hidden = attributes.get("hidden", "0") in {"1", "true"}

    def text(self, text: str) -> None:
        """Handle a piece of text."""
        if self._open is not None:
            self._open.append(text)

    def end(self, name: str) -> None:
        """Handle an end tag."""
        own = self._local_names[name]
        if own == "c":
            if self._pieces or "t" in self._cell:
                self._end_cell()
        elif own in {"v", "f"}:
            self._open = None

    def _start_cell(self, attributes: dict[str, str]) -> None:
        place = attributes.get("r")
        if place is None:
            self._column += 1
        else:
            letters = place.rstrip("0123456789")
            self._row, self._column = _number_of(place[len(letters) :]), _column_of(letters)
        facts = self.facts
        facts.rows = max(facts.rows, self._row)
        if self._column > facts.columns:
            if self._column > _MAX_COLUMNS and place is None:
                raise DamagedError(f"row {self._row:,} has more than {_MAX_COLUMNS:,} cells")
            facts.columns = self._column
        if self._is_row_hidden:
            facts.hidden_rows += 1
            self._is_row_hidden = False
        self._cell = attributes
        if self._pieces:
            self._pieces = {}

    def _end_cell(self) -> None:
        value = "".join(self._pieces.get("v", ()))
        kind = self._cell.get("t", "n")
        if kind == "e":
            code = value or "#"
            self._add(code, f"the formula failed with {code}")
        elif self._is_never_calculated(kind, value):
            self._add(f"={''.join(self._pieces.get('f', ()))}", NEVER_CALCULATED)
        elif kind == "n" and self._cell.get("s", "0") in self._odd_styles and _is_whole(value):
            self._add("", SPECIAL_FORMAT)

    def _is_never_calculated(self, kind: str, value: str) -> bool:
        is_formula = "f" in self._pieces
        if is_formula and not value.strip():
            # An empty text is a valid result of a formula, but it is a result.
            return kind != "str" or "v" not in self._pieces
        if self._is_calculated or kind != "n" or not _is_zero(value):
            return False
        return is_formula or self._arrays.has(self._row, self._column)

    def _add(self, text: str, problem: str) -> None:
        key = (self._column - 1, text, problem)
        if key not in self._shared:
            cell = ErrorCell(text, problem, is_number=problem == SPECIAL_FORMAT)
            self._shared[key] = (key[0], cell)
        self.facts.errors.setdefault(self._row, []).append(self._shared[key])


class _LocalNames(dict[str, str]):
    """Name -> the name without its prefix; a workbook has few."""

    def __missing__(self, name: str) -> str:
        own = local_name(name)
        if len(self) < _MAX_NAMES:
            self[name] = own
        return own


class _ArrayFormulas:
    """The cells that array formulas fill; only the first one has the formula.

    State: column -> the last row of the arrays so far.
    """

    def __init__(self) -> None:
        self._last_row: dict[int, int] = {}
        self.columns = 0

    def add(self, ref: str) -> None:
        first, last = ref.split(":", 1)
        from_letters, to_letters = first.rstrip("0123456789"), last.rstrip("0123456789")
        row = _number_of(last[len(to_letters) :])
        columns = range(_column_of(from_letters), _column_of(to_letters) + 1)
        self.columns += len(columns)
        if self.columns > _MAX_ARRAY_COLUMNS:
            raise DamagedError("it has too many array formulas")
        for column in columns:
            self._last_row[column] = max(row, self._last_row.get(column, 0))

    def has(self, row: int, column: int) -> bool:
        return row <= self._last_row.get(column, 0)


def _is_whole(value: str) -> bool:
    """Return whether a number is whole; calamine's reader reports the others."""
    try:
        return float(value).is_integer()
    except ValueError:
        return False


def _is_zero(value: str) -> bool:
    try:
        return float(value) == 0
    except ValueError:
        return False


def _number_of(digits: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 16):  # noqa: PLR2004
        raise DamagedError(f"a row has the number {digits[:20]!r}")
    return int(digits)


def _column_of(letters: str) -> int:
    """Return the 1-based number of a column."""
    if not (letters.isascii() and letters.isalpha() and len(letters) < 10):  # noqa: PLR2004
        raise DamagedError(f"a cell is in column {letters[:20]!r}")
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def read_odd_styles(file: IO[bytes]) -> frozenset[int]:
    """Return the cell styles that do not show a whole number as its digits.

    Args:
        file: the part with the styles.
    """
    formats: list[str] = []
    plain = set(PLAIN_FORMATS)
    path: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        own, parent = local_name(name), path[-1] if path else ""
        path.append(own)
        number_format = attributes.get("numFmtId", "0")
        if (own, parent) == ("xf", "cellXfs"):
            formats.append(number_format)
        elif (own, parent) == ("numFmt", "numFmts"):
            is_plain = attributes.get("formatCode", "").strip().casefold() in PLAIN_CODES
            (plain.add if is_plain else plain.discard)(number_format)

    parse(file, start, lambda _: path.pop())
    return frozenset(style for style, one in enumerate(formats) if one not in plain)
