"""Templates that make a text of the cells of a row: ``[{{ row.Region }}] {{ row["Alarm name"] }}``.

They are the templates of rules (``core.rule_templates``) with one variable, ``row``. A template of
only texts, cells and simple filters is computed for whole columns; another one is rendered once
for each different combination of cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from jinja2 import TemplateError, nodes

from bulk_reset.core.rule_templates import Environment
from bulk_reset.core.safe_text import one_line
from bulk_reset.sheets.cell_rules import CONTROL

if TYPE_CHECKING:
    from jinja2 import Template

_ROW: Final = "row"
_REMEMBERED: Final = 50_000
"""Rendered texts of one template that are kept in memory."""
_USE: Final = 'Use the columns of the sheet: {{ row.NAME }} or {{ row["NAME"] }}.'
_SIMPLE_FILTERS: Final[Mapping[str, Callable[[str], str]]] = {
    "upper": str.upper,
    "lower": str.lower,
    "trim": str.strip,
}

_Part = str | tuple[str, tuple[Callable[[str], str], ...]]
"""A text, or a column with the filters of its cells."""


class _Row:
    """The cells of a row in a template; it has no methods, so any column's name can be used."""

    __slots__ = ("_cells",)

    def __init__(self, cells: Mapping[str, str]) -> None:
        self._cells = cells

    def __getitem__(self, name: object) -> str:
        return self._cells[str(name)]


@dataclass(frozen=True, slots=True)
class RowTemplate:
    """A template of a row's cells.

    Attributes:
        columns: the names of the columns that it uses, as they are written in it.
    """

    columns: tuple[str, ...]
    _environment: Environment
    _template: Template
    _parts: tuple[_Part, ...] | None

    @classmethod
    def of(cls, text: str) -> RowTemplate:
        """Compile a template.

        Raises:
            ValueError: it is invalid, or uses something else than the cells of the row.
        """
        environment = Environment()
        try:
            tree = environment.parse(text)
            template = environment.from_string(text)
        except (TemplateError, ValueError, RecursionError) as exc:
            raise ValueError(f"{one_line(str(exc)).rstrip('.')}. Fix the template.") from exc
        columns = tuple(dict.fromkeys(_columns_in(tree)))
        if not columns:
            raise ValueError(f"uses no column of the sheet. {_USE}")
        return cls(columns, environment, template, _parts_of(tree))

    @property
    def may_make_controls(self) -> bool:
        """Whether its texts may have control characters that the cells do not have."""
        parts = self._parts
        return parts is None or any(isinstance(p, str) and CONTROL.search(p) for p in parts)

    def texts(self, cells: Sequence[Sequence[str]]) -> tuple[list[str], dict[int, str]]:
        """Return the text of each row, and place -> why there is none.

        A row in which all of its cells are empty has an empty text.

        Args:
            cells: of each of ``columns``, in their order.
        """
        problems: dict[int, str] = {}
        if self._parts is not None:
            made = _joined(self._parts, dict(zip(self.columns, cells, strict=True)))
        else:
            made = list(self._rendered(cells, problems))
        if all("" in column for column in cells):
            rows = zip(made, *cells, strict=True)
            made = [text if any(row) else "" for text, *row in rows]
        return made, problems

    def _rendered(self, cells: Sequence[Sequence[str]], problems: dict[int, str]) -> Iterator[str]:
        """Yield the text of each row, rendered one by one."""
        known: dict[tuple[str, ...], str] = {}
        for place, row in enumerate(zip(*cells, strict=True)):
            text = known.get(row)
            if text is None:
                values = {_ROW: _Row(dict(zip(self.columns, row, strict=True)))}
                try:
                    text = self._environment.render(self._template, values) if any(row) else ""
                except Exception as exc:  # noqa: BLE001  (a template can raise anything)
                    problems[place] = one_line(str(exc)).rstrip(".") or type(exc).__name__
                    text = ""
                    yield text
                    continue
                if len(known) < _REMEMBERED:
                    known[row] = text
            yield text


def _columns_in(tree: nodes.Template) -> Iterator[str]:
    """Yield the names of the columns that a template uses.

    Raises:
        ValueError: it uses another variable, or the whole row.
    """
    accesses: list[nodes.Getattr | nodes.Getitem] = []
    accesses += [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)]
    within = [one.node for one in accesses]
    own = {one.name for one in tree.find_all(nodes.Name) if one.ctx in {"store", "param"}}
    for name in tree.find_all(nodes.Name):
        if name.ctx == "load" and name.name != _ROW and name.name not in own:
            raise ValueError(f"{name.name!r} is unknown. {_USE}")
        if name.name == _ROW and not any(name is one for one in within):
            raise ValueError(f"row is used without a column. {_USE}")
    for one in accesses:
        column = _column_of(one)
        if column is not None:
            yield column
        elif isinstance(one.node, nodes.Name) and one.node.name == _ROW:
            raise ValueError(f"the name of a column must be written out. {_USE}")


def _column_of(node: nodes.Node) -> str | None:
    """Return the column that ``row.NAME`` or ``row["NAME"]`` names; None for anything else."""
    if not isinstance(node, nodes.Getattr | nodes.Getitem):
        return None
    if not (isinstance(node.node, nodes.Name) and node.node.name == _ROW):
        return None
    if isinstance(node, nodes.Getattr):
        return node.attr
    is_text = isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)
    return node.arg.value if is_text and isinstance(node.arg, nodes.Const) else None


def _parts_of(tree: nodes.Template) -> tuple[_Part, ...] | None:
    """Return what a simple template consists of; None if it has to be rendered."""
    parts: list[_Part] = []
    for body in tree.body:
        if not isinstance(body, nodes.Output):
            return None
        for node in body.nodes:
            part = node.data if isinstance(node, nodes.TemplateData) else _cell_of(node)
            if part is None:
                return None
            parts.append(part)
    return tuple(parts)


def _cell_of(node: Any) -> _Part | None:  # noqa: ANN401  (a node)
    """Return the column and the filters of a simple expression; None for another one."""
    filters: list[Callable[[str], str]] = []
    while isinstance(node, nodes.Filter):
        if node.name not in _SIMPLE_FILTERS or node.args or node.kwargs or node.dyn_args:
            return None
        filters.insert(0, _SIMPLE_FILTERS[node.name])
        node = node.node
    column = _column_of(node)
    return None if column is None else (column, tuple(filters))


def _joined(parts: Sequence[_Part], cells: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the texts of a simple template, for whole columns."""
    columns = [
        repeat(one) if isinstance(one, str) else _filtered(cells[one[0]], one[1]) for one in parts
    ]
    # The texts between the cells have no end, and there is a cell.
    return list(map("".join, zip(*columns, strict=False)))


def _filtered(cells: Iterable[str], filters: Sequence[Callable[[str], str]]) -> Iterable[str]:
    for one in filters:
        cells = map(one, cells)
    return cells
