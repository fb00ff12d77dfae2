"""Rows are packed in blocks, and their differences are their texts."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from page_html import Seen, row_html, unpacked
from programs import seed_id

from bulk_reset.reports.row_list import (
    BLOCK_ROWS,
    CELL_END,
    FIRST_ROWS,
    ROW_END,
    ListRow,
    RowList,
    field_change,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t ab👍🏽"))
ELEMENTS = {"article", "h3", "span", "a", "code", "em", "dl", "dt", "dd", "p", "b", "del", "ins"}
UPDATE = {"update": "will be updated"}


@given(TEXTS, TEXTS, TEXTS)
def test_the_parts_of_a_change_are_its_texts(old: str, new: str, pulled: str) -> None:
    """Kept and removed parts are the old text, kept and added parts the new one, to the unit."""
    field = field_change("title", old, new, pulled)
    for before, after, parts in (
        (field.old, field.new, field.parts),
        (field.pulled or "", field.old, field.pulled_parts),
    ):
        assert "".join(text for kind, text in parts if kind != "new") == before
        assert "".join(text for kind, text in parts if kind != "old") == after


def test_rows_are_stored_in_blocks_and_the_first_ones_kept() -> None:
    """All rows are in the blocks, in order; the fields are those that any row changes."""
    count = BLOCK_ROWS + 2
    with RowList() as rows:
        for n in range(count):
            change = field_change("title" if n else "impact", "old", f"new {n}")
            rows.add(ListRow(str(n), seed_id(n), fields=(change,), status=n % 2))
        texts = [unpacked(block).decode() for block in rows.blocks()]
        kind_of = list(struct.unpack(f"<{count}I", unpacked(rows.kind_of())))

    assert [text.count(ROW_END) for text in texts] == [BLOCK_ROWS, 2]
    packed = [row for text in texts for row in text.split(ROW_END)[:-1]]
    assert [text.partition(CELL_END)[0] for text in packed] == [str(n) for n in range(count)]
    assert [row.row_number for row in rows.first_rows] == [str(n) for n in range(FIRST_ROWS)]
    assert (rows.count, list(rows.fields)) == (count, ["impact", "title"])
    assert list(rows.kinds) == [(0, "", ("impact",)), (1, "", ("title",)), (0, "", ("title",))]
    assert kind_of == [0, 1] + [2, 1] * (count // 2 - 1)


@given(st.text(), st.text(), st.none() | st.text())
def test_any_text_creates_only_the_elements_of_a_row(
    old: str, new: str, pulled: str | None
) -> None:
    """No text of a sheet creates an element that a row does not have."""
    row = ListRow("2", old, new, old, new, old, (field_change(new, old, new, pulled, old),))
    seen = Seen(row_html(row, UPDATE))
    assert set(seen.tags) <= ELEMENTS
    assert len(seen.rows) == 1


def test_changed_white_space_is_visible() -> None:
    """An added space, or a removed line break, has a sign of its own."""
    row = ListRow("2", "x", fields=(field_change("title", "one two three\n", "one  two three"),))
    assert "one<del>␣</del><ins>␣␣</ins>two three<del>↵\n</del>" in row_html(row, UPDATE)
