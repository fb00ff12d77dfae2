"""A line of CSV is what the csv module writes."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from bulk_reset.core.csv_line import csv_line

CELLS = st.one_of(st.text(), st.text(alphabet="\",\r\n \t;'a满"))


@given(st.lists(CELLS, min_size=2, max_size=6))
def test_a_line_is_as_the_csv_module_writes_it(cells: list[str]) -> None:
    """Quotes, line breaks and white space included."""
    file = io.StringIO(newline="")
    csv.writer(file).writerow(cells)
    assert csv_line(cells) == file.getvalue()
